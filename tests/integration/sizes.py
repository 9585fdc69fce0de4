"""Images and label sets of other sizes: each goes through train, eval and sweep, or is refused clearly."""
import os
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np

from common import folder, run, write_idx

ANALYSIS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis")

here = folder()
os.chdir(here)
with open("net.txt", "w") as file:
    file.write("conv 8 5x5 stride 2 bias\nrelu\nconv 16 3x3 pad 1\nbn\nrelu\nmaxpool 3 stride 2 ceil\nconv 8 1x1 bias\nglobalavg\n"
               "dropout 0.3\nfc K bias\n")


def make(name, shape, labels, train, test):
    """IDX files whose images show their label: channels last where there are several, labels of two bytes above 255."""
    os.mkdir(name)
    random, pattern = np.random.default_rng(1), np.random.default_rng(2).integers(0, 256, (labels, *shape))
    for split, label in (("train", train), ("t10k", test)):
        images = np.clip(pattern[label] + random.normal(0, 30, (len(label), *shape)), 0, 255).astype(np.uint8)
        write_idx(f"{name}/{split}-images-idx{images.ndim}-ubyte", images)
        path = f"{name}/{split}-labels-idx1-{'short' if labels > 256 else 'ubyte'}"
        write_idx(path, label)
        if labels > 256:
            with open(path, "wb") as file:
                file.write(bytes([0, 0, 0x0B, 1]) + len(label).to_bytes(4, "big") + label.astype(">i2").tobytes())
    return f"idx:{name}"


def make_sound(path):
    """Gives a model file that was edited its right CRC."""
    crc = re.search("its CRC is ([0-9a-f]{8})", run(1, "check", path, expect=3).stderr).group(1)
    with h5py.File(path, "a") as file:
        file.attrs.modify("crc", np.uint32(int(crc, 16)))


def even(labels, each):
    return np.arange(labels * each) % labels


CASES = {  # shape, labels, training labels, test labels
    "square": ((64, 64), 4, even(4, 30), even(4, 10)),
    "wide": ((24, 40, 3), 3, even(3, 40), even(3, 10)),
    "tall": ((48, 20), 3, even(3, 40), even(3, 10)),
    "hundred": ((16, 16), 100, even(100, 3), even(100, 2)),
    "thousand": ((16, 16, 2), 1000, even(1000, 1), even(1000, 1)),
    "unbalanced": ((20, 20), 3, np.repeat([0, 1, 2], [100, 15, 5]), np.repeat([0, 1, 2], [50, 9, 1])),
}
TRAIN = ["--epochs", 2, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02, "--momentum", 0.9, "--fc-momentum", 0.9]
for name, (shape, labels, train, test) in CASES.items():
    data = make(name, shape, labels, train, test)
    ranks = 2 if name == "thousand" else 1
    run(ranks, "train", "--arch", "net.txt", "--data", data, "--out", f"{name}.h5", *TRAIN)
    table = run(ranks, "eval", "--model", f"{name}.h5", "--data", data, "--table", "confusion").stdout
    confusion = np.loadtxt(table.splitlines(), delimiter=",", skiprows=1, dtype=int)
    assert confusion.shape == (labels, labels) and (confusion.sum(axis=1) == np.bincount(test, minlength=labels)).all(), name
    with h5py.File(f"{name}.h5") as file:
        sr = confusion.trace() / len(test)
        assert abs(sr - file["history"][-1]["test_sr"]) < 1e-12, name
        text = file["architecture"][0]
    run(ranks, "sweep", "--model", f"{name}.h5", "--data", data, "--out", f"{name}.sweep.h5", "--layers", "1,3", "--epochs", 2, "--batch", 20,
        "--slots", 4)
    run(1, "check", f"{name}.sweep.h5")
    with h5py.File(f"{name}.sweep.h5") as file:
        rows = file["layers"][:]
        assert rows["layer"].tolist() == [1, 3] and rows["height"][0] == (shape[0] - 5) // 2 + 1, name
        assert rows["width"][0] == (shape[1] - 5) // 2 + 1 and (rows["height"][1], rows["width"][1]) == (1, 1), name
        for layer in (1, 3):
            assert file[f"silence/{layer}/field"].shape == (8, labels, labels), name
            assert np.isfinite(file[f"silence/{layer}/field"][:]).all(), name
    print(f"{name}: {'x'.join(map(str, shape))} pixels, {labels} labels, SR {sr:.3f}")

# A label without a test image, whose averaged field would be 0/0: train refuses, unless it is one of a part of the images or is
# left out. What train leaves out, eval and sweep leave out, too.
data = make("missing", (20, 20), 3, even(3, 40), np.repeat([0, 2], 10))
REFUSED = r"missing: no training or no test image of label 1 \(1\): a sweep needs both. --drop-empty-labels leaves such labels out: 1 of 3"
assert re.search(REFUSED, run(2, "train", "--arch", "net.txt", "--data", data, "--out", "missing.h5", *TRAIN, expect=1).stderr)
assert not os.path.exists("missing.h5")
told = run(2, "train", "--arch", "net.txt", "--data", data, "--out", "part.h5", "--train-images", 60, *TRAIN).stdout
assert re.search("train: note: .*" + REFUSED, told)
told = run(1, "eval", "--model", "part.h5", "--data", data)
assert "1 labels have no image" in told.stdout and re.search(r"    1  1 +0       0       -\n", told.stdout) and "nan" not in told.stdout
assert "no test image of label 1" in run(2, "sweep", "--model", "part.h5", "--data", data, "--out", "part.sweep.h5", "--epochs", 1,
                                         expect=1).stderr
assert not os.path.exists("part.sweep.h5")
with open("odd.txt", "w") as file:
    file.write("a\nNA\na\n")
told = run(1, "train", "--arch", "net.txt", "--data", data, "--out", "odd.h5", "--train-images", 60, "--label-names", "odd.txt", *TRAIN).stdout
assert "note: labels 0 and 2 have the same name, a" in told and "note: label 1 is named NA, which readers of CSV" in told
with open("names.txt", "w") as file:
    file.write("none\nK\u00e4fer\nmany\n")
DROP = ["--drop-empty-labels", "--label-names", "names.txt"]
told = run(2, "train", "--arch", "net.txt", "--data", data, "--out", "missing.h5", *DROP, *TRAIN).stdout
assert re.search(r"labels +2 of the set's 3: 0, 2, CRC", told) and "train-data         80 images of 20x20x1, 2 labels" in told
again = run(1, "train", "--arch", "net.txt", "--data", data, "--out", "missing.h5", *DROP, *TRAIN).stdout
assert "all 2 epochs are done" in again
assert "labels: file has 2 of the set's 3" in run(1, "train", "--arch", "net.txt", "--data", data, "--out", "missing.h5", *TRAIN,
                                                  expect=3).stderr
told = run(1, "eval", "--model", "missing.h5", "--data", data, "--table", "labels").stdout.splitlines()
assert [line.split(",")[:3] for line in told[1:]] == [["0", "none", "10"], ["1", "many", "10"]], told
run(2, "sweep", "--model", "missing.h5", "--data", data, "--out", "missing.sweep.h5", "--layers", "1", "--epochs", 1, "--batch", 20,
    "--slots", 4)
run(1, "check", "missing.sweep.h5")
with h5py.File("missing.sweep.h5") as file, h5py.File("missing.h5") as model:
    assert model["label_numbers"][:].tolist() == [0, 2] and file["labels"][:].tolist() == [b"none", b"many"]
    assert file["silence/1/field"].shape == (8, 2, 2)
    assert dict(file["config"][:])[b"labels"].startswith(b"2 of the set's 3: 0, 2, CRC ")

# The test split alone is enough for eval, and the training split alone for eval of that.
shutil.copytree("missing", "tested")
for name in ("tested/train-images-idx3-ubyte", "tested/train-labels-idx1-ubyte"):
    os.remove(name)
tested = run(2, "eval", "--model", "missing.h5", "--data", "idx:tested").stdout
assert tested == run(2, "eval", "--model", "missing.h5", "--data", data).stdout
trained = run(1, "eval", "--model", "missing.h5", "--data", data, "--split", "train").stdout
for name in ("missing/t10k-images-idx3-ubyte", "missing/t10k-labels-idx1-ubyte"):
    os.rename(name, name.replace("missing", "tested"))
assert trained == run(2, "eval", "--model", "missing.h5", "--data", data, "--split", "train").stdout

# A model file that another tool wrote knows nothing of labels that are left out: sweep and eval are told.
data = make("letters", (20, 20), 4, 1 + even(3, 40), 1 + even(3, 10))
run(1, "train", "--arch", "net.txt", "--data", data, "--out", "letters.h5", "--drop-empty-labels", *TRAIN)
with h5py.File("letters.h5", "a") as file:
    del file["label_numbers"]
    file["label_names"][:] = [b"K\xe4fer", b"b", b"c"]
make_sound("letters.h5")
assert "trained on 20x20x1 images with 3 labels, idx:letters has 20x20x1 with 4; --drop-empty-labels leaves 3" in run(
    1, "eval", "--model", "letters.h5", "--data", data, expect=3).stderr
run(1, "eval", "--model", "letters.h5", "--data", data, "--drop-empty-labels")
SWEEP = ["sweep", "--model", "letters.h5", "--data", data, "--out", "letters.sweep.h5", "--layers", "1", "--epochs", 1, "--batch", 20,
         "--slots", 4, "--drop-empty-labels"]
assert r"letters.h5: the name of label 0, 'K\xe4fer': byte 2 is 0xe4: not UTF-8" in run(2, *SWEEP, expect=1).stderr
run(2, *SWEEP, "--label-names", "names.txt")
with h5py.File("letters.sweep.h5") as file:
    assert [name.decode() for name in file["labels"]] == ["none", "K\u00e4fer", "many"]

# Files of earlier versions may have names in any encoding: they are still read.
with h5py.File("letters.sweep.h5", "a") as file:
    file["labels"][0] = b"K\xe4fer"
sys.path.insert(0, ANALYSIS)
import filterscope as fs  # noqa: E402
assert fs.open("letters.sweep.h5").labels == [r"K\xe4fer", "K\u00e4fer", "many"]
if shutil.which("Rscript") and not subprocess.run(["Rscript", "-e", "library(hdf5r)"], capture_output=True).returncode:
    script = f"source('{ANALYSIS}/filterscope.R'); cat(fs_open('letters.sweep.h5')$labels == c('K<e4>fer', 'K\\u00e4fer', 'many'))"
    done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True)
    assert done.stdout.strip().endswith("TRUE TRUE TRUE"), done.stdout + done.stderr

# A file without its input line takes any size; with it, that one only; comments do not change what an architecture is.
data = "idx:square"
with open("fixed.txt", "w") as file:
    file.write("input 32x32x1 # not these images\n" + text.decode())
assert "line 1: 'input 32x32x1': the images are 64x64x1" in run(
    2, "train", "--arch", "fixed.txt", "--data", data, "--out", "fixed.h5", *TRAIN, expect=2).stderr
with open("net.txt", "a") as file:
    file.write("# the same\n")
run(1, "train", "--arch", "net.txt", "--data", data, "--out", "square.h5", *TRAIN)
with open("net.txt", "w") as file:
    file.write(text.decode().replace("conv 8 1x1", "conv 9 1x1"))
assert "architecture: file has CRC" in run(1, "train", "--arch", "net.txt", "--data", data, "--out", "square.h5", *TRAIN, expect=3).stderr

# The text of a built-in architecture is an architecture file, and the same network.
with open("mine.txt", "w") as file:
    file.write(run(1, "arch", "vgg6", "--table", "text").stdout)
built_in, own = (run(1, "arch", name).stdout.splitlines() for name in ("vgg6", "mine.txt"))
assert built_in[1:] == own[1:] and "fingerprint" in own[-1]
sys.exit(0)
