"""A real Slurm of four nodes on this machine: munged, slurmctld and four slurmd of its own, in a scratch folder, on ports of its
own, as any user; all of it ends with this process."""
import atexit
import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

from common import descendants, skip

NODES = ("n1", "n2", "n3", "n4")
CONFIGURATION = """
ClusterName=filterscope
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={here}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool/%n
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.%n.pid
SlurmctldLogFile={here}/slurmctld.log
SlurmdLogFile={here}/slurmd.%n.log
TmpFS={here}/tmp/%n
ReturnToService=2
JobRequeue=1
SlurmdTimeout=10
KillWait=10
InactiveLimit=0
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """What is needed and is not installed."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
    places = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [name for name in programs if not shutil.which(name, path=places)]


def slurm_release():
    said = subprocess.run(["slurmd", "-V"], capture_output=True, text=True, check=True).stdout  # "slurm 24.11.5"
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    # With a large limit each launch closes every descriptor, one by one, and times out.
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


class Cluster:
    def __init__(self, here):
        if missing():
            skip(f"{', '.join(missing())} not found (Debian: munge slurmctld slurmd slurm-client)")
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        self.here = here
        os.mkdir(here)
        os.chmod(here, 0o755)  # munged trusts its socket's folder then
        for name in ("state", "spool", *(f"tmp/{node}" for node in NODES)):
            os.makedirs(f"{here}/{name}")
        host, ports = os.uname().nodename.split(".")[0], free_ports(1 + len(NODES))
        nodes = "\n".join(f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=2000 State=UNKNOWN"
                          for node, port in zip(NODES, ports[1:]))
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        with open(f"{here}/slurm.conf", "w") as file:
            file.write(CONFIGURATION.format(host=host, port=ports, user=user, here=here, nodes=nodes))
        if slurm_release() >= (24, 5):  # from there on slurmd ends where no cgroup is mounted, as in many containers, but for this word
            with open(f"{here}/cgroup.conf", "w") as file:
                file.write("CgroupPlugin=disabled\n")
        with open(f"{here}/munge.key", "wb") as file:
            file.write(os.urandom(128))
        os.chmod(f"{here}/munge.key", 0o600)
        os.environ["SLURM_CONF"] = f"{here}/slurm.conf"
        self.daemons = {}
        atexit.register(self.stop)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # the test's time is over
        self.run_daemon("munged", "--foreground", "--force", f"--key-file={here}/munge.key", f"--socket={here}/munge.socket",
                        f"--pid-file={here}/munge.pid", f"--log-file={here}/munge.log", f"--seed-file={here}/munge.seed")
        self.wait(lambda: os.path.exists(f"{here}/munge.socket"), 10, "munged")
        self.run_daemon("slurmctld", "-D", "-f", f"{here}/slurm.conf")
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: self.ask("sinfo", "-h", "-o", "%T") == "idle", 30, "idle nodes")

    def run_daemon(self, name, *words, key=None):
        with open(f"{self.here}/{key or name}.out", "a") as out:
            self.daemons[key or name] = subprocess.Popen([name, *words], stdout=out, stderr=out, preexec_fn=die_with_parent)

    def start_node(self, node):
        self.run_daemon("slurmd", "-D", "-N", node, "-f", f"{self.here}/slurm.conf", key=node)

    def kill_node(self, node):
        """As if its power had gone: slurmd, the step daemons and all that they run."""
        self.daemons[node].kill()
        self.kill_steps(node)
        self.daemons[node].wait()

    def kill_steps(self, node):
        steps = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self.is_step(pid, node)]
        for pid in (each for step in steps for each in (*descendants(step), step)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def is_step(self, pid, node):
        """Whether this is a slurmstepd that has started something on the node of this cluster."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"slurmstepd" not in file.read():
                    return False
            return any(self.node_of(child) == node for child in descendants(pid))
        except OSError:
            return False

    def node_of(self, pid):
        """The node of a process of this cluster: others on the machine may have nodes of the same names."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                found = dict(word.split("=", 1) for word in file.read().decode(errors="replace").split("\0") if "=" in word)
        except OSError:
            return None
        return found.get("SLURMD_NODENAME") if found.get("SLURM_CONF") == f"{self.here}/slurm.conf" else None

    def stop(self):
        for name in reversed(list(self.daemons)):
            self.daemons[name].terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for node in NODES:
            self.kill_steps(node)  # of jobs that were still running

    def ask(self, *words):
        return subprocess.run(words, capture_output=True, text=True, timeout=60).stdout.strip()

    def wait(self, condition, seconds, what, progress=lambda: None):
        """Until condition(); for so many seconds after progress() last changed."""
        deadline, last = time.monotonic() + seconds, progress()
        while not condition():
            now = progress()
            if now != last:
                deadline, last = time.monotonic() + seconds, now
            if time.monotonic() > deadline:
                print(self.ask("scontrol", "show", "job"), self.ask("sinfo", "-N"))
                subprocess.run(f"tail -n 30 {self.here}/*.log {self.here}/*.out", shell=True)
                sys.exit(f"{what}: not within {seconds} s")
            time.sleep(0.2)

    def submit(self, script, *options, **settings):
        """The number of the job."""
        done = subprocess.run(["sbatch", "--parsable", *options, script], capture_output=True, text=True, timeout=60,
                              env={**os.environ, **{key: str(value) for key, value in settings.items()}})
        if done.returncode:
            sys.exit(f"sbatch: {done.stderr}")
        return done.stdout.strip()

    def show(self, job, key):
        text = self.ask("scontrol", "show", "job", job).partition("\n")[2]  # its first line has the job's name, which may be anything
        found = re.search(rf"\b{key}=(\S*)", text)
        return found[1] if found else ""

    def wait_for_state(self, job, state, seconds):
        self.wait(lambda: self.show(job, "JobState") == state, seconds, f"job {job} {state}")
