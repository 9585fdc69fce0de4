"""jobs/reproduce.sh in small: stopped by USR1 amid a sweep, it goes on with the same command and gives the same files as train and
sweep by themselves; its report has their figures. By hand it goes through widths and seeds of training. analysis/reproduce.py finds where a
claim does not hold, and its tables of widths, labels, smoothing, pools, knock-outs and pruning agree with NumPy's figures of the files."""
import os
import re
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd

from common import BINARY, MPIRUN, VARYING, folder, identical, make_idx, run, wait_until

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, f"{TREE}/analysis")
import claims  # noqa: E402 (found by the line above)
import filterscope as fs  # noqa: E402
import claims_tables as tables  # noqa: E402
import reproduce  # noqa: E402


def layers(**columns):
    count = len(next(iter(columns.values())))
    return pd.DataFrame({"layer": range(1, count + 1), "name": [f"conv{n}" for n in range(1, count + 1)], **columns})


# Claims: one holds, one fails at one layer, one at most.
one = layers(sr=[0.5, 0.6, 0.7, 0.8, 0.9], snr=[1.0, 1.5, 1.25, 2.0, 3.0], noise=[10.0, 12.0, 13.0, 11.0, 9.0])
assert claims.trend([one], "sr", 1) == ("yes", 1.0, [1.0], [])
verdict, correlation, _, wrong = claims.trend([one], "snr", 1)
assert verdict == "mostly" and correlation == 0.9 and wrong == [("conv3", -0.25)], (verdict, correlation, wrong)
verdict, _, _, wrong = claims.trend([one], "noise", -1)
assert verdict == "no" and wrong == [("conv2", 2.0), ("conv3", 1.0)], (verdict, wrong)
flat = claims.trend([layers(sr=[0.5, 0.5])], "sr", 1)
assert flat[0] == "no" and flat[3] == [("conv2", 0.0)], flat
both = claims.trend([one, one.assign(snr=[1.0, 1.0, 1.75, 2.0, 3.0])], "snr", 1)  # their mean rises
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
settings = {"DATA": make_idx(f"{here}/data"), "OUT": out, "ARCHS": "vgg16 vgg6", "WIDTHS": "0.5", "TRAIN_SEEDS": "2", "SEEDS": "1 2",
            "SCHEDULE": "short", "EPOCHS": "2", "SMOOTHING": "0.05", "PROBE_EPOCHS": "30", "TRAIN_IMAGES": "80", "TRAIN_OPTIONS": few,
            "SWEEP_OPTIONS": f"{few} --layers 4,5 --test-every 5",
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
    wait_until(lambda: "epoch 5/30" in open(log.name).read().partition("vgg6-w0.5-t2-sweep-2.h5")[2] or job.poll() is not None, 200,
               "the second sweep")
    job.send_signal(signal.SIGUSR1)
    code = job.wait(60)
assert code == 75 and fs.open(f"{out}/vgg6-w0.5-t2-sweep-1.h5").complete and not fs.open(f"{out}/vgg6-w0.5-t2-sweep-2.h5").complete, code
assert not os.path.exists(f"{out}/reproduce.md")
text = script(0)
assert text.count("all 2 epochs are done") == 2 and "epoch 5/30" not in text, text

recipe = ["--schedule", "cosine", "--warmup", 0.2, "--label-smoothing", 0.05]
for group in ("", "fc-"):
    recipe += [f"--{group}lr", 0.1, f"--{group}momentum", 0.9, f"--{group}weight-decay", 5e-4]
run(1, "train", "--arch", f"{out}/vgg6-w0.5.txt", "--data", settings["DATA"], "--out", f"{here}/vgg6.h5", "--epochs", 2,
    "--train-images", 80, "--seed", 2,
    *few.split(), *recipe)
run(1, "sweep", "--model", f"{here}/vgg6.h5", "--data", settings["DATA"], "--out", f"{here}/sweep.h5", "--epochs", 30, "--seed", 2,
    "--train-images", 80, *settings["SWEEP_OPTIONS"].split())
assert identical(f"{here}/sweep.h5", f"{out}/vgg6-w0.5-t2-sweep-2.h5", VARYING), "stopped and gone on differs"
print("reproduce.sh: stopped in the second sweep, went on, bit-identical")

report = open(f"{out}/reproduce.md").read()
assert report in text, "the report is not printed"
seeds = [fs.open(f"{out}/vgg6-w0.5-t2-sweep-{seed}.h5").layers.set_index("name") for seed in (1, 2)]
for column in ("sr", "clusters"):
    mean, spread = ((pd.concat(seeds)[column].groupby(level=0)).agg(how) for how in ("mean", "std"))
    digits = 4 if column == "sr" else 2
    want = tables.number(mean["conv5"], spread["conv5"], digits)
    assert re.search(rf"^\| conv5 \|.* {re.escape(want)} \|", report, re.M), f"{column}: {want}\n{report}"
row = (r"^\| vgg6-w0\.5, K = 4 \| short, 2 epochs, 80 images, smoothing 0\.05 \| 2 \| 0\.\d{4} \|  \| 30 \| 80 \| 1, 2 \| "
       r"0\.3 \|$")
assert re.search(row, report, re.M), report
assert report.count("\nSeed ") == 2 and "a filter selects essentially one output unit (ours)" in report
high = pd.read_csv(subprocess.Popen([BINARY, "export", f"{out}/vgg6-w0.5-t2-sweep-2.h5", "--threshold", "0.5"], stdout=subprocess.PIPE).stdout)

shutil.copy(f"{out}/vgg6-w0.5-t2-sweep-2.h5", f"{here}/begun.h5")
with h5py.File(f"{here}/begun.h5", "r+") as file:
    file["state"][:] = 0


def report_of(*words, expect=0):
    done = subprocess.run([sys.executable, f"{TREE}/analysis/reproduce.py", *words, "--filterscope", BINARY], capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    return done.stdout if expect == 0 else done.stderr


text = report_of(f"{out}/vgg6-w0.5-t2-sweep-2.h5", f"{here}/begun.h5")
assert f"Not complete, left out: {here}/begun.h5." in text and "±" not in text
row = re.search(r"^\| conv5 \|( [\d.]+ \|){4}$", text, re.M)[0]  # the first of the tables of sensitivity: N_c
assert row.split()[-2] == f"{high['clusters'].iloc[-1]:.2f}", row
for words, message in (((f"{here}/begun.h5",), "none of the files is complete yet"), ((f"{here}/gone.h5",), "no such file"),
                       ((f"{out}/vgg6-w0.5-t2-sweep-2.h5", "--models", f"{out}/vgg6-w0.5-t2-sweep-1.h5"), "not a filterscope model file")):
    error = report_of(*words, expect=1)
    assert message in error and error.count("\n") == 1, error
print("report: figures of the files; what is not complete or not there is named")

# Widths and seeds of training, in turn, each also probed before the last pool; then by the program alone labels, smoothing and more.
many, page, tiny = f"{here}/many", f"{here}/page.md", ["--batch", 20, "--slots", 1, "--train-images", 80, "--epochs", 1]
with open(page, "w") as file:
    file.write(f"by hand\n{reproduce.BEGIN}\nold\n{reproduce.END}\nby hand, too")
script(0, OUT=many, INTO=page, ARCHS="vgg6", WIDTHS="0.125 0.25", TRAIN_SEEDS="1", SEEDS="1", SMOOTHING="0",
       EPOCHS="1", PROBE_EPOCHS="1", BEFORE_POOL="1", SLURM_ARRAY_TASK_ID="", LAUNCH="env", TRAIN_OPTIONS="--batch 20 --slots 1", SWEEP_OPTIONS="--batch 20 --slots 1")
assert "| vgg6-w0.125, K = 4 |" in open(page).read()
names = [f"vgg6-w{width}{pool}" for width in (0.125, 0.25) for pool in ("", "-before")]
assert sorted(name[:-len("-sweep-1.h5")] for name in os.listdir(many) if name.endswith("-sweep-1.h5")) == sorted(names), os.listdir(many)
short = ["--schedule", "cosine", "--warmup", 0.1]
for group in ("", "fc-"):
    short += [f"--{group}lr", 0.1, f"--{group}momentum", 0.9, f"--{group}weight-decay", 5e-4]
for name, options in (("vgg6-w0.125-t2", ["--seed", 2]), ("vgg6-w0.25-t2", ["--seed", 2]), ("k3", ["--keep-labels", "0-2"]),
                      ("s0.1", ["--label-smoothing", 0.1])):
    run(1, "train", "--arch", f"{many}/vgg6-w{'0.25' if '0.25' in name else '0.125'}.txt", "--data", settings["DATA"],
        "--out", f"{many}/{name}.h5", *tiny, *short, *options)
    run(1, "sweep", "--model", f"{many}/{name}.h5", "--data", settings["DATA"], "--out", f"{many}/{name}-sweep-1.h5", *tiny)
run(1, "train", "--arch", f"{many}/vgg6-w0.125.txt", "--data", settings["DATA"], "--out", f"{many}/held.h5", *tiny, *short,
    "--hold-back", 0.25)
run(1, "sweep", "--model", f"{many}/vgg6-w0.125.h5", "--data", settings["DATA"], "--out", f"{many}/without.h5", *tiny, "--knockout", "zero")
os.makedirs(f"{many}/pruned")
run(1, "prune", "--model", f"{many}/vgg6-w0.125.h5", "--sweep", f"{many}/without.h5", "--out", f"{many}/pruned/0.3-none-1.h5")
rows = [(0.3, control, seed, 0.4, 0.5, sr, sr + gain + 0.01 * seed) for control, sr, gain in (("none", 0.3, 0.4), ("l1", 0.4, 0.1))
        for seed in (1, 2, 3)]
table = pd.DataFrame(rows, columns=["threshold", "control", "seed", "kept", "sr_before", "sr_pruned", "sr_retrained"])
table.to_csv(f"{many}/pruned/pruning.csv")
open(f"{many}/pruned/before.csv", "w").close()
with open(f"{many}/pruned/origin", "w") as file:
    file.write("123 456\n--layers 1-2\n")

again, _ = reproduce.report([many], [], BINARY)
reproduce.put_into(page, again)
text = open(page).read()
assert text.startswith(f"by hand\n{reproduce.BEGIN}\n") and text.endswith(f"\n{reproduce.END}\nby hand, too") and "\nold\n" not in text
reproduce.put_into(page, again)
assert open(page).read() == text, "written twice, it differs"
assert "has not one line" in report_of(f"{many}/without.h5", "--into", f"{TREE}/README.md", expect=1)


def column(name, what):
    with h5py.File(f"{many}/{name}-sweep-1.h5") as file:
        return file["silence/layers"][what]


def expect(row):
    assert f"\n{row}\n" in text, f"{row}\n{text}"


def spread(values, digits):
    deviation = np.std(values, ddof=1)
    return f"{np.mean(values):.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation else "")


sets = "short, 1 epochs, 80 images"
two = [column(name, "snr") for name in ("vgg6-w0.25", "vgg6-w0.25-t2")]
expect(f"| vgg6-w0.25, K = 4 | {sets} | mean | ± over 2 trainings | {', '.join(spread(values, 3) for values in zip(*two))} |")
plain = [f"vgg6-w{width}{seed}" for width in (0.125, 0.25) for seed in ("", "-t2")]
filters, noise = (np.array([column(name, what)[3] for name in plain]) for what in ("filters", "noise"))
(exponent, _), covariance = np.polyfit(np.log(filters), np.log(noise), 1, cov=True)
half = 4.303 * covariance[0, 0] ** 0.5  # Student's t of two degrees of freedom
points = f"64: {spread(noise[:2], 2)}, 128: {spread(noise[2:], 2)}"
expect(f"| {sets} | conv4 | {points} | {exponent:.3f} ({exponent - half:.3f} to {exponent + half:.3f}) |")
trained = [f"vgg6-w0.125{seed}" for seed in ("", "-t2")]
for how, swept in (("", trained), (", probed before the last pool", ["vgg6-w0.125-before"])):
    both = {what: np.mean([column(name, what) for name in swept], 0)[-2:] for what in ("sr", "clusters", "cluster_size", "noise", "snr")}
    cells = [", ".join(f"{value:.{digits}f}" for value in values) for values, digits in zip(both.values(), (4, 2, 2, 2, 3))]
    sr = "" if how else spread([h5py.File(f"{many}/{name}.h5")["history"]["test_sr"][-1] for name in trained], 4)
    expect(f"| vgg6-w0.125, K = 4{how} | {sets} | {'before' if how else 'after'} | {sr} | {' | '.join(cells)} |")
kept, whole = column("k3", "clusters")[-1], np.mean([column(name, "clusters")[-1] for name in trained])
differ = abs(kept - whole) / ((kept + whole) / 2)
row = rf"N_c of the last layer is nearly the same .* K = 3: {kept:.2f}, K = 4: {whole:.2f} ± [\d.]+; differ by {differ:.0%} "
assert re.search(row, text), text
with h5py.File(f"{many}/without.h5") as file:
    row = file["knockout/layers"][1]
expect(f"| vgg6-w0.125, K = 4 | {sets} | zero | 60 | conv2 | {row['auc']:.3f} | {row['auc_low']:.3f} to {row['auc_high']:.3f} | "
       f"{row['drop_clustered']:.4f} | {row['drop_others']:.4f} |")
expect(f"| vgg6-w0.125 --layers 1-2 | {sets} | 0.3 | 0.400 | L1 norm | 0.4000 | {spread([0.51, 0.52, 0.53], 4)} | 3 |")
assert re.search(r"^\| AFCC keeps more .* L1 norm \+0\.2000 \| seeds of retraining: 3 \| yes \|$", text, re.M), text
with h5py.File(f"{many}/held.h5") as file:
    expect(f"| none | 1 | {file['history']['held_sr'][0]:.4f} | {file['history']['test_sr'][0]:.4f} |")
with h5py.File(f"{many}/k3-sweep-1.h5") as file:
    seconds = np.nanmax(file["provenance/units"]["finished"]) - file["provenance/launches"]["time"][0]
assert f"| k3-sweep-1.h5 | sweep | 1 probe epochs, 60 images | {seconds:.0f} s | 1 |" in text, text
for name in ("vgg6-w0.125", "vgg6-w0.125-sweep-1"):  # of the logs that reproduce.sh wrote
    assert re.search(rf"^\| {re.escape(name)}\.h5 \| .* \| \d+ MiB \|$", text, re.M), text
assert re.search(r"^\| vgg6-w0\.125, K = 4 \| short, 1 epochs, 80 images, smoothing 0\.1 \| 0\.1 \|", text, re.M), text
assert claims.nearly_same([1.0, 1.25]) == ("mostly", 0.25 / 1.125) and claims.nearly_same([1, 2])[0] == "no"
print("tables of widths, labels, smoothing, pools, knock-outs, pruning, what is held back: as NumPy has them; --into twice is once")
