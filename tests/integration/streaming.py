"""Images that stay in their HDF5 file: the same bits as from memory, in chunks or not, on 1, 2 and 3 ranks and after a stop; a file that
gets shorter, cannot be read on one rank, or does not answer ends every rank with one message, and leaves the model as it was."""
import os
import signal
import subprocess
import time

import h5py
import numpy as np

from common import FAULTS, VARYING, folder, identical, launch, messages, run, wait_until

here = folder()
random = np.random.default_rng(1)
pattern = random.integers(0, 256, (4, 2, 2, 3)).repeat(8, 1).repeat(8, 2)
label = np.arange(430) % 4
images = np.clip(pattern[label] + random.normal(0, 40, (430, 16, 16, 3)), 0, 255).astype(np.uint8)
for name, chunks in (("plain", None), ("chunks", (7, 16, 16, 3))):
    with h5py.File(f"{here}/{name}.h5", "w") as file:
        for split, part in (("train", slice(0, 390)), ("test", slice(390, 430))):
            file.create_dataset(f"{split}_images", data=images[part], chunks=chunks)
            file[f"{split}_labels"] = label[part]
with open(f"{here}/net.txt", "w") as file:
    file.write("conv 8 3x3 pad 1\nbn\nrelu\nmaxpool 2\nconv 16 3x3\nrelu\nglobalavg\nfc K\n")
TRAIN = ["train", "--arch", f"{here}/net.txt", "--batch", 50, "--slots", 4, "--hold-back", 0.1]
STAYS = ["--data-memory", 0.0001]
plain, chunks = f"hdf5:{here}/plain.h5", f"hdf5:{here}/chunks.h5"


def train(ranks, data, out, *words, epochs=2, **how):
    return run(ranks, *TRAIN, "--data", data, "--out", f"{here}/{out}", "--epochs", epochs, *words, **how)


assert "stay in" not in train(1, plain, "memory.h5").stdout
for ranks, data in ((1, chunks), (2, plain), (3, plain)):
    assert "training images stay in" in train(ranks, data, f"stays{ranks}.h5", *STAYS).stdout
    assert identical(f"{here}/memory.h5", f"{here}/stays{ranks}.h5", ["/history"]), f"{ranks} ranks, {data}"
print("train: 1, 2 and 3 ranks: the same bits as from memory")

SWEEP = ["sweep", "--model", f"{here}/memory.h5", "--batch", 50, "--slots", 4, "--epochs", 2, "--views", 2, "--out"]
run(1, *SWEEP, f"{here}/memory-sweep.h5", "--data", plain)
run(2, *SWEEP, f"{here}/sweep.h5", "--data", chunks, *STAYS)
assert identical(f"{here}/memory-sweep.h5", f"{here}/sweep.h5", VARYING)
EVAL = ["eval", "--model", f"{here}/memory.h5", "--split", "train", "--table", "logits", "--data"]
assert run(1, *EVAL, plain).stdout == run(2, *EVAL, plain, *STAYS).stdout
print("sweep and eval: the same bits")


def start(ranks, out, *words, env=None):
    """A training in its 20th batch or later, written every now and then."""
    job = subprocess.Popen(launch(ranks, *TRAIN, "--data", plain, "--out", f"{here}/{out}", "--epochs", 500, *STAYS, *words),
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    wait_until(lambda: os.path.exists(f"{here}/{out}") or job.poll() is not None, 60, "an epoch")
    return job


job = start(2, "stopped.h5")
job.send_signal(signal.SIGUSR1)
assert job.wait(60) == 75
with h5py.File(f"{here}/stopped.h5") as file:
    epochs = int(file.attrs["epoch"]) + 1
train(1, plain, "stopped.h5", *STAYS, epochs=epochs)
train(1, plain, "whole.h5", epochs=epochs)
assert identical(f"{here}/whole.h5", f"{here}/stopped.h5", ["/history"]), epochs
print("stopped and gone on with: the same bits")


def ends(job, code, *parts):
    """The job ends so within seconds, with one message that has these parts, and what it wrote is whole."""
    begun = time.monotonic()
    said = messages(job.communicate(timeout=60)[1])
    assert job.returncode == code and len(said) == 1 and all(part in said[0] for part in parts), (job.returncode, said)
    print(f"exit code {code} after {time.monotonic() - begun:.1f} s: {said[0].replace(here + '/', '')}")


job = start(2, "shorter.h5")
os.truncate(f"{here}/plain.h5", 100000)
ends(job, 1, "plain.h5: images cannot be read at byte", "has become shorter")
with h5py.File(f"{here}/shorter.h5") as file:
    assert file.attrs["epoch"] >= 1
with h5py.File(f"{here}/plain.h5", "w") as file:
    for split, part in (("train", slice(0, 390)), ("test", slice(390, 430))):
        file[f"{split}_images"], file[f"{split}_labels"] = images[part], label[part]
for do, code, says in (("eio", 1, "cannot be read at byte"), ("hang", 70, "no longer answers (waiting in: ")):
    env = {"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/plain.h5", "FAULT_RANK": "1", "FAULT_AT": "100", "FAULT_DO": do,
           "FAULT_READS": "1", "FAULT_THREADS": "1", "FILTERSCOPE_FILE_SECONDS": "2"}
    ends(start(2, f"{do}.h5", env=env), code, "plain.h5: ", says)
