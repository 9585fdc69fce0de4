"""CIFAR's Python version becomes the binary one, from the archive as from the folder; what else a pickle may hold is refused, and
nothing that it names is called."""
import os
import pickle
import subprocess
import sys
import tarfile

import numpy as np

from common import folder, run

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis", "convert_cifar.py")
os.chdir(folder())
random = np.random.default_rng(1)


def convert(source, out, expect=0):
    done = subprocess.run([sys.executable, SCRIPT, source, "--out", out], capture_output=True, text=True)
    assert done.returncode == expect and len(done.stderr.splitlines()) == expect, done.stdout + done.stderr
    assert os.path.exists(out) == (expect == 0) and not os.path.exists(f"{out}.part")
    return done.stderr


def dump(path, value):
    with open(path, "wb") as file:
        pickle.dump(value, file, protocol=2)


def make(name, batches, keys, labels, meta, names_key):
    """The Python version, and what each of its batches is in the binary one."""
    os.mkdir(name)
    expected = {}
    for batch in batches:
        columns = [np.arange(20) % labels if key == keys[-1] else np.full(20, 7) for key in keys]
        pixels = random.integers(0, 256, (20, 3072), dtype=np.uint8)
        dump(f"{name}/{batch}", {b"data": pixels, b"filenames": [b"a.png"] * 20, **{k.encode(): c.tolist() for k, c in zip(keys, columns)}})
        expected[batch] = np.column_stack([*(column.astype(np.uint8) for column in columns), pixels]).tobytes()
    dump(f"{name}/{meta}", {names_key: [b"label %d" % k for k in range(labels)]})
    with tarfile.open(f"{name}.tar.gz", "w:gz") as archive:
        archive.add(name)
    return expected


TEN = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
for name, kind, batches, keys, labels, meta, names_key in (
        ("cifar-10-batches-py", "cifar10", TEN, ["labels"], 10, "batches.meta", b"label_names"),
        ("cifar-100-python", "cifar100", ["train", "test"], ["coarse_labels", "fine_labels"], 100, "meta", b"fine_label_names")):
    expected = make(name, batches, keys, labels, meta, names_key)
    for number, source in enumerate((name, f"{name}.tar.gz")):
        convert(source, f"{kind}-{number}")
        for batch, content in expected.items():
            with open(f"{kind}-{number}/{batch}.bin", "rb") as file:
                assert file.read() == content, batch
    said = run(1, "train", "--arch", "vgg6", "--data", f"{kind}:{name}", "--out", "m.h5", expect=1).stderr
    assert f"{name}: is the Python version: python3 analysis/convert_cifar.py {name} --out FOLDER" in said, said
with open("net.txt", "w") as file:
    file.write("conv 4 3x3 stride 4\nrelu\nglobalavg\nfc K\n")
run(2, "train", "--arch", "net.txt", "--data", "cifar10:cifar10-1", "--out", "m.h5", "--epochs", 1, "--slots", 2)
assert "label 9" in run(1, "eval", "--model", "m.h5", "--data", "cifar10:cifar10-0").stdout


class Command:
    def __reduce__(self):
        return os.system, ("touch called",)


for content, message in (
        ({b"data": Command()}, "names posix.system, which a file of CIFAR does not"), ({b"labels": [0]}, "has no data"),
        ({b"data": np.zeros((2, 3072), np.int64), b"labels": [0, 1]}, "data is int64 [2, 3072], expected uint8"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, "labels are not 2 labels of 0 to 99"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [300]}, "labels are not 1 labels of 0 to 99"), ([1, 2], "no pickle of CIFAR")):
    dump("cifar-10-batches-py/data_batch_3", content)
    said = convert("cifar-10-batches-py", "bad", expect=1)
    assert "cifar-10-batches-py: data_batch_3: " in said and message in said, said
assert not os.path.exists("called")
with open("cifar-10-batches-py.tar.gz", "r+b") as file:
    file.truncate(5000)
for source, message in (("cifar-10-batches-py.tar.gz", "ended before"), ("net.txt", "net.txt: file could not be opened"),
                        ("none", "none: No such file"), ("cifar10-0", "has neither data_batch_1 to data_batch_5 and test_batch nor train")):
    assert message in convert(source, "bad", expect=1), message
