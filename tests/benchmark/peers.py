"""filterscope bench on 2 ranks beside PyTorch on 2 threads, in turn, and the ratios: medians of all runs.

  peers.py [--runs N] [--archs vgg16,vgg6,avgg16] [--seconds S] [--sweep]

Needs two scripts that measure PyTorch, torch_throughput.py and torch_sweep.py, in the folder PEERS_DIR (or ../shared/peers beside
the source tree), a python3 with PyTorch, and with --sweep CIFAR10_DIR; skipped without."""
import argparse
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from common import BINARY, skip

parser = argparse.ArgumentParser()
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--archs", default="vgg16,vgg6,avgg16")
parser.add_argument("--seconds", type=float, default=5)
parser.add_argument("--sweep", action="store_true")
options = parser.parse_args()
home = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
peers = os.environ.get("PEERS_DIR", os.path.join(home, "..", "shared", "peers"))
if not os.path.exists(f"{peers}/torch_throughput.py"):
    skip("no torch_throughput.py: set PEERS_DIR")
torch = [p for p in ("python3", "/usr/bin/python3") if subprocess.run([p, "-c", "import torch"], capture_output=True).returncode == 0]
if not torch:
    skip("no python3 with PyTorch (Debian: python3-torch)")
if options.sweep and "CIFAR10_DIR" not in os.environ:
    skip("set CIFAR10_DIR to the folder of CIFAR-10's binary version")
OWN = {"vgg16": "vgg16-fc1"}  # PyTorch's scripts end in one fully connected layer


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def bench(arch, *more):
    text = run("mpirun", "--bind-to", "core", "-np", 2, BINARY, "bench", "--arch", OWN.get(arch, arch), "--seconds", options.seconds, *more)
    found = {name: float(rate) for name, rate in re.findall(r"^(\w+) +([0-9.]+) images/s", text, re.M)}
    found |= {name: float(seconds) for name, seconds in re.findall(r" (epoch|all) .*: ([0-9.]+) s$", text, re.M)}
    return found


def torch_throughput(arch):
    text = run(torch[0], f"{peers}/torch_throughput.py", arch, "--threads", 2, "--seconds", options.seconds)
    return {name: float(rate) for name, rate in re.findall(r"(forward|train) ([0-9.]+) img/s", text)}


def torch_sweep(arch):
    text = run(torch[0], f"{peers}/torch_sweep.py", arch, "--data", os.environ["CIFAR10_DIR"], "--threads", 2)
    probes, silence = re.search(r"probes ([0-9.]+) s an epoch, .* filters ([0-9.]+) s", text).groups()
    return {"epoch": float(probes), "kept": float(probes), "all": float(silence)}


def sweep(arch):
    words = ("--only", "sweep", "--images", 2000)
    return bench(arch, *words) | {"kept": bench(arch, *words, "--views", 1, "--cache", 4)["epoch"]}


def compare(arch, names, unit, own, other, faster):
    pairs = []
    for number in range(options.runs):
        pairs.append((own(), other()))
        print(f"{arch} run {number + 1}: {pairs[-1]}", file=sys.stderr, flush=True)
    for name, what in names.items():
        mine, theirs = ([pair[side][name] for pair in pairs] for side in (0, 1))
        ratios = [faster(a, b) for a, b in zip(mine, theirs)]
        print(f"{arch:7} {what:28} {statistics.median(mine):9.2f} {statistics.median(theirs):9.2f} {unit:9} "
              f"{statistics.median(ratios):8.2f}  ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


print(f"medians of {options.runs}   filterscope   PyTorch            ratio")
for arch in options.archs.split(","):
    compare(arch, {"forward": "forward, batch 128", "train": "training step, batch 128"}, "images/s",
            lambda: bench(arch, "--only", "forward") | bench(arch, "--only", "train"), lambda: torch_throughput(arch), lambda a, b: a / b)
    if options.sweep:
        compare(arch, {"epoch": "an epoch of all probes", "kept": "the same, features kept", "all": "silencing all filters"}, "s",
                lambda: sweep(arch), lambda: torch_sweep(arch), lambda a, b: b / a)
