"""Ranks that are stuck, or that belong to another job on the same file: said within seconds, and the next
start carries on."""
import ctypes
import os
import re
import signal
import subprocess
import time

from common import FAULTS, OPEN_MPI, VARYING, children, folder, identical, launch, lives, make_idx, run, train_small, wait_until, writer

PATIENCE = 20  # seconds of silence after which a rank is lost
here = folder()
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1)
SWEEP = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 20, "--slots", 4, "--test-every", 4]
LONG = [*SWEEP, "--epochs", 4000]


def start(ranks, *words):
    return subprocess.Popen(launch(ranks, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process, text):
    """Reads lines until one has the text."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"ended before '{text}': {process.stderr.read()}")


def ranks_of(pid):
    """{rank: pid} of the ranks that an mpirun has started, or, of MPICH, its proxy."""
    found = {}
    for child in children(pid):
        with open(f"/proc/{child}/environ", "rb") as file:
            rank = re.search(rb"(?:OMPI_COMM_WORLD|PMI)_RANK=(\d+)", file.read())
        found.update({int(rank[1]): child} if rank else ranks_of(child))
    return found


# Stuck: the coordinator, and another rank.
jobs = []
for victim in (0, 2):
    jobs.append((victim, f"{here}/stuck{victim}.h5", start(3, *LONG, "--out", f"{here}/stuck{victim}.h5")))
    wait_for(jobs[-1][2], "epoch 4/")
for victim, path, process in jobs:
    os.kill(ranks_of(process.pid)[victim], signal.SIGSTOP)
stopped = time.monotonic()
for victim, path, process in jobs:
    said = process.communicate(timeout=PATIENCE + 20)[1]
    # MPICH's mpirun may kill the stuck rank before the others have ended, and tells of that; the job scripts make 70 of it.
    assert process.returncode in ((70,) if OPEN_MPI else (70, 9)), f"exit code {process.returncode}\n{said}"
    assert f"rank {victim} (host {os.uname().nodename}" in said and "has not been heard of" in said, said
    print(f"rank {victim} of 3 stuck: exit code 70 after {time.monotonic() - stopped:.1f} s")

# A second writer, while the first runs: refused, and told by whom. Of five at once one gets the file.
path = f"{here}/sweep.h5"
first = start(2, *LONG, "--out", path)
wait_for(first, "epoch 4/")
started = time.monotonic()
for ranks in (1, 2):
    said = run(ranks, *LONG, "--out", path, expect=1).stderr
    assert re.search(rf"host {os.uname().nodename},( job \S+,)? pid {ranks_of(first.pid)[0]}\b", said), said
print(f"a second writer: refused, {(time.monotonic() - started) / 2:.1f} s: {said.strip().splitlines()[0]}")
assert "locked by" in run(1, "status", path).stdout
held = writer(path)
first.kill()
first.communicate()
wait_until(lambda: not lives(held), 10, "rank 0 ends with its mpirun")
assert "locked by" in run(1, "status", path).stdout
several = [start(1, *LONG, "--out", path) for _ in range(5)]
wait_until(lambda: sum(process.poll() is None for process in several) == 1, 20, "one of five is left")
time.sleep(1)
for process in several:
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1)
codes = sorted(process.wait(20) for process in several)
assert codes == [1, 1, 1, 1, 75], codes
run(1, "check", path)
print("five at once, after one that was killed: exit codes", codes)

# Semaphores of Open MPI's that killed jobs of anybody left, taken, for a file of this name and for descriptors.
libc = ctypes.CDLL(None, use_errno=True)
libc.sem_open.restype = ctypes.c_void_p
left = [f"/OMPIO_{name}".encode() for name in ("taken.h5", *range(3, 1024))]
left = [name for name in left if libc.sem_open(name, os.O_CREAT | os.O_EXCL, 0o600, 0)]
try:
    for ranks in (1, 2):
        run(ranks, *SWEEP, "--epochs", 1, "--out", f"{here}/taken.h5")
finally:
    for name in left:
        libc.sem_unlink(name)
print(f"{len(left)} semaphores of the name and of descriptors were taken: no matter")

# MPI that does not end on a rank, when all is recorded.
for ranks, rank in ((1, 0), (2, 0), (2, 1)):
    path, started = f"{here}/end{ranks}{rank}.h5", time.monotonic()
    said = run(ranks, *SWEEP, "--epochs", 1, "--out", path, expect=70, env={
        "LD_PRELOAD": FAULTS, "FAULT_DO": "finalize", "FAULT_RANK": str(rank), "FILTERSCOPE_END_SECONDS": "2"}).stderr
    assert "MPI has not ended" in said, said
    assert "complete" in run(1, "status", path).stdout
    print(f"rank {rank} of {ranks} in an MPI_Finalize without end: exit code 70 after {time.monotonic() - started:.1f} s")

# What stuck ranks left is whole.
run(1, *SWEEP, "--epochs", 60, "--out", f"{here}/whole.h5")
process = start(3, *SWEEP, "--epochs", 60, "--out", f"{here}/cut.h5")
wait_for(process, "epoch 8/")
os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
process.communicate(timeout=30)
assert process.returncode not in (0, 75), process.returncode
run(2, *SWEEP, "--epochs", 60, "--out", f"{here}/cut.h5")
assert identical(f"{here}/whole.h5", f"{here}/cut.h5", VARYING)
