"""The file that a name leads to: by all its names it has one lock, a link stays a link, what cannot be kept apart is refused, a path
may be long, and nothing is called complete, or written over, that another program has put there while the job was at work."""
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

from common import BINARY, FAULTS, VARYING, epochs_done, folder, identical, launch, make_idx, messages, run, wait_until, write_places

here = folder()
os.chdir(here)
data = make_idx("data", labels=2, train=40, test=20, size=8)
with open("small.txt", "w") as file:
    file.write("conv 4 3x3 pad 1\nrelu\nmaxpool 2\nconv 4 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
TRAIN = ["train", "--arch", "small.txt", "--data", data, "--batch", 20, "--slots", 2]
SWEEP = ["sweep", "--model", "model.h5", "--data", data, "--batch", 20, "--slots", 2]
LONG = ["--epochs", 100000, "--team", 1]
count = 0


def refused(code, pattern, *words, ranks=1, seconds=10):
    """The command ends soon with that code and one line that says so."""
    global count
    started = time.monotonic()
    done = run(ranks, *words, expect=code)
    took = time.monotonic() - started
    said = [line for line in messages(done.stderr) if "waiting up to" not in line]
    assert len(said) == 1 and re.search(pattern, said[0]) and took < seconds, (words, pattern, took, done.stderr)
    count += 1
    print(f"ok  exit {code}  {' '.join(map(str, words))[-60:]}: {said[0][:200]}")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def leftovers(path="."):
    return [name for root, _, names in os.walk(path) for name in names if name.endswith((".tmp", ".lock"))]


@contextlib.contextmanager
def job(ranks, *words, epochs=3):
    """Runs in the background until the block ends; the block begins when some epochs are recorded."""
    with open("log", "w") as log:
        process = subprocess.Popen(launch(ranks, *words), stdout=log, stderr=log)
    path = str(words[words.index("--out") + 1])
    process.end = lambda: (process.wait(60), messages(open("log").read()))
    if words[0] == "sweep":
        wait_until(lambda: epochs_done(path) >= epochs and "units are done" in open("log").read() or process.poll() is not None, 60, "an epoch")
    else:
        wait_until(lambda: open("log").read().count(" SR ") >= 2 * epochs or process.poll() is not None, 60, "an epoch")
    assert process.poll() is None, open("log").read()
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGUSR1)
            assert process.wait(60) == 75, open("log").read()


# A link stays a link, also one whose target is not there yet; an unbroken run is the same.
run(1, *TRAIN, "--epochs", 2, "--out", "model.h5")
run(1, *SWEEP, "--epochs", 2, "--out", "whole.h5")
os.makedirs("runs/deep")
os.symlink("runs", "by_folder")
os.symlink("deep/m.h5", "runs/model_link.h5")
os.symlink(f"{here}/runs/model_link.h5", "model_link.h5")
os.symlink("runs/deep/s.h5", "sweep_link.h5")
for epochs, ranks in ((1, 1), (2, 2)):
    run(ranks, *TRAIN, "--epochs", epochs, "--out", "model_link.h5")
assert identical("model.h5", "runs/deep/m.h5", ("/history",))
for ranks in (2, 1):
    run(ranks, *SWEEP, "--epochs", 2, "--out", "sweep_link.h5")
assert identical("whole.h5", "runs/deep/s.h5", VARYING)
assert all(map(os.path.islink, ("model_link.h5", "runs/model_link.h5", "sweep_link.h5"))) and not leftovers()

# One file, one writer, whatever it is called.
shutil.copy("runs/deep/m.h5", "hard.h5")
os.link("hard.h5", "hard2.h5")
os.symlink("one", "two")
os.symlink("two", "one")
os.symlink("gone/x.h5", "nowhere.h5")
with job(2, *SWEEP, *LONG, "--out", "runs/deep/long.h5"):
    os.symlink("runs/deep/long.h5", "long_link.h5")
    names = ["runs/deep/long.h5", "./runs//deep/../deep/long.h5", "by_folder/deep/long.h5", "long_link.h5",
             f"{here}/runs/deep/long.h5", "/proc/self/cwd/runs/deep/long.h5"]
    for name in names:
        refused(1, "in use: host .* is writing it", *SWEEP, *LONG, "--out", name)
    assert "locked by host" in run(1, "status", "long_link.h5").stdout
    with open("runs/deep/long.h5") as file:
        done = subprocess.run([BINARY, *map(str, SWEEP), "--out", f"/dev/fd/{file.fileno()}"], pass_fds=[file.fileno()],
                              capture_output=True, text=True)
        assert done.returncode == 1 and "in use" in done.stderr, done
    bound = subprocess.run(["unshare", "-m", "sh", "-ec", "mkdir bound && mount --bind runs/deep bound && touch file.h5 && "
                            "mount --bind runs/deep/long.h5 file.h5"], capture_output=True, text=True)
    if bound.returncode == 0:
        script = 'mount --bind runs/deep bound; mount --bind runs/deep/long.h5 file.h5; "$0" "$@"'
        for name, says in (("bound/long.h5", "in use"), ("file.h5", "mounted by itself")):
            done = subprocess.run(["unshare", "-m", "sh", "-c", script, BINARY, *map(str, [*SWEEP, *LONG, "--out", name])],
                                  capture_output=True, text=True)
            assert done.returncode == 1 and says in done.stderr, done
    else:
        print("not root: no bind mounts:", bound.stderr.strip())
    os.link("runs/deep/long.h5", "hard_long.h5")
    refused(1, "2 names", *SWEEP, *LONG, "--out", "hard_long.h5")
    os.remove("hard_long.h5")
for words in ([*TRAIN, "--epochs", 3], SWEEP):
    refused(1, "hard.h5: .* 2 names", *words, "--out", "hard.h5", ranks=2)
    refused(1, "one: Too many levels", *words, "--out", "one")
    refused(1, "nowhere.h5: .*No such file", *words, "--out", "nowhere.h5")
refused(2, "model.h5.tmp is a name that --out model.h5 needs", *TRAIN, "--epochs", 3, "--init", "model.h5.tmp", "--out", "model.h5")
shutil.copy("model.h5", "x.h5.lock")
refused(2, "x.h5.lock is a name", "sweep", "--model", "x.h5.lock", "--data", data, "--out", "./x.h5", ranks=2)
assert read("x.h5.lock") == read("model.h5")
os.remove("x.h5.lock")

# What is no file is not waited for, not written through, and not removed.
MAKE = {"folder": os.mkdir, "pipe": os.mkfifo, "dangling": lambda path: os.symlink("victim.none", path),
        "link": lambda path: os.symlink("victim", path)}
with open("victim", "w") as file:
    file.write("precious")
for kind, make in MAKE.items():
    for suffix in (".tmp", ".lock"):
        make(f"new.h5{suffix}")
        for words in ([*TRAIN, "--epochs", 1], SWEEP):
            refused(1, f"new.h5{suffix}.* no (file|lock)", *words, "--out", "new.h5")
        (os.rmdir if kind == "folder" else os.remove)(f"new.h5{suffix}")
assert read("victim") == b"precious" and not os.path.exists("victim.none") and not os.path.lexists("new.h5")
for name, says in (("fifo", "a pipe"), ("place", "a folder"), ("socket", "a socket"), ("/dev/null", "a device")):
    if says == "a socket":
        socket.socket(socket.AF_UNIX).bind(name)
    elif not name.startswith("/"):
        MAKE[says[2:]](name)
    for words in ([*TRAIN, "--epochs", 1], SWEEP):
        refused(3, f"{name}: is {says}", *words, "--out", name, ranks=2)
refused(3, "'new/' is the name of a folder", *SWEEP, "--out", "new/")
assert stat.S_ISFIFO(os.stat("fifo").st_mode)

# Long paths and names: they work or are refused.
for size, ranks in ((250, 1), (1000, 1), (3900, 3)):
    path = here + "/" + "/".join(["folder-of-a-run"] * ((size - len(here)) // 16))
    os.makedirs(path)
    for epochs in (1, 2):
        run(ranks, *TRAIN, "--epochs", epochs, "--out", f"{path}/m.h5")
    for _ in range(2):
        run(ranks, *SWEEP[:2], f"{path}/m.h5", *SWEEP[3:], "--epochs", 1, "--out", f"{path}/s.h5")
    run(ranks, "eval", "--model", f"{path}/m.h5", "--data", data)
    for words in (["status"], ["check"], ["export"]):
        run(1, *words, f"{path}/s.h5")
    assert not leftovers(path)
path = here
while len(path) < 4060:
    path = f"{path}/{'x' * min(200, 4075 - len(path))}"
subprocess.run(["mkdir", "-p", path], check=True)
for words in (TRAIN, SWEEP):
    refused(1, "its path .* bytes", *words, "--out", f"{path}/s.h5", ranks=2)
    refused(1, "its path .* bytes", *words, "--out", "x/" * 3000 + "s.h5")
    refused(1, "its name has 236 bytes; 235 at most", *words, "--out", "n" * 233 + ".h5")
run(2, *SWEEP, "--epochs", 1, "--out", "n" * 232 + ".h5")

# The file under a job's feet.
def underfoot(words, path, spoil, code, pattern, ranks=2):
    """`spoil` is done to the file in the middle of the job, which then says so and leaves what is there."""
    global count
    with job(ranks, *words, "--out", path) as process:
        spoil(process)
        after = read(path) if os.path.exists(path) else None
        _, said = process.end()
    assert process.returncode == code and any(re.search(pattern, line) for line in said), (process.returncode, said)
    assert (read(path) if os.path.exists(path) else None) == after, "what was there was changed"
    # Without the lock, FILE.tmp may be another job's: a save that was on its way leaves it, and the next save clears it.
    wait_until(lambda: not [name for name in leftovers("feet") if code == 3 or name.endswith(".lock")], 10, "no lock left")
    count += 1
    print(f"ok  exit {code}  {words[0]}: {said[0][:200]}")


def replace(_):
    shutil.copy("older.h5", "feet/copy.h5")
    os.rename("feet/copy.h5", "feet/f.h5")


def link(_):
    os.symlink("older.h5", "feet/link.h5")
    os.rename("feet/link.h5", "feet/f.h5")


def overwrite(process):
    """In place; once more where the job had looked before and then renamed its save over it."""
    for _ in range(10):
        if process.poll() is not None:
            break
        found = os.stat("feet/f.h5").st_ino
        shutil.copy("older.h5", "feet/f.h5")
        wait_until(lambda: process.poll() is not None or os.stat("feet/f.h5").st_ino != found, 60, "the job's end, or its next save")
    assert process.poll() is not None, "ten times the job has not seen that its file was overwritten"
    assert read("feet/f.h5") == read("older.h5")


def unlock(_):
    """Of a training just after a save, so that the next is not on its way."""
    saved = os.stat("feet/f.h5").st_ino
    if words[0] == "train":
        wait_until(lambda: os.stat("feet/f.h5").st_ino != saved, 60, "a save")
    os.remove("feet/f.h5.lock")


os.mkdir("feet")
data = make_idx("more", labels=2, train=2000, test=20, size=8)  # an epoch takes far longer than what is between a look and a rename
for words, make in (([*SWEEP, *LONG], SWEEP), (["train", "--arch", "small.txt", "--data", data, "--batch", 20, "--slots", 2,
                                                "--epochs", 100000, "--lr", 1e-4, "--fc-lr", 1e-4], TRAIN)):
    shutil.copy("whole.h5" if make is SWEEP else "model.h5", "older.h5")
    for ranks in (1, 3):
        underfoot(words, "feet/f.h5", replace, 3, "feet/f.h5: has been replaced by another file", ranks)
        os.remove("feet/f.h5")
    underfoot(words, "feet/f.h5", lambda _: os.remove("feet/f.h5"), 3, "feet/f.h5: has been removed")
    underfoot(words, "feet/f.h5", lambda _: os.rename("feet/f.h5", "feet/away.h5"), 3, "feet/f.h5: has been removed or renamed")
    os.symlink("away.h5", "feet/f.h5")
    shutil.copy("older.h5", "feet/older.h5")
    if make is SWEEP:
        underfoot(words, "feet/f.h5", link, 3, "has been replaced")
    shutil.rmtree("feet")
    os.mkdir("feet")
    underfoot(words, "feet/f.h5", unlock, 1, "f.h5.lock: this job no longer holds the lock .now: removed")
    os.remove("feet/f.h5")
underfoot(words, "feet/f.h5", overwrite, 3, "feet/f.h5: has been changed by another program", 1)
os.remove("feet/f.h5")
with job(2, *words, "--out", "feet/f.h5") as process:
    os.utime("feet/f.h5")  # against a scratch folder's cleaners
    lines = open("log").read().count(" SR ")
    wait_until(lambda: open("log").read().count(" SR ") > lines + 6, 60, "epochs after a touch")

# Overwritten in place by an older copy of itself just before the end: complete is what is there, not what was done.
FEW = [*SWEEP, "--epochs", 2, "--out"]
places = write_places(FEW, f"{here}/places")
fault = {"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/feet", "FAULT_DO": "kill",
         "FAULT_AT": str(places["/provenance/launches"][0][0])}
assert subprocess.run(launch(1, *FEW, f"{here}/feet/s.h5"), env={**os.environ, **fault}).returncode == -signal.SIGKILL
shutil.copy("feet/s.h5", "older.h5")
os.remove("feet/s.h5.lock")
fault.update(FAULT_DO="stop", FAULT_AT=str(places["/state"][-1][0]))
os.remove("feet/s.h5")
process = subprocess.Popen(launch(1, *FEW, f"{here}/feet/s.h5"), env={**os.environ, **fault}, stderr=subprocess.PIPE, text=True)
os.waitid(os.P_PID, process.pid, os.WSTOPPED)
shutil.copy("older.h5", "feet/s.h5")
process.send_signal(signal.SIGCONT)
said = process.communicate(timeout=60)[1]
assert process.returncode == 3 and "s.h5: another program has written to it" in said and "0 of 4 are there" in said, said
run(2, *FEW, "feet/s.h5")
assert identical("whole.h5", "feet/s.h5", VARYING)
print(f"{count} commands and names")
