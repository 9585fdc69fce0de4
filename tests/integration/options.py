"""Options of train beside the paper's: each does what it says and is recorded; all together give the same bits on 1, 2 and 3 ranks and
after a stop; eval and sweep take the average of the weights; what does not fit is refused."""
import os
import re
import signal
import subprocess

import h5py
import numpy as np

from common import folder, identical, launch, lives, make_idx, run, wait_until, writer

here = folder()
os.chdir(here)
DATA = make_idx("data", train=200, test=60, size=16)
with open("net.txt", "w") as file:
    file.write("conv 6 3x3 pad 1\nbn\nrelu\nmaxpool 2\nconv 9 3x3 pad 1\nbn\nrelu\nconv 5 1x1\nbn\nrelu\nmaxpool 2\nfc K\n")
TRAIN = ["train", "--arch", "net.txt", "--data", DATA, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02,
         "--momentum", 0.9, "--fc-momentum", 0.9]


def train(out, *words, ranks=1, epochs=1, **options):
    return run(ranks, *TRAIN, "--out", out, "--epochs", epochs, *words, **options)


def read(path):
    with h5py.File(path) as file:
        arrays = {f"{group}/{name}": values[:] for group in ("parameter", "statistic", "momentum", "last") if group in file
                  for name, values in file[group].items()}
        config = {key.decode(): value.decode() for key, value in file["config"][:].tolist()}
        return arrays, config, file["history"][:], int(file.attrs["format_version"])


# One batch an epoch: what a step does can be told from the files.
ONE = ("--train-images", 20, "--weight-decay", 0.01)
train("start.h5", *ONE, "--lr", 0, "--fc-lr", 0)
train("one.h5", *ONE)
start, one = read("start.h5")[0], read("one.h5")[0]
assert read("one.h5")[3] == 3 and "held_sr" not in read("one.h5")[2].dtype.names

train("fast.h5", *ONE, "--norm-bias-lr", 64)
fast, config, _, _ = read("fast.h5")
assert config["norm-bias-lr"] == "64"
for name in (name for name in one if name.startswith("parameter/")):
    if name.endswith("beta"):
        np.testing.assert_allclose(fast[name], 64 * one[name], rtol=1e-5)
        assert one[name].any()
    else:
        assert np.array_equal(fast[name], one[name]), name

train("identity.h5", *ONE, "--lr", 0, "--fc-lr", 0, "--first-weights", "identity")
weights, config, _, _ = read("identity.h5")
assert config["first-weights"] == "identity"
wanted = {name: values.copy() for name, values in start.items() if name.startswith("parameter/")}
wanted["parameter/conv2.weight"][..., :6] = 0
wanted["parameter/conv2.weight"][1, 1, range(6), range(6)] = 1
wanted["parameter/conv3.weight"][...] = 0
wanted["parameter/conv3.weight"][0, 0, range(5), range(5)] = 1
for name, values in wanted.items():
    assert np.array_equal(weights[name], values), name

average = start
for epochs, decay in ((1, 2 / 11), (2, 3 / 12)):
    train("ema.h5", *ONE, "--ema", 0.9, epochs=epochs)
    train("plain.h5", *ONE, epochs=epochs)
    found, config, history, version = read("ema.h5")
    plain, _, plain_history, _ = read("plain.h5")
    assert config["ema"] == "0.9" and version == 5
    for name, values in plain.items():
        group, _, array = name.partition("/")
        if group == "momentum":
            assert np.array_equal(found[name], values), name
        else:
            assert np.array_equal(found[f"last/{array}"], values), name
    if epochs == 1:
        before = {name: values for name, values in start.items() if name.startswith("parameter/")}
    for name in before:
        before[name] = before[name] + (1 - decay) * (plain[name] - before[name])
        np.testing.assert_allclose(found[name], before[name], rtol=1e-5, atol=1e-7)
    assert np.array_equal(history["last_test_sr"], plain_history["test_sr"])
print("norm-bias-lr, identity, ema: as they are defined")

train("random.h5", *ONE, epochs=2)
train("alternating.h5", *ONE, "--flips", "alternating", epochs=2)
assert read("alternating.h5")[1]["flips"] == "alternating"
assert not np.array_equal(read("random.h5")[0]["parameter/conv1.weight"], read("alternating.h5")[0]["parameter/conv1.weight"])

# All together.
ALL = ("--flips", "alternating", "--first-weights", "identity", "--norm-bias-lr", 8, "--ema", 0.9, "--hold-back", 0.2)
for ranks in (1, 2, 3):
    said = train(f"all{ranks}.h5", *ALL, ranks=ranks, epochs=3).stdout
    assert "held back SR" in said
    assert identical("all1.h5", f"all{ranks}.h5", ("/history",)), ranks
_, config, history, _ = read("all1.h5")
assert config["train-data"].startswith("160 images") and config["held-back"].startswith("40 images"), config
assert np.array_equal(history["held_sr"] * 40 % 1, np.zeros(3))
assert np.isfinite(history["last_held_sr"]).all()
assert f"SR {history['test_sr'][-1]:.4f}" in run(1, "eval", "--model", "all1.h5", "--data", DATA).stdout
assert history["test_sr"][0] != history["last_test_sr"][0]
assert "average" in run(1, "status", "all1.h5").stdout
run(1, "sweep", "--model", "all1.h5", "--data", DATA, "--out", "sweep.h5", "--epochs", 1, "--batch", 20)
print("all together: 1, 2 and 3 ranks give the same bits; eval's SR is the average's")

# Stopped amid an epoch.
words = [*TRAIN, *ALL, "--epochs", 400, "--save-every", 0, "--out"]
stopped = "stopped.h5"
process = subprocess.Popen(launch(2, *words, stopped), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
wait_until(lambda: os.path.exists(stopped) or process.poll() is not None, 60, "the first save")
process.send_signal(signal.SIGUSR1)
text, _ = process.communicate(timeout=60)
assert process.returncode == 75, text
wait_until(lambda: not lives(writer(stopped)), 20, "the ranks' end")
done = int(re.search(r"(\d+) of 400 epochs", run(1, "status", stopped).stdout)[1])
words[words.index("--epochs") + 1] = done + 30
run(3, *words, stopped)
run(1, *words, "whole.h5")
assert identical("whole.h5", stopped, ("/history",))
assert read(stopped)[2]["held_sr"][-1] > 0.5, read(stopped)[2]["held_sr"]
print(f"stopped after epoch {done}: the same bits")

# Labels.
train("two.h5", "--keep-labels", "1,3")
assert read("two.h5")[1]["labels"].startswith("2 of the set's 4: 1, 3"), read("two.h5")[1]
assert "of 30 right" in run(1, "eval", "--model", "two.h5", "--data", DATA).stdout

for words, said in ((("--flips", "odd"), "--flips: 'odd' is neither random nor alternating"),
                    (("--first-weights", "zero"), "--first-weights: 'zero' is neither uniform nor identity"),
                    (("--first-weights", "identity", "--init", "one.h5"), "--first-weights belongs to a new network"),
                    (("--ema", 1), "--ema: 1 is not below 1"), (("--hold-back", 1), "--hold-back: 1 is not below 1"),
                    (("--hold-back", 0.999), "holds back all of the 50 training images of label 0"),
                    (("--norm-bias-lr", 0), "--norm-bias-lr: 0 is not above 0"),
                    (("--keep-labels", "3,1"), "'3,1': labels rise"), (("--keep-labels", "1-"), "no list of labels"),
                    (("--keep-labels", "1, 3"), "no list of labels"), (("--keep-labels", "0-+2"), "no list of labels"),
                    (("--keep-labels", "2"), "is one label"), (("--keep-labels", "2,4"), "label 4 is used, but this set has 4"),
                    (("--keep-labels", "0-1", "--drop-empty-labels"), "one of the two chooses")):
    text = train("refused.h5", *words, ranks=2, expect=2).stderr
    assert said in text and not os.path.exists("refused.h5"), text
print("what does not fit is refused")
