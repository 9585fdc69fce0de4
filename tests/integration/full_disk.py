"""A disk that is really full (a small tmpfs): training, sweep and a knock-out that is asked for later end with one message and exit
code 1, what was there before stays, and with more room the same command goes on to the same bits. One that fills up during a sweep does not disturb it."""
import os
import subprocess
import sys
import time

import h5py

from common import VARYING, folder, identical, launch, make_idx, messages, run, skip, train_small, wait_until

if "inside" not in sys.argv:  # a mount namespace of its own: nothing stays mounted
    own = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*own, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        skip("no file system may be mounted here")
    sys.exit(subprocess.run([*own, sys.executable, *sys.argv, "inside"]).returncode)

here = folder()
small = f"{here}/small"
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1)
TRAIN = ["train", "--arch", "vgg6", "--data", data, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02, "--momentum", 0.9,
         "--fc-momentum", 0.9, "--epochs", 2, "--out"]
SWEEP = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 20, "--slots", 4, "--epochs", 200, "--test-every", 100,
         "--out"]


def mount(size, *options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "none", small], check=True)


def room():
    found = os.statvfs(small)
    return found.f_bavail * found.f_frsize


def refused(words, kept):
    """The program ends soon, with one line, and leaves only what is to be kept."""
    started = time.monotonic()
    done = run(2, *words, expect=1)
    said = messages(done.stderr)
    assert len(said) == 1 and "No space left on device" in said[0], done.stderr
    assert sorted(os.listdir(small)) == kept, os.listdir(small)
    print(f"{words[0]}: exit code 1 after {time.monotonic() - started:.1f} s: {said[0]}")


os.mkdir(small)
for name, words in (("train", TRAIN), ("sweep", SWEEP)):
    run(1, *words, f"{here}/{name}.h5")
size = {name: os.path.getsize(f"{here}/{name}.h5") for name in ("train", "sweep")}

# The model of epoch 1 fits, but not that of epoch 2 beside it.
mount(size["train"] * 3 // 2)
refused([*TRAIN, f"{small}/train.h5"], ["train.h5"])
with h5py.File(f"{small}/train.h5") as file:
    assert (file.attrs["epoch"], file.attrs["batch"]) == (1, 0)
run(1, "check", f"{small}/train.h5")
mount(size["train"] * 3, "remount")
run(2, *TRAIN, f"{small}/train.h5")
assert identical(f"{here}/train.h5", f"{small}/train.h5", ("/history",))
subprocess.run(["umount", small], check=True)

mount(size["sweep"] // 2)
refused([*SWEEP, f"{small}/sweep.h5"], [])
mount(size["sweep"] + (1 << 20), "remount")
process = subprocess.Popen(launch(2, *SWEEP, f"{small}/sweep.h5"), stdout=subprocess.DEVNULL)
wait_until(lambda: os.path.exists(f"{small}/sweep.h5"), 60, "the results file")
with open(f"{small}/filler", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(1 << 16))
    except OSError:
        pass
assert process.poll() is None and room() == 0, "not full while it runs"
assert process.wait(120) == 0
assert identical(f"{here}/sweep.h5", f"{small}/sweep.h5", VARYING)
print("a disk that fills up during a sweep does not disturb it: complete, the same bits")

# A complete sweep's file, which gets room for the knock-out in a copy.
os.remove(f"{small}/filler")
refused([*SWEEP, f"{small}/sweep.h5", "--knockout", "zero"], ["sweep.h5"])
assert identical(f"{here}/sweep.h5", f"{small}/sweep.h5", VARYING)
run(1, "check", f"{small}/sweep.h5")
