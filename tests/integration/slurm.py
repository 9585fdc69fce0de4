"""The job scripts on a real Slurm of four nodes: over two of them with srun and with mpirun, a time limit that is too short,
scancel, a node taken down, a job array, and reproduce.sh as an element of one. All are submitted at once; Slurm lets two of two
nodes, or four of one, run at a time. Prints for each the wall time and what `status` says before and after.
Arguments: the scenarios to run (all)."""
import concurrent.futures
import os
import sys
import time

import h5py

from common import BINARY, VARYING, folder, identical, make_idx, run
from slurm_cluster import Cluster

tree = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
here = folder()
os.chdir(here)
cluster = Cluster(f"{here}/cluster")
script = f"{tree}/jobs/vgg16_sweep.sh"
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
SHALLOW = "shallow.txt"  # vgg6 without its fifth layer
with open(SHALLOW, "w") as file:
    file.writelines(f"conv {filters} 3x3 pad 1 bias\nbn\nrelu\nmaxpool 2\n" for filters in (64, 128, 256, 512))
    file.write("fc K\n")
TRAIN = "--batch 20 --slots 4 --lr 0.02 --fc-lr 0.02 --momentum 0.9 --fc-momentum 0.9"
SWEEP = "--batch 20 --slots 4 --test-every 20"
SETTINGS = {"DATA": data, "ARCH": "vgg6", "EPOCHS": 1, "FILTERSCOPE": BINARY, "OMPI_MCA_btl": "tcp,self",
            "OMPI_MCA_btl_tcp_if_include": "127.0.0.0/8",  # where all nodes are; Open MPI 5 doesn't always get at itself elsewhere
            "TRAIN_OPTIONS": TRAIN, "SWEEP_OPTIONS": SWEEP}
FOUR = ("--nodes=2", "--ntasks=4", "--ntasks-per-node=2")
TWO = ("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--exclusive")  # no other job is on a node that goes down
SHORT = 20
LONG = 160  # epochs of the probes in scenarios that are disturbed


def submit(name, *options, size=TWO, **settings):
    os.makedirs(f"{here}/{name}", exist_ok=True)
    return cluster.submit(script, *size, f"--output={here}/{name}/log", *options,
                          **{**SETTINGS, "OUT": f"{here}/{name}", **settings})


def log(name, part="log"):
    try:
        with open(f"{here}/{name}/{part}") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def results(name, arch="vgg6"):
    return f"{here}/{name}/{arch}-sweep{'-1' if name == 'reproduce' else ''}.h5"


def status(name, when, arch="vgg6"):
    lines = run(1, "status", results(name, arch)).stdout.splitlines()
    print("\n".join(f"  {name} {when}: {line}" for line in lines))


def expect(arch, *lengths):
    """The sweeps of one rank, undisturbed."""
    run(1, "train", "--arch", arch, "--data", data, "--out", f"{here}/{arch}.h5", "--epochs", 1, *TRAIN.split())
    for epochs in lengths:
        run(1, "sweep", "--model", f"{here}/{arch}.h5", "--data", data, "--out", f"{here}/{arch}-{epochs}.h5", "--epochs", epochs,
            *SWEEP.split())


def progress():
    """What the jobs have logged so far: while it grows, other work on the machine is all that makes them slow."""
    return sum(entry.stat().st_size for each in os.scandir(here) if each.is_dir() for entry in os.scandir(each)
               if entry.name.startswith("log"))


def wait(condition, seconds, what):
    cluster.wait(condition, seconds, what, progress)


def finish(name, job, started, epochs, arch="vgg6", seconds=240):
    wait(lambda: cluster.show(job, "JobState") in ("COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT"), seconds, f"{name}'s job")
    took = time.monotonic() - started
    state = cluster.show(job, "JobState")
    assert state == "COMPLETED", f"{name}: {state}\n{log(name)}"
    assert identical(f"{here}/{arch}-{epochs}.h5", results(name, arch), VARYING), f"{name} differs"
    status(name, "after", arch)
    print(f"{name}: complete and bit-identical after {took:.0f} s, restarted {cluster.show(job, 'Restarts')} times", flush=True)


def in_sweep(name, start=1):
    """Whether the sweep of the job's so manieth start has begun to train probes."""
    return lambda: len(parts := log(name).split("sweep --model")) == start + 1 and "epoch " in parts[-1]


def start_at_once(name, job, restarts):
    """After a requeue, for which Slurm would wait two minutes. (A few seconds it needs to be rid of the steps.)"""
    wait(lambda: cluster.show(job, "Restarts") == str(restarts), 120, f"{name}'s requeue")
    wait(lambda: cluster.show(job, "JobState") in ("PENDING", "RUNNING"), 30, "pending")
    status(name, f"before start {restarts + 1}")
    time.sleep(5)
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=10")


def two_nodes(name, **launcher):
    started = time.monotonic()
    job = submit(name, size=FOUR, **launcher, PROBE_EPOCHS=SHORT)
    finish(name, job, started, SHORT)
    assert cluster.show(job, "NumNodes") == "2"
    with h5py.File(f"{here}/{name}/vgg6-sweep.h5") as file:
        launches = file["provenance/launches"][:]
        starts = launches[launches["time"] > 0]
        assert len(starts) == 1 and starts["ranks"][0] == 4, starts


def srun():
    two_nodes("srun")


def mpirun():
    """As with a site's default of --export=NONE, which Slurm hands down to the srun that starts mpirun's daemons."""
    two_nodes("mpirun", LAUNCH="mpirun --bind-to none", SLURM_EXPORT_ENV="NONE")


def limit():
    """The time limit is too short: stopped before it by the clock, requeued by itself, resumed; then stopped by the signal that
    Slurm sends before the end, which for limits of a minute it would send at once (CONT: not that one)."""
    started = time.monotonic()
    job = submit("limit", "--time=1", "--signal=B:CONT@1", PROBE_EPOCHS=LONG, SLURM_ARRAY_JOB_ID="999",  # of the submitting shell
                 TRAIN_OPTIONS=f"{TRAIN} --reserve 5",
                 SWEEP_OPTIONS=f"{SWEEP} --reserve 54")
    start_at_once("limit", job, 1)
    assert "the job's time is nearly over" in log("limit"), log("limit")
    wait(in_sweep("limit", 2), 60, "the second start")
    cluster.ask("scancel", "--batch", "--signal=USR1", job)
    start_at_once("limit", job, 2)
    finish("limit", job, started, LONG)
    assert log("limit").count("work is left: requeueing the job") == 2, log("limit")


def scancel():
    """In the middle, then submitted again."""
    started = time.monotonic()
    job = submit("scancel", PROBE_EPOCHS=LONG)
    wait(in_sweep("scancel"), 120, "the sweep")
    cluster.ask("scancel", job)
    wait(lambda: cluster.show(job, "JobState") == "CANCELLED", 60, "cancelled")
    wait(lambda: "Slurm is ending the job" in log("scancel"), 30, "the script's last word")
    status("scancel", "before")
    finish("scancel", submit("scancel", PROBE_EPOCHS=LONG), started, LONG)


def node():
    """A node dies, all of its processes at once: Slurm or the script requeues the job, which goes on elsewhere."""
    started = time.monotonic()
    job = submit("node", PROBE_EPOCHS=LONG)
    wait(in_sweep("node"), 120, "the sweep")
    last = cluster.ask("scontrol", "show", "hostnames", cluster.show(job, "NodeList")).split()[-1]
    cluster.kill_node(last)
    start_at_once("node", job, 1)
    finish("node", job, started, LONG)
    cluster.ask("scontrol", "update", f"NodeName={last}", "State=DRAIN", "Reason=dead")
    cluster.start_node(last)
    time.sleep(15)  # Slurm 24.11 was seen to take it for dead once more, and to end what had begun there
    cluster.ask("scontrol", "update", f"NodeName={last}", "State=RESUME")
    wait(lambda: cluster.ask("sinfo", "-h", "-n", last, "-o", "%T") in ("idle", "allocated", "mixed"), 60, f"{last} is back")


def array():
    """A network for each element. The last element, whose job number is also the array's, is stopped and requeued: it alone."""
    started = time.monotonic()
    os.makedirs(f"{here}/array")
    job = cluster.submit(script, "--array=0-1", "--ntasks=2", f"--output={here}/array/log-%a", "--job-name=x EndTime=1 JobState=FAILED",
                         **{**SETTINGS, "OUT": f"{here}/array", "ARCH": f"{SHALLOW} vgg6", "PROBE_EPOCHS": LONG,
                            "SLURM_TIME_FORMAT": "relative", "TZ": "Asia/Kathmandu", "SLURM_JOB_END_TIME": "1"})
    ends = {}  # as the elements' ranks have it, and Slurm; one may be through before the other begins

    def has_looked():
        for each in ("0", "1"):
            if each not in ends and (end := end_time_of(f"{here}/array", each)):
                ends[each] = end, int(cluster.ask("date", "+%s", "-d", cluster.show(f"{job}_{each}", "EndTime")))
        return len(ends) == 2

    wait(has_looked, 240, "ranks of both elements")
    wait(lambda: "epoch 20/" in log("array", "log-1").partition("sweep --model")[2], 240, "the sweep of element 1")
    assert all(abs(told - end) < 60 for told, end in ends.values()), ends
    cluster.ask("scancel", "--batch", "--signal=USR1", f"{job}_1")
    wait(lambda: cluster.show(f"{job}_1", "Restarts") == "1", 120, "element 1's requeue")
    time.sleep(5)
    cluster.ask("scontrol", "update", f"JobId={job}_1", "StartTime=now", "TimeLimit=20")
    for element, arch in enumerate((SHALLOW, "vgg6")):
        finish("array", f"{job}_{element}", started, LONG, arch)
        assert cluster.show(f"{job}_{element}", "Restarts") == str(element), f"element {element} was requeued, or was not"


def end_time_of(out, element):
    """When the ranks of a running element believe that its job ends: SLURM_JOB_END_TIME of the filterscope that works in `out`; None
    where there is none."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                found = dict(word.split("=", 1) for word in file.read().decode(errors="replace").split("\0") if "=" in word)
            with open(f"/proc/{pid}/comm") as file:
                program = file.read().strip()
        except OSError:
            continue
        if program == "filterscope" and found.get("OUT") == out and found.get("SLURM_ARRAY_TASK_ID") == element:
            return int(found.get("SLURM_JOB_END_TIME", 0))
    return None


def reproduce():
    """Its element of the array is stopped by the signal that Slurm sends and requeued, goes on and reports."""
    started = time.monotonic()
    os.makedirs(f"{here}/reproduce")
    job = cluster.submit(f"{tree}/jobs/reproduce.sh", "--array=1", "--ntasks=2", f"--output={here}/reproduce/log",
                         **{**SETTINGS, "OUT": f"{here}/reproduce", "ARCHS": "vgg16 vgg6", "SEEDS": 1, "PROBE_EPOCHS": LONG,
                            "FILTERSCOPE_HOME": tree, "PYTHON": sys.executable}) + "_1"
    wait(in_sweep("reproduce"), 120, "the sweep")
    cluster.ask("scancel", "--batch", "--signal=USR1", job)
    start_at_once("reproduce", job, 1)
    finish("reproduce", job, started, LONG)
    assert "SNR (ours) rises with depth" in log("reproduce"), log("reproduce")


SCENARIOS = (srun, mpirun, limit, scancel, node, array, reproduce)
expect("vgg6", SHORT, LONG)
expect(SHALLOW, LONG)
with concurrent.futures.ThreadPoolExecutor(len(SCENARIOS)) as pool:
    begun = [pool.submit(scenario) for scenario in SCENARIOS if not sys.argv[1:] or scenario.__name__ in sys.argv[1:]]
for each in begun:
    each.result()
