"""Fails calls of the C library under train and sweep: no space left, I/O errors, writes of half the bytes, no memory, on one rank
or on one of several. The program either goes on to the same bits or ends soon with one message and exit code 1; then the same
command goes on to the same bits.

  faults.py                        one call of each kind, in one way
  faults.py --all [STEP]           every call, or every STEP-th, in every way: hours
  faults.py --all --list           only names these trials, with their numbers
  faults.py --all --from N --to M --only PATTERN      of these, numbers N to M whose line in the list the pattern is found in"""
import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time

from common import FAULTS, VARYING, folder, identical, make_idx, messages, run, train_small, write_places

here = folder()
data = make_idx(f"{here}/data", labels=3, train=60, test=30, size=16)
with open(f"{here}/small.txt", "w") as file:
    file.writelines(f"conv {filters} 3x3 pad 1\nbn\nrelu\nmaxpool 2\n" for filters in (32, 64))
    file.write("fc K\n")
train_small(f"{here}/model.h5", data, 1, f"{here}/small.txt")
JOBS = {
    "train": (["train", "--arch", f"{here}/small.txt", "--data", data, "--batch", 20, "--slots", 4, "--epochs", 2, "--out"], ("/history",)),
    "sweep": (["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 20, "--slots", 4, "--epochs", 2, "--out"], VARYING),
}
TEAMS = {"train": (), "sweep": ("--team", 1)}  # each rank writes
REASONS = {"eio": "Input/output error", "enospc": "No space left", "alloc": "out of memory", "short": "write failed|cannot close it"}
# After these alone may a job that met one end in 0: half a write is written on, a lock that cannot be removed is a dead job's to the
# next one, what has been read is closed; that a call changes nothing on a full disk, which renames and unlinks do not; a file that
# cannot be renamed is linked.
HARMLESS = ("short", "unlink .lock", "close")
parser = argparse.ArgumentParser()
parser.add_argument("--all", nargs="?", type=int, const=1, metavar="STEP")
parser.add_argument("--list", action="store_true")
parser.add_argument("--from", type=int, default=0, dest="first")
parser.add_argument("--to", type=int)
parser.add_argument("--only", default="")
parser.add_argument("--seconds", type=float, default=20, help="in which a trial ends; more on a machine that does other work")
options = parser.parse_args()
everything, step = options.all, options.all or 1
trials = []


def choose(several, few):
    return several[::step] if everything else few


def plan(*trial):
    trials.append((len(trials), *trial))


def title(index, name, way, number, what, ranks=1, rank=0, more={}):
    return f"{index:4} {name} rank {rank} of {ranks} {way:6} {number:4} {what:24}"


def attempt(index, name, way, number, what, ranks=1, rank=0, more={}):
    """Runs the job with the fault at call `number` of a rank, then again without. Returns how it ended, whether as it should."""
    scratch = f"{here}/try{index}"
    words, varying = JOBS[name]
    os.mkdir(scratch)
    path = f"{scratch}/{name}.h5"
    started = time.monotonic()
    try:
        done = run(ranks, *words, path, *TEAMS[name], expect=None,
                   env={"LD_PRELOAD": FAULTS, "FAULT_FOLDER": scratch, "FAULT_DO": way, "FAULT_AT": str(number),
                        "FAULT_RANK": str(rank), **more})
    except subprocess.TimeoutExpired as hang:
        print(f"FAIL {title(index, name, way, number, what, ranks, rank)} hangs\n{(hang.stderr or b'').decode()[-2000:]}", flush=True)
        return f"{way}: hangs", False
    took = time.monotonic() - started
    said = messages(done.stderr)
    told = done.returncode == 1 and len(said) == 1 and bool(re.search(REASONS[way], said[0]))
    # On several ranks the call may not come: units are handed out to whoever asks.
    spared = ranks > 1 or way in HARMLESS or what in HARMLESS or (what.startswith("rename") and (way == "enospc" or os.path.exists(path)))
    good = took < options.seconds and (told or (done.returncode == 0 and spared))
    again = run(1, *words, path, expect=None)
    good &= again.returncode == 0 and identical(f"{here}/{name}.h5", path, varying) and os.listdir(scratch) == [f"{name}.h5"]
    print(f"{'ok  ' if good else 'FAIL'} {title(index, name, way, number, what, ranks, rank)} exit {done.returncode} in {took:.1f} s "
          f"{' | '.join(said)}", flush=True)
    if not good:
        print(took, done.stderr[-2000:], again.stderr[-2000:], os.listdir(scratch))
    shutil.rmtree(scratch)
    return f"{way}: exit {done.returncode}", good


def calls_of(name, ranks, rank, what):
    """Bytes of each call of a rank: of those that change files, or its allocations."""
    os.mkdir(f"{here}/try")
    run(ranks, *JOBS[name][0], f"{here}/try/x.h5", *TEAMS[name],
        env={"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/try", "FAULT_DO": what, "FAULT_LOG": f"{here}/log",
             "FAULT_RANK": str(rank)})
    shutil.rmtree(f"{here}/try")
    if not os.path.exists(f"{here}/log"):
        return []
    with open(f"{here}/log") as file:
        sizes = [int(line.split()[-1]) for line in file]
    os.remove(f"{here}/log")
    return sizes


def fail_reads(name, ranks, rank):
    """A read that fails is no damage, and never taken for zeros: opening, reading and closing the file, once each."""
    os.mkdir(f"{here}/try")
    reads = {"FAULT_READS": "1"}
    run(ranks, *JOBS[name][0], f"{here}/try/x.h5", *TEAMS[name],
        env={"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/try", "FAULT_LOG": f"{here}/log", "FAULT_RANK": str(rank), **reads})
    shutil.rmtree(f"{here}/try")
    with open(f"{here}/log") as file:
        calls = [(int(number), call) for number, call, path, *_ in map(str.split, file) if path.endswith(".h5")]
    os.remove(f"{here}/log")
    for kind in ("open", "pread", "close"):
        numbers = [number for number, call in calls if call == kind]
        for number in choose(numbers, numbers[-1:] + numbers[len(numbers) // 3:][:kind == "pread"]):
            plan(name, "eio", number, kind, ranks, rank, reads)


for name, (words, varying) in JOBS.items():
    run(1, *words, f"{here}/{name}.h5")
    points = write_places(words, f"{here}/{name}-places")
    for kind, (what, calls) in enumerate(points.items()):
        for number, size in choose(calls, calls[len(calls) // 2:][:1]):
            ways = ("enospc", "eio", "short") if size > 1 else ("enospc", "eio")
            for way in ways if everything else [ways[kind % len(ways)]]:
                plan(name, way, number, what)
    sizes = calls_of(name, 1, 0, "alloc")
    for index in choose(range(len(sizes)), sorted({sizes.index(size) for size in sizes})[::4]):
        plan(name, "alloc", index + 1, f"{sizes[index]} bytes")
    for ranks, rank in ((2, 0), (2, 1), (3, 0), (3, 1)) if everything else ((3, 1),):
        for what, way in (("files", "eio"), ("alloc", "alloc")):
            found = calls_of(name, ranks, rank, what)
            for number in choose(range(1, len(found) + 1), {len(found) // 2 + 1, len(found)} if found else ()):
                plan(name, way, number, f"{found[number - 1]} bytes", ranks, rank)
    if name == "sweep":
        fail_reads(name, 1, 0)
        fail_reads(name, 3, 1)
    print(f"{name}: {len(points)} kinds of calls that change files, {len(sizes)} allocations of {len(set(sizes))} sizes", flush=True)
last = len(trials) if options.to is None else options.to
trials = [trial for trial in trials[options.first:last + 1] if re.search(options.only, title(*trial))]
if options.list:
    print("\n".join(title(*trial) for trial in trials))
    sys.exit()
with concurrent.futures.ThreadPoolExecutor(2) as pool:  # one waits where the other computes
    outcomes = list(pool.map(lambda trial: attempt(*trial), trials))
count, failures = collections.Counter(how for how, _ in outcomes), sum(not good for _, good in outcomes)
print(", ".join(f"{key}: {number}" for key, number in sorted(count.items())) + f"; {failures} failures")
sys.exit(failures > 0)
