"""Probes on a fixed number of views: the same bits with all features kept, some or none, on 1, 2 and 3 ranks, and after a stop."""
import os
import re
import signal
import subprocess

import h5py
import numpy as np

from common import VARYING, epochs_done, folder, identical, launch, make_idx, run, train_small, wait_until

here = folder()
data = make_idx(f"{here}/data")
train_small(f"{here}/model.h5", data)
words = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--batch", 25, "--slots", 4, "--test-every", 2, "--views", 3,
         "--epochs"]


def sweep(ranks, out, cache, epochs=8):
    text = run(ranks, *words, epochs, "--out", f"{here}/{out}", "--cache", cache).stdout
    return re.search(r"probe: 3 views of each image; (.*)", text)[1]


assert sweep(1, "none.h5", 0) == "no features are kept"
for ranks, cache, says in ((1, 0.01, "from layer 3 on"), (2, 0.022, "from layer 2 on"), (2, 1, "from layer 1 on"), (3, 1, "from layer 1 on")):
    kept = sweep(ranks, "kept.h5", cache)
    assert says in kept, kept
    assert identical(f"{here}/none.h5", f"{here}/kept.h5", VARYING), f"{ranks} ranks, {kept}"
    print(f"{ranks} ranks: {kept}: same bits as with none")
    os.remove(f"{here}/kept.h5")


told = re.search(r"views: features (.*) on each node", run(1, "plan", *words[1:], 8, "--cache", 0.022).stdout)[1]
assert told in sweep(2, "told.h5", 0.022), told
parts = run(2, *words, 8, "--team", 1, "--out", f"{here}/teams.h5", "--cache", 0.022).stdout
assert "from layer 3 on are kept, 8 MiB" in parts, parts  # of layers 1 to 4: alone the team would keep layer 2's, too
assert identical(f"{here}/none.h5", f"{here}/teams.h5", VARYING), "two teams"


def history(path):
    with h5py.File(path) as file:
        rows = file["probe/history"][:]
        return rows[np.isin(rows["epoch"], (1, 2, 3))], rows[rows["epoch"] == 5]


run(2, *words, 8, "--views", 0, "--out", f"{here}/new.h5")
same, other = zip(history(f"{here}/none.h5"), history(f"{here}/new.h5"))
assert np.array_equal(same[0]["train_loss"], same[1]["train_loss"]), "the first epochs have the views that they always have"
assert not np.array_equal(other[0]["train_loss"], other[1]["train_loss"]), "later ones do not"

path = f"{here}/stopped.h5"
words = [*words, 40, "--cache", 1, "--out"]
run(1, *words, f"{here}/whole.h5")
job = subprocess.Popen(launch(2, *words, path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


wait_until(lambda: epochs_done(path) >= 5 or job.poll() is not None, 60, "some epochs")
job.send_signal(signal.SIGUSR1)
assert job.wait(60) == 75, job.stdout.read()
assert 5 <= epochs_done(path) < 40
run(1, *words, path)
assert identical(f"{here}/whole.h5", path, VARYING), "stopped and gone on differs"
error = run(1, *words[:-1], "--views", 2, "--out", path, expect=3).stderr
assert "views: file has 3, this command has 2" in error, error
error = run(1, *words[:-1], "--epochs", 100000, "--views", 99999, "--cache", 1000000, "--out", f"{here}/large.h5", expect=1).stderr
assert "--cache: the features would take" in error and error.count("filterscope") <= 2, error
print("stopped on 2 ranks, gone on on 1: same bits; another number of views is refused")
