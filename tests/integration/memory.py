"""Little memory: under limits of address space and of data, from too little to start up to enough, every command ends within seconds,
complete or with a message and exit code 1, on one rank and on two. SIGTERM ends it at any moment. So does a limit of the size of files."""
import os
import resource
import signal
import subprocess
import time

from common import BINARY, folder, launch, make_idx, run, train_small

LOADER = "error while loading shared libraries"  # the dynamic linker's word where not even the program fits
WITHIN = 60  # seconds, on a machine that does other work
here = folder()
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
model, sweep = f"{here}/model.h5", f"{here}/sweep.h5"
train_small(model, data, ranks=1)
SWEEP = ["sweep", "--model", model, "--data", data, "--batch", 20, "--slots", 4, "--epochs", 1, "--out"]
run(1, *SWEEP, sweep)
COMMANDS = {
    "status": ["status", sweep],
    "export": ["export", sweep, "--table", "filters"],
    "check": ["check", sweep],
    "arch": ["arch", "vgg16"],
    "eval": ["eval", "--model", model, "--data", data],
    "plan": ["plan", "--model", model, "--data", data, "--out", f"{here}/new-sweep.h5"],
    "train": ["train", "--arch", "vgg6", "--data", data, "--out", f"{here}/new.h5", "--epochs", 1, "--batch", 20, "--slots", 4],
    "sweep": [*SWEEP, f"{here}/new-sweep.h5"],
    "bench": ["bench", "--arch", "vgg6", "--batch", 8, "--images", 20, "--seconds", 0.01],
}
SMALL, LARGE = (40, 70, 80, 100, 150, 640), (40, 70, 150, 480, 520, 580, 640)  # MiB
environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}


def attempt(command, ranks, limit, mib):
    """The exit code under the limit, once it is seen to be one of the two outcomes."""
    for name in ("new.h5", "new-sweep.h5"):
        if os.path.exists(f"{here}/{name}"):
            os.remove(f"{here}/{name}")
    words, started = launch(ranks, *COMMANDS[command]), time.monotonic()
    if ranks > 1:  # of the ranks, not of mpirun
        words[-len(COMMANDS[command]) - 1:-len(COMMANDS[command])] = ["prlimit", f"--as={mib << 20}", BINARY]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=WITHIN, start_new_session=True,
                          preexec_fn=(lambda: resource.setrlimit(limit, (mib << 20, mib << 20))) if ranks == 1 else None)
    said = [line for line in done.stderr.splitlines() if line.startswith("filterscope:") or LOADER in line]
    assert done.returncode in (0, 1, 127) and (said or done.returncode == 0), \
        f"{command}, {ranks} ranks, {mib} MiB: exit code {done.returncode} after {time.monotonic() - started:.1f} s\n{done.stderr}"
    return done.returncode


for command in COMMANDS:
    sizes = SMALL if command in ("status", "export", "check", "arch") else LARGE
    codes = [attempt(command, 1, resource.RLIMIT_AS, mib) for mib in sizes]
    assert codes[0] in (1, 127), codes
    assert codes[-1] == 0 or sizes == LARGE, (command, codes)
    print(f"{command}: address space of {sizes} MiB: exit codes {codes}")
for command in ("train", "sweep"):
    codes = [attempt(command, 2, resource.RLIMIT_AS, mib) for mib in (150, 500, 560)]
    print(f"{command} on two ranks: {codes}")
    codes = [attempt(command, 1, resource.RLIMIT_DATA, mib) for mib in (20, 100, 450)]
    assert codes[0] == 1, codes
    print(f"{command}: data of 20, 100, 450 MiB: {codes}")

# SIGTERM ends it at any moment: while libraries start, MPI starts, data are read, batches run.
for milliseconds in (0, 20, 60, 150, 400, 1500):
    job = subprocess.Popen([BINARY, *map(str, SWEEP[:-3]), "--epochs", "4000", "--out", f"{here}/{milliseconds}.h5"], env=environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(milliseconds / 1000)
    job.terminate()
    job.communicate(timeout=WITHIN)
    assert job.returncode in (-signal.SIGTERM, 75), job.returncode
print("SIGTERM ends it at any moment")

# A file of 38 MB where 16 MiB are allowed.
with open(f"{here}/wide.txt", "w") as file:
    file.write("conv 512 3x3\nrelu\nconv 1024 3x3\nrelu\nglobalavg\nfc K\n")
kept = os.listdir(here)
wide = launch(1, "train", "--arch", f"{here}/wide.txt", "--data", data, "--train-images", 20, "--test-images", 3, "--batch", 20,
              "--epochs", 1, "--out", f"{here}/wide.h5")
done = subprocess.run(wide, capture_output=True, text=True,
                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, 16 << 20)))
assert done.returncode == 1 and "wide.h5.tmp: cannot be written: File too large" in done.stderr, (done.returncode, done.stderr)
assert os.listdir(here) == kept, os.listdir(here)
print("a limit of 16 MiB a file:", done.stderr.strip())
