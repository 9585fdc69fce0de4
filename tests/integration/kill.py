"""Kills train and sweep with SIGKILL, at random moments (one rank, or all with their mpirun) and at each write to their files,
resumes on other numbers of ranks until they are complete, and compares with undisturbed runs: no unit that was recorded is
computed again, and no bit differs.

  kill.py [--kills N] [--points none|named|all] [--seed N] [--jobs train,sweep,knockout]

  --kills N   random kills (12)
  --jobs      that are killed at random; knockout: the fourth phase of a sweep whose others are complete
  --points    named: one call of each kind of write (default); all: every call, and every way to die there: minutes; of train and sweep
"""
import argparse
import collections
import concurrent.futures
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import h5py
import numpy as np

from common import (FAULTS, VARYING, children, descendants, folder, identical, launch, lives, make_idx, run, train_small, vgg6_with_units,
                    write_places)

PATIENCE = 60  # seconds in which a job whose rank was killed has ended
parser = argparse.ArgumentParser()
parser.add_argument("--kills", type=int, default=12)
parser.add_argument("--points", choices=("none", "named", "all"), default="named")
parser.add_argument("--seed", type=int, default=int(time.time()))
parser.add_argument("--jobs", default="train,sweep,knockout")
options = parser.parse_args()
chance = random.Random(options.seed)
print(f"seed {options.seed}")

here = folder()
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1, vgg6_with_units(f"{here}/units.txt"))
SWEEP = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 20, "--slots", 4, "--test-every", 4]
TRAIN = ["train", "--arch", "vgg6", "--data", data, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02,
         "--momentum", 0.9, "--fc-momentum", 0.9]
count, counting = collections.Counter(), threading.Lock()


def add(what, number=1):
    with counting:
        count[what] += number


class Train:
    """A training: what its file must keep through kills."""
    name = "train"

    def __init__(self, epochs):
        self.words = [*TRAIN, "--epochs", epochs, "--out"]
        self.whole = f"{here}/{self.name}-whole-{epochs}.h5"
        run(1, *self.words, self.whole)

    def begin(self, path):
        """What is there before the first start."""

    def same(self, path):
        return identical(self.whole, path, ("/history",))

    def check(self, path, torn):
        """What the program itself says of the file. A write that was cut in two may be named: it looks like damage."""

    def recorded(self, path):
        """{unit: attempts}: here the epochs that are in the file, which must stay as they are."""
        with h5py.File(path) as file:
            names = [name for name in file["history"].dtype.names if name != "seconds"]
            return {row["epoch"]: tuple(row[names]) for row in file["history"][:]}

    def attempts(self, path):
        return 0


class Sweep(Train):
    name = "sweep"

    def __init__(self, epochs, *more):
        self.words = [*SWEEP, *more, "--epochs", epochs, "--out"]
        self.whole = f"{here}/{self.name}-whole-{epochs}.h5"
        run(1, *self.words, self.whole)

    def same(self, path):
        return identical(self.whole, path, VARYING)

    def check(self, path, torn):
        done = run(1, "check", path, expect=None)
        damaged = [line for line in done.stdout.splitlines() if line.startswith("damaged")]
        assert done.returncode == (3 if damaged else 0) and all(torn and torn in line for line in damaged), done
        add("torn rows named by check", len(damaged))

    def recorded(self, path):
        with h5py.File(path) as file:
            done = np.flatnonzero(file["units"]["state"] == 1)
            return {unit: file["provenance/units"]["attempt"][unit] for unit in done}

    def attempts(self, path):
        with h5py.File(path) as file:
            return int(file["provenance/units"]["attempt"].sum() - len(file["units"]))


class Knockout(Sweep):
    """Its batches are small, so that blocks of filters are cut by images on two ranks already."""
    name = "knockout"

    def __init__(self):
        words = [*SWEEP, "--batch", 5, "--layers", "5,fc1", "--epochs", 1, "--out"]
        self.silenced = f"{here}/{self.name}-silenced.h5"
        run(1, *words, self.silenced)
        self.words = [*words[:-1], "--knockout", "zero", "--out"]
        self.whole = f"{here}/{self.name}-whole.h5"
        run(1, *self.words, self.whole)

    def begin(self, path):
        shutil.copy(self.silenced, path)


def look(job, path, before, torn=None):
    """What is recorded after a kill, perhaps within a write to dataset `torn`. What was recorded before must be there, and not
    have been computed again."""
    if not os.path.exists(path):
        assert not before, f"{path} is gone"
        return {}
    job.check(path, torn)
    now = job.recorded(path)
    lost = [unit for unit in before if now.get(unit) != before[unit]]
    add("units lost", len(lost))
    if lost:
        print(f"{job.name}: lost {lost}: {[(before[unit], now.get(unit)) for unit in lost]}")
    return now


def finish(job, path, before):
    ranks = chance.choice((1, 2, 3))
    run(ranks, *job.words, path)
    add("resumes")
    look(job, path, before)
    add("units redone", job.attempts(path))
    if not job.same(path):
        add("files that differ")
        print(f"{path}: differs")
    names = os.listdir(os.path.dirname(path))
    assert names == [os.path.basename(path)], f"left behind: {names}"
    shutil.rmtree(os.path.dirname(path))


def new_path(job):
    path = f"{tempfile.mkdtemp(dir=here)}/{job.name}.h5"
    job.begin(path)
    return path


def kill_once(job, path, ranks, seconds, more):
    """Starts the job, kills one or all of its ranks after `seconds`; 1 where it did not end before."""
    process = subprocess.Popen(launch(ranks, *job.words, path, *more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    # The ranks, of which MPICH's are children of a proxy
    pids = [pid for pid in descendants(process.pid) if not children(pid)] if ranks > 1 else []
    one = pids and chance.random() < 0.5
    victims = [chance.choice(pids)] if one else [*pids, process.pid]
    alive = process.poll() is None
    for pid in victims if alive else ():
        os.kill(pid, signal.SIGKILL)
    try:
        said = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        sys.exit(f"{job.name} on {ranks} ranks: still there {PATIENCE} s after one was killed")
    deadline = time.monotonic() + PATIENCE
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < deadline, "a rank outlives its job"
        time.sleep(0.02)
    if process.returncode == 0 or not alive:
        assert process.returncode == 0, f"{job.name} ended by itself: {said}"
        return 0
    add(f"kills of {'one of ' if one else ''}{ranks} rank{'s' * (ranks > 1)}")
    return 1


def measure(job, ranks):
    """Seconds that it takes, undisturbed."""
    started = time.monotonic()
    path = new_path(job)
    run(ranks, *job.words, path)
    took = time.monotonic() - started
    assert job.same(path)
    shutil.rmtree(os.path.dirname(path))
    return took


def kill_at_random(jobs, length, kills):
    while count["random kills"] < kills:
        job, before = chance.choice(jobs), {}
        path = new_path(job)
        for _ in range(6):
            ranks = chance.choice((1, 2, 4))
            team = [] if job.name == "train" else ["--team", chance.choice((1, 2, 4))]
            hit = kill_once(job, path, ranks, chance.uniform(0.1, length[job, ranks]), team)
            add("random kills", hit)
            before = look(job, path, before)
            if not hit or count["random kills"] >= kills:
                break
            add("resumes")
        finish(job, path, before)


def kill_at_point(job, name, way, number):
    path = new_path(job)
    done = run(1, *job.words, path, expect=None,
               env={"LD_PRELOAD": FAULTS, "FAULT_FOLDER": os.path.dirname(path), "FAULT_DO": way, "FAULT_AT": str(number)})
    assert done.returncode == -signal.SIGKILL, f"{name}: exit code {done.returncode}\n{done.stderr}"
    add("kills at a write")
    finish(job, path, look(job, path, {}, name if way == "torn" else None))


def points(job, which):
    """(job, name, way, number) of the writes to die at."""
    places = write_places(job.words, f"{here}/places-{job.name}")
    print(f"{job.name}: to be killed at {len(places)} kinds of writes: {', '.join(places)}")
    for kind, (name, calls) in enumerate(places.items()):
        for number, size in calls if which == "all" else calls[len(calls) // 2:][:1]:
            ways = ("kill", "torn", "after") if size > 1 else ("kill", "after")
            for way in ways if which == "all" else [ways[kind % len(ways)]]:
                yield job, name, way, number


def side_by_side(function, *several):
    """One waits where another computes."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda words: function(*words), several))


started = time.monotonic()
if options.points != "none":
    small = [Train(2), Sweep(2, "--layers", "1,fc1", "--filters-per-unit", 200)]
    side_by_side(kill_at_point, *(point for job in small for point in points(job, options.points)))
kinds = {"train": lambda: Train(4), "sweep": lambda: Sweep(16), "knockout": Knockout}
long = [kinds[name]() for name in options.jobs.split(",")]
runs = [(job, ranks) for job in long for ranks in (1, 2, 4)]
length = dict(zip(runs, side_by_side(measure, *runs)))
side_by_side(kill_at_random, *[(long, length, options.kills)] * 2)
add("units lost", 0)
add("files that differ", 0)
print(f"{time.monotonic() - started:.0f} s: " + ", ".join(f"{name}: {number}" for name, number in sorted(count.items())))
sys.exit(count["units lost"] + count["files that differ"] > 0)
