"""filterscope bench on 2 ranks beside what a user would take today on 2 threads: PyTorch (eager and compiled), onnxruntime and OpenVINO, in
turn, run after run; the ratio is to the best of them.

  peers.py [--runs N] [--archs vgg16-fc1,vgg6,avgg16,simpnet] [--phases forward,train] [--batch N] [--seconds S] [--sweep]

Needs a Python with PyPI's torch, and for more peers onnx, onnxruntime and openvino, named by PEERS_PYTHON or found as python3. With
--sweep probes and silencing beside PyTorch in eager mode instead: torch_sweep.py of the folder PEERS_DIR (or ../shared/peers beside the source
tree), and CIFAR10_DIR. Skipped without."""
import argparse
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HOME = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
from common import BINARY, skip
from today import THREADS, compare, find_python

FOLDERS = (HERE, os.path.join(HOME, "src", "model", "architectures"))
LABELS = 10

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--archs", default="vgg16-fc1,vgg6,avgg16,simpnet")
parser.add_argument("--phases", default="forward,train")
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--seconds", type=float, default=5)
parser.add_argument("--sweep", action="store_true")
options = parser.parse_args()
archs = options.archs.split(",")
python = find_python(skip, "torch")


def text_of(arch):
    found = [path for path in (os.path.join(folder, f"{arch}.txt") for folder in FOLDERS) if os.path.exists(path)]
    return found[0] if found else sys.exit(f"--archs: no {arch}.txt in {' or '.join(FOLDERS)}")


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def sweep(arch, *more):
    text = run("mpirun", "--bind-to", "core", "-np", THREADS, BINARY, "bench", "--arch", text_of(arch), "--seconds", options.seconds, "--only", "sweep",
               "--images", 2000, *more)
    return {name: float(seconds) for name, seconds in re.findall(r" (epoch|all) .*: ([0-9.]+) s$", text, re.M)}


def torch_sweep(scripts, arch):
    text = run(python, f"{scripts}/torch_sweep.py", arch.removesuffix("-fc1"), "--data", os.environ["CIFAR10_DIR"], "--threads", THREADS)
    probes, silence = re.search(r"probes ([0-9.]+) s an epoch, .* filters ([0-9.]+) s", text).groups()
    return {"epoch": float(probes), "kept": float(probes), "all": float(silence)}


def compare_sweeps(scripts, arch):
    pairs = []
    for number in range(options.runs):
        own = sweep(arch) | {"kept": sweep(arch, "--views", 1, "--cache", 4)["epoch"]}
        pairs.append((own, torch_sweep(scripts, arch)))
        print(f"{arch} run {number + 1}: {pairs[-1]}", file=sys.stderr, flush=True)
    for name, what in {"epoch": "an epoch of all probes", "kept": "the same, features kept", "all": "silencing all filters"}.items():
        mine, theirs = ([pair[side][name] for pair in pairs] for side in (0, 1))
        ratios = [b / a for a, b in zip(mine, theirs)]
        print(f"{arch:10} {what:24} {statistics.median(mine):9.2f} {statistics.median(theirs):9.2f} s {statistics.median(ratios):8.2f}  "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if options.sweep:
    folder = os.environ.get("PEERS_DIR", os.path.join(HOME, "..", "shared", "peers"))
    if not os.path.exists(f"{folder}/torch_sweep.py") or "CIFAR10_DIR" not in os.environ:
        skip("no torch_sweep.py (PEERS_DIR), or no CIFAR10_DIR")
    print(f"medians of {options.runs}   filterscope   PyTorch            ratio")
    for arch in archs:
        compare_sweeps(folder, arch)
else:
    print(f"images/s, medians of {options.runs} runs and their ranges")
    for arch in archs:
        for phase in options.phases.split(","):
            compare(python, BINARY, text_of(arch), text_of(arch), phase, 32, options.batch, LABELS, options.runs, options.seconds)
