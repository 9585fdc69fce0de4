"""Flipped bits and zeroed pages in any dataset of a results file, finished or not, are named by `check` and mended by the next
sweep, which redoes the units that they are in and no other, and ends with the bits of an undisturbed run."""
import os
import shutil
import signal
import subprocess

import h5py
import numpy as np

from common import VARYING, folder, identical, launch, make_idx, run, train_small, wait_until

PAGE = 4096
here = folder()
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1)
SWEEP = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--epochs", 4, "--batch", 20, "--slots", 4, "--layers", "1,5",
         "--filters-per-unit", 100, "--out"]
whole, half, rotten = (f"{here}/{name}.h5" for name in ("whole", "half", "rotten"))
run(1, *SWEEP, whole)


def epochs_done(path):
    with h5py.File(path) as file:
        return file["resume/slots"]["epoch"].max()


process = subprocess.Popen(launch(1, *SWEEP, half), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wait_until(lambda: os.path.exists(half) and epochs_done(half) >= 2, 60, "two epochs")
process.send_signal(signal.SIGUSR1)
assert process.wait(60) == 75, "stopped too late to show anything"


def extents(path):
    """(name, offset, bytes) of every dataset with contents."""
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.append((name, node.id.get_offset(), node.id.get_storage_size()))
                        if isinstance(node, h5py.Dataset) and node.id.get_storage_size() else None)
    return found


def units(path):
    with h5py.File(path) as file:
        return file["units"][:], file["provenance/units"]["attempt"].copy(), file["units"].dtype.itemsize


def concerned(path, name, first, last):
    """Units whose payload or record has bytes first .. last of a dataset. A probe's damage takes its layer's filters with it."""
    rows, _, row_bytes = units(path)
    with h5py.File(path) as file:
        layers = list(file["layers"]["layer"])
        filters = dict(zip(layers, file["layers"]["filters"]))
        bytes_each = file[name].dtype.itemsize * int(np.prod(file[name].shape[1:]))
    a, b, parts = first // bytes_each, last // bytes_each, name.split("/")
    hit = set()
    for number, row in enumerate(rows):
        before = sum(int(filters[layer]) for layer in layers if layer < row["layer"])
        probe, begin, end = row["kind"] == 1, row["first"], row["first"] + row["count"] - 1
        in_layer = parts[-2:-1] == [str(row["layer"])]
        epochs = len(file_history) // len(layers)
        if (name == "units" and first // row_bytes <= number <= last // row_bytes
                or parts[0] == "probe" and probe and in_layer
                or name == "probe/history" and probe and a // epochs <= layers.index(row["layer"]) <= b // epochs
                or parts[-1] in ("field", "cluster") and not probe and in_layer and a <= end and b >= begin
                or name == "silence/filters" and not probe and a <= before + end and b >= before + begin):
            hit.add(number)
    for number in list(hit):
        if rows[number]["kind"] == 1:
            hit |= {other for other, row in enumerate(rows) if row["layer"] == rows[number]["layer"]}
    return hit


with h5py.File(whole) as opened:
    file_history = opened["probe/history"][:]

tried = named = slots = 0
for source in (whole, half):
    recorded = units(source)[0]["state"] == 1
    attempts = units(source)[1]
    for name, offset, size in extents(source):
        if source == half and not name.startswith(("resume", "probe/history", "units", "state")):
            continue
        for how, where in (("bit", 0.3), ("bit", 0.8), ("page", 0.5)):
            shutil.copy(source, rotten)
            with open(rotten, "r+b") as file:
                first = int(size * where) if how == "bit" else size // 2 // PAGE * PAGE
                length = 1 if how == "bit" else min(PAGE, size - first)
                file.seek(offset + first)
                before = file.read(length)
                after = bytes([before[0] ^ 0x10]) if how == "bit" else bytes(length)
                file.seek(offset + first)
                file.write(after)
            if after == before:
                continue
            tried += 1
            checked = run(1, "check", rotten, expect=None)
            said = f"/{name}" in checked.stdout + checked.stderr
            named += said
            if os.environ.get("VERBOSE"):
                print(os.path.basename(source), how, where, name, "named" if said else "-", flush=True)
            slots += said and name.startswith("resume") and source == half
            run(1 + tried % 2, *SWEEP, rotten)
            assert identical(whole, rotten, VARYING), f"{how} of {name}"
            run(1, "check", rotten)
            touched = concerned(source, name, first, first + length - 1) & set(np.flatnonzero(recorded))
            redone = set(np.flatnonzero(units(rotten)[1] > attempts)) & set(np.flatnonzero(recorded))
            if name != "provenance/units":  # what tells how often is what is damaged
                assert redone == touched, f"{how} of {name}: redid {sorted(redone)} for {sorted(touched)}"
            # What nobody has computed yet is overwritten, and the older slot may be torn by any kill: no damage.
            if source == whole and not name.startswith("resume") or touched or "/" not in name or name.startswith("provenance"):
                assert said and checked.returncode == 3, f"{how} of {name}: {checked.stdout}{checked.stderr}"
assert slots >= 3, "damage of the newest slots was not named"
print(f"{tried} damages, {named} named by check, all mended: no differing bit, no unit redone that was sound")
