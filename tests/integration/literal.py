"""Silencing the weights and running the test set for each filter, as the paper describes it, gives the one-pass fields."""
import h5py
import numpy as np

from common import folder, make_idx, run, train_small

here = folder()
data = make_idx(f"{here}/data", test=20)
train_small(f"{here}/model.h5", data, epochs=2)
for name, form in (("pass", ()), ("literal", ("--literal",))):
    run(2, "sweep", "--model", f"{here}/model.h5", "--data", data, "--out", f"{here}/{name}.h5", "--epochs", 2, "--batch", 20,
        "--layers", "1,3,5", *form)

largest, filters, flips = 0.0, 0, 0
with h5py.File(f"{here}/pass.h5") as one, h5py.File(f"{here}/literal.h5") as literal:
    for layer in one["layers"]["layer"]:
        a, b = (file[f"silence/{layer}/field"][:].astype(float) for file in (one, literal))
        scale = np.abs(b).max(axis=(1, 2), keepdims=True)
        assert np.isfinite(a).all() and np.isfinite(b).all()
        difference = np.abs(a - b) / np.where(scale > 0, scale, 1)
        largest = max(largest, difference.max())
        filters += len(a)
    flips = np.abs(one["silence/filters"]["sr"] - literal["silence/filters"]["sr"]).max()
print(f"{filters} filters: largest difference {largest:.3g} of a field's largest element; SR differs by {flips:.3g} at most")
assert largest < 1e-4
