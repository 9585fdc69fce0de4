"""The main job in small on real CIFAR-10 and CIFAR-100: label names arrive, every number is there, SR is above chance."""
import os

import h5py
import numpy as np

from common import folder, run, skip, train_small

if not os.environ.get("CIFAR10_DIR") or not os.environ.get("CIFAR100_DIR"):
    skip("CIFAR10_DIR or CIFAR100_DIR is not set to a folder of the binary version")
here = folder()

for data, labels, images, names in ((f"cifar10:{os.environ['CIFAR10_DIR']}", 10, 1000, ("airplane", "truck")),
                                    (f"cifar100:{os.environ['CIFAR100_DIR']}", 100, 2000, ("apple", "worm"))):
    train_small(f"{here}/{labels}.h5", data, train_images=images, test_images=images, epochs=2)
    run(2, "sweep", "--model", f"{here}/{labels}.h5", "--data", data, "--out", f"{here}/sweep{labels}.h5", "--epochs", 2,
        "--layers", "4,5", "--train-images", images, "--test-images", images)
    run(1, "check", f"{here}/sweep{labels}.h5")
    with h5py.File(f"{here}/sweep{labels}.h5") as file:
        assert file["labels"].shape == (labels,)
        assert (file["labels"][0].decode(), file["labels"][-1].decode()) == names, file["labels"][:]
        assert file["silence/5/field"].shape == (512, labels, labels)
        for layer in (4, 5):
            assert np.isfinite(file[f"silence/{layer}/field"][:]).all()
        row = file["silence/layers"][:]
        assert (row["sr"] > 1.5 / labels).all(), row["sr"]
        assert np.isfinite(row["snr"]).all() and (row["filters"] == 512).all()
        print(f"{data.split(':')[0]}: SR of layers 4 and 5 {row['sr']}, SNR {row['snr'].round(3)}")
