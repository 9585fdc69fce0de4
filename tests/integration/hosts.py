"""Three hosts on a network of their own, on which jobs/vgg16_sweep.sh runs a sweep by mpirun: a host that is cut off for good ends the
job with exit code 70 within 30 s, and the same command then gives the same bits. With the argument --long also one that is cut off
for 60 s, a delay of 300 ms and a loss of 30 %, through which the job goes on. Prints exit code and seconds of each."""
import atexit
import contextlib
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import subprocess
import sys
import threading
import time

from common import BINARY, OPEN_MPI, VARYING, folder, identical, make_idx, run, skip, wait_until

WITHIN = 30  # seconds from the cut until the job script has its exit code
HOSTS = ("a", "b", "c")


def inside():
    """Goes on in name spaces of its own, so that nothing of it stays."""
    if not OPEN_MPI:
        skip("the hosts are told to Open MPI's mpirun")
    own = ["unshare", "--net", "--mount", "--uts"]
    tried = subprocess.run([*own, "sh", "-c", "mount -t tmpfs none /run && mkdir /run/netns && ip netns add a && ip tuntap add t mode tap"],
                           capture_output=True, text=True)
    if tried.returncode:
        skip(f"no network name spaces or TAP devices can be made here: {tried.stderr.strip().splitlines()[-1:]}")
    os.execvp(own[0], [*own, sys.executable, *sys.argv, "inside"])


class Switch(threading.Thread):
    """Hands frames between the hosts' interfaces; can cut a host off, delay and lose frames."""

    def __init__(self):
        super().__init__(daemon=True)
        self.cut, self.delay, self.loss, self.ports = set(), 0, 0, {}
        for number, host in enumerate(HOSTS):
            port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(port, 0x400454CA, struct.pack("16sH14x", f"tap-{host}".encode(), 0x1002))  # TUNSETIFF: TAP, no header
            self.ports[port] = host
            ip("netns", "add", host)
            ip("link", "set", f"tap-{host}", "netns", host, "name", "eth0")
            ip("-n", host, "address", "add", f"10.77.0.{number + 1}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "set", "eth0", "up")
        self.start()

    def run(self):
        waiting, count = [], 0
        while True:
            patience = max(0, waiting[0][0] - time.monotonic()) if waiting else 0.5
            for port in select.select(self.ports, [], [], patience)[0]:
                frame = os.read(port, 70000)
                for other in self.ports:
                    if other != port and not self.loses(self.ports[port], self.ports[other]):
                        count += 1
                        heapq.heappush(waiting, (time.monotonic() + self.delay, count, other, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, other, frame = heapq.heappop(waiting)
                try:
                    os.write(other, frame)
                except OSError:  # its queue is full: a frame is lost
                    pass

    def loses(self, sender, receiver):
        return bool({sender, receiver} & self.cut) or random.random() < self.loss


def ip(*words):
    return subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def end_all():
    """Whatever still runs on the hosts: a job that is cut in two does not end by a signal to its one half."""
    for host in HOSTS:
        for pid in map(int, ip("netns", "pids", host).split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if "inside" not in sys.argv:
    inside()
here = folder()
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
os.mkdir("/run/netns")
with open(f"{here}/hosts", "w") as file:
    file.write("127.0.0.1 localhost\n" + "".join(f"10.77.0.{number + 1} {host}\n" for number, host in enumerate(HOSTS)))
subprocess.run(["mount", "--bind", f"{here}/hosts", "/etc/hosts"], check=True)
ip("link", "set", "lo", "up")
switch = Switch()
atexit.register(end_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
with open(f"{here}/agent", "w") as file:  # as ssh: AGENT HOST COMMAND...
    file.write('#!/bin/sh\nhost=$1\nshift\nexec ip netns exec "$host" unshare --uts sh -c "hostname $host; $*"\n')
os.chmod(f"{here}/agent", 0o755)
data = make_idx(f"{here}/data", labels=3, train=60, test=30, size=8)
with open(f"{here}/net.txt", "w") as file:  # messages of few frames: of each that is lost, TCP takes its time
    file.write("conv 8 3x3 pad 1\nrelu\nconv 8 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
SETTINGS = {"DATA": data, "ARCH": f"{here}/net.txt", "MODEL": f"{here}/model.h5", "EPOCHS": "1", "FILTERSCOPE": BINARY, "STATUS_EVERY": "0",
            "LAUNCH": f"mpirun --host a,b,c --mca plm_rsh_agent {here}/agent --bind-to none -np 3", "OMPI_MCA_btl": "tcp,self", "TMPDIR": here,
            "TRAIN_OPTIONS": "--batch 20 --slots 4", "SWEEP_OPTIONS": "--batch 20 --slots 4 --test-every 10"}
script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs", "vgg16_sweep.sh")


def start(name, epochs):
    with open(f"{here}/{name}.log", "a") as log:
        return subprocess.Popen([f"{here}/agent", "a", script], stdout=log, stderr=subprocess.STDOUT,
                                env={**os.environ, **SETTINGS, "RESULTS": f"{here}/{name}.h5", "PROBE_EPOCHS": str(epochs)})


def log(name):
    with open(f"{here}/{name}.log") as file:
        return file.read()


def in_sweep(name, job):
    wait_until(lambda: "epoch 10/" in log(name).partition("sweep --model")[2] or job.poll() is not None, 120, f"{name}: the sweep")
    assert job.poll() is None, f"{name}: exit code {job.returncode}\n{log(name)}"


def end(name, job, expected, seconds):
    began = time.monotonic()
    try:
        code = job.wait(seconds)
    except subprocess.TimeoutExpired:
        sys.exit(f"{name}: still there after {seconds} s\n{log(name.partition(',')[0])}")
    print(f"{name}: exit code {code} after {time.monotonic() - began:.0f} s", flush=True)
    assert code == expected, f"{name}: exit code {code}, expected {expected}\n{log(name.partition(',')[0])}"


def resume(name, epochs):
    """The same command, on a network without faults: the same bits as on one rank."""
    switch.cut, switch.delay, switch.loss = set(), 0, 0
    end(f"{name}, again", start(name, epochs), 0, 300)
    if not os.path.exists(f"{here}/{epochs}.h5"):
        run(1, "sweep", "--model", SETTINGS["MODEL"], "--data", data, "--out", f"{here}/{epochs}.h5", "--epochs", epochs,
            *SETTINGS["SWEEP_OPTIONS"].split())
    assert identical(f"{here}/{epochs}.h5", f"{here}/{name}.h5", VARYING), f"{name} differs"


def cut(name, epochs, seconds):
    job = start(name, epochs)
    in_sweep(name, job)
    switch.cut = {"c"}
    healing = threading.Timer(seconds, switch.cut.clear)
    healing.start()
    end(name, job, 70, WITHIN)
    healing.cancel()
    resume(name, epochs)


def disturbed(name, epochs, delay=0, loss=0):
    job = start(name, epochs)
    in_sweep(name, job)
    switch.delay, switch.loss = delay, loss
    end(name, job, 0, 1200)
    resume(name, epochs)


cut("cut for good", 60, 3600)
if "--long" in sys.argv:
    cut("cut for 60 s", 60, 60)
    disturbed("a delay of 300 ms", 20, delay=0.3)
    disturbed("a loss of 30 %", 14, loss=0.3)
