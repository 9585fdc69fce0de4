"""Power failures under train and sweep. Every write of a run is recorded (tests/faults/trace.c); of these, states are made that a
disk may be left in at any moment: all that was synced, and of each later page of 4 KiB any version it had or a mix of sectors of
512 bytes; files renamed or not yet. Each is judged (tests/faults/judge.c), and some are resumed. Shown are: units accepted with
a payload that differs from an undisturbed run's (wrong), files, units and states lost though they had been synced (lost), and how
many seconds of a probe's or a training's work a failure costs at the most.

  crash.py [STATES [RESUMES [SEED]]]    (150, 3, of the clock)
"""
import collections
import os
import random
import shutil
import struct
import subprocess
import sys
import time

import h5py
import numpy as np

from common import BUILD, VARYING, folder, identical, launch, make_idx, run, train_small, wait_until

TRACE, JUDGE = os.path.join(BUILD, "tests", "libtrace.so"), os.path.join(BUILD, "tests", "judge")
PAGE, SECTOR = 4096, 512
WRITE, SIZE, GROW, SYNC_BEGINS, SYNC_ENDS, RENAME, LINK, UNLINK = range(1, 9)
states, resumes, seed = [int(word) for word in sys.argv[1:]] + [150, 3, int(time.time())][len(sys.argv) - 1:]
chance = random.Random(seed)
print(f"seed {seed}", flush=True)
here = folder()
scratch = f"{here}/crash"
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1)
SYNC = 0.05  # seconds of --save-every: some syncs in a short run
JOBS = {  # kind: command, what may differ from an undisturbed run
    "train": (["train", "--arch", "vgg6", "--data", data, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02, "--momentum",
               0.9, "--fc-momentum", 0.9, "--epochs", 3, "--save-every", SYNC, "--out"], ("/history",)),
    "sweep": (["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 20, "--slots", 4, "--test-every", 10, "--layers",
               "3,5", "--filters-per-unit", 200, "--epochs", 20, "--save-every", SYNC, "--knockout", "zero", "--knockout-images", 10,
               "--out"], VARYING),
}
count = collections.Counter()
judge = subprocess.Popen([JUDGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class File:
    """Contents as the programs see them, as they were at the last sync, and every version since of each page."""

    def __init__(self):
        self.now, self.synced, self.pages, self.begun = bytearray(), b"", {}, {}

    def write(self, offset, content):
        self.now.extend(bytes(max(0, offset + len(content) - len(self.now))))
        self.now[offset:offset + len(content)] = content
        for page in range(offset // PAGE, (offset + len(content) - 1) // PAGE + 1):
            self.pages.setdefault(page, []).append(bytes(self.now[page * PAGE:(page + 1) * PAGE]))

    def resize(self, size, only_grow):
        if not only_grow and size < len(self.now):
            del self.now[size:]
        self.now.extend(bytes(max(0, size - len(self.now))))

    def sync_begins(self, process):
        self.begun[process] = bytes(self.now), {page: len(versions) for page, versions in self.pages.items()}

    def sync_ends(self, process):
        self.synced, known = self.begun.pop(process)
        for page, versions in known.items():
            left = self.pages.get(page, [])[versions:]
            if left:
                self.pages[page] = left
            else:
                self.pages.pop(page, None)
        self.begun = {}  # what another sync has seen counts from its own end only

    def torn(self):
        """What a power failure may leave."""
        left = bytearray(self.now if chance.random() < 0.5 else self.synced)  # the length is metadata
        image = bytearray(self.synced)
        image.extend(bytes(max(0, len(left) - len(image))))
        reached = chance.choice((0.1, 0.5, 0.9))
        for page, versions in self.pages.items():
            if chance.random() > reached:
                continue
            new = chance.choice(versions) if chance.random() < 0.3 else versions[-1]
            begin = page * PAGE
            if chance.random() < 0.2:  # torn: sector by sector
                for sector in range(0, len(new), SECTOR):
                    if chance.random() < 0.5:
                        image[begin + sector:begin + sector + SECTOR] = new[sector:sector + SECTOR]
            else:
                image[begin:begin + len(new)] = new
        return bytes(image[:len(left)])


class Disk:
    """The files of a folder by name; renames since the folder was last synced may be undone by a failure."""

    def __init__(self):
        self.names, self.synced = {}, {}

    def apply(self, event):
        _, kind, process, offset, content, path, path_to = event
        if kind in (WRITE, SIZE, GROW):
            file = self.names.setdefault(path, File())
            file.write(offset, content) if kind == WRITE else file.resize(offset, kind == GROW)
        elif kind == SYNC_BEGINS and path in self.names:
            self.names[path].sync_begins(process)
        elif kind == SYNC_ENDS and path in self.names and process in self.names[path].begun:
            self.names[path].sync_ends(process)
        elif kind == SYNC_ENDS and path not in self.names:
            self.synced = dict(self.names)  # the folder
        elif kind == RENAME and path in self.names:
            self.names[path_to] = self.names.pop(path)
        elif kind == LINK and path in self.names:
            self.names[path_to] = self.names[path]
        elif kind == UNLINK:
            self.names.pop(path, None)

    def fail(self, into):
        """Writes what is left to a folder. A name is old or new as a whole, but each on its own."""
        for path in set(self.names) | set(self.synced):
            file = (self.names if chance.random() < 0.5 else self.synced).get(path)
            if file and ".lock" not in path:
                with open(os.path.join(into, os.path.basename(path)), "wb") as out:
                    out.write(file.torn())


def record(name, ranks):
    """Runs the job and returns (its results file, the events)."""
    own = f"{here}/{name}-{ranks}"
    os.mkdir(own)
    run(ranks, *JOBS[name][0], f"{own}/{name}.h5", env={"LD_PRELOAD": TRACE, "TRACE_FOLDER": own, "TRACE_FILE": f"{own}.trace"})
    events, head = [], struct.Struct("<diiqQII")
    with open(f"{own}.trace", "rb") as file:
        while packed := file.read(head.size):
            moment, kind, process, offset, size, path, path_to = head.unpack(packed)
            path, path_to = file.read(path).decode(), file.read(path_to).decode()
            events.append((moment, kind, process, offset, file.read(size), path, path_to))
    os.remove(f"{own}.trace")
    return f"{own}/{name}.h5", events


def judged(path):
    judge.stdin.write(path + "\n")
    judge.stdin.flush()
    return judge.stdout.readline().split()


def progress(said):
    """{what: (epoch, batch)} of a judgement: of each layer's state, or of the model as layer 0."""
    if said[0] == "model":
        return {0: tuple(map(int, said[2].split(":")))}
    return {int(layer): (int(epoch), int(batch)) for layer, epoch, batch, _ in (word.split(":") for word in said[5:])}


def done_units(said):
    return said[4] if said[0] == "results" and len(said) > 4 else ""


def payloads(path):
    """For each unit, the [(offset, bytes), ...] of its payload in the file."""
    with h5py.File(path) as file:
        layers, filters = list(file["layers"]["layer"]), list(file["layers"]["filters"])

        def rows(name, first, number):
            set = file[name]
            each = set.dtype.itemsize * int(np.prod(set.shape[1:]))
            return set.id.get_offset() + first * each, number * each

        epochs = len(file["probe/history"]) // len(layers)
        found = []
        for unit in file["units"][:]:
            layer, first, number = int(unit["layer"]), int(unit["first"]), int(unit["count"])
            before = int(sum(filters[:layers.index(layer)]))
            if unit["kind"] == 1:
                found.append([rows(f"probe/{layer}/weight", 0, 3), rows("probe/history", layers.index(layer) * epochs, epochs)])
            elif unit["kind"] == 3:
                found.append([rows(f"knockout/{name}", 0, 3) for name in ("baseline", "confusion")])
            elif unit["kind"] == 4:
                found.append([rows(f"knockout/{layer}/{name}", first, number)
                              for name in ("right", "answers", "changed", "loss", "work")])
            else:
                found.append([rows(f"silence/{layer}/field", first, number), rows(f"silence/{layer}/cluster", first, number),
                              rows("silence/filters", before + first, number)])
        return found


def put(path, content):
    with open(path, "wb") as file:
        file.write(content)


class Truth:
    """What an undisturbed replay says: when each state of each layer was reached, and what was there at each sync."""

    def __init__(self, name, whole, events):
        self.kind, self.whole, self.began = name, whole, events[0][0]
        with open(whole, "rb") as file:
            self.final = file.read()
        self.payloads = payloads(whole) if name == "sweep" else []
        self.reached = {}   # (layer, (epoch, batch)): seconds
        self.floor = []     # (index of the event, units done, {layer: state}) at the end of each sync
        disk, floor = Disk(), (-1, "", {})
        self.path = f"{here}/truth.{'h5' if name == 'sweep' else 'model'}"
        final = f"{name}.h5"
        for index, event in enumerate(events):
            disk.apply(event)
            path = next((path for path in disk.names if path.endswith(f"/{final}")), None)
            ends = event[1] == SYNC_ENDS
            if path and (ends or (event[1] == WRITE and len(event[4]) <= 64) or event[1] == RENAME):
                put(self.path, disk.names[path].now)
                for layer, state in progress(judged(self.path)).items():
                    self.reached.setdefault((layer, state), event[0])
            synced = next((file for path, file in disk.synced.items() if path.endswith(f"/{final}")), None)
            if synced and ends:
                put(self.path, synced.synced)
                said = judged(self.path)
                floor = index, done_units(said), progress(said)
            self.floor.append(floor)

    def look(self, path, index, moment):
        """Judges a file that a failure after event `index` left; counts what is wrong, lost, and the seconds of work."""
        _, done, floor = self.floor[index]
        if not os.path.exists(path):
            count["lost"] += bool(floor)
            return
        named = path if self.kind == "sweep" else shutil.move(path, f"{path}.model")
        said = judged(named)
        if named != path:
            shutil.move(named, path)
        if said[1] != "0":
            count["lost"] += bool(floor)
            count["refused, not synced"] += not floor
            return
        count["named by check"] += self.kind == "sweep" and said[2] != "0"
        with open(path, "rb") as file:
            content = file.read()
        for unit, accepted in enumerate(done_units(said)):
            count["units accepted"] += accepted == "1"
            count["lost"] += accepted == "0" and unit < len(done) and done[unit] == "1"
            if accepted == "1" and any(content[o:o + n] != self.final[o:o + n] for o, n in self.payloads[unit]):
                count["wrong"] += 1
        for layer, state in progress(said).items():
            count["lost"] += state < floor.get(layer, (-1, 0))
            if state[0] >= 0 and (layer, state) not in self.reached:
                count["wrong"] += 1
            elif floor and not (self.kind == "sweep" and self.is_probed(layer, said)):
                self.cost(moment - self.reached.get((layer, state), self.began))

    def is_probed(self, layer, said):
        with h5py.File(self.whole) as file:
            units = file["units"][:]
        return any(done == "1" and unit["kind"] == 1 and unit["layer"] == layer for done, unit in zip(done_units(said), units))

    def cost(self, seconds):
        count["most work lost, ms"] = max(count["most work lost, ms"], int(1000 * seconds))


def fail_and_look(name, whole, events, truth, states, resumes):
    words, varying = JOBS[name]
    disk, index = Disk(), 0
    moments = sorted(chance.randrange(len(events)) for _ in range(states))
    chosen = set(chance.sample(range(states), min(resumes, states)))
    for number, moment in enumerate(moments):
        while index <= moment:
            disk.apply(events[index])
            index += 1
        os.makedirs(scratch)
        disk.fail(scratch)
        path = f"{scratch}/{name}.h5"
        truth.look(path, moment, events[moment][0])
        count["states"] += 1
        if number in chosen:
            done = run(chance.choice((1, 1, 2)), *words, path, expect=None)
            same = done.returncode == 0 and identical(whole, path, varying) and os.listdir(scratch) == [f"{name}.h5"]
            count["resumed"] += 1
            count["resumes that differ"] += not same
            if not same:
                print(f"{name}, after event {moment}: exit {done.returncode}: {done.stderr[-500:]} {os.listdir(scratch)}")
        shutil.rmtree(scratch)


def save_amid_an_epoch():
    """The model is written in a long epoch, too: after a kill, training goes on in it, to the same bits."""
    words = ["train", "--arch", "vgg6", "--data", make_idx(f"{here}/long", labels=3, train=600, test=30), "--epochs", 1, "--lr", 0.001,
             "--fc-lr", 0.001, "--batch", 20, "--slots", 4, "--out"]
    run(1, *words, f"{here}/long.h5")
    path = f"{here}/amid.h5"
    process = subprocess.Popen(launch(1, *words, path, "--save-every", 0.1), stdout=subprocess.DEVNULL)
    wait_until(lambda: os.path.exists(path), 60, "a model amid an epoch")
    process.kill()
    process.wait()
    with h5py.File(path) as file:
        assert file.attrs["epoch"] == 0 and file.attrs["batch"] > 0, dict(file.attrs)
    run(1, *words, path)
    assert identical(f"{here}/long.h5", path, ("/history",))


save_amid_an_epoch()
count.update({"wrong": 0, "lost": 0, "resumes that differ": 0})
started = time.monotonic()
for name in JOBS:
    for ranks in (1, 3) if name == "sweep" else (1,):
        whole, events = record(name, ranks)
        parts = 2 if name == "sweep" else 1  # of five
        print(f"{name} on {ranks} rank{'s' * (ranks > 1)}: {len(events)} events, {sum(e[1] == SYNC_ENDS for e in events)} syncs, "
              f"{events[-1][0] - events[0][0]:.1f} s", flush=True)
        fail_and_look(name, whole, events, Truth(name, whole, events), max(1, states * parts // 5), max(1, resumes * parts // 5))
print(f"{time.monotonic() - started:.0f} s: " + ", ".join(f"{name}: {number}" for name, number in sorted(count.items())))
sys.exit(count["wrong"] + count["lost"] + count["resumes that differ"] > 0)
