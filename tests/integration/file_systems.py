"""Real file systems that fail under a sweep: ext4 and xfs that go down, ext4 that turns read-only, btrfs and an overlay that become
full, each in mid-run on 2 ranks. The job ends within 10 s in 1, with a message; mounted anew, the same command completes the file, to
the same bits as an undisturbed run's. Where the disk is full but what the file has is its own, the sweep may complete, too."""
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time

from common import VARYING, epochs_done, folder, identical, launch, make_idx, messages, run, skip, train_small, wait_until

MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}
GO_DOWN = 0x8004587D  # _IOR('X', 125, uint32_t): of xfs and ext4, for tests of this kind
WITHOUT_FLUSH = b"\2\0\0\0"  # what is in memory is lost

if os.geteuid():
    skip("only root mounts images")
if "inside" not in sys.argv:  # a mount namespace of its own: nothing stays mounted
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if tried.returncode:  # as in a chroot whose root is not mounted
        skip(f"no file system may be mounted here: {tried.stderr.strip()}")
    sys.exit(subprocess.run(["unshare", "--mount", sys.executable, *sys.argv, "inside"]).returncode)

here = folder()
mounted = f"{here}/mounted"
out = f"{mounted}/sweep.h5"
os.mkdir(mounted)
data = make_idx(f"{here}/data", labels=3, train=60, test=30)
train_small(f"{here}/model.h5", data, 1)
SWEEP = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 20, "--slots", 4, "--layers", "4,5", "--epochs", 120,
         "--test-every", 60, "--save-every", 0.1, "--out"]
run(1, *SWEEP, f"{here}/sound.h5")


def call(*words):
    return subprocess.run(words, capture_output=True).returncode == 0


def mount(kind):
    """Mounts an image that is there, or makes one; False where that cannot be had here."""
    image = f"{here}/{kind}"
    if kind == "overlay":
        base = f"{here}/base"
        if not os.path.isdir(base):
            os.mkdir(base)
            call("mount", "-t", "tmpfs", "-o", "size=24m", "none", base)
            for name in ("lower", "upper", "work"):
                os.mkdir(f"{base}/{name}")
        return call("mount", "-t", "overlay", "-o", f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work", "none", mounted)
    if not os.path.exists(image):
        if not shutil.which(MAKE[kind][0]):
            return False
        with open(image, "wb") as file:
            file.truncate((320 if kind == "xfs" else 128) << 20)
        if not call(*MAKE[kind], image):
            return False
    return call("mount", "-t", kind, "-o", "loop" + (",errors=remount-ro" if kind == "ext4" else ""), image, mounted)


def go_down(process):
    where = os.open(mounted, os.O_RDONLY)
    fcntl.ioctl(where, GO_DOWN, WITHOUT_FLUSH)
    os.close(where)


def turn_read_only(process):
    device = os.path.basename(subprocess.run(["findmnt", "-no", "SOURCE", mounted], capture_output=True, text=True).stdout.strip())
    with open(f"/sys/fs/ext4/{device}/trigger_fs_error", "w") as file:
        file.write("a test")


def fill(process):
    """For as long as it runs: what is freed is taken, too."""
    with open(f"{mounted}/filler", "ab", buffering=0) as file:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                file.write(bytes(1 << 16))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                time.sleep(0.05)


def disturb(kind, what):
    """One sweep that is disturbed once it has begun, and its end."""
    if not mount(kind):
        print(f"{kind}: cannot be made or mounted here")
        return False
    process = subprocess.Popen(launch(2, *SWEEP, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: epochs_done(out) > 2, 60, "the first epochs")
    begun = time.monotonic()
    what(process)
    said = process.communicate(timeout=60)[1]
    seconds = time.monotonic() - begun
    lines = messages(said)
    print(f"{kind}, {what.__name__}: exit code {process.returncode} after {seconds:.1f} s: {lines[0] if lines else ''}", flush=True)
    completed = what is fill and process.returncode == 0
    assert completed or (process.returncode == 1 and lines and (what is fill or seconds < 10)), said
    if os.path.exists(f"{mounted}/filler"):
        os.remove(f"{mounted}/filler")
    wait_until(lambda: call("umount", mounted), 10, "the end of all ranks")  # MPICH's mpirun may be gone before them
    assert mount(kind)
    run(2, *SWEEP, out)
    assert identical(f"{here}/sound.h5", out, VARYING)
    wait_until(lambda: call("umount", mounted), 10, "the end of all ranks")
    if kind != "overlay":
        os.remove(f"{here}/{kind}")
    return True


if not any([disturb("ext4", go_down), disturb("ext4", turn_read_only), disturb("xfs", go_down), disturb("btrfs", fill),
            disturb("overlay", fill)]):
    skip("no file system may be mounted here")
