"""Launchers that start several processes which don't see each other: each says so at once, with exit code 2, and touches nothing.
The environments are those that launchers were seen to give to a process, less what has nothing to do with it. One process inside
an allocation, or under a launcher that starts one, works."""
import os
import re
import shutil
import subprocess
import time

from common import BINARY, OPEN_MPI, folder, make_idx, run, train_small

here = folder()
data = make_idx(f"{here}/data", labels=3, train=30, test=9)
with open(f"{here}/arch.txt", "w") as file:
    file.write("conv 4 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
model = f"{here}/model.h5"
train_small(model, data, ranks=1, arch=f"{here}/arch.txt")
EVAL = [BINARY, "eval", "--model", model, "--data", data]
TRAIN = [BINARY, "train", "--arch", f"{here}/arch.txt", "--data", data, "--out", f"{here}/new.h5", "--epochs", "1"]

SEVERAL = {
    "Open MPI 4": "OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_SIZE=2 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_LOCAL_RANK=0",
    "MPICH 4": "PMI_SIZE=3 PMI_RANK=0 PMI_FD=9 MPI_LOCALNRANKS=3 MPI_LOCALRANKID=0",
    "MPICH 4 -pmi-port": "PMI_ID=1 PMI_PORT=n1:37603 MPI_LOCALNRANKS=1 MPI_LOCALRANKID=0",
    "Intel MPI 2021": "PMI_SIZE=2 PMI_RANK=1 MPI_LOCALNRANKS=1 MPI_LOCALRANKID=0 I_MPI_PIN_INFO=0 HYDRA_LAUNCH_TYPE=2",
    "MVAPICH2": "MV2_COMM_WORLD_SIZE=2 MV2_COMM_WORLD_RANK=0 MV2_COMM_WORLD_LOCAL_RANK=0",
    "MVAPICH 3": "MVP_COMM_WORLD_SIZE=2 MVP_COMM_WORLD_RANK=1",
    "PALS": "PALS_APID=ab12 PALS_RANKID=1 PALS_LOCAL_RANKID=1 PALS_NODEID=0",
    "PALS, PMI": "PALS_RANKID=0 PMI_RANK=0 PMI_SIZE=2 PMI_LOCAL_SIZE=2 PMI_LOCAL_RANK=0",
    "Flux": "FLUX_JOB_SIZE=2 FLUX_JOB_NNODES=2 FLUX_TASK_RANK=0 FLUX_TASK_LOCAL_ID=0",
    "jsrun": "JSM_NAMESPACE_SIZE=2 JSM_NAMESPACE_RANK=0 JSM_NAMESPACE_LOCAL_RANK=0 LSB_DJOB_NUMPROC=8",
    "aprun": "ALPS_APP_PE=1",
    "srun": "SLURM_JOB_ID=5 SLURM_NTASKS=4 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0",
    "srun in a shell of srun --pty": "SLURM_PTY_PORT=39521 SLURM_STEP_ID=1 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0",
    "PMIx": "PMIX_RANK=1",
}
ALONE = {
    "a Slurm batch script": "SLURM_JOB_ID=5 SLURM_NTASKS=16 SLURM_NPROCS=16 SLURM_PROCID=0 SLURM_NODEID=0 SLURM_TASKS_PER_NODE=16",
    "srun -n 1 in it": "SLURM_JOB_ID=5 SLURM_NTASKS=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0",
    "mpirun -np 1 in a step": "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=3 OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0",
    "an LSF batch script": "LSB_JOBID=7 LSB_DJOB_NUMPROC=16 LSB_MCPU_HOSTS='n1 16'",
    "a PBS batch script": "PBS_JOBID=7 PBS_NP=16 PBS_NUM_PPN=16 PBS_NODENUM=0 PBS_TASKNUM=1",
    "mpiexec -n 1": "PMI_SIZE=1 PMI_RANK=0 MPI_LOCALNRANKS=1 MPI_LOCALRANKID=0",
    "empty values": "PMI_SIZE= OMPI_COMM_WORLD_SIZE= FLUX_JOB_SIZE=",
}
LAUNCHERS = re.compile(r"(OMPI_COMM|PMI_|PMIX_|MV2_|MVP_|PALS_|FLUX_|JSM_|ALPS_|SLURM_|MPI_LOCAL)")

if not OPEN_MPI:  # MPICH asks these itself, and finds nobody there
    SEVERAL, ALONE = ({name: text for name, text in each.items() if "PMI" not in text} for each in (SEVERAL, ALONE))


def start(words, settings):
    """Without a terminal and without the launcher of this test, if there is one."""
    own = {key: value for key, value in os.environ.items() if not LAUNCHERS.match(key)}
    told = dict(word.split("=", 1) for word in re.findall(r"\w+=(?:'[^']*'|\S*)", settings))
    return subprocess.run(words, capture_output=True, text=True, env={**own, **told}, timeout=60, start_new_session=True)


for name, settings in SEVERAL.items():
    for words in (EVAL, TRAIN):
        started = time.monotonic()
        done = start(words, settings)
        took = time.monotonic() - started
        said = [line for line in done.stderr.splitlines() if line.startswith("filterscope:")]
        assert done.returncode == 2 and len(said) == 1 and not done.stdout, (name, done.returncode, done.stdout, done.stderr)
        assert re.search(r"started [23] processes or more, but MPI \(.*\) sees one.*mpirun", said[0]), said
        assert not os.path.exists(f"{here}/new.h5") and not os.path.exists(f"{here}/new.h5.lock"), name
    print(f"{name}: exit code 2 after {took:.1f} s: {said[0][:90]}...")
for name, settings in ALONE.items():
    done = start(EVAL, settings)
    assert done.returncode == 0 and "confusion" in done.stdout, (name, done.returncode, done.stderr)
print(f"no false alarm: {', '.join(ALONE)}")

# Of ranks of one host Open MPI 5 says that it cannot reach them, where it goes by the kernel's routes.
done = run(2, *EVAL[1:], expect=None)
assert (done.returncode, done.stderr) == (0, ""), done
print("two ranks of one host, without a word")

# A shell of srun --pty has a terminal.
if shutil.which("script"):
    shell = " ".join(EVAL)
    done = subprocess.run(["script", "-qec", shell, "/dev/null"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "SLURM_PTY_PORT": "39521", "SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "0"})
    if "failed to create" not in done.stderr:
        assert done.returncode == 0 and "confusion" in done.stdout, (done.returncode, done.stdout, done.stderr)
        print("one process in a shell of srun --pty")

# The real thing, where there is one.
mpiexec = os.environ.get("MPIEXEC_OF_MPICH") or shutil.which("mpiexec.hydra")
if mpiexec and OPEN_MPI:
    done = subprocess.run([mpiexec, "-n", "3", *EVAL], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("started 3 processes") >= 1 and not done.stdout, done
    print(f"{mpiexec}: exit code 2")
