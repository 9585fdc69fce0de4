"""Silencing the weights and running the test set for each filter, as the paper describes it, gives the one-pass fields."""
import h5py
import numpy as np

from common import folder, make_idx, run, train_small

here = folder()
data = make_idx(f"{here}/data", test=20)
with open(f"{here}/nodes.txt", "w") as file:
    file.write("conv 8 3x3 pad 1\nrelu\nmaxpool 2\nfc 24 bias\nrelu\nfc 12\ntanh\nfc K\n")


def compare(arch, layers):
    """(largest difference of a field, relative to its largest element; filters and units; largest difference of an SR)"""
    train_small(f"{here}/{arch}.h5", data, arch=arch if arch == "vgg6" else f"{here}/{arch}.txt", epochs=2)
    for name, form in (("pass", ()), ("literal", ("--literal",))):
        run(2, "sweep", "--model", f"{here}/{arch}.h5", "--data", data, "--out", f"{here}/{arch}-{name}.h5", "--epochs", 2,
            "--batch", 20, "--layers", layers, *form)
    largest, filters = 0.0, 0
    with h5py.File(f"{here}/{arch}-pass.h5") as one, h5py.File(f"{here}/{arch}-literal.h5") as literal:
        for layer in one["layers"]["layer"]:
            a, b = (file[f"silence/{layer}/field"][:].astype(float) for file in (one, literal))
            scale = np.abs(b).max(axis=(1, 2), keepdims=True)
            assert np.isfinite(a).all() and np.isfinite(b).all()
            largest = max(largest, (np.abs(a - b) / np.where(scale > 0, scale, 1)).max())
            filters += len(a)
        names = [name.decode() for name in one["layers"]["name"]]
        return largest, filters, np.abs(one["silence/filters"]["sr"] - literal["silence/filters"]["sr"]).max(), names


for arch, layers, expected in (("vgg6", "1,3,5", ["conv1", "conv3", "conv5"]), ("nodes", "all", ["conv1", "fc1", "fc2"])):
    largest, filters, flips, names = compare(arch, layers)
    print(f"{arch}: {filters} filters: largest difference {largest:.3g} of a field's largest element; SR differs by {flips:.3g} at most")
    assert names == expected and largest < 1e-4
