"""The knock-out phase beside PyTorch on the same weights and images, layer by layer, all three in turn: wall times, the shares of
experiments that were spared, the passes of the whole network that the time is worth, and ratios.

  knockout.py --model MODEL.h5 --images N [--layers 1,2,...] [--keep FOLDER] [--filters 2] [--ranks 2] [--scaling RUNS]

PyTorch runs some filters of a layer (--filters) over all the images, and the rest is extrapolated: with hooks, the whole network for
every filter; and the part before the filter's map kept, the rest for every filter. filterscope runs all filters. Where --keep
names a folder, layers measured before are kept there and counted in the sums, so that a long run can be cut in several.
With --scaling, instead: filterscope on 1 rank, on 2, and twice on 1 at a time, in turn, so often: what two cores can give at most.

Needs CIFAR10_DIR, a network that is a chain (VGGs), and PyTorch in PEERS_PYTHON or /usr/bin/python3; skipped without."""
import argparse
import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import sys
import time

import h5py
import numpy as np

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(HOME, "tests", "integration"))
from common import BINARY, folder, skip

parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default=os.environ.get("KNOCKOUT_MODEL"))
parser.add_argument("--images", type=int, default=1000)
parser.add_argument("--layers")
parser.add_argument("--keep")
parser.add_argument("--filters", type=int, default=2)
parser.add_argument("--ranks", type=int, default=2)
parser.add_argument("--scaling", type=int, default=0)
options = parser.parse_args()
TORCH = os.environ.get("PEERS_PYTHON", "/usr/bin/python3")
if not options.model:
    skip("no model: --model, or KNOCKOUT_MODEL")
if "CIFAR10_DIR" not in os.environ:
    skip("set CIFAR10_DIR to the folder of CIFAR-10's binary version")
if not options.scaling and subprocess.run([TORCH, "-c", "import torch"], capture_output=True).returncode:
    skip("no PyTorch: set PEERS_PYTHON")
here = folder()
keep = options.keep or here
os.makedirs(keep, exist_ok=True)


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def find_points():
    """{layer: (module of the Sequential, filters)}: a module a line, up to the last convolution."""
    text = run(BINARY, "arch", options.model)
    lines = re.findall(r"^ *(\d+) .* \d+x\d+x(\d+) .* probe (\d+)", text, re.M)
    return {int(layer): (int(line) - 1, int(filters)) for line, filters, layer in lines}


def write_images():
    """As the network takes them."""
    with open(f"{os.environ['CIFAR10_DIR']}/test_batch.bin", "rb") as file:
        records = np.frombuffer(file.read(), np.uint8).reshape(-1, 3073)[:options.images]
    names = {}
    with open(f"{here}/network.py") as file:
        exec("".join(line for line in file if re.match(r"(low|high|mean|std)\b", line)), names)
    scale = [np.array(names[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std")]
    pixels = records[:, 1:].reshape(-1, 3, 32, 32) / np.float32(255)
    images = (names["low"] + (names["high"] - names["low"]) * pixels - scale[0]) / scale[1]
    images.astype(np.float32).tofile(f"{here}/images")
    records[:, 0].astype(np.int64).tofile(f"{here}/labels")


def start(layer, ranks, path):
    words = ["mpirun", "--bind-to", "none", "--oversubscribe", "-np", str(ranks), BINARY, "sweep",
             "--model", options.model, "--data", f"cifar10:{os.environ['CIFAR10_DIR']}", "--layers", str(layer), "--out", path,
             "--epochs", "1", "--train-images", "200", "--test-images", str(options.images), "--slots", "4", "--knockout", "zero"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def time_phase(process):
    """Seconds of the phase; what precedes it is cut short."""
    with process:
        for line in process.stdout:
            if line.startswith("phase four: ") and "knocked out" in line:
                started = time.perf_counter()
            if line.startswith("sweep: complete"):
                seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{process.args}: exit code {process.returncode}")
    return seconds


def sweep(layer, ranks):
    """{seconds of the phase, spared, right [filters]}."""
    path = f"{here}/{layer}.h5"
    seconds = time_phase(start(layer, ranks, path))
    with h5py.File(path) as file:
        right, work = file[f"knockout/{layer}/right"][:].sum(1), file[f"knockout/{layer}/work"][:].sum(0)
    os.remove(path)
    return {"seconds": seconds, "right": right.tolist(), "work": (work / work.sum()).tolist()}


def two_programs(layer):
    """Seconds that each of two programs of one rank takes at a time."""
    paths = [f"{here}/{layer}-{number}.h5" for number in range(2)]
    processes = [start(layer, 1, path) for path in paths]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        seconds = statistics.mean(pool.map(time_phase, processes))
    for path in paths:
        os.remove(path)
    return seconds


def measure_scaling(layer):
    ratios, limits = [], []
    for number in range(options.scaling):
        one, two, both = sweep(layer, 1)["seconds"], sweep(layer, 2)["seconds"], two_programs(layer)
        ratios.append(one / two)
        limits.append(2 * one / both)
        print(f"layer {layer}, run {number + 1}: 1 rank {one:.1f} s, 2 ranks {two:.1f} s, two programs at once {both:.1f} s each: "
              f"{one / two:.3f}, at most {2 * one / both:.3f}", flush=True)
    print(f"layer {layer}: 2 ranks are {statistics.median(ratios):.3f} times as fast as one, two programs that know nothing of each other "
          f"{statistics.median(limits):.3f} (medians of {options.scaling})")


def torch(layer, form):
    """Seconds of all filters, and {filter: right answers} of those that ran."""
    point, filters = points[layer]
    chosen = [filters * (2 * n + 1) // (2 * options.filters) for n in range(options.filters)]
    text = run(TORCH, f"{HOME}/tests/benchmark/knockout_torch.py", f"{here}/network.py", f"{here}/state.pth", f"{here}/images",
               f"{here}/labels", point, ",".join(map(str, chosen)), form)
    found = {int(number): (int(right), float(seconds))
             for number, right, seconds in re.findall(r"^filter (\d+) (\d+) (\S+)", text, re.M)}
    once = float(re.search(r"^once (\S+)", text, re.M)[1])
    return once + filters * statistics.mean(seconds for _, seconds in found.values()), {n: right for n, (right, _) in found.items()}


def measure(layer):
    whole, right = torch(layer, "whole")
    own = sweep(layer, options.ranks)
    prefix, again = torch(layer, "prefix")
    off = max(abs(own["right"][number] - answers) for found in (right, again) for number, answers in found.items())
    return {"filters": points[layer][1], "own": own["seconds"], "work": own["work"], "whole": whole, "prefix": prefix, "off": off}


def forward_rate():
    """Images a second through the whole network."""
    arch = re.search(r"^(\S+): ", run(BINARY, "arch", options.model))[1]
    text = run("mpirun", "--oversubscribe", "-np", options.ranks, BINARY, "bench", "--arch", arch, "--only", "forward", "--seconds", 3)
    return float(re.search(r"^forward +([0-9.]+) images/s", text, re.M)[1])


def print_row(name, row):
    run_, same, hidden = (100 * share for share in row["work"])
    print(f"{name:>5} {row['filters']:7} {row['own']:10.1f} s {row['whole']:10.0f} s {row['prefix']:10.0f} s   {same:5.1f} % {hidden:5.1f} %"
          f" {row['whole'] / row['own']:8.1f} {row['prefix'] / row['own']:8.1f} {row['off']:5}", flush=True)


points = find_points()
layers = [int(word) for word in options.layers.split(",")] if options.layers else list(points)
if options.scaling:
    for layer in layers:
        measure_scaling(layer)
    sys.exit()
run(sys.executable, f"{HOME}/analysis/export_torch.py", options.model, "--out", f"{here}/state.pth", "--module", f"{here}/network.py")
write_images()
known = f"{keep}/knockout-{options.images}.json"
rows = {}
if os.path.exists(known):
    with open(known) as file:
        rows = {int(layer): row for layer, row in json.load(file).items()}
print(f"{options.model}, {options.images} images, {options.ranks} ranks and 2 threads; PyTorch extrapolated from {options.filters} filters of a layer")
print("layer filters  filterscope  whole network  prefix kept   no map  hidden   ratio of whole, of prefix; most answers apart")
for layer in layers:
    if layer not in rows:
        rows[layer] = measure(layer)
        with open(known, "w") as file:
            json.dump(rows, file)
for layer in sorted(rows):
    print_row(layer, rows[layer])
count = sum(row["filters"] for row in rows.values())
total = {name: sum(row[name] for row in rows.values()) for name in ("filters", "own", "whole", "prefix")}
total |= {"off": max(row["off"] for row in rows.values()),
          "work": [sum(row["work"][c] * row["filters"] for row in rows.values()) / count for c in range(3)]}
print_row("all", total)
passes = total["own"] * forward_rate() / options.images
print(f"{count * options.images} experiments; the time is worth {passes:.0f} forward passes of the {options.images} images, {count / passes:.1f} "
      "filters a pass")
