"""The job scripts in small: the quickstart ends with table and figures and reuses what is done; vgg16_sweep.sh without Slurm
trains, sweeps, and passes exit codes on."""
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np

from common import BINARY, FASHION, MPIRUN, folder, make_idx, skip, write_idx

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
         "LAUNCH": " ".join([*MPIRUN, "-np", "2"]), "STATUS_EVERY": 1, "TRAIN_OPTIONS": "--batch 20", "SWEEP_OPTIONS": "--batch 20"}
text = script("vgg16_sweep.sh", **{**sweep, "PROBE_EPOCHS": 40, "OUT": f"{here}/long"})
assert "phase two: " in text and " left\n" in text and "\033" not in text, "no status in the log"
text = script("vgg16_sweep.sh", **sweep)
assert "sweep: complete" in text and os.path.exists(f"{here}/job/vgg6-sweep.h5")
knockout = {"KNOCKOUT": "mean", "GROUPS_OF": "labels", "CURVE": "-sr",
            "SWEEP_OPTIONS": "--batch 20 --knockout-layers 5 --knockout-images 20 --draws 1"}
text = script("vgg16_sweep.sh", **{**sweep, **knockout})
assert "gets room for phase four" in text and "512 of 512 filters knocked out, mean" in text, text
script("vgg16_sweep.sh", expect=3, **{**sweep, **knockout, "PROBE_EPOCHS": 3})
script("vgg16_sweep.sh", expect=2, **{**sweep, "DATA": ""})
script("vgg16_sweep.sh", expect=2, **{**sweep, "FILTERSCOPE": f"{here}/nowhere"})
script("vgg16_sweep.sh", expect=2, **{**sweep, "STATUS_EVERY": "often"})
script("vgg16_sweep.sh", expect=2, **{**sweep, "SLURM_ARRAY_TASK_ID": "x"})
script("vgg16_sweep.sh", expect=1, **{**sweep, "OUT": "/proc/nowhere"})
script("vgg16_sweep.sh", expect=70, **{**sweep, "LAUNCH": "true", "OUT": f"{here}/nothing"})  # a launcher that starts nothing
with open(f"{here}/aborted", "w") as file:
    file.write("exit 14\n")  # as Open MPI 5 does where it has lost a host before the ranks know
script("vgg16_sweep.sh", expect=70, **{**sweep, "LAUNCH": f"sh {here}/aborted", "OUT": f"{here}/nothing"})
script("vgg16_sweep.sh", expect=127, **{**sweep, "LAUNCH": f"{here}/nowhere", "OUT": f"{here}/nothing"})
print("vgg16_sweep.sh: complete; mismatch 3; usage 2; no folder 1; nothing done 70; a host lost 70; no launcher 127")

script("vgg16_sweep.sh", **{**sweep, "ARCH": "resnet20", "SWEEP_OPTIONS": "--batch 20 --layers 2,19"})
assert os.path.exists(f"{here}/job/resnet20-sweep.h5")
if importlib.util.find_spec("onnx"):
    with tarfile.open(os.path.join(jobs, "..", "tests", "fixtures", "networks.tar.xz")) as archive:
        archive.extract("residual2.onnx", here)
    subprocess.run([sys.executable, os.path.join(jobs, "..", "analysis", "import_model.py"), f"{here}/residual2.onnx", "--pixels", "0,1",
                    "--out", f"{here}/mine.h5", "--filterscope", BINARY], check=True, stdout=subprocess.DEVNULL)
    os.mkdir(f"{here}/images")
    for split in ("train", "t10k"):
        write_idx(f"{here}/images/{split}-images-idx4-ubyte", np.random.default_rng(1).integers(0, 256, (30, 11, 10, 2)))
        write_idx(f"{here}/images/{split}-labels-idx1-ubyte", np.arange(30) % 3)
    elsewhere = {**sweep, "DATA": f"idx:{here}/images", "ARCH": "", "MODEL": f"{here}/mine.h5"}
    text = script("vgg16_sweep.sh", **elsewhere)
    assert "mine.h5 is swept as it is" in text and os.path.exists(f"{here}/job/mine-sweep.h5"), text
    script("vgg16_sweep.sh", expect=3, **{**elsewhere, "DATA": data})
    print("vgg16_sweep.sh: a residual network, and one that came by ONNX")
else:
    print("no network came by ONNX (Debian: python3-onnx)")

# A user's shell at its worst, in a tree whose name has a blank, from elsewhere, by a symbolic link.
tree, elsewhere = f"{here}/a tree", f"{here}/else where"
os.makedirs(f"{elsewhere}/tmp")
for name in ("jobs", "analysis"):
    shutil.copytree(os.path.join(jobs, "..", name), f"{tree}/{name}")
os.symlink(os.path.dirname(BINARY), f"{tree}/build")
with open(f"{here}/bash_env", "w") as file:
    file.write("echo from BASH_ENV\nset -eC\nIFS=/x\nshopt -s expand_aliases\nalias echo=false mkdir=false\ncd() { builtin cd / && pwd; }\n")
with open(f"{here}/net.txt", "w") as file:
    file.write("conv 4 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
os.mkdir(f"{elsewhere}/tree")  # where CDPATH leads
user = {**os.environ, "CDPATH": f".:{elsewhere}:/", "BASH_ENV": f"{here}/bash_env", "ENV": f"{here}/bash_env", "GREP_OPTIONS": "-v",
        "GREP_COLOR": "x", "POSIXLY_CORRECT": "1", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "SLURM_TIME_FORMAT": "relative",
        "TMPDIR": f"{elsewhere}/tmp", "BASH_FUNC_cd%%": "() {  builtin cd / && pwd\n}", "SHELLOPTS": "noclobber:noglob", "home": "/",
        "LS_COLORS": "*", "DATA": data, "EPOCHS": "1", "PROBE_EPOCHS": "1", "SLURM_EXPORT_ENV": "NONE"}
for name in ("HOME", "SHELL", "LOGNAME", "USER"):
    user.pop(name, None)


def as_user(name, log, umask=0o077, expect=0, **settings):
    os.makedirs(f"{elsewhere}/links", exist_ok=True)
    link = f"{elsewhere}/links/{name}"
    if not os.path.exists(link):
        os.symlink(os.path.relpath(f"{tree}/jobs/{name}", f"{elsewhere}/links"), link)
    with open(f"{here}/{log}", "w+") as file:
        done = subprocess.run([f"./links/{name}"], cwd=elsewhere, stdout=file, stderr=subprocess.STDOUT, timeout=600,
                              umask=umask, env={**user, **settings})
        file.seek(0)
        text = file.read()
    assert done.returncode == expect, f"{name}: exit code {done.returncode}\n{text}"
    return text


text = as_user("vgg16_sweep.sh", "sweep.log", ARCH=f"{here}/net.txt", OUT="../out put", MODEL="../out put/net.h5",
               RESULTS="../out put/net-sweep.h5", LAUNCH=sweep["LAUNCH"], TRAIN_OPTIONS="--batch 20", SWEEP_OPTIONS="--batch 20")
assert os.path.exists(f"{here}/out put/net-sweep.h5") and "sweep: complete" in text, text
prune = {"MODEL": "../out put/net.h5", "SWEEP": "../out put/net-sweep.h5", "OUT": "../out put/pruned", "THRESHOLDS": "0.3", "SEEDS": "1",
         "CONTROLS": "none random", "EPOCHS": "1", "LAUNCH": sweep["LAUNCH"], "PYTHON": sys.executable}
os.mkdir(f"{here}/out put/pruned")
os.symlink("/dev/full", f"{here}/out put/pruned/before.csv.part")
text = as_user("prune.sh", "full.log", expect=1, **prune)
assert "No space left" in text and not os.path.lexists(f"{here}/out put/pruned/before.csv"), text
os.remove(f"{here}/out put/pruned/before.csv.part")
text = as_user("prune.sh", "prune.log", **prune)
for name in ("pruning.csv", "pruning_labels.csv", "pruning.png", "0.3-random-1-retrained.h5"):
    assert os.path.getsize(f"{here}/out put/pruned/{name}") > 100, name
assert "random kernels" in text and "nan" not in text, text
for cut in (0, 30):
    os.truncate(f"{here}/out put/pruned/0.3-none-1-pruned.csv", cut)
    done = subprocess.run([sys.executable, f"{jobs}/../analysis/pruning.py", f"{here}/out put/pruned"], capture_output=True, text=True)
    assert done.returncode == 1 and "0.3-none-1-pruned.csv: " in done.stderr and done.stderr.count("\n") == 1, done.stderr
text = as_user("reproduce.sh", "reproduce.log", ARCHS="vgg6", OUT="../out put", SEEDS="1", LAUNCH=sweep["LAUNCH"], PYTHON=sys.executable,
               TRAIN_OPTIONS="--batch 20", SWEEP_OPTIONS="--batch 20 --layers 5")
assert os.path.getsize(f"{here}/out put/reproduce.md") > 100 and "SR rises with depth" in text, text
text = as_user("quickstart.sh", "quick.log", OUT="../quick start", ARCH="vgg6", DATA=data, PYTHON=sys.executable, RANKS="2",
               TRAIN_OPTIONS="--batch 20", SWEEP_OPTIONS="--batch 20", PROBE_IMAGES="40")
assert os.path.getsize(f"{here}/quick start/report.html") > 100 and "done in" in text, text
print("the scripts work whatever the user's shell is set to")
