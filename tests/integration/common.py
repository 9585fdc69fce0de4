"""What the integration tests share: running the program on real MPI, small data sets, and comparing results files."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

BUILD = os.environ["FILTERSCOPE_BUILD"]
BINARY = os.path.join(BUILD, "filterscope")
FAULTS = os.path.join(BUILD, "tests", "libfaults.so")
FASHION = "/usr/share/datasets/fashion-mnist"
TIMEOUT = 300
# Of the MPI that was built with, more ranks than there are cores, if need be
MPIRUN = os.environ.get("FILTERSCOPE_MPIRUN", "mpirun --oversubscribe --bind-to none").split()
OPEN_MPI = "--oversubscribe" in MPIRUN

if os.geteuid() == 0:
    os.environ["OMPI_ALLOW_RUN_AS_ROOT"] = os.environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"


def skip(reason):
    print("skipped:", reason)
    sys.exit(77)


def folder():
    """A scratch folder that is removed at exit, unless KEEP is set."""
    path = tempfile.mkdtemp(prefix="filterscope-")
    if not os.environ.get("KEEP"):
        import atexit
        atexit.register(shutil.rmtree, path, True)
    return path


def launch(ranks, *words):
    """The command that runs filterscope on so many ranks, more than there are cores if need be."""
    mpi = [*MPIRUN, "-np", str(ranks)]
    return (mpi if ranks > 1 else []) + [BINARY, *map(str, words)]


def run(ranks, *words, expect=0, env=None):
    """Runs filterscope; fails the test, printing the command that repeats it, where the exit code is another."""
    command = launch(ranks, *words)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env={**os.environ, **(env or {})})
    if expect is not None and done.returncode != expect:
        print("command:", " ".join(command))
        print(done.stdout[-3000:], done.stderr[-3000:])
        sys.exit(f"exit code {done.returncode}, expected {expect}")
    return done


def write_idx(path, array):
    with open(path, "wb") as file:
        file.write(struct.pack(">HBB", 0, 8, array.ndim))
        file.write(struct.pack(f">{array.ndim}I", *array.shape))
        file.write(array.astype(np.uint8).tobytes())


def make_idx(path, labels=4, train=120, test=60, size=32, seed=1):
    """A small IDX data set whose labels can be learned: each has its own blurred pattern, plus noise."""
    os.makedirs(path, exist_ok=True)
    random = np.random.default_rng(seed)
    pattern = random.integers(0, 256, (labels, 4, 4)).repeat(size // 4, 1).repeat(size // 4, 2)
    for name, count in (("train", train), ("t10k", test)):
        label = np.arange(count) % labels
        images = np.clip(pattern[label] + random.normal(0, 40, (count, size, size)), 0, 255)
        write_idx(f"{path}/{name}-images-idx3-ubyte", images)
        write_idx(f"{path}/{name}-labels-idx1-ubyte", label)
    return f"idx:{path}"


def train_small(path, data, ranks=2, arch="vgg6", epochs=1, **options):
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    run(ranks, "train", "--arch", arch, "--data", data, "--out", path, "--epochs", epochs, "--batch", 20, "--slots", 4,
        "--lr", 0.02, "--fc-lr", 0.02, "--momentum", 0.9, "--fc-momentum", 0.9, *words)


def vgg6_with_units(path):
    """Writes VGG-6 with a hidden fully connected layer before its last: fc1, the sixth that is probed."""
    text = run(1, "arch", "vgg6", "--table", "text").stdout
    assert text.endswith("\nfc K\n"), text
    with open(path, "w") as file:
        file.write(text.replace("\nfc K\n", "\nfc 24 bias\nrelu\nfc K\n"))
    return path


def identical(left, right, exclude=()):
    """Whether h5diff finds no difference between two HDF5 files outside the excluded paths."""
    words = [word for path in exclude for word in ("--exclude-path", path)]
    done = subprocess.run(["h5diff", *words, left, right], capture_output=True, text=True)
    if done.returncode:
        print("command:", " ".join(["h5diff", *words, left, right]))
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode == 0


def messages(text):
    """The program's lines. (mpirun of Open MPI 5 may put a byte before the last of its ranks'.)"""
    return re.findall(r"^\W?(filterscope: .*)", text, re.M)


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def epochs_done(path):
    """Epochs that the probe that is furthest has recorded in a results file, which a sweep may be writing."""
    try:
        with h5py.File(path) as file:
            return int(file["resume/slots"]["epoch"].max())
    except (OSError, KeyError):
        return 0


def writer(path):
    """The pid that holds the file's lock, dead or alive; None without a lock."""
    try:
        with open(f"{path}.lock") as file:
            return int(dict(line.split() for line in file)["pid"])
    except (FileNotFoundError, KeyError, ValueError):
        return None


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def place_name(call, path, offset, places):
    """What a call does, for people: its name and the kind of file, or the dataset that it writes."""
    kind = os.path.splitext(path)[1]
    if kind != ".h5" or call != "pwrite":
        return f"{call} {kind}"
    for name, begin, size in places:
        if begin <= offset < begin + size:
            return f"/{name}"
    return "superblock"


def write_places(words, scratch):
    """Runs the command, whose last word is --out, and returns {kind of call that changes files: [(its number, bytes), ...]}."""
    os.mkdir(scratch)
    path, log, places, points = f"{scratch}/out.h5", f"{scratch}.log", [], {}
    run(1, *words, path, env={"LD_PRELOAD": FAULTS, "FAULT_FOLDER": scratch, "FAULT_LOG": log})
    with h5py.File(path) as file:
        file.visititems(lambda name, node: places.append((name, node.id.get_offset(), node.id.get_storage_size()))
                        if isinstance(node, h5py.Dataset) and node.id.get_offset() is not None else None)
    with open(log) as file:
        for number, call, name, offset, size in map(str.split, file):
            points.setdefault(place_name(call, name, int(offset), places), []).append((int(number), int(size)))
    os.remove(log)
    shutil.rmtree(scratch)
    return points


def children(pid):
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(name))
        except (OSError, ValueError, IndexError):
            pass
    return found


def descendants(pid):
    return [each for child in children(pid) for each in (child, *descendants(child))]


VARYING = ("/provenance", "/resume")  # how a run went, not what it found
