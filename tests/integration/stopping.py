"""SIGTERM, SIGUSR1 and the end of the job's time stop training, testing and silencing within a batch: exit code 75, nothing lost."""
import os
import signal
import subprocess
import time

import h5py

from common import BINARY, VARYING, folder, identical, launch, make_idx, run

PATIENCE = 30  # seconds; a stop takes a batch, here milliseconds, and the end of MPI
here = folder()
data = make_idx(f"{here}/data", train=40, test=2500)
few = make_idx(f"{here}/few", train=40, test=40)
TRAIN = ["train", "--arch", "vgg6", "--batch", 20, "--slots", 2, "--lr", 0.02, "--fc-lr", 0.02, "--momentum", 0.9,
         "--fc-momentum", 0.9, "--data", data]
SWEEP = ["sweep", "--model", f"{here}/whole.h5", "--batch", 20, "--slots", 2, "--test-every", 1, "--data", data]


def stop(words, ranks, after, pause, how=signal.SIGUSR1, env=None):
    """Signals the program `pause` seconds after it printed `after`; returns what it printed."""
    process = subprocess.Popen(launch(ranks, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, **(env or {})})
    text = ""
    for line in process.stdout:
        text += line
        if after in line:
            break
    time.sleep(pause)
    started = time.monotonic()
    if how:
        process.send_signal(how)
    text += process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 75, f"{' '.join(map(str, words))}: exit code {process.returncode}\n{text}"
    assert "the same command goes on" in text and (not how or how.name in text or "another rank" in text), text
    print(f"{words[0]} on {ranks} ranks stopped {time.monotonic() - started:.2f} s after {how.name if how else 'its time'}")
    return text


# In the test after an epoch: the position is after the last batch, and the next start begins with the test.
run(1, *TRAIN, "--epochs", 2, "--out", f"{here}/whole.h5")
for ranks in (1, 2):
    path = f"{here}/train{ranks}.h5"
    stop([*TRAIN, "--epochs", 2, "--out", path], ranks, "epoch 1/2", 1)
    with h5py.File(path) as file:
        assert (file.attrs["epoch"], file.attrs["batch"]) == (1, 2), "not stopped while testing"
    run(3 - ranks, *TRAIN, "--epochs", 2, "--out", path)
    assert identical(f"{here}/whole.h5", path, ("/history",))

run(1, *SWEEP, "--epochs", 2, "--out", f"{here}/sweep.h5")
for ranks, how in ((1, signal.SIGTERM), (2, signal.SIGUSR1)):
    path = f"{here}/sweep{ranks}.h5"
    stop([*SWEEP, "--epochs", 2, "--out", path], ranks, "epoch 1/2", 1, how)
    with h5py.File(path) as file:
        slots = file["resume/slots"][:]
        assert (slots["epoch"][slots["sequence"].argmax()], slots["batch"].max()) == (1, 2), "not stopped while testing"
    text = stop([*SWEEP, "--epochs", 2, "--out", path], ranks, "phase three", 0.5, how)
    assert "stopped in phase three" in text, text
    run(3 - ranks, *SWEEP, "--epochs", 2, "--out", path)
    assert identical(f"{here}/sweep.h5", path, VARYING)

# The clock: Slurm tells when the job ends.
clock = {"SLURM_JOB_END_TIME": str(int(time.time()) + 67)}
text = stop([*TRAIN[:-1], few, "--epochs", 5000, "--reserve", 60, "--out", f"{here}/clock.h5"], 2, "epoch 1/", 0, None, clock)
assert "stopped in epoch" in text and "nearly over" in text, text
print("the clock: stopped before the job's end")
