"""What `meson install` puts elsewhere works there, without the source tree: the program, man pages, completion, the module file, and the
job scripts from another folder, by hand, as a Slurm job, and with the module loaded."""
import os
import shutil
import subprocess
import sys

from common import BUILD, MPIRUN, folder, make_idx

here = folder()
TREE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet"], env={**os.environ, "DESTDIR": f"{here}/root"}, check=True,
               stdout=subprocess.DEVNULL)
[program] = [f"{path}/filterscope" for path, _, names in os.walk(f"{here}/root") if "filterscope" in names and path.endswith("/bin")]
prefix = os.path.realpath(f"{here}/a prefix")  # nothing depends on where it was to be
os.rename(os.path.dirname(os.path.dirname(program)), prefix)
home = f"{prefix}/share/filterscope"

# Nothing names the source tree or its build.
count = 0
for path, _, names in os.walk(prefix):
    for name in names:
        with open(f"{path}/{name}", "rb") as file:
            text = file.read()
        count += 1
        assert TREE.encode() not in text and BUILD.encode() not in text, f"{path}/{name} names {TREE}"
for name in ("share/man/man1/filterscope.1", "share/man/man5/filterscope-results.5", "share/bash-completion/completions/filterscope",
             "share/filterscope/jobs/common.sh", "share/filterscope/analysis/filterscope.R"):
    assert os.path.getsize(f"{prefix}/{name}") > 100, name
print(f"{count} files, none of which names {TREE}")

# A user's folder and surroundings: nothing but PATH, and data elsewhere.
user = f"{here}/user"
os.mkdir(user)
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
with open(f"{user}/net.txt", "w") as file:
    file.write("conv 4 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
settings = {"PATH": os.environ["PATH"], "HOME": here, "DATA": data, "ARCH": "net.txt", "EPOCHS": "1", "PROBE_EPOCHS": "1", "STATUS_EVERY": "0",
            "PYTHON": sys.executable, "OMPI_MCA_rmaps_base_oversubscribe": "1"}
MPIRUN = " ".join([*MPIRUN, "-np", "2"])


def call(command, **more):
    done = subprocess.run(command, cwd=user, env={**settings, **more}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def complete(text, out):
    assert "sweep: complete" in text and os.path.exists(f"{user}/{out}"), text


complete(call([f"{home}/jobs/vgg16_sweep.sh"], LAUNCH=MPIRUN, MODEL="net.h5", RESULTS="hand.h5"), "hand.h5")

# In a job, where Slurm runs a copy and tells what was submitted; and where it does not tell, the program is on PATH.
spool = f"{here}/slurm_script"
shutil.copy(f"{home}/jobs/vgg16_sweep.sh", spool)
os.mkdir(f"{here}/bin")
for name, text in {"scontrol": f'echo "JobId=7 JobName=x"; echo "   Command={home}/jobs/vgg16_sweep.sh"', "srun": "exit 1"}.items():
    with open(f"{here}/bin/{name}", "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
        file.write(f"#!/bin/sh\n{text}\n")
job = {"SLURM_JOB_ID": "7", "PRTE_MCA_ras": "^slurm", "SLURM_SUBMIT_DIR": user, "LAUNCH": MPIRUN, "MODEL": "net.h5"}
complete(call(["bash", spool], **job, PATH=f"{here}/bin:{settings['PATH']}", RESULTS="job.h5"), "job.h5")
with open(f"{here}/bin/scontrol", "w") as file:
    file.write("#!/bin/sh\nexit 1\n")
complete(call(["bash", spool], **job, PATH=f"{here}/bin:{prefix}/bin:{settings['PATH']}", RESULTS="path.h5"), "path.h5")

# The module loaded by Lmod.
LMOD = "/usr/share/lmod/lmod/libexec/lmod"
if not os.path.exists(LMOD):
    print("no Lmod: the module file was not read (Debian: lmod)")
    sys.exit()
said = call(["bash", "-c", f'eval "$({LMOD} bash load filterscope)" && env -0'], MODULEPATH=f"{prefix}/share/modulefiles")
loaded = dict(line.split("=", 1) for line in said.split("\0") if line)
assert os.path.samefile(loaded["FILTERSCOPE_HOME"], home) and os.path.samefile(loaded["FILTERSCOPE"], f"{prefix}/bin/filterscope"), loaded
assert call(["sh", "-c", "filterscope --version"], **loaded).startswith("filterscope ")
with open(f"{here}/slurm_script", "w") as file:
    file.write(open(f"{home}/jobs/reproduce.sh").read())
text = call(["bash", spool], **{**loaded, **job, "PATH": f"{here}/bin:{loaded['PATH']}", "ARCH": "", "ARCHS": "vgg6", "SEEDS": "1",
                               "TRAIN_OPTIONS": "--batch 20", "SWEEP_OPTIONS": "--batch 20 --layers 5"})
assert os.path.exists(f"{user}/reproduce.md") and "vgg6" in text, text
call([sys.executable, "-c", "import filterscope; print(filterscope.open('hand.h5').layers)"], **loaded)
if shutil.which("man"):
    assert os.path.samefile(call(["man", "-w", "filterscope"], **loaded).strip(), f"{prefix}/share/man/man1/filterscope.1")
print("module loaded: program, jobs, analysis and man pages are found")
