"""Built-in residual, mobile and dense networks train, are probed and silenced: finite, the same bits on any number of ranks, and the
literal experiment's fields."""
import csv
import io

import h5py
import numpy as np

from common import VARYING, folder, identical, make_idx, run

here = folder()
data = ["--data", make_idx(f"{here}/data", labels=3, train=30, test=12)]
for arch in ("resnet20", "efficientnet-b0", "densenet40-12"):
    model, pieces = f"{here}/{arch}.h5", ["--batch", 10, "--slots", 4]
    run(1, "train", "--arch", arch, *data, "--out", model, "--epochs", 1, *pieces)
    table = list(csv.DictReader(io.StringIO(run(1, "arch", model, "--table", "layers").stdout)))
    probed = [int(row["layer"]) for row in table if row["probed"] == "1"]
    assert probed == sorted(probed)
    layers = f"{probed[0]},{probed[len(probed) // 2]}"
    sweep = ["sweep", "--model", model, *data, "--layers", layers, "--epochs", 1, *pieces, "--out"]
    for name, ranks, more in (("one", 1, ()), ("three", 3, ()), ("literal", 2, ("--literal",))):
        run(ranks, *sweep, f"{here}/{arch}-{name}.h5", *more)
    assert identical(f"{here}/{arch}-one.h5", f"{here}/{arch}-three.h5", VARYING)
    with h5py.File(f"{here}/{arch}-one.h5") as one, h5py.File(f"{here}/{arch}-literal.h5") as literal:
        for layer in one["layers"]["layer"]:
            a, b = (file[f"silence/{layer}/field"][:] for file in (one, literal))
            assert np.isfinite(a).all() and np.abs(a - b).max() < 1e-4 * np.abs(b).max(), layer
    print(f"{arch}: {len(probed)} probes; layers {layers} alike")
