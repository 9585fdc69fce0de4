"""Groups of filters and cumulative curves: the sets that their definition names, from a second implementation; the counts of the
literal experiment; the same bits on any number of ranks, at once or later; whole through kills, stops and damage; clear refusals."""
import os
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd

from common import FAULTS, VARYING, folder, identical, launch, make_idx, run, train_small, write_places

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "reference"))
import philox  # noqa: E402

here = folder()
os.chdir(here)
with open("small.txt", "w") as file:
    file.write("""conv 12 3x3 pad 1
bn
relu
maxpool 2 as a probe
conv 12 3x3 pad 1
bn
add a
relu probe
conv 16 3x3 stride 2 pad 1 bias
relu
globalavg probe
fc K
""")
with open("groups.txt", "wb") as file:
    file.write(b"\xef\xbb\xbf# some of each layer\r\n\r\n3 0 15 7 # a comment\r\n1 0 1 2 3 4 5 6 7 8 9 10 11\n\t1  11\n3 2 3")
LISTED = [(3, [0, 15, 7]), (1, list(range(12))), (1, [11]), (3, [2, 3])]
LABELS, IMAGES, DRAWS = 5, 77, 3
DATA = make_idx("data", labels=LABELS, train=200, test=90, size=16)
train_small("model.h5", DATA, arch="small.txt", epochs=4)
SWEEP = ["sweep", "--model", "model.h5", "--data", DATA, "--epochs", 1, "--batch", 20, "--slots", 4, "--seed", 9]
ZERO, MEAN = ([*SWEEP, "--knockout", form, "--knockout-images", IMAGES] for form in ("zero", "mean"))
CURVE = "clusters,-drop,noise,drop,-share,sr,random"
ORDERS = CURVE.split(",")[:-1]
GROUPS, CURVES, LIST = (["--draws", DRAWS, *words] for words in (["--groups", "labels"], ["--curve", CURVE],
                                                                 ["--groups", "groups.txt"]))
BOTH = [*GROUPS, "--curve", CURVE]
COUNTS = ("right", "changed", "loss", "work")


def same(left, right):
    return identical(left, right, VARYING)


def steps(filters):
    """How many are out: powers of two, up to half; then powers of two are left."""
    powers = [2 ** n for n in range(20) if 2 ** (n + 1) <= filters]
    return sorted({*powers, *(filters - power for power in powers), filters})


def permutation(purpose, a, b, count):
    words = philox.random4(9, purpose, a, b, np.arange(count)).astype(np.uint64)
    wide, order = words[0] << np.uint64(32) | words[1], np.arange(count)
    for i in range(count - 1, 0, -1):
        j = int(wide[i]) % (i + 1)
        order[[i, j]] = order[[j, i]]
    return order


def members(filters, chosen):
    return np.isin(np.arange(filters), chosen)


def wanted_groups(layer, groups, filters):
    """Rows of group_out, and of what tells which they are."""
    rows, ids = [], []
    for number, label, chosen, place in groups:
        rows += [members(filters, chosen), ~members(filters, chosen)]
        ids += [(number, label, 0, -1), (number, label, 1, -1)]
        for draw in range(DRAWS):
            order = permutation(6, layer, 1000 * place + draw, filters)
            rows.append(members(filters, order[:len(chosen)]))
            ids.append((number, label, 2, draw))
    return np.array(rows), ids


def wanted_curves(layer, silenced, drop, filters):
    orders = []
    for name in ORDERS:
        column = name.lstrip("-")
        values = drop if column == "drop" else silenced[column].to_numpy(float)
        values = np.nan_to_num(values, nan=-np.inf)
        orders.append(np.argsort(values if name[0] == "-" else -values, kind="stable"))
    orders += [permutation(7, layer, draw, filters) for draw in range(DRAWS)]
    names = [(name, -1) for name in ORDERS] + [("random", draw) for draw in range(DRAWS)]
    return (np.array([members(filters, order[:k]) for order in orders for k in steps(filters)]),
            [(*name, k) for name in names for k in steps(filters)])


def check_rows(file, layer, kind, out, baseline, single):
    """What every set has; returns drops by label."""
    counts = {name: file[f"knockout/{layer}/{kind}_{name}"][:] for name in COUNTS}
    assert (file[f"knockout/{layer}/{kind}_out"][:] == out).all(), (layer, kind)
    assert (counts["work"].sum(1) == IMAGES).all() and (counts["changed"] <= counts["work"][:, 0]).all()
    none = out.sum(1) == 0
    assert (counts["right"][none] == baseline["right"]).all() and (counts["loss"][none] == baseline["loss"]).all()
    for n in np.flatnonzero(out.sum(1) == 1):  # one filter, whose answers are there already
        filter = out[n].argmax()
        assert np.abs(counts["right"][n] - single["right"][filter]).sum() <= 1, (layer, kind, n)
        assert np.allclose(counts["loss"][n], single["loss"][filter], rtol=1e-4, atol=1e-5)
    return counts, (baseline["right"] - counts["right"]) / baseline["images"]


def check(path, groups_of, ids_of_label=True):
    with h5py.File(path) as file:
        baseline = file["knockout/baseline"][:]
        silenced = pd.DataFrame(file["silence/filters"][:])
        groups, curves = ({layer: rows for layer, rows in pd.DataFrame(file[f"knockout/{name}"][:]).groupby("layer")}
                          if name in file["knockout"] else {} for name in ("groups", "curves"))
        for layer in file["layers"]["layer"]:
            of, filters = silenced[silenced["layer"] == layer], int((silenced["layer"] == layer).sum())
            single = {name: file[f"knockout/{layer}/{name}"][:] for name in ("right", "loss")}
            covered = file[f"silence/{layer}/cluster"][:] > 0
            if layer in groups:
                out, ids = wanted_groups(layer, groups_of(layer, covered), filters)
                counts, drop = check_rows(file, layer, "group", out, baseline, single)
                rows = groups[layer].reset_index(drop=True)
                assert list(zip(rows["group"], rows["own"], rows["form"], rows["draw"])) == ids, layer
                for n, row in rows.iterrows():
                    own = row["own"] if row["own"] >= 0 else None
                    others = [k for k in range(LABELS) if k != own]
                    expected = {"filters": out[n].sum(), "right": counts["right"][n].sum(), "changed": counts["changed"][n],
                                "drop": (baseline["right"].sum() - counts["right"][n].sum()) / IMAGES,
                                "loss": (counts["loss"][n].sum() - baseline["loss"].sum()) / IMAGES,
                                "drop_own": np.nan if own is None else drop[n, int(own)],
                                "drop_others": drop[n, others].mean()}
                    measure = "drop" if own is None else "drop_own"
                    random = rows.loc[n + 2:n + 1 + DRAWS, measure]
                    expected["above"] = np.nan if row["form"] else (np.sign(row[measure] - random) / 2 + 0.5).mean()
                    for column, value in expected.items():
                        assert np.isclose(row[column], value, rtol=1e-9, atol=1e-12, equal_nan=True), (layer, n, column)
            if layer in curves:
                drop = -single["right"].sum(1)
                out, ids = wanted_curves(layer, of, drop, filters)
                counts, drop = check_rows(file, layer, "curve", out, baseline, single)
                rows = curves[layer]
                assert list(zip(rows["order"].str.decode("ascii"), rows["draw"], rows["out"])) == ids, layer
                assert (rows["out"] + rows["left"] == filters).all()
                right = counts["right"].sum(1)
                assert (rows["right"] == right).all() and (rows["changed"] == counts["changed"]).all()
                assert np.allclose(rows["sr"], right / IMAGES)
                assert np.allclose(rows["drop"], (baseline["right"].sum() - right) / IMAGES)
                assert np.allclose(rows["loss"], (counts["loss"].sum(1) - baseline["loss"].sum()) / IMAGES)
    return groups, curves


def by_label(layer, covered):
    return [(label, label, np.flatnonzero(covered[:, label]), label) for label in range(LABELS)]


def by_list(layer, covered):
    listed = [(number, -1, chosen) for number, (of, chosen) in enumerate(LISTED) if of == layer]
    return [(*group, place) for place, group in enumerate(listed)]


# Any number of ranks; at once, or one after the other; the sets are those of the definition.
for ranks in (1, 3):
    said = run(ranks, *ZERO, *BOTH, "--out", f"both{ranks}.h5").stdout
    assert ("cut by images" in said.split("knocked out together")[1]) == (ranks > 1), said
assert same("both1.h5", "both3.h5")
groups, curves = check("both1.h5", by_label)
assert len(groups) == len(curves) == 3
assert sum((rows["form"] == 0).sum() for rows in groups.values()) == 3 * LABELS
sizes = pd.concat(groups.values())
assert (sizes["filters"].between(1, 11) & (sizes["drop"] > 0)).any(), sizes
run(2, *ZERO, "--out", "plain.h5")
shutil.copy("plain.h5", "later.h5")
said = run(2, *ZERO, *CURVES, "--out", "later.h5").stdout
assert "gets room for phase four" in said and "phase two" not in said and "one by one" not in said, said
run(3, *ZERO, *BOTH, "--out", "later.h5")  # groups go between what is there
assert same("both1.h5", "later.h5")
run(1, "check", "later.h5")
status = run(1, "status", "later.h5").stdout
assert "75 of 75 sets of groups" in status and "complete" in status, status
shutil.copy("plain.h5", "listed.h5")
run(2, *ZERO, *LIST, "--out", "listed.h5")
assert list(check("listed.h5", by_list)[0]) == [1, 3]
with h5py.File("plain.h5") as plain, h5py.File("both1.h5") as both:
    assert all((plain[f"knockout/{name}"][:] == both[f"knockout/{name}"][:]).all() for name in ("baseline", "confusion", "2/right"))
assert "groups" in run(1, "plan", *ZERO[1:], *BOTH).stdout

# By definition: counts agree but where the network is of two minds (tests/unit/test_cut.c compares logits).
for form, words in (("zero", ZERO), ("mean", MEAN)):
    run(2, *words, *BOTH, "--literal", "--out", f"{form}-literal.h5")
    if form == "mean":
        run(2, *words, *BOTH, "--out", "mean.h5")
        check("mean.h5", by_label)
    with h5py.File("both1.h5" if form == "zero" else "mean.h5") as fast, h5py.File(f"{form}-literal.h5") as literal:
        experiments, differing = 0, 0
        for layer in fast["layers"]["layer"]:
            for kind in ("group", "curve"):
                a, b = ({name: file[f"knockout/{layer}/{kind}_{name}"][:] for name in ("out", *COUNTS)} for file in (fast, literal))
                alike = (a["out"] == b["out"]).all(1)  # an order by drop may swap filters where an answer differs
                assert alike.mean() > 0.9
                differing += np.abs(a["right"] - b["right"])[alike].sum()
                experiments += alike.sum() * IMAGES
                assert np.allclose(a["loss"][alike], b["loss"][alike], rtol=1e-4, atol=1e-4), (layer, kind)
    print(f"{form}: right answers of {differing} of {experiments} experiments differ from the literal experiment's")
    assert differing <= experiments / 1000

# What does not fit.
def group_file(text):
    with open("bad.txt", "wb") as file:
        file.write(text)
    return ["--groups", "bad.txt"]


for text, said in ((b"", "bad.txt: no group"), (b"# none\n\n", "bad.txt: no group"),
                   (b"1 2\n4 0\n", "line 2: '4' is no layer that is probed"),
                   (b"1 2\n\n1 0 12\n", "line 3: '12' is no filter of layer conv1, which has 0 to 11"), (b"1 3 4 3", "line 1: filter 3 twice"),
                   (b"2\n", "line 1: layer 2 without a filter"), (b"2 # 1\n", "line 1: layer 2 without a filter"),
                   (b"1 -1\n", "'-1' is no filter"), (b"1 1.5\n", "'1.5' is no filter"), (b"conv9 2\n", "'conv9' is no layer"),
                   (b"1 99999999999999999999\n", "is no filter of layer conv1"), (b"1 0\x00\n", "is no filter of layer conv1"),
                   (b"# one\r1 0\r1 12\r", "line 3: '12' is no filter"), (b"1 0\r\n\r\n1 12\r\n", "line 3: '12' is no filter"),
                   (b"\xff\xfe1\x00", "UTF-16"), (b"1 " + b"x" * 100000, "is no filter of layer conv1"),
                   (b"#" * (1 << 24) + b"#", "larger than")):
    for ranks in (1, 2) if not text else (1,):
        error = run(ranks, *ZERO, *group_file(text), "--out", "no.h5", expect=1).stderr
        lines = [line for line in error.splitlines() if line.startswith("filterscope")]
        assert said in error and len(lines) == 1 and len(lines[0]) < 300 and not os.path.exists("no.h5"), error
for words, code, text in (
        ([*ZERO, "--groups", "nowhere.txt"], 1, "nowhere.txt: cannot be read: No such file"),
        ([*ZERO, "--groups", "."], 1, ".: cannot be read: not a regular file"),
        ([*ZERO, "--knockout-layers", "1", "--groups", "groups.txt"], 1, "line 3: layer conv3: its filters are not knocked out"),
        ([*ZERO, "--curve", "noise,size"], 2, "--curve: 'size' is no column to go by; there are: clusters"),
        ([*ZERO, "--curve", "-random"], 2, "--curve: '-random' is no column"), ([*ZERO, "--curve", ""], 2, "--curve: '' is no"),
        ([*ZERO, "--curve", "noise,noise"], 2, "--curve: noise twice"),
        ([*ZERO, "--curve", ",".join(["noise"] * 30)], 2, "--curve: a list of 179 characters"),
        ([*ZERO, "--curve", "random", "--draws", 0], 2, "no order at all"),
        ([*ZERO, "--groups", "labels", "--draws", 1001], 2, "--draws"), ([*ZERO, "--draws", 2], 2, "--draws: without --groups or --curve"),
        ([*SWEEP, "--groups", "labels"], 2, "--groups: without --knockout"), ([*SWEEP, "--curve", "sr"], 2, "--curve: without --knockout")):
    said = run(1 + ("groups.txt" in words), *words, "--out", "no.h5", expect=code).stderr
    assert text in said and not os.path.exists("no.h5"), said
for words in (ZERO, [*ZERO, *GROUPS], [*ZERO, *LIST, "--curve", CURVE], [*ZERO, *BOTH, "--draws", 4], [*ZERO, *BOTH, "--curve", "sr"]):
    said = run(1, *words, "--out", "both1.h5", expect=3).stderr
    assert "groups" in said or "curve" in said, said

# Killed within, before and in the middle of each kind of write.
points = write_places([*ZERO, *BOTH, "--out"], f"{here}/points")
points = {place: [number for number, size in found] for place, found in points.items()
          if place.startswith(("/knockout/group", "/knockout/curve", "/knockout/2/group_", "/knockout/2/curve_"))}
assert len(points) == 4 + 2 * 5, points.keys()
os.mkdir("killed")
fault = {"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/killed"}
for n, (place, numbers) in enumerate(points.items()):
    run(1, *ZERO, *BOTH, "--out", "killed/out.h5", expect=-9,
        env={**fault, "FAULT_AT": str(numbers[-1]), "FAULT_DO": ("kill", "torn", "after")[n % 3]})
    run(1 + n % 3, *ZERO, *BOTH, "--out", "killed/out.h5")
    assert same("killed/out.h5", "both1.h5"), place
    with h5py.File("killed/out.h5") as file:
        assert file["provenance/units"]["attempt"].max() <= 2
    os.remove("killed/out.h5")
print(f"killed at {len(points)} writes: 0 differing bits")

# Stopped within a block.
slow = [*SWEEP, "--knockout", "zero", *BOTH, "--literal"]
process = subprocess.Popen(launch(2, *slow, "--out", "stopped.h5"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
for line in process.stdout:
    if "groups, sets" in line or "curves, points" in line:
        break
process.send_signal(signal.SIGUSR1)
said = process.communicate(timeout=60)[1]
assert process.returncode == 75 and "stopped in phase four" in said, said
run(1, "check", "stopped.h5")
run(1, *slow, "--out", "stopped.h5")
run(1, *slow, "--out", "whole.h5")
assert same("stopped.h5", "whole.h5")

# Damage is named, and mended by the same command.
for path in ("groups", "curves", "groups_state", "1/group_out", "2/curve_right", "3/group_loss", "3/curve_work", "3/right"):
    with h5py.File("later.h5") as file:
        offset = file[f"knockout/{path}"].id.get_offset()
    with open("later.h5", "r+b") as file:
        file.seek(offset + 5)
        file.write(b"\x55")
    assert f"/knockout/{path.split('_')[0]}" in run(1, "check", "later.h5", expect=3).stdout, path
    said = run(1, *ZERO, *BOTH, "--out", "later.h5").stderr
    assert "damaged" in said or "/" not in path, said
    assert same("later.h5", "both1.h5"), path
