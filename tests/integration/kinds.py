"""Ranks whose CPUs or BLAS kernels differ are refused unless --mixed says otherwise, a resume on another kind says so, two ranks on one
core are warned of; the files tell what was computed on what, and by which build."""
import os
import re
import subprocess

import h5py

from common import BINARY, MPIRUN, OPEN_MPI, folder, make_idx, run, skip

here = folder()
os.chdir(here)
data = make_idx("data", labels=3, train=30, test=9)
with open("arch.txt", "w") as file:
    file.write("conv 4 3x3 pad 1\nrelu\nconv 4 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
TRAIN = ["train", "--arch", "arch.txt", "--data", data, "--batch", "10", "--slots", "2"]
SWEEP = ["sweep", "--model", "model.h5", "--data", data, "--batch", "10", "--slots", "2", "--epochs", "2"]
EVAL = ["eval", "--model", "model.h5", "--data", data]
version = run(1, "--version").stdout
kind = re.search(r"^kind +(.*)$", version, re.M)[1]
# How a BLAS is told its kernels, and older ones
blas = kind.split()[-3]
TOLD = {"OpenBLAS": ("OPENBLAS_CORETYPE", "Nehalem", "Prescott"), "BLIS": ("BLIS_ARCH_TYPE", "0", "2")}  # of BLIS skx, haswell
if blas not in TOLD or (blas == "BLIS" and "v4" not in kind):
    skip(f"{blas} is not told other kernels for {kind}")
variable, *cores = TOLD[blas]
other_core = cores[0] if not re.search(rf"^kind +{kind}$", run(1, "--version", env={variable: cores[0]}).stdout, re.M) else cores[1]
OTHER = {variable: other_core}
other = re.search(r"^kind +(.*)$", run(1, "--version", env=OTHER).stdout, re.M)[1]


def mixed(*words, expect):
    """On two ranks, of which the second has other BLAS kernels; its standard output and errors. By a shell: Debian 13's mpirun takes no
    two programs."""
    script = f'[ "${{OMPI_COMM_WORLD_RANK:-$PMI_RANK}}" -eq 0 ] || export {variable}={other_core}; exec "$0" "$@"'
    command = [*MPIRUN, "-np", "2", "sh", "-c", script, BINARY, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == expect, f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def launches(path):
    with h5py.File(path) as file:
        rows = file["provenance/launches"][:]
        return [{name: row[name].decode() for name in ("kinds", "commit", "compiler", "flags")} for row in rows if row["time"] > 0]


def kinds_of_model():
    with h5py.File("model.h5") as file:
        return file.attrs["kinds"].decode()


# --version: whatever is built, of what.
for word in (r"^filterscope \d", r"^commit +\S+$", r"^compiler +\S+ \d", r"^flags +-O\d", rf"^libraries +.*{'Open MPI' if OPEN_MPI else 'MPICH'}.*; HDF5 \d.*; {blas} \d"):
    assert re.search(word, version, re.M), f"{word}\n{version}"

# Different kinds: refused, by a line that names both, and nothing is written; with --mixed they work, and a line says so.
host = os.uname().nodename
for words in ([*TRAIN, "--epochs", "1", "--out", "model.h5"], [*SWEEP, "--out", "sweep.h5"], EVAL):
    said = mixed(*words, expect=3)
    assert f"rank 0 on host {host} has {kind}, rank 1 on host {host} has {other}: they round differently" in said, said
    assert os.listdir(here) == ["arch.txt", "data"] or sorted(os.listdir(here)) == ["arch.txt", "data", "model.h5"], os.listdir(here)
    if words[0] == "train":
        assert f"train: note: rank 0 on host {host} has {kind}, rank 1" in mixed(*words, "--mixed", expect=0)
        assert kinds_of_model() == f"{kind}; {other}", kinds_of_model()
os.remove("model.h5")

# A resume on another kind, of a training and of a sweep; not where nothing is left to do.
run(1, *TRAIN, "--epochs", 1, "--out", "model.h5")
assert kinds_of_model() == kind
note = f"note: goes on with {other} what {kind} began"
assert "note" not in run(1, *TRAIN, "--epochs", 1, "--out", "model.h5", env=OTHER).stdout
assert f"train: {note}" in run(1, *TRAIN, "--epochs", 2, "--out", "model.h5", env=OTHER).stdout
assert kinds_of_model() == f"{kind}; {other}"
run(1, "check", "model.h5")
run(1, *SWEEP, "--out", "sweep.h5")
assert "note" not in run(1, *SWEEP, "--out", "sweep.h5", env=OTHER).stdout
assert f"sweep: {note}" in run(1, *SWEEP, "--knockout", "zero", "--out", "sweep.h5", env=OTHER).stdout
told = launches("sweep.h5")
assert [each["kinds"] for each in told] == [kind, other], told
for name in ("commit", "compiler", "flags"):
    assert f"\n{name:<11}{told[0][name]}\n" in version, f"{told[0][name]}\n{version}"

# Two ranks on one core.
cpu = min(os.sched_getaffinity(0))
words = [BINARY, *EVAL]
pinned = [*MPIRUN, "-np", "2", "taskset", "-c", str(cpu), *words]
done = subprocess.run(pinned, capture_output=True, text=True, timeout=120)
assert done.returncode == 0 and "ranks 0 and 1 are both bound to core" in done.stderr, done.stderr
if len(os.sched_getaffinity(0)) > 1:
    assert "bound to core" not in run(2, *EVAL).stderr
print(f"{kind} and {other}: refused, or --mixed; resumes say so; two ranks on one core are warned of")
