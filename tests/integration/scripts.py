"""The job scripts in small: the quickstart ends with table and figures and reuses what is done; vgg16_sweep.sh without Slurm
trains, sweeps, and passes exit codes on."""
import os
import subprocess
import sys

from common import BINARY, FASHION, folder, make_idx, skip

if not os.path.isdir(FASHION):
    skip(f"{FASHION} is missing (Debian: dataset-fashion-mnist)")
here = folder()
jobs = os.path.join(os.path.dirname(__file__), "..", "..", "jobs")


def script(name, expect=0, **settings):
    done = subprocess.run([os.path.join(jobs, name)], capture_output=True, text=True, timeout=600,
                          env={**os.environ, **{key: str(value) for key, value in settings.items()}})
    if done.returncode != expect:
        print(done.stdout[-2000:], done.stderr[-2000:])
        sys.exit(f"{name}: exit code {done.returncode}, expected {expect}")
    return done.stdout


few = "--train-images 600 --test-images 400"
quick = {"OUT": f"{here}/quick", "EPOCHS": 1, "PROBE_EPOCHS": 1, "PROBE_IMAGES": 300, "TRAIN_OPTIONS": few,
         "SWEEP_OPTIONS": "--test-images 400"}
text = script("quickstart.sh", **quick)
for words in ("SNR (ours)", "conv5", "sr.png", "report.html", "model.h5", "sweep.h5", "done in"):
    assert words in text, words
for name in ("model.h5", "sweep.h5", "layers.csv", "filters.csv", "history.csv", "sr.png", "clusters.pdf", "report.html"):
    assert os.path.getsize(f"{here}/quick/{name}") > 100, name
text = script("quickstart.sh", **quick)
assert "all 1 epochs are done" in text and "28 of 28 units are done" in text, text
print("quickstart.sh: table, figures; a second run reuses them")

data = make_idx(f"{here}/data")
sweep = {"DATA": data, "ARCH": "vgg6", "OUT": f"{here}/job", "EPOCHS": 1, "PROBE_EPOCHS": 2, "FILTERSCOPE": BINARY,
         "LAUNCH": "mpirun --oversubscribe --bind-to none -np 2", "STATUS_EVERY": 1, "TRAIN_OPTIONS": "--batch 20", "SWEEP_OPTIONS": "--batch 20"}
text = script("vgg16_sweep.sh", **{**sweep, "PROBE_EPOCHS": 40, "OUT": f"{here}/long"})
assert "phase two: " in text and " left\n" in text and "\033" not in text, "no status in the log"
text = script("vgg16_sweep.sh", **sweep)
assert "sweep: complete" in text and os.path.exists(f"{here}/job/vgg6-sweep.h5")
script("vgg16_sweep.sh", expect=3, **{**sweep, "PROBE_EPOCHS": 3})
script("vgg16_sweep.sh", expect=2, **{**sweep, "DATA": ""})
script("vgg16_sweep.sh", expect=2, **{**sweep, "FILTERSCOPE": f"{here}/nowhere"})
print("vgg16_sweep.sh: complete; mismatch 3; usage 2")
