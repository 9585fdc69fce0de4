"""A living job is never taken for dead: where /proc hides it or shows another namespace's processes, and whatever is done to the
wall clock; a job that ends by an error, or by a second signal, leaves no lock."""
import atexit
import os
import re
import signal
import subprocess
import time

import h5py

from common import FAULTS, epochs_done, folder, launch, make_idx, messages, run, wait_until, write_places

here = folder()
os.chdir(here)
CLOCK = FAULTS.replace("libfaults", "libclock")
data = make_idx("data", labels=2, train=40, test=20, size=8)
with open("small.txt", "w") as file:
    file.write("conv 4 3x3 pad 1\nrelu\nmaxpool 2\nconv 4 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
TRAIN = ["train", "--arch", "small.txt", "--data", data, "--batch", 20, "--slots", 2]
SWEEP = ["sweep", "--model", "model.h5", "--data", data, "--batch", 20, "--slots", 2, "--team", 1]
run(1, *TRAIN, "--epochs", 1, "--out", "model.h5")


def start(command, path, env=None):
    """Once it is at work."""
    log = open(f"{path}.log", "w")
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})
    wait_until(lambda: epochs_done(path) > 0 or process.poll() is not None, 60, "a first epoch")
    assert process.poll() is None, open(f"{path}.log").read()
    atexit.register(process.kill)
    return process


def stop(process, how=signal.SIGUSR1, code=75):
    process.send_signal(how)
    assert process.wait(60) == code, process.returncode


def refused(done):
    assert done.returncode == 1 and "in use: host" in done.stderr, done
    print("ok ", done.stderr.strip().splitlines()[-1])


def sweep_of(path):
    return [*map(str, launch(1, *SWEEP, "--epochs", 100000, "--out", path))]


# As root: a colleague's job that /proc hides; a container that has its host's /proc; another's clock of the boot.
if subprocess.run(["unshare", "-mp", "--fork", "true"], capture_output=True).returncode == 0:
    first = start(sweep_of("hidden.h5"), "hidden.h5")
    script = 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --clear-groups "$0" "$@"'
    os.chmod(here, 0o777)
    for name in ("hidden.h5", "hidden.h5.lock", "model.h5"):
        os.chmod(name, 0o666)
    refused(subprocess.run(["unshare", "-m", "sh", "-c", script, *sweep_of("hidden.h5")], capture_output=True, text=True))
    stop(first)
    script = '"$0" "$@" >second.log 2>&1 & sleep 4; exec "$0" "$@"'
    # UCX, of MPICH, shares memory through /proc, which shows other processes there.
    refused(subprocess.run(["timeout", "60", "unshare", "-p", "--fork", "--kill-child", "sh", "-c", script, *sweep_of("inside.h5")],
                           capture_output=True, text=True, env={**os.environ, "UCX_TLS": "self,tcp"}))
    first = start(sweep_of("times.h5"), "times.h5")
    times = ["unshare", "--time", "--boottime", "99", "--fork"]
    if subprocess.run([*times, "true"], capture_output=True).returncode == 0:
        refused(subprocess.run([*times, *sweep_of("times.h5")], capture_output=True, text=True))
    stop(first)
else:
    print("not root: no namespaces")

# The wall clock jumps by days, to and fro: the lock beats, the rest goes on, and seconds are seconds.
began = time.monotonic()
first = start(launch(2, *SWEEP, "--epochs", 100000, "--out", "jumps.h5"), "jumps.h5", {"LD_PRELOAD": CLOCK})


def beat():
    with open("jumps.h5.lock") as file:
        return int(file.read().split()[-1])


earlier = beat()
wait_until(lambda: beat() >= earlier + 2, 15, "two beats")
refused(run(1, *SWEEP, "--epochs", 100000, "--out", "jumps.h5", expect=1))
stop(first)
run(2, *TRAIN, "--epochs", 2, "--out", "jump_model.h5", env={"LD_PRELOAD": CLOCK})
run(2, *SWEEP, "--epochs", 2, "--literal", "--out", "jumped.h5", env={"LD_PRELOAD": CLOCK})
took = time.monotonic() - began
with h5py.File("jumped.h5") as file:
    runs, epochs = file["provenance/units"][:], file["provenance/epochs"][:]
    assert (runs["seconds"] >= 0).all() and (runs["seconds"] < took).all() and (epochs["seconds"] < took).all(), runs
    assert (abs(runs["finished"] - runs["started"]) > 40000).any(), "the clock did not jump"
print(f"ok  under a clock that jumps: {len(runs)} units of {runs['seconds'].min():.3f} to {runs['seconds'].max():.3f} s")

# The end of a job: an end that is past is no end; one that is near stops, also where the clock jumps later.
for end, begin, code in ((-7200, -9000, 0), (20, 10, 75), (20, -100, 75)):
    now = time.time()
    env = {"SLURM_JOB_END_TIME": str(int(now + end)), "SLURM_JOB_START_TIME": str(int(now + begin))}
    run(1, *SWEEP, "--epochs", 3, "--out", f"end{end}{begin}.h5", expect=code, env=env)
for variables, code in (({"FILTERSCOPE_END_TIME": 20}, 75), ({"FILTERSCOPE_END_TIME": -20}, 0),
                        ({"FILTERSCOPE_END_TIME": 20, "SLURM_JOB_END_TIME": 9000}, 75), ({"FILTERSCOPE_END_TIME": 9000}, 0)):
    env = {name: str(int(time.time() + end)) for name, end in variables.items()}
    run(1, *SWEEP, "--epochs", 3, "--out", f"end{len(os.listdir())}.h5", expect=code, env=env)
for at, code in ((-20, 75), (9000, 0)):
    done = run(1, *SWEEP, "--epochs", 3, "--stop-at", int(time.time() + at), "--out", f"at{at}.h5", expect=code)
    assert ("(--stop-at)" in done.stderr) == (code == 75), done.stderr
for end in ("junk", "", "nan", "1e999", "-5"):
    run(1, *SWEEP, "--epochs", 1, "--out", f"junk{end}.h5", env={"SLURM_JOB_END_TIME": end})

# An error of one rank ends all, and no lock stays.
points = write_places([*SWEEP, "--epochs", 2, "--out"], f"{here}/places")
at = points["/resume/1/state"][0][0]
os.mkdir("fails")
for ranks, rank, number in ((1, 0, at), (2, 0, at), (3, 1, 2)):
    fault = {"LD_PRELOAD": FAULTS, "FAULT_FOLDER": f"{here}/fails", "FAULT_DO": "eio", "FAULT_AT": str(number), "FAULT_RANK": str(rank)}
    done = run(ranks, *SWEEP, "--epochs", 2, "--out", f"{here}/fails/s{ranks}.h5", expect=1, env=fault)
    said = messages(done.stderr)
    assert len(said) == 1 and re.search("cannot write|Input/output error", said[0]), done.stderr
    assert not os.path.exists(f"fails/s{ranks}.h5.lock"), (ranks, said)
    print("ok ", said[0])

# A rank that is killed, and one that is stopped, cannot end by itself: the others do, and remove the lock where they can.
first = start(launch(1, *SWEEP, "--epochs", 100000, "--out", "twice.h5"), "twice.h5")
first.send_signal(signal.SIGTERM)
first.send_signal(signal.SIGINT)
# Both at once come in the order of their numbers.
assert first.wait(60) in (75, -signal.SIGINT, -signal.SIGTERM) and not os.path.exists("twice.h5.lock"), first.returncode
