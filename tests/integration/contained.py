"""Files that are not what they seem: external, soft and looping links, external and virtual storage, chunks, filters, compact and
committed objects, references, one place under two names. As results or as a model, each is refused with exit code 3 by every
command and by the Python and R readers, and nothing is written, neither to it nor to the file that it leads to."""
import os
import shutil
import subprocess
import sys

import h5py

from common import folder, make_idx, messages, run, train_small

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(SOURCE, "analysis"))
import filterscope as fs

here = folder()
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1)
SWEEP = ["sweep", "--data", data, "--batch", 20, "--slots", 4, "--test-every", 2, "--layers", 5, "--filters-per-unit", 100, "--epochs", 2]
run(1, *SWEEP, "--model", f"{here}/model.h5", "--out", f"{here}/sweep.h5")


def instead(make):
    """A trap that puts what `make` creates in a dataset's place."""
    def trap(file, name):
        before = file[name][()]
        del file[name]
        make(file, name, before)
    return trap


def outside(file, name, before):
    file.create_dataset(name, before.shape, before.dtype, external=[(f"{here}/raw", 0, h5py.h5f.UNLIMITED)])


def virtual(file, name, before):
    layout = h5py.VirtualLayout(before.shape, before.dtype)
    layout[...] = h5py.VirtualSource(f"{here}/other.h5", name, before.shape)
    file.create_virtual_dataset(name, layout)


def compact(file, name, before):
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_layout(h5py.h5d.COMPACT)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(before.dtype), h5py.h5s.create_simple(before.shape), made)


def committed(file, name, before):
    file["type"] = before.dtype
    file.create_dataset(name, data=before, dtype=file["type"])


def twice(file, name):
    file["twice"] = file[name]


def loop(file, name):
    group = os.path.dirname(name)
    file[f"{group}/loop"] = file[group]


def reference(file, name):
    file.create_dataset("reference", data=file[name].ref, dtype=h5py.ref_dtype)


def region(file, name):
    file.create_dataset("region", data=file[name].regionref[...], dtype=h5py.regionref_dtype)


TRAPS = {
    "external link": instead(lambda file, name, before: file.__setitem__(name, h5py.ExternalLink("other.h5", f"/{name}"))),
    "soft link": instead(lambda file, name, before: (file.__setitem__("elsewhere", before),
                                                     file.__setitem__(name, h5py.SoftLink("/elsewhere")))),
    "dangling soft link": lambda file, name: file.__setitem__("dangling", h5py.SoftLink("/nowhere")),
    "external storage": instead(outside),
    "virtual data set": instead(virtual),
    "chunks": instead(lambda file, name, before: file.create_dataset(name, data=before, chunks=True)),
    "filter": instead(lambda file, name, before: file.create_dataset(name, data=before, compression="gzip")),
    "compact": instead(compact),
    "committed type": instead(committed),
    "object reference": reference,
    "region reference": region,
    "texts of varying length": lambda file, name: file.create_dataset("text", data="filter", dtype=h5py.string_dtype()),
    "loop": loop,
    "one place twice": twice,
}
SMALL = {"sweep": "silence/5/cluster", "model": "parameter/conv1.bias"}  # of a size that compact storage takes
ONLY_WRITERS = "one place twice"  # who only reads cannot be led astray by it


def trap(kind, name):
    path = f"{here}/trap.h5"
    shutil.copy(f"{here}/{kind}.h5", path)
    shutil.copy(f"{here}/{kind}.h5", f"{here}/other.h5")
    with open(f"{here}/raw", "wb") as file:
        file.write(bytes(1 << 16))
    with h5py.File(path, "r+") as file:
        TRAPS[name](file, SMALL[kind])
    return path


def bytes_of(*paths):
    found = []
    for path in paths:
        with open(path, "rb") as file:
            found.append(file.read())
    return found


def refused(name, *words):
    done = run(1, *words, expect=3)
    said = messages(done.stderr)
    assert len(said) == 1 and "trap.h5: " in said[0], done.stderr
    print(f"{name}: {words[0]}: {said[0].partition('trap.h5: ')[2]}")


def refused_by_readers(name, path):
    try:
        fs.open(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: "), error
    else:
        sys.exit(f"{name}: fs.open reads it")
    done = subprocess.run(["Rscript", "-e", f'source("{SOURCE}/analysis/filterscope.R"); fs_open("{path}")'], capture_output=True, text=True)
    assert done.returncode and "trap.h5: " in done.stderr, f"{name}: R: {done.stderr}"


PATH, NEW = f"{here}/trap.h5", f"{here}/new.h5"
COMMANDS = {
    "sweep": [[*SWEEP, "--model", f"{here}/model.h5", "--out", PATH], ["check", PATH], ["status", PATH],
              ["export", PATH, "--table", "filters"]],
    "model": [["check", PATH], ["eval", "--model", PATH, "--data", data], [*SWEEP, "--model", PATH, "--out", NEW],
              ["train", "--arch", "vgg6", "--data", data, "--epochs", 1, "--init", PATH, "--out", NEW]],
}
for name in TRAPS:
    for kind, commands in COMMANDS.items():
        watched = trap(kind, name), f"{here}/other.h5", f"{here}/raw"
        before = bytes_of(*watched)
        for words in commands if name == "external link" else commands[:2]:
            refused(name, *words)
        if kind == "sweep" and name != ONLY_WRITERS:
            refused_by_readers(name, PATH)
        assert bytes_of(*watched) == before, f"{name}: written"
assert not os.path.exists(NEW)
print(f"{len(TRAPS)} ways of leading elsewhere, all refused")
