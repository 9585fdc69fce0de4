"""Fails calls of the C library under train and sweep: no space left, I/O errors, writes of half the bytes, no memory. The program
either goes on to the same bits or ends soon with one message and exit code 1; then the same command goes on to the same bits.

  faults.py [--all]     every call in every way, rather than one of each kind in one way: an hour"""
import collections
import os
import shutil
import sys
import time

from common import FAULTS, VARYING, folder, identical, make_idx, run, train_small, write_places

here = folder()
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1)
JOBS = {
    "train": (["train", "--arch", "vgg6", "--data", data, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02,
               "--momentum", 0.9, "--fc-momentum", 0.9, "--epochs", 2, "--out"], ("/history",)),
    "sweep": (["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 20, "--slots", 4, "--epochs", 2,
               "--layers", "1,5", "--filters-per-unit", 200, "--out"], VARYING),
}
everything = "--all" in sys.argv
count, failures = collections.Counter(), 0


def attempt(name, way, number, what):
    """Runs the job with the fault at call `number`, then again without."""
    global failures
    words, varying = JOBS[name]
    os.mkdir(f"{here}/try")
    path = f"{here}/try/{name}.h5"
    started = time.monotonic()
    done = run(1, *words, path, expect=None, env={"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/try", "FAULT_DO": way,
                                                  "FAULT_AT": str(number)})
    took = time.monotonic() - started
    said = [line for line in done.stderr.splitlines() if line.startswith("filterscope:")]
    reasons = {"eio": "Input/output error", "enospc": "No space left", "alloc": "out of memory", "short": "write failed"}
    good = took < 20 and (done.returncode == 0 or done.returncode == 1 and len(said) == 1 and reasons[way] in said[0])
    again = run(1, *words, path, expect=None)
    good &= again.returncode == 0 and identical(f"{here}/{name}.h5", path, varying) and os.listdir(f"{here}/try") == [f"{name}.h5"]
    print(f"{'ok  ' if good else 'FAIL'} {name} {way:6} {number:4} {what:24} exit {done.returncode} {' | '.join(said)}")
    if not good:
        failures += 1
        print(done.stderr[-2000:], again.stderr[-2000:], os.listdir(f"{here}/try"))
    count[f"{way}: exit {done.returncode}"] += 1
    shutil.rmtree(f"{here}/try")


for name, (words, varying) in JOBS.items():
    run(1, *words, f"{here}/{name}.h5")
    points = write_places(words, f"{here}/{name}-places")
    for kind, (what, calls) in enumerate(points.items()):
        for number, size in calls if everything else calls[len(calls) // 2:][:1]:
            ways = ("enospc", "eio", "short") if size > 1 else ("enospc", "eio")
            for way in ways if everything else [ways[kind % len(ways)]]:
                attempt(name, way, number, what)
    os.mkdir(f"{here}/try")
    run(1, *words, f"{here}/try/x.h5", env={"LD_PRELOAD": FAULTS, "FAULT_FOLDER": here, "FAULT_DO": "alloc", "FAULT_LOG": f"{here}/log"})
    shutil.rmtree(f"{here}/try")
    with open(f"{here}/log") as file:
        sizes = [int(line.split()[-1]) for line in file]
    os.remove(f"{here}/log")
    chosen = range(len(sizes)) if everything else sorted({sizes.index(size) for size in sizes})[::4]
    for number, size in ((index + 1, sizes[index]) for index in chosen):
        attempt(name, "alloc", number, f"{size} bytes")
    print(f"{name}: {len(points)} kinds of calls that change files, {len(sizes)} allocations of {len(set(sizes))} sizes")
print(", ".join(f"{key}: {number}" for key, number in sorted(count.items())) + f"; {failures} failures")
sys.exit(failures > 0)
