"""jobs/reproduce.sh in small: stopped by USR1 amid a sweep, it goes on with the same command and gives the same files as train and
sweep by themselves; its report has their figures. analysis/reproduce.py finds where a claim does not hold."""
import os
import re
import shutil
import signal
import subprocess
import sys

import h5py
import pandas as pd

from common import BINARY, MPIRUN, VARYING, folder, identical, make_idx, run, wait_until

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, f"{TREE}/analysis")
import filterscope as fs  # noqa: E402 (found by the line above)
import reproduce  # noqa: E402


def layers(**columns):
    count = len(next(iter(columns.values())))
    return pd.DataFrame({"layer": range(1, count + 1), "name": [f"conv{n}" for n in range(1, count + 1)], **columns})


# Claims: one holds, one fails at one layer, one at most.
one = layers(sr=[0.5, 0.6, 0.7, 0.8, 0.9], snr=[1.0, 1.5, 1.25, 2.0, 3.0], noise=[10.0, 12.0, 13.0, 11.0, 9.0])
assert reproduce.trend([one], "sr", 1) == ("yes", 1.0, [1.0], [])
verdict, correlation, _, wrong = reproduce.trend([one], "snr", 1)
assert verdict == "mostly" and correlation == 0.9 and wrong == [("conv3", -0.25)], (verdict, correlation, wrong)
verdict, _, _, wrong = reproduce.trend([one], "noise", -1)
assert verdict == "no" and wrong == [("conv2", 2.0), ("conv3", 1.0)], (verdict, wrong)
flat = reproduce.trend([layers(sr=[0.5, 0.5])], "sr", 1)
assert flat[0] == "no" and flat[3] == [("conv2", 0.0)], flat
both = reproduce.trend([one, one.assign(snr=[1.0, 1.0, 1.75, 2.0, 3.0])], "snr", 1)  # their mean rises
assert both == ("yes", 1.0, [0.9, 0.974679434], []), both
shares = pd.Series([0.95, 0.97, 0.2, 0.6], index=["conv1", "conv1", "conv2", "conv2"])
text = reproduce.claims_markdown([one], shares)
for words in ("| SR rises with depth | yes | rank correlation 1.000 |  |", "| mostly | rank correlation 0.900 | conv3 -0.25 |",
              "| no | rank correlation -0.300 | conv2 +2, conv3 +1 |",
              "| mostly | share: mean 0.680, median 0.775; 75.0% of the filters above 0.5, 50.0% above 0.9 |",
              "| conv2 | 0.400 | 0.400 | 50.0% | 0.0% |"):
    assert words in text, f"{words}\n{text}"
print("claims: yes, mostly, no, and where not")

here = folder()
out = f"{here}/out"
few = "--batch 20 --slots 4"
settings = {"DATA": make_idx(f"{here}/data"), "OUT": out, "ARCHS": "vgg16 vgg6", "SEEDS": "1 2", "SCHEDULE": "short", "EPOCHS": "2",
            "SMOOTHING": "0.05", "PROBE_EPOCHS": "30", "TRAIN_IMAGES": "80", "TRAIN_OPTIONS": few, "SWEEP_OPTIONS": f"{few} --layers 4,5 --test-every 5",
            "FILTERSCOPE": BINARY, "LAUNCH": " ".join([*MPIRUN, "-np", "2"]), "PYTHON": sys.executable,
            "STATUS_EVERY": "0", "SLURM_ARRAY_TASK_ID": "1"}  # an element of a job array, as it were


def start(log, **changes):
    return subprocess.Popen([f"{TREE}/jobs/reproduce.sh"], stdout=log, stderr=subprocess.STDOUT,
                            env={**os.environ, **settings, **changes})


def script(expect, **changes):
    with open(f"{here}/log", "w+") as log:
        job = start(log, **changes)
        job.wait(300)
        log.seek(0)
        text = log.read()
    assert job.returncode == expect, f"exit code {job.returncode}, expected {expect}\n{text}"
    return text


assert "'fast' is neither paper nor short" in script(2, SCHEDULE="fast")
assert "--array=0-1" in script(2, SLURM_ARRAY_TASK_ID="2")
script(2, DATA="")

with open(f"{here}/first", "w+") as log:
    job = start(log)
    wait_until(lambda: "epoch 5/30" in open(log.name).read().partition("vgg6-sweep-2.h5")[2] or job.poll() is not None, 200,
               "the second sweep")
    job.send_signal(signal.SIGUSR1)
    code = job.wait(60)
assert code == 75 and fs.open(f"{out}/vgg6-sweep-1.h5").complete and not fs.open(f"{out}/vgg6-sweep-2.h5").complete, code
assert not os.path.exists(f"{out}/reproduce.md")
text = script(0)
assert text.count("all 2 epochs are done") == 2 and "epoch 5/30" not in text, text

recipe = ["--schedule", "cosine", "--warmup", 0.2, "--label-smoothing", 0.05]
for group in ("", "fc-"):
    recipe += [f"--{group}lr", 0.1, f"--{group}momentum", 0.9, f"--{group}weight-decay", 5e-4]
run(1, "train", "--arch", "vgg6", "--data", settings["DATA"], "--out", f"{here}/vgg6.h5", "--epochs", 2, "--train-images", 80,
    *few.split(), *recipe)
run(1, "sweep", "--model", f"{here}/vgg6.h5", "--data", settings["DATA"], "--out", f"{here}/sweep.h5", "--epochs", 30, "--seed", 2,
    "--train-images", 80, *settings["SWEEP_OPTIONS"].split())
assert identical(f"{here}/sweep.h5", f"{out}/vgg6-sweep-2.h5", VARYING), "stopped and gone on differs"
print("reproduce.sh: stopped in the second sweep, went on, bit-identical")

report = open(f"{out}/reproduce.md").read()
assert report in text, "the report is not printed"
seeds = [fs.open(f"{out}/vgg6-sweep-{seed}.h5").layers.set_index("name") for seed in (1, 2)]
for column in ("sr", "clusters"):
    mean, spread = ((pd.concat(seeds)[column].groupby(level=0)).agg(how) for how in ("mean", "std"))
    digits = 4 if column == "sr" else 2
    want = reproduce.number(mean["conv5"], spread["conv5"], digits)
    assert re.search(rf"^\| conv5 \|.* {re.escape(want)} \|", report, re.M), f"{column}: {want}\n{report}"
assert re.search(r"^\| vgg6 \| 2 epochs, 80 images, 0 min \| 0\.\d{4} \|  \| 30 \| 1, 2 \| 0\.3 \|$", report, re.M), report
assert report.count("\nSeed ") == 2 and "a filter selects essentially one output unit (ours)" in report
high = pd.read_csv(subprocess.Popen([BINARY, "export", f"{out}/vgg6-sweep-2.h5", "--threshold", "0.5"], stdout=subprocess.PIPE).stdout)

shutil.copy(f"{out}/vgg6-sweep-2.h5", f"{here}/begun.h5")
with h5py.File(f"{here}/begun.h5", "r+") as file:
    file["state"][:] = 0


def report_of(*words, expect=0):
    done = subprocess.run([sys.executable, f"{TREE}/analysis/reproduce.py", *words, "--filterscope", BINARY], capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    return done.stdout if expect == 0 else done.stderr


text = report_of(f"{out}/vgg6-sweep-2.h5", f"{here}/begun.h5")
assert f"Not complete, left out: {here}/begun.h5." in text and "±" not in text
row = re.search(r"^\| conv5 \|( [\d.]+ \|){4}$", text, re.M)[0]  # the first of the tables of sensitivity: N_c
assert row.split()[-2] == f"{high['clusters'].iloc[-1]:.2f}", row
for words, message in (((f"{here}/begun.h5",), "none of the files is complete yet"), ((f"{here}/gone.h5",), "no such file"),
                       ((f"{out}/vgg6-sweep-2.h5", "--models", f"{out}/vgg6-sweep-1.h5"), "not a filterscope model file")):
    error = report_of(*words, expect=1)
    assert message in error and error.count("\n") == 1, error
print("report: figures of the files; what is not complete or not there is named")
