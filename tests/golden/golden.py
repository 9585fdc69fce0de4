"""The table of layers of a small network with given weights is golden/layers.csv, on a CPU with AVX2 and on one with AVX-512, where
AVX2 is tried as well: counts are the same, numbers to 1e-5 of themselves (other releases of OpenBLAS round differently).

  FILTERSCOPE_BUILD=build tests/golden/golden.py --write     makes the table anew, on a CPU with AVX-512: the diff is for a reviewer"""
import csv
import io
import math
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
import common
from common import BUILD, folder, run, skip, write_idx

TABLE = os.path.join(HERE, "layers.csv")
# The kernels of this project and OpenBLAS', by generation
GENERATIONS = {"avx2": ("tests/filterscope_avx2", "Haswell"), "avx512": ("filterscope", "SkylakeX")}
LABELS, SIZE, NETWORK = 6, 16, """conv 16 3x3 pad 1 bias
relu
conv 32 3x3 pad 1
bn
relu
maxpool 2
conv 32 3x3 pad 1 groups 32
relu
conv 48 1x1 bias
relu
conv 32 3x3 stride 2 pad 1
bn
relu
fc K
"""
random = np.random.RandomState(1)  # whose numbers NumPy never changes


def make_data(path):
    os.mkdir(path)
    pattern = random.randint(0, 256, (LABELS, 4, 4)).repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)
    for name, count in (("train", 180), ("t10k", 90)):
        label = np.arange(count) % LABELS
        write_idx(f"{path}/{name}-images-idx3-ubyte", np.clip(pattern[label] + random.randint(-60, 61, (count, SIZE, SIZE)), 0, 255))
        write_idx(f"{path}/{name}-labels-idx1-ubyte", label)
    return f"idx:{path}"


def make_model(path):
    """Weights in units of 1/1024, so that no compiler or library rounds them differently."""
    def weight(*shape):
        most = 2048 // math.isqrt(math.prod(shape[1:]))
        return random.randint(-most, most + 1, shape).astype(np.float32) / 1024

    tensors, channels = {}, 1
    for number, words in enumerate(map(str.split, NETWORK.splitlines())):
        name = f"layers.{number:02d}"
        if words[0] == "conv":
            filters, kernel = int(words[1]), int(words[2][0])
            tensors[f"{name}.weight"] = weight(filters, 1 if "groups" in words else channels, kernel, kernel)
            channels = filters
        elif words[0] == "bn":
            tensors[f"{name}.weight"] = 1 + weight(channels)
            tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"] = weight(channels), 1 + np.abs(weight(channels)) / 2
        elif words[0] == "fc":
            tensors[f"{name}.weight"] = weight(LABELS, channels * (SIZE // 4)**2)
        if words[0] == "bn" or "bias" in words:
            tensors[f"{name}.bias"] = weight(channels) / 4
    with open("net.txt", "w") as file:
        file.write(NETWORK)
    np.savez("weights.npz", **tensors)
    importer = os.path.join(HERE, "..", "..", "analysis", "import_torch.py")
    subprocess.run([sys.executable, importer, "weights.npz", "--arch", "net.txt", "--input", f"{SIZE}x{SIZE}x1", "--pixels", "-1,1",
                    "--out", path], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "FILTERSCOPE": os.path.join(BUILD, "filterscope")})


def rows_of(generation, data):
    program, core = GENERATIONS[generation]
    common.BINARY = os.path.join(BUILD, program)
    run(1, "sweep", "--model", "model.h5", "--data", data, "--out", f"{generation}.h5", "--epochs", 12, "--batch", 20, "--slots", 4,
        "--lr", 0.0005, env={"OPENBLAS_CORETYPE": core})
    table = run(1, "export", f"{generation}.h5", "--table", "layers").stdout
    return [{"cpu": generation, **row} for row in csv.DictReader(io.StringIO(table))]


def differ(found, golden):
    """Whether two cells do: whole numbers and names in anything, others in more than 1e-5."""
    if found == golden:
        return False
    try:
        return golden.isdigit() or not math.isclose(float(found), float(golden), rel_tol=1e-5)
    except ValueError:
        return True


def check(found, golden):
    faults = [f"{row['cpu']} layer {row['layer']} {key}: {row[key]}, golden {other.get(key)}"
              for row, other in zip(found, golden, strict=True) for key in {**row, **other} if differ(row.get(key, ""), other.get(key, ""))]
    if faults:
        sys.exit("\n".join(faults) + f"\n{sys.argv[0]} --write makes the table anew")


with open("/proc/cpuinfo") as file:
    flags = file.read().split()
here = folder()
os.chdir(here)
data = make_data(f"{here}/data")
make_model("model.h5")
generations = [one for one, flag in (("avx2", "avx2"), ("avx512", "avx512dq")) if flag in flags]
if not generations:
    skip("this CPU has no AVX2")
found = [row for one in generations for row in rows_of(one, data)]
if "--write" in sys.argv:
    assert len(generations) == 2, "this CPU has no AVX-512"
    with open(TABLE, "w", newline="") as file:
        writer = csv.DictWriter(file, found[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
with open(TABLE, newline="") as file:
    check(found, [row for row in csv.DictReader(file) if row["cpu"] in generations])
print(f"{len(found)} rows of {' and '.join(generations)} are the golden ones")
