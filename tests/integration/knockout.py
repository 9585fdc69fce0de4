"""Filters knocked out of the trained network: the counts of the literal experiment; the same bits on any number of ranks, whether
asked for at once or of a complete sweep; whole through kills, stops, damage and a disk without room."""
import os
import shutil
import signal
import subprocess

import h5py
import numpy as np
import pandas as pd

from common import FAULTS, VARYING, folder, identical, launch, make_idx, run, train_small, write_places

here = folder()
os.chdir(here)
with open("small.txt", "w") as file:
    file.write("""conv 16 3x3 pad 1
bn
relu probe
conv 16 3x3 pad 1 bias
bn
relu
maxpool 2 as a probe
conv 16 3x3 pad 1
bn
relu
conv 16 3x3 pad 1
bn
add a
relu as b probe
conv 24 3x3 stride 2 pad 1
bn
relu
globalavg probe
fc 100 bias
relu probe
fc K
""")
DATA = make_idx("data", labels=5, train=200, test=90, size=16)
train_small("model.h5", DATA, arch="small.txt", epochs=4)
SWEEP = ["sweep", "--model", "model.h5", "--data", DATA, "--epochs", 1, "--batch", 20, "--slots", 4]
ZERO, MEAN = ([*SWEEP, "--knockout", form, "--knockout-images", 77] for form in ("zero", "mean"))
ARRAYS = ("right", "answers", "changed", "loss")


def same(left, right):
    return identical(left, right, VARYING)


# Any number of ranks; at once, or later.
for form, words in (("zero", ZERO), ("mean", MEAN)):
    for ranks in (1, 3):
        said = run(ranks, *words, "--out", f"{form}{ranks}.h5").stdout
        assert ("cut by images" in said) == (ranks > 1), said
    assert same(f"{form}1.h5", f"{form}3.h5")
run(2, *SWEEP, "--out", "plain.h5")
shutil.copy("plain.h5", "later.h5")
os.chmod("later.h5", 0o640)
said = run(2, *ZERO, "--out", "later.h5").stdout
assert "gets room for phase four" in said and "phase two" not in said, said
assert same("zero1.h5", "later.h5") and os.stat("later.h5").st_mode & 0o777 == 0o640
assert "phase four:  172 of 172 filters knocked out, zero" in run(1, "status", "later.h5").stdout
run(1, "check", "later.h5")
assert run(1, "export", "plain.h5").stdout == run(1, "export", "later.h5").stdout

# Bookkeeping, and the untouched network.
with h5py.File("zero1.h5") as file:
    baseline, confusion = file["knockout/baseline"][:], file["knockout/confusion"][:]
    assert (confusion.sum(1) == baseline["images"]).all() and (confusion.sum(0) == baseline["answered"]).all()
    assert baseline["images"].sum() == 77 and (confusion.diagonal() == baseline["right"]).all()
    for layer in file["layers"]["layer"]:
        right, answers, changed, loss, work = (file[f"knockout/{layer}/{name}"][:] for name in (*ARRAYS, "work"))
        assert (answers.sum(2) == baseline["images"]).all() and (answers.diagonal(axis1=1, axis2=2) == right).all()
        assert (work.sum(1) == 77).all() and (changed <= work[:, 0]).all() and np.isfinite(loss).all()
        untouched = work[:, 0] == 0
        assert (right[untouched] == baseline["right"]).all() and (loss[untouched] == baseline["loss"]).all()

# The tables, from the counts and clusters, another way: pairs for an AUC, pandas for ranks.
def auc(drop, covered):
    pairs = np.sign(drop[covered][:, None] - drop[~covered][None]) / 2 + 0.5
    return pairs.mean() if pairs.size else np.nan


def correlation(a, b):
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.Series(a, dtype=float).rank().corr(pd.Series(b, dtype=float).rank())  # Spearman's; pandas' own may want SciPy


def means(values):
    return np.nanmean(values) if np.isfinite(values).any() else np.nan


with h5py.File("zero1.h5") as file:
    rows = {layer: table for layer, table in pd.DataFrame(file["knockout/filters"][:]).groupby("layer")}
    summary = pd.DataFrame(file["knockout/layers"][:]).set_index("layer")
    silenced = {layer: table for layer, table in pd.DataFrame(file["silence/filters"][:]).groupby("layer")}
    images, loss0 = baseline["images"], baseline["loss"].sum()
    for layer, table in rows.items():
        right, changed, loss, work = (file[f"knockout/{layer}/{name}"][:] for name in ("right", "changed", "loss", "work"))
        covered = file[f"silence/{layer}/cluster"][:] > 0
        field = file[f"silence/{layer}/field"][:].diagonal(axis1=1, axis2=2)
        drop = (baseline["right"] - right) / images
        with np.errstate(invalid="ignore"):
            wanted = pd.DataFrame({
                "right": right.sum(1), "changed": changed, "run": work[:, 0], "same": work[:, 1], "hidden": work[:, 2],
                "worst": drop.argmax(1), "drop": (baseline["right"].sum() - right.sum(1)) / 77,
                "loss": (loss.sum(1) - loss0) / 77, "worst_drop": drop.max(1),
                "drop_clustered": [means(d[c]) for d, c in zip(drop, covered)],
                "drop_others": [means(d[~c]) for d, c in zip(drop, covered)],
                "auc": [auc(d, c) for d, c in zip(drop, covered)],
                "correlation": [correlation(f, d) for f, d in zip(field, drop)]})
        for column in wanted:
            assert np.allclose(table[column], wanted[column], rtol=1e-9, atol=1e-12, equal_nan=True), (layer, column)
        found, of = summary.loc[layer], silenced[layer]
        assert found["harmless"] == (changed == 0).sum() and found["compared"] == wanted["auc"].notna().sum()
        for column in ("drop", "worst_drop", "drop_clustered", "drop_others", "correlation"):
            assert np.isclose(found[column], means(wanted[column]), equal_nan=True), (layer, column)
        for column in ("run", "same", "hidden"):
            assert np.isclose(found[column], wanted[column].sum() / (77 * len(table))), (layer, column)
        for column in ("clusters", "covered", "noise", "share", "sr"):
            expected = correlation(of[column].to_numpy(), wanted["drop"])
            assert np.isclose(found[f"r_{column}"], expected, equal_nan=True), (layer, column)
        assert np.isclose(found["auc"], auc(drop.ravel(), covered.ravel()), equal_nan=True), layer
        assert not found["compared"] or found["auc_low"] <= found["auc"] <= found["auc_high"], layer
assert summary["compared"].sum() > 0 and np.isfinite(summary[["auc", "r_covered"]]).any().all(), summary

# By definition. Where answers differ, the network is of two minds: tests/unit/test_cut.c compares logits.
for form, words in (("zero", ZERO), ("mean", MEAN)):
    run(2, *words, "--literal", "--out", f"{form}-literal.h5")
    with h5py.File(f"{form}1.h5") as fast, h5py.File(f"{form}-literal.h5") as literal:
        experiments, differing = 0, 0
        for layer in fast["layers"]["layer"]:
            a, b = ({name: file[f"knockout/{layer}/{name}"][:] for name in ARRAYS} for file in (fast, literal))
            differing += np.abs(a["answers"] - b["answers"]).sum() // 2
            experiments += b["answers"].sum()
            assert np.allclose(a["loss"], b["loss"], rtol=1e-4, atol=1e-5), layer
        changed = sum(fast[f"knockout/{layer}/changed"][:].sum() for layer in fast["layers"]["layer"])
    print(f"{form}: {differing} of {experiments} answers differ from the literal experiment's; {changed} are changed")
    assert differing <= experiments / 1000 < changed

# What does not fit.
for words, code, text in (
        ([*SWEEP, "--knockout", "one"], 2, "--knockout: 'one' is neither zero nor mean"),
        ([*ZERO, "--knockout-layers", "1,9"], 2, "--knockout-layers: '9' is no layer of small"),
        ([*ZERO, "--knockout-layers", "3"], 2, "--knockout-layers: convolution 3 of small is not probed"),
        ([*ZERO, "--layers", "1,2", "--knockout-layers", "2,5"], 2, "--knockout-layers: layer 5 is not among the --layers"),
        ([*ZERO[:-1], 91], 1, "--knockout-images: 91 of 90 test images"),
        ([*SWEEP, "--knockout-layers", "1"], 2, "--knockout-layers: without --knockout zero or mean")):
    for ranks in (1, 2):
        said = run(ranks, *words, "--out", "no.h5", expect=code).stderr
        assert text in said and not os.path.exists("no.h5"), said
for words in (MEAN, [*ZERO, "--knockout-layers", "1"], SWEEP):
    said = run(2, *words, "--out", "zero1.h5", expect=3).stderr
    assert "knockout" in said, said
run(1, *ZERO, "--layers", "1,5", "--knockout-layers", "5", "--out", "some.h5")
with h5py.File("some.h5") as some, h5py.File("zero1.h5") as all_layers:
    assert list(some["knockout"]) == ["5", "baseline", "confusion", "filters", "layers", "state"]
    assert all((some[f"knockout/5/{name}"][:] == all_layers[f"knockout/5/{name}"][:]).all() for name in ARRAYS)

# Killed while the file gets room: the old one stays, and nothing else does. At the first call of each kind, and at some more.
shutil.copy("plain.h5", "grown.h5")
os.mkdir("scratch")
shutil.copy("plain.h5", "scratch/out.h5")
FAULT = {"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/scratch"}
run(1, *ZERO, "--out", "scratch/out.h5", env={**FAULT, "FAULT_LOG": f"{here}/log"})
with open("log") as log:
    calls = [line.split() for line in log]
end = next(i for i, call in enumerate(calls) if call[1].startswith("rename")) + 1
first = {call[1]: i for i, call in reversed(list(enumerate(calls[:end])))}
for at in sorted({*first.values(), end // 2, end - 1, end}):
    shutil.copy("plain.h5", "scratch/out.h5")
    run(1, *ZERO, "--out", "scratch/out.h5", expect=-9, env={**FAULT, "FAULT_AT": str(at + 1), "FAULT_DO": "kill"})
    run(1, "check", "scratch/out.h5")
    with h5py.File("scratch/out.h5") as file:
        assert ("knockout" in file) == (at == end), (at, end)
    run(2, *ZERO, "--out", "scratch/out.h5")
    assert same("scratch/out.h5", "zero1.h5") and os.listdir("scratch") == ["out.h5"]
print(f"killed at some of {end} calls that give a file room: the old one stays")

# Killed within the phase, before and in the middle of each kind of write.
points = write_places([*ZERO, "--out"], f"{here}/points")
points = {place: [number for number, size in found] for place, found in points.items() if place.startswith("/knockout")}
assert len(points) == 5 + 5 * 5, points.keys()
os.mkdir("killed")
FAULT["FAULT_FOLDER"] = f"{here}/killed"
for n, (place, numbers) in enumerate(points.items()):
    run(1, *ZERO, "--out", "killed/out.h5", expect=-9,
        env={**FAULT, "FAULT_AT": str(numbers[-1]), "FAULT_DO": ("kill", "torn", "after")[n % 3]})
    run(1 + n % 3, *ZERO, "--out", "killed/out.h5")
    assert same("killed/out.h5", "zero1.h5"), place
    with h5py.File("killed/out.h5") as file:
        assert file["provenance/units"]["attempt"].max() <= 2
    shutil.rmtree("killed")
    os.mkdir("killed")
print(f"killed at {len(points)} writes within the phase: 0 differing bits")

# Stopped within a batch, on two ranks.
slow = [*SWEEP, "--batch", 20, "--literal", "--knockout", "zero"]
process = subprocess.Popen(launch(2, *slow, "--out", "stopped.h5"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
for line in process.stdout:
    if "knock-out: layer" in line:
        break
process.send_signal(signal.SIGUSR1)
said = process.communicate(timeout=60)[1]
assert process.returncode == 75 and "stopped in phase four" in said, said
run(1, *slow, "--out", "stopped.h5")
run(1, *slow, "--out", "whole.h5")
assert same("stopped.h5", "whole.h5")
with h5py.File("whole.h5") as file:
    right = file["knockout/baseline"]["right"].sum()
assert f"{right / 90:.4f}" in run(1, "eval", "--model", "model.h5", "--data", DATA).stdout

# Damage is named, and mended by the same command.
for path in ("baseline", "2/right", "5/loss", "1/work", "filters", "layers"):
    with h5py.File("later.h5") as file:
        offset = file[f"knockout/{path}"].id.get_offset()
    with open("later.h5", "r+b") as file:
        file.seek(offset + 8)
        file.write(b"\x55")
    assert f"/knockout/{path.split('/')[0]}" in run(1, "check", "later.h5", expect=3).stdout
    said = run(1, *ZERO, "--out", "later.h5").stderr
    assert "damaged" in said or path in ("filters", "layers"), said
    assert same("later.h5", "zero1.h5")
