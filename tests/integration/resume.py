"""A stopped run goes on where it was, and ends with the bits of one that was not stopped; a finished one does nothing."""
import os
import signal
import subprocess
import time

from common import VARYING, epochs_done, folder, identical, launch, lives, make_idx, run, vgg6_with_units, wait_until, writer

here = folder()
data = make_idx(f"{here}/data", train=400)


def stop_after(words, ranks, when, how):
    """Starts the program, sends the ranks a signal once `when()` holds, and returns its exit code."""
    process = subprocess.Popen(launch(ranks, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    text, _ = process.communicate(timeout=60)
    wait_until(lambda: not lives(writer(words[-1])), 20, "the ranks' end after their mpirun's")
    return process.returncode, text


words = ["train", "--arch", vgg6_with_units(f"{here}/units.txt"), "--data", data, "--epochs", 4, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02,
         "--momentum", 0.9, "--fc-momentum", 0.9, "--out"]
run(1, *words, f"{here}/whole.h5")
for ranks, how in ((1, signal.SIGTERM), (2, signal.SIGUSR1), (2, signal.SIGKILL)):
    path = f"{here}/stopped{ranks}{how.name}.h5"
    code, text = stop_after([*words, path], ranks, lambda: os.path.exists(path), how)
    assert how == signal.SIGKILL or code == 75, f"{how.name}: exit code {code}\n{text}"
    run(3 - ranks, *words, path)
    assert identical(f"{here}/whole.h5", path, ("/history",)), f"train stopped by {how.name}"
    print(f"train on {ranks} ranks, {how.name}: same bits after resuming")

before = os.stat(f"{here}/whole.h5").st_mtime_ns
run(2, *words, f"{here}/whole.h5")
assert os.stat(f"{here}/whole.h5").st_mtime_ns == before, "a finished training is written again"

words = ["sweep", "--model", f"{here}/whole.h5", "--data", data, "--epochs", 12, "--batch", 20, "--test-every", 4, "--slots", 4,
         "--layers", "2-5,fc1", "--out"]
run(2, *words, f"{here}/sweep.h5")
for ranks, how in ((1, signal.SIGTERM), (2, signal.SIGUSR1), (2, signal.SIGKILL)):
    path = f"{here}/sweep{ranks}{how.name}.h5"
    code, text = stop_after([*words, path], ranks, lambda: epochs_done(path) >= 3, how)
    assert how == signal.SIGKILL or code == 75, f"{how.name}: exit code {code}\n{text}"
    assert epochs_done(path) < 12, "stopped too late to show anything"
    status = run(1, "status", path).stdout
    assert "left" in status or "running" in status, status
    run(3 - ranks, *words, path)
    assert identical(f"{here}/sweep.h5", path, VARYING), f"sweep stopped by {how.name}"
    run(1, "check", path)
    print(f"sweep on {ranks} ranks, {how.name}: same bits after resuming")

before = open(f"{here}/sweep.h5", "rb").read()
assert "complete" in run(2, *words, f"{here}/sweep.h5").stdout
assert open(f"{here}/sweep.h5", "rb").read() == before, "a finished sweep is written again"
