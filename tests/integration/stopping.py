"""SIGTERM, SIGUSR1 and the end of the job's time stop training, testing and silencing within a batch: exit code 75, nothing lost."""
import os
import signal
import subprocess
import sys
import time

import h5py

from common import VARYING, folder, identical, launch, make_idx, run

PATIENCE = 30  # seconds in which it ends in any case
LATENCY = 5  # seconds from the signal to the end, of which mpirun takes more than one; that no batch began shows the place
ATTEMPTS = 4  # on a machine whose speed varies
here = folder()
data = make_idx(f"{here}/data", train=40, test=2500)
few = make_idx(f"{here}/few", train=40, test=40)
TRAIN = ["train", "--arch", "vgg6", "--batch", 20, "--slots", 2, "--lr", 0.02, "--fc-lr", 0.02, "--momentum", 0.9,
         "--fc-momentum", 0.9, "--data", data]
SWEEP = ["sweep", "--model", f"{here}/whole.h5", "--batch", 20, "--slots", 2, "--test-every", 1, "--data", data]


def stop(words, ranks, begin, after, how=signal.SIGUSR1, env=None):
    """Signals the program after it printed `after`, half as long as it took since it printed `begin`; without `how` it is to
    stop by itself. Returns what it printed and the seconds from the signal to its end."""
    process = subprocess.Popen(launch(ranks, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, **(env or {})})
    text, began = "", time.monotonic()
    for line in process.stdout:
        text += line
        if begin in line:
            began = time.monotonic()
        if after in line:
            break
    if how:
        time.sleep((time.monotonic() - began) / 2)
        process.send_signal(how)
    signalled = time.monotonic()
    text += process.communicate(timeout=PATIENCE)[0]
    took = time.monotonic() - signalled
    if process.returncode != 0 or not how:  # 0: complete before the signal
        assert process.returncode == 75, f"{' '.join(map(str, words))}: exit code {process.returncode}\n{text}"
        assert "the same command goes on" in text and (not how or how.name in text or "another rank" in text), text
    return text, took


def stop_in(place, words, path, ranks, begin, after, how, start=None):
    """Stops the program in the middle of what comes after it printed `after`, in time: place(path, text) says whether. It
    works on `path`, made anew from `start`."""
    tries = []
    for _ in range(ATTEMPTS):
        if start:
            os.replace(start(), path)
        elif os.path.exists(path):
            os.remove(path)
        text, took = stop([*words, "--out", path], ranks, begin, after, how)
        tries.append((place(path, text), took))
        if tries[-1][0] and took < LATENCY:
            print(f"{words[0]} on {ranks} ranks stopped {took:.2f} s after {how.name}")
            return
    sys.exit(f"{' '.join(map(str, words))} on {ranks} ranks: (in its place, seconds to the end): {tries}")


def train_testing(path, text):
    with h5py.File(path) as file:
        return (file.attrs["epoch"], file.attrs["batch"]) == (1, 2)


def sweep_testing(path, text):
    with h5py.File(path) as file:
        slots = file["resume/slots"][:]
        return (slots["epoch"][slots["sequence"].argmax()], slots["batch"].max()) == (1, 2)


def silencing(path, text):
    return "stopped in phase three" in text


def copy_of(path):
    def start():
        with open(path, "rb") as old, open(f"{path}.copy", "wb") as new:
            new.write(old.read())
        return f"{path}.copy"
    return start


# In the test after an epoch: the position is after the last batch, and the next start begins with the test.
run(1, *TRAIN, "--epochs", 2, "--out", f"{here}/whole.h5")
for ranks in (1, 2):
    path = f"{here}/train{ranks}.h5"
    stop_in(train_testing, [*TRAIN, "--epochs", 2], path, ranks, "  out ", "epoch 1/2", signal.SIGUSR1)
    run(3 - ranks, *TRAIN, "--epochs", 2, "--out", path)
    assert identical(f"{here}/whole.h5", path, ("/history",))

run(1, *SWEEP, "--epochs", 2, "--out", f"{here}/sweep.h5")
for ranks, how in ((1, signal.SIGTERM), (2, signal.SIGUSR1)):
    path = f"{here}/sweep{ranks}.h5"
    stop_in(sweep_testing, [*SWEEP, "--epochs", 2], path, ranks, "phase two", "epoch 1/2", how)
    os.rename(path, f"{path}.tested")
    stop_in(silencing, [*SWEEP, "--epochs", 2], path, ranks, "phase two", "phase three", how, copy_of(f"{path}.tested"))
    run(3 - ranks, *SWEEP, "--epochs", 2, "--out", path)
    assert identical(f"{here}/sweep.h5", path, VARYING)

# The clock: Slurm tells when the job ends.
clock = {"SLURM_JOB_END_TIME": str(int(time.time()) + 67)}
text, _ = stop([*TRAIN[:-1], few, "--epochs", 5000, "--reserve", 60, "--out", f"{here}/clock.h5"], 2, "", "epoch 1/", None, clock)
assert "stopped in epoch" in text and "nearly over" in text, text
print("the clock: stopped before the job's end")
