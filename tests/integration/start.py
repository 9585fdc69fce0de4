"""How the job scripts find a launcher in a Slurm job: srun by PMIx where that starts MPI on all ranks, by another version that Slurm
lists, else mpirun; which one it was, and why not the others. srun here is a stand-in that says what was seen at sites. Under PBS and
Flux likewise, in environments and by answers as we expect them of these schedulers, none recorded, with the time that is left."""
import os
import re
import shutil
import subprocess
import time

import h5py

from common import BINARY, MPIRUN, folder, make_idx

here = folder()
JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs")
data = make_idx(f"{here}/data", labels=3, train=30, test=9)
with open(f"{here}/net.txt", "w") as file:
    file.write("conv 4 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
REAL = " ".join([shutil.which(MPIRUN[0]), *MPIRUN[1:], "-np", "2"])
STARTS = f'exec {REAL} "$@"'
LISTS = {"new": "MPI plugin types are...\n\tpmix\n\tnone\nspecific pmix plugin versions available: pmix_v4,pmix_v5",
         "old": "srun: MPI types are...\nsrun: pmix\nsrun: pmix_v3\nsrun: none",
         "none": "MPI plugin types are...\n\tnone\n\tpmi2"}
# Slurm's library of PMIx is not there (seen with 24.05); PMIx of another generation than the MPI's, as openpmix's issue 3731 has it;
# the ranks don't see each other, and each says so; a plugin that waits for ever
NO_LIBRARY = ("srun: error:  mpi/pmix_v5: init: (null) [0]: mpi_pmix.c:193: pmi/pmix: can not load PMIx library\n"
              "srun: error: Invalid MPI type 'pmix', --mpi=list for acceptable types", 1)
IN_MPI_INIT = ("*** An error occurred in MPI_Init\n*** on a NULL communicator\n*** MPI_ERRORS_ARE_FATAL (processes in this communicator "
               "will now abort,\n***    and potentially your MPI job)\nsrun: error: n1: tasks 0-1: Exited with exit code 1", 1)
APART = f"for rank in 0 1; do SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=$rank {BINARY} ranks || code=$?; done; exit $code"


def command(name, text):
    os.makedirs(f"{here}/bin", exist_ok=True)
    path = f"{here}/bin/{name}"
    with open(path, "w") as file:
        file.write(f"#!/bin/bash\n{text}\n")
    os.chmod(path, 0o755)


def fails(said):
    return f"cat >&2 <<'END'\n{said[0]}\nEND\nexit {said[1]}"


def srun(listed, **plugins):
    """An srun that lists its plugins so, and does what is told for each that is asked for."""
    cases = "".join(f"--mpi={name}) {text}\n;;\n" for name, text in plugins.items())
    command("srun", f'plugin=$1\nshift\n[ "$1" != --wait=30 ] || shift\ncase $plugin in\n--mpi=list) cat <<END\n{LISTS[listed]}\nEND\n;;\n'
                    f'{cases}*) echo "no plugin $plugin" >&2; exit 1;;\nesac')


def job(name, expect=0, path=None, script="vgg16_sweep.sh", **settings):
    # There is no Slurm behind that job: mpirun of Open MPI 6 is not to look for its nodes.
    done = subprocess.run([shutil.which("bash"), f"{JOBS}/{script}"], capture_output=True, text=True, timeout=300, cwd=here,
                          env={**os.environ, "PATH": path or f"{here}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "7",
                               "PRTE_MCA_ras": "^slurm", "FILTERSCOPE_HOME": f"{JOBS}/..", "DATA": data,
                               "ARCH": f"{here}/net.txt", "EPOCHS": "1", "PROBE_EPOCHS": "1", "FILTERSCOPE": BINARY, "STATUS_EVERY": "0",
                               "OUT": f"{here}/{name}", "MODEL": f"{here}/net.h5", "RESULTS": f"{here}/{name}.h5", **settings})
    text = done.stdout + done.stderr
    assert done.returncode == expect, f"{name}: exit code {done.returncode}\n{text}"
    assert expect or "sweep: complete" in text, text
    return [line for line in text.splitlines() if line.startswith("launcher: ")], text


command("scontrol", "exit 1")
command("mpirun", STARTS)
two = "2 on"

srun("new", pmix=STARTS)
said, _ = job("works")
assert len(said) == 1 and said[0].startswith(f"launcher: srun --mpi=pmix --wait=30: {two}"), said

srun("old", pmix=fails(NO_LIBRARY), pmix_v3=STARTS)
said, _ = job("version")
assert len(said) == 2 and "--mpi=pmix --wait=30 starts no ranks (exit code 1): srun: error:  mpi/pmix_v5" in said[0], said
assert said[1].startswith(f"launcher: srun --mpi=pmix_v3 --wait=30: {two}"), said

srun("new", pmix=fails(IN_MPI_INIT), pmix_v4=APART, pmix_v5="sleep 100")
said, _ = job("broken", PROBE_SECONDS="5")
assert len(said) == 4 and "An error occurred in MPI_Init" in said[0] and "exit code 2" in said[1] and "but MPI" in said[1], said
assert "pmix_v5 --wait=30 starts no ranks (exit code 124): nothing within 5 s" in said[2], said
assert said[3].startswith(f"launcher: mpirun: {two}"), said

srun("none")
said, _ = job("missing")
assert len(said) == 1 and said[0].startswith(f"launcher: mpirun: {two}"), said

# No launcher at all, and a user's own, which is taken at its word.
os.mkdir(f"{here}/few")
for name in ("bash", "basename", "cat", "date", "dirname", "env", "grep", "head", "id", "mkdir", "readlink", "sed", "sleep", "sort", "timeout", "tr"):
    os.symlink(shutil.which(name), f"{here}/few/{name}")
said, text = job("nothing", expect=127, path=f"{here}/few")
assert len(said) == 1 and "mpirun starts no ranks (exit code 127)" in said[0] and "no launcher starts the ranks" in text, text
said, _ = job("own", LAUNCH=REAL)
assert not said, said

# PBS: a line a rank in the node file; the mpirun of an MPI that knows nothing of it starts a single rank; ten hours, or three
# seconds more than the reserve. The script runs as a copy in a spool folder, in the home folder, until it goes to that of submission.
with open(f"{here}/nodes", "w") as file:
    file.write(2 * f"{os.uname().nodename}\n")
PBS = {"script": "pbs.sh", "SLURM_JOB_ID": "", "PBS_JOBID": "1234.pbs", "PBS_NODEFILE": f"{here}/nodes", "PBS_O_WORKDIR": here,
       "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_NUM_PPN": "2", "PBS_ARRAY_INDEX": "0"}
command("qstat", "printf 'Job Id: %s\\n    Resource_List.nodect = 2\\n    Resource_List.walltime = 10:00:00\\n' \"$2\"")
command("mpirun", f'[ "$1" = --hostfile ] && exec {BINARY} "${{@:6}}"; exit 1')
command("mpiexec", f'[ "$1 $2" = "-n 2" ] && shift 2 && echo "$FILTERSCOPE_END_TIME" >{here}/end && {STARTS}')
before = int(time.time())
said, _ = job("pbs", **PBS)
assert len(said) == 2 and "does not start 2 ranks: 1 on" in said[0] and said[1].startswith(f"launcher: mpiexec -n 2: {two}"), said
with open(f"{here}/end") as file:
    assert 36000 <= float(file.read()) - before < 36100, "ten hours"
with h5py.File(f"{here}/pbs.h5") as file:
    assert file["provenance/launches"]["job"][0] == b"1234.pbs", file["provenance/launches"]["job"]
command("qstat", "exit 35")
os.remove(f"{here}/pbs.h5")
said, text = job("pbs", expect=75, PBS_WALLTIME="63", PROBE_EPOCHS="100000", **PBS)
assert "the job's time is nearly over" in text and "run the same command again" in text, text

# Flux inside of a Slurm job, which is not to be requeued: it launches by PMIx or as it does; hours that are left.
command("flux", f"""case "$*" in
"resource list -s up -no {{ncores}}") echo 2 ;;
"job timeleft") echo 7200 ;;
"run -n 2 -o pmi=pmix "*) echo "flux-shell: ERROR: pmi-pmix: unknown pmi option" >&2; exit 1 ;;
"run -n 2 "*) shift 3; echo "$FILTERSCOPE_END_TIME$SLURM_JOB_ID" >{here}/end; {STARTS} ;;
*) echo "flux: no $*" >&2; exit 1 ;;
esac""")
before = int(time.time())
said, _ = job("flux", script="flux.sh", FLUX_URI="local:///run/flux/local")
assert len(said) == 2 and "flux run -n 2 -o pmi=pmix starts no ranks (exit code 1): flux-shell: ERROR" in said[0], said
assert said[1].startswith(f"launcher: flux run -n 2: {two}"), said
with open(f"{here}/end") as file:
    assert 7200 <= float(file.read()) - before < 7300, "two hours"

# What plan says to submit is that sweep.
plan = subprocess.run([BINARY, "plan", "--model", f"{here}/net.h5", "--data", data, "--batch", "10", "--epochs", "2", "--knockout", "zero"],
                      capture_output=True, text=True, check=True).stdout
line = re.search(r"^job:   (.* sbatch --ntasks=(\d+) --time=(\d+):(\d\d):00 --mem-per-cpu=(\d+)M jobs/vgg16_sweep.sh)$", plan, re.M)
assert line and int(line[2]) == 4 and 10 <= 60 * int(line[3]) + int(line[4]) <= 12 and 50 <= int(line[5]) <= 500, plan
command("sbatch", "shift 3\nexec bash $1")
done = subprocess.run(line[1], shell=True, capture_output=True, text=True, cwd=f"{JOBS}/..", timeout=300, check=True,
                      env={**os.environ, "PATH": f"{here}/bin:{os.environ['PATH']}", "FILTERSCOPE": BINARY, "OUT": f"{here}/planned",
                           "LAUNCH": REAL, "STATUS_EVERY": "0"})
with h5py.File(f"{here}/planned/net-sweep.h5") as file:
    assert "knockout" in file, list(file)
assert "sweep: complete" in done.stdout and re.search(r"^  batch +10$", done.stdout, re.M) and "train:" not in done.stdout, done.stdout
print("srun by PMIx, by a version of it, mpirun: the first that starts MPI on all ranks, and why not the others")
