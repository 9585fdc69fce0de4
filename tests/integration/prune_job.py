"""jobs/prune.sh and analysis/pruning.py: bad settings, an element of an array alone, what a stop and a lost rank make of the job (with a
scontrol that answers as Slurm does), going on, and tables that say what the files hold."""
import csv
import os
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np

from common import BINARY, folder, make_idx, run, train_small

here = folder()
os.chdir(here)
JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs")
ANALYSIS = f"{JOBS}/../analysis"
sys.path.insert(0, ANALYSIS)
import filterscope_pruning as pruning  # noqa: E402 (found by the line above)
import model_file  # noqa: E402

DATA = make_idx("data", labels=5, train=60, test=45, size=16)
with open("net.txt", "w") as file:
    file.write("conv 6 3x3 pad 1\nbn\nrelu\nconv 8 3x3 pad 1\nbn\nrelu\nmaxpool 4\nfc K\n")
train_small("model.h5", DATA, ranks=1, arch="net.txt", epochs=3)
run(1, "sweep", "--model", "model.h5", "--data", DATA, "--out", "sweep.h5", "--epochs", 1, "--batch", 20, "--slots", 4)


def write(name, text):
    with open(name, "w") as file:
        file.write(f"#!/bin/sh\n{text}\n")
    os.chmod(name, 0o755)


# Slurm: the second of two elements has the array's number as its own; a requeue ends the script.
os.mkdir("slurm")
write("slurm/scontrol", f"""echo "$*" >>{here}/asked
case $1 in
show) echo "JobId=$3 ArrayJobId=70 ArrayTaskId=1 x"; echo "   JobState=RUNNING x"; echo "   Comment=$(cat {here}/comment)" ;;
update) echo "$3" | sed s/Comment=// >{here}/comment ;;
requeue) kill -KILL $PPID ;;
esac""")
write("slurm/srun", "exit 1")
write("launcher", f'case "$2" in train) [ ! -e {here}/code ] || exit "$(cat {here}/code)" ;; esac\nexec "$@"')
SETTINGS = {"MODEL": "model.h5", "SWEEP": "sweep.h5", "DATA": DATA, "OUT": "out", "THRESHOLDS": "0.3 0.8", "CONTROLS": "none random",
            "SEEDS": "1 2", "EPOCHS": 1, "TRAIN_OPTIONS": "--batch 20 --slots 4 --lr 0.01 --fc-lr 0.01", "FILTERSCOPE": BINARY,
            "LAUNCH": f"{here}/launcher", "PYTHON": sys.executable}
SLURM = {"PATH": f"{here}/slurm:{os.environ['PATH']}", "SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "999", "SLURM_ARRAY_TASK_ID": "1"}


def script(expect, **settings):
    """What it says; "asked" has what it asked of Slurm, but for questions."""
    if os.path.exists("asked"):
        os.remove("asked")
    done = subprocess.run([f"{JOBS}/prune.sh"], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **{key: str(value) for key, value in {**SETTINGS, **settings}.items()}})
    assert done.returncode == expect, (settings, done.returncode, done.stdout, done.stderr)
    asked = open("asked").read().splitlines() if os.path.exists("asked") else []
    return done.stdout + done.stderr, [line for line in asked if not line.startswith("show")]


for name, value, text in (("MODEL", "", "set MODEL"), ("MODEL", "gone.h5", "gone.h5"), ("SWEEP", "", "set SWEEP"), ("DATA", "", "set DATA"), ("CONTROLS", "none worst", "'worst'"),
                          ("THRESHOLDS", "0.3 high", "'high'"), ("THRESHOLDS", "1.5", "'1.5'"), ("SEEDS", "-1", "'-1'"), ("EPOCHS", "few", "'few'"),
                          ("SLURM_ARRAY_TASK_ID", "4", "--array=0-3"), ("SLURM_ARRAY_TASK_ID", "x", "'x'"),
                          ("FILTERSCOPE", f"{here}/nowhere", "nowhere")):
    said, _ = script(2, **{name: value})
    assert text in said and not os.path.exists("out"), (name, said)
said, _ = script(70, LAUNCH="true")
assert "before.csv.part was not written" in said, said
script(127, LAUNCH=f"{here}/nowhere")
script(3, SWEEP="model.h5")

# A stop, and ranks that are lost: the element alone is requeued, three times in a row at most.
open("comment", "w").close()
for code, lost in ((75, 0), (14, 1), (70, 2), (139, 3)):
    with open("code", "w") as file:
        file.write(str(code))
    said, asked = script(-9, **SLURM)
    assert asked == [f"update JobId=70_1 Comment=filterscope: lost {lost}", "requeue 70_1"], (code, asked)
said, asked = script(70, **SLURM)
assert "fourth time" in said and not asked, (said, asked)
with open("code", "w") as file:
    file.write("75")
said, asked = script(75)
assert "run the same command again to go on" in said and not asked
os.remove("code")
said, asked = script(0, **SLURM)
assert not asked and "random kernels" in said, said
done = sorted(name for name in os.listdir("out") if name.endswith("-retrained.csv"))
assert done == ["0.3-random-1-retrained.csv", "0.3-random-2-retrained.csv"], done

# All that is left, by hand; then nothing is.
said, _ = script(0)
assert said.count(" prune --model") == 6 - 1, said
said, _ = script(0)
assert " prune --model" not in said and " eval " not in said, said
assert sum(line.count("±") == 2 for line in said.splitlines()) == 4 and "nan" not in said, said

# What is there is of one model, and pruned alike: others are refused, and nothing changes.
there = {name: os.stat(f"out/{name}").st_mtime_ns for name in os.listdir("out")}
for settings in ({"MODEL": "out/0.3-none-1.h5"}, {"PRUNE_OPTIONS": "--keep-unclustered"}):
    said, _ = script(3, **settings)
    assert said == f"prune.sh: out: is of another MODEL than {settings.get('MODEL', 'model.h5')}, or of other PRUNE_OPTIONS: " \
        "set OUT to another folder\n", said
assert there == {name: os.stat(f"out/{name}").st_mtime_ns for name in os.listdir("out")}

# The tables, from the files alone.
with open("out/pruning.csv") as file:
    rows = list(csv.DictReader(file))
assert len(rows) == 8
for row in rows:
    stem = f"out/{row['threshold']}-{row['control']}-{row['seed']}"
    with h5py.File(f"{stem}.h5") as file:
        total = sum(values.size for values in file["parameter"].values())
    places = {"conv2": 9, "fc1": 16}
    masks = model_file.masks(BINARY, f"{stem}.h5")
    assert {name: number for name, (_, number) in masks.items()} == places
    pruned = sum((~kept).sum() * places[name] for name, (kept, _) in masks.items())
    assert np.isclose(float(row["kept"]), 1 - pruned / total, rtol=1e-12)
    for name, (kept, _) in masks.items():
        assert np.isclose(float(row[f"kept_{name}"]), kept.mean(), rtol=1e-12)
    for stage, model in (("before", "model.h5"), ("pruned", f"{stem}.h5"), ("retrained", f"{stem}-retrained.h5")):
        labels = list(csv.DictReader(run(1, "eval", "--model", model, "--data", DATA, "--table", "labels").stdout.splitlines()))
        assert np.isclose(float(row[f"sr_{stage}"]), sum(int(label["right"]) for label in labels) / 45, rtol=1e-12), (stem, stage)
for threshold in ("0.3", "0.8"):
    assert len({row["kept"] for row in rows if row["threshold"] == threshold}) == 1  # as many kernels for the control

# Means over seeds in Python and in R, a figure of each, and a section of the report.
done = subprocess.run([sys.executable, f"{ANALYSIS}/report.py", "sweep.h5", "--pruned", "out", "--out", "report"], capture_output=True, text=True)
assert done.returncode == 0 and "report/pruning.png" in done.stdout, done.stdout + done.stderr
page = open("report/report.html", encoding="utf-8").read().partition("<p>out/pruning.csv: by clusters")[2]
tables = re.findall(r"<tbody>\n(.*?)</tbody>", page, re.S)
assert [table.count("<tr>") for table in tables[:2]] == [4, 2] and "<th title=\"\">conv2<" in page and "random kernels" in tables[0], page[:3000]
table = pruning.read("out")
means = pruning.means(table)
assert list(means["control"]) == 2 * ["AFCC", "random kernels"] and (means["seeds"] == 2).all()
for row in means.itertuples():
    control = {"AFCC": "none", "random kernels": "random"}[row.control]
    for stage in ("pruned", "retrained"):
        first, second = (float(one[f"sr_{stage}"]) for one in rows if (float(one["threshold"]), one["control"]) == (row.threshold, control))
        assert np.isclose(getattr(row, f"sr_{stage}"), (first + second) / 2), row
        assert np.isclose(getattr(row, f"sr_{stage}_std"), abs(first - second) / 2 ** 0.5), row
means.to_csv("means.csv", index=False)
for name, text in (("gone", None), ("empty", ""), ("texts", "threshold,control,seed,kept,sr_before,sr_pruned,sr_retrained\n0.3,none,1,all,,,\n")):
    os.mkdir(name)
    if text is not None:
        with open(f"{name}/pruning.csv", "w") as file:
            file.write(text)
    done = subprocess.run([sys.executable, "-c", f"import filterscope_pruning; filterscope_pruning.read('{name}')"], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": ANALYSIS})
    assert f"ValueError: {name}/pruning.csv: no " in done.stderr, done.stderr
IN_R = """source(file.path(Sys.getenv("ANALYSIS"), "filterscope.R"))
means <- fs_pruning_means(fs_pruning("out")); python <- read.csv("means.csv")
stopifnot(isTRUE(all.equal(means, python, tolerance = 1e-12)), any(means$sr_retrained_std > 0))
for (name in c("gone", "empty", "texts")) {
  said <- tryCatch(fs_pruning(name), error = conditionMessage)
  stopifnot(is.character(said), startsWith(said, paste0(name, "/pruning.csv: no ")))
}
source(file.path(Sys.getenv("ANALYSIS"), "filterscope_figures.R")); .fs_main(c("--pruned", "out", "--out", "by_r"))"""
if shutil.which("Rscript") and subprocess.run(["Rscript", "-e", "library(ggplot2); library(hdf5r)"], capture_output=True).returncode == 0:
    done = subprocess.run(["Rscript", "-e", IN_R], capture_output=True, text=True, env={**os.environ, "ANALYSIS": ANALYSIS})
    assert done.returncode == 0 and os.path.getsize("by_r/pruning.png") > 5000, done.stdout + done.stderr
else:
    print("R with hdf5r and ggplot2 is not installed: R was not compared")
with open("out/pruning_labels.csv") as file:
    by_label = list(csv.DictReader(file))
assert len(by_label) == 5 * (1 + 2 * 8)
print("prune.sh: bad settings 2; requeued as an element alone, after lost ranks three times; goes on; the tables are the files'")
