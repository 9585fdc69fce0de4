"""Every table as `filterscope export` prints it, in pandas and in R: the same columns, rows and values to the last digit. On a
complete file with K = 10, one with K = 100, on both together, and on one that a sweep is writing. `export --threshold` prints what
a sweep with that threshold has."""
import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np

from common import folder, launch, make_idx, run, train_small

ANALYSIS = os.path.join(os.path.dirname(__file__), "..", "..", "analysis")
sys.path.insert(0, ANALYSIS)
import filterscope as fs  # noqa: E402 (found by the line above)

here = folder()
has_r = bool(shutil.which("Rscript")) and subprocess.run(["Rscript", "-e", "library(hdf5r)"], capture_output=True).returncode == 0


def cell(value):
    if isinstance(value, (float, np.floating)):
        return "NaN" if np.isnan(value) else f"{value:.17g}".replace("inf", "Inf")
    return str(value)


def rows_of(table):
    return [list(table.columns), *([cell(value) for value in row] for row in table.itertuples(index=False, name=None))]


def exported(path, table, *options):
    return list(csv.reader(io.StringIO(run(1, "export", path, "--table", table, *options).stdout)))


def by_r(*paths, layer="none", filter="none"):
    """{table: rows} as R has them; units, field and clusters are compared here."""
    out = f"{here}/r{time.monotonic_ns()}"
    os.mkdir(out)
    script = os.path.join(os.path.dirname(__file__), "print_tables.R")
    command = ["Rscript", script, f"{ANALYSIS}/filterscope.R", out, str(layer), str(filter), *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in fs.COLUMNS:
        with open(f"{out}/{name}.units") as file:
            units = dict(line.rstrip("\n").split("=", 1) for line in file)
        assert units == {column: unit for column, (unit, _) in fs.COLUMNS[name].items() if unit}, f"units of {name}"
    if layer != "none":
        with h5py.File(paths[0]) as file:
            field, cluster = (file[f"silence/{layer}/{kind}"][filter] for kind in ("field", "cluster"))
        assert not np.array_equal(field, field.T), "a symmetric field shows nothing"
        assert np.array_equal(np.fromfile(f"{out}/field").reshape(field.shape), field), "R turns a field"
        assert np.array_equal(np.fromfile(f"{out}/clusters", np.int32), cluster)
    return {name: list(csv.reader(open(f"{out}/{name}.csv"))) for name in fs.COLUMNS}


def compare(path, what, **field):
    results = fs.open(path)
    seen = by_r(path, **field) if has_r else {}
    counts = []
    for name, table in results.tables().items():
        rows = exported(path, name)
        assert rows_of(table) == rows, f"{what}: {name} differs in pandas"
        assert not seen or seen[name] == rows, f"{what}: {name} differs in R"
        counts.append(f"{len(rows) - 1} {name}")
    print(f"{what}: the same in CSV, pandas{' and R' if has_r else ''}: {', '.join(counts)}")
    return results


def make(labels, layers):
    data = make_idx(f"{here}/data{labels}", labels=labels, train=12 * 10, test=2 * labels)
    train_small(f"{here}/model{labels}.h5", data, ranks=2)
    words = ["sweep", "--model", f"{here}/model{labels}.h5", "--data", data, "--layers", layers, "--batch", 20, "--slots", 4]
    knockout = ["--knockout", "zero", "--knockout-layers", "5", "--groups", "labels", "--curve", "-sr",
                "--draws", 1] if labels == 10 else []
    run(2, *words, *knockout, "--out", f"{here}/sweep{labels}.h5", "--epochs", 2, "--test-every", 2)
    return words


words = make(10, "1,3,5")
ten = compare(f"{here}/sweep10.h5", "K = 10", layer=3, filter=7)
assert ten.complete and len(ten.filters) == 64 + 256 + 512 and len(ten.layers) == 3
with h5py.File(ten.path) as file:
    assert np.array_equal(ten.field(3, 7).to_numpy(), file["silence/3/field"][7])
clipped = ("layers", "filters", "cluster_sizes")
stored = open(ten.path, "rb").read()
for threshold in (0.3, 0.15, 0.5):
    path = ten.path if threshold == 0.3 else f"{here}/sweep-{threshold}.h5"
    if threshold != 0.3:
        run(2, *words, "--out", path, "--epochs", 2, "--test-every", 2, "--threshold", threshold)
        assert exported(path, "filters") != exported(ten.path, "filters"), "the threshold changes nothing"
    for name in clipped:
        assert exported(ten.path, name, "--threshold", threshold) == exported(path, name), f"{name} at {threshold}"
assert open(ten.path, "rb").read() == stored, "export --threshold wrote"
for table, threshold in (("history", 0.3), ("layers", 2)):
    error = run(1, "export", ten.path, "--table", table, "--threshold", threshold, expect=2).stderr
    assert error.count("\n") == 1 and "--threshold" in error, error
print("export --threshold: as sweeps with it; nothing written")
make(100, "3,4,5")
compare(f"{here}/sweep100.h5", "K = 100", layer=4, filter=500)

paths = [f"{here}/sweep{labels}.h5" for labels in (10, 100)]
both = fs.open(*paths)
assert list(both.filters.columns[:4]) == ["file", "arch", "model", "seed"] and set(both.filters["file"]) == set(paths)
seen = by_r(*paths) if has_r else {}
for name, table in both.tables().items():
    parts = [exported(path, name)[1:] for path in paths]
    assert [row[4:] for row in rows_of(table)[1:]] == parts[0] + parts[1], name
    assert not seen or seen[name] == rows_of(table), f"{name} of two files differs in R"
print("two files: joined")

path = f"{here}/running.h5"
job = subprocess.Popen([*launch(1, *words), "--out", path, "--epochs", "2000"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
deadline, looks, epochs = time.monotonic() + 60, 0, 0
while epochs < 12:
    assert time.monotonic() < deadline and job.poll() is None, "the sweep does not get on"
    if os.path.exists(path):
        now = fs.open(path)
        tables, looks = now.tables(), looks + 1
        epochs, before = len(tables["history"]), epochs
        assert epochs >= before and not now.complete and tables["filters"].empty and tables["layers"].empty
        assert tables["history"]["train_loss"].notna().all(), "a row that is not written yet"
job.send_signal(signal.SIGTERM)
job.communicate(timeout=60)
assert job.returncode == 75, job.returncode
compare(path, f"a sweep that was read {looks} times while it ran, then stopped")

cut = f"{here}/cut.h5"
shutil.copy(f"{here}/sweep10.h5", cut)
with h5py.File(cut, "r+") as file:
    units = file["units"][:]
    units["state"][np.flatnonzero(units["kind"] == 2)[-1]] = 0
    file["units"][:] = units
part = compare(cut, "a file with a block undone")
assert len(part.filters) == 64 + 256 + 448 and list(part.layers["layer"]) == [1, 3]
error = run(1, "export", cut, "--threshold", 0.3, expect=1).stderr
assert error.count("\n") == 1 and cut in error and "layer 5" in error, error

for name, message in (("gone.h5", "no such file"), ("data10/t10k-labels-idx1-ubyte", "cannot be read as HDF5"),
                      ("model10.h5", "not a filterscope results file")):
    try:
        fs.open(f"{here}/{name}")
        sys.exit(f"{name} was opened")
    except ValueError as error:
        assert message in str(error) and name in str(error), error

# A table of more rows than the file can hold is not even tried to be read.
shutil.copy(f"{here}/sweep10.h5", f"{here}/vast.h5")
with h5py.File(f"{here}/vast.h5", "r+") as file:
    kind = h5py.h5t.py_create(file["units"].dtype, logical=True)
    del file["units"]
    h5py.h5d.create(file.id, b"units", kind, h5py.h5s.create_simple((1 << 40,)))
try:
    fs.open(f"{here}/vast.h5")
    sys.exit("a table of 2^40 rows was opened")
except ValueError as error:
    assert str(error) == f"{here}/vast.h5: /units, 1099511627776, is larger than the file", error
if has_r:
    done = subprocess.run(["Rscript", "-e", f'source("{ANALYSIS}/filterscope.R"); fs_open("{here}/vast.h5")'], capture_output=True,
                          text=True)
    assert done.returncode and "vast.h5: /units, 1099511627776, is larger than the file" in done.stderr, done.stderr
print("a table of 2^40 rows: refused")
if not has_r:
    print("R with hdf5r is not installed (Debian: r-base-core r-cran-hdf5r): R was not compared")
