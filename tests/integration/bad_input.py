"""Bad input gets one clear message that names value and place, the documented exit code on every rank, soon, and nothing is lost.

Prints the table of all cases: command, ranks, exit code, message."""
import gzip
import multiprocessing
import os
import re
import shutil
import sys
import time

import h5py
import numpy as np

from common import BINARY, folder, make_idx, messages, run, train_small, write_idx

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis"))
import model_file  # noqa: E402 (only now on the path)

here = folder()
os.mkdir(f"{here}/original")
os.chdir(f"{here}/original")
data = make_idx("data")
train_small("model.h5", data)
train_small("model2.h5", data, seed=2)
SWEEP = ["sweep", "--model", "model.h5", "--data", data, "--epochs", 1, "--batch", 20, "--slots", 4]
TRAIN = ["train", "--arch", "vgg6", "--data", data, "--epochs", 1, "--batch", 20, "--slots", 4, "--lr", 0.02, "--fc-lr", 0.02,
         "--momentum", 0.9, "--fc-momentum", 0.9]
run(2, *SWEEP, "--out", "sweep.h5")


def copy_data(name):
    shutil.copytree("data", name)
    return f"idx:{name}"


def cut(path, size):
    with open(path, "r+b") as file:
        file.truncate(size)


def patch(path, offset, new):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(new)


# Broken data sets
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
short, magic, other_count, empty, odd, packed = (copy_data(name) for name in ("short", "magic", "count", "empty", "odd", "packed"))
cut(f"short/{IMAGES}", 50000)
patch(f"magic/{IMAGES}", 0, b"\xff")
patch(f"count/{LABELS}", 4, (119).to_bytes(4, "big"))
cut(f"count/{LABELS}", 127)
cut(f"empty/{IMAGES}", 0)
make_idx("odd", size=20)
with open(f"packed/{IMAGES}", "rb") as file:
    whole = gzip.compress(file.read())
with open(f"packed/{IMAGES}.gz", "wb") as file:
    file.write(whole[: len(whole) // 2])
os.remove(f"packed/{IMAGES}")
gap = copy_data("gap")
for name, count in (("train", 120), ("t10k", 60)):
    write_idx(f"gap/{name}-labels-idx1-ubyte", np.array([0, 1, 3, 1] * 30)[:count])
for name, encoding in (("names.txt", "utf-8"), ("latin1.txt", "latin-1")):
    with open(name, "w", encoding=encoding) as file:
        file.write("a\nK\u00e4fer\nc\nd\n")
os.mkdir("cifar")
for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
    np.zeros(20 * 3073, np.uint8).tofile(f"cifar/{name}")
patch("cifar/data_batch_3.bin", 7 * 3073, b"\x0c")
os.mkdir("nothing")
grey3 = make_idx("three", labels=3)
small = make_idx("other", seed=2)

# Broken files
shutil.copy("model.h5", "cut_model.h5")
cut("cut_model.h5", 1 << 20)
shutil.copy("model.h5", "rotten_model.h5")
patch("rotten_model.h5", os.path.getsize("model.h5") // 2, b"\x55" * 64)
shutil.copy("model.h5", "rotten_history.h5")
with h5py.File("rotten_history.h5", "r+") as file:
    file["history"][0] = tuple(file["history"][0])[:-1] + (0.125,)
for name, size in (("cut_sweep.h5", os.path.getsize("sweep.h5") // 2), ("stub_sweep.h5", 600), ("empty_sweep.h5", 0)):
    shutil.copy("sweep.h5", name)
    cut(name, size)
with open("text.h5", "w") as file:
    file.write("not HDF5\n" * 1000)
os.mkdir("folder.h5")

with open("bad.txt", "w") as file:
    file.write("conv 8 3x3\n# twice\nmaxpol 2\n")
with open("large.txt", "w") as file:
    file.write("conv 8 40x40\nfc K\n")
with h5py.File("old_model.h5", "w", libver=("v108", "v108")) as file:
    file.attrs["format"], file.attrs["format_version"] = np.array(b"filterscope-model", "S32"), np.int32(2)
EVAL = ["eval", "--model", "model.h5", "--data", data]

# Model files with a sound CRC and a value that cannot be, as another program may write them.
with h5py.File("float.h5", "w") as file:
    file["train_images"] = np.zeros((8, 32, 32, 1), np.float32)
with h5py.File("cut.h5", "w") as file:
    for split in "train", "test":
        file[f"{split}_images"], file[f"{split}_labels"] = np.zeros((8, 32, 32, 1), np.uint8), np.arange(8) % 4
with h5py.File("label.h5", "w") as file:
    for split, labels in ("train", 4), ("test", 5):
        file[f"{split}/images"], file[f"{split}/labels"] = np.zeros((8, 32, 32, 1), np.uint8), np.arange(8) % labels
cut("cut.h5", 9000)
text, rows = model_file.layers(BINARY, "vgg6", "32x32x1", 4)
with h5py.File("model.h5") as file:
    sound = {name: values[:] for group in ("parameter", "statistic") for name, values in file[group].items()}
IMPOSSIBLE = {"nan.h5": r"/parameter/conv2.weight\[1, 2, 3, 4\] is nan",
              "negative.h5": r"/statistic/bn3.variance\[7\] is -2: a variance is not negative",
              "scaling.h5": "/scaling: mean inf of channel 0 is not finite"}
for name in IMPOSSIBLE:
    arrays = {key: values.copy() for key, values in sound.items()}
    if name == "nan.h5":
        arrays["conv2.weight"][1, 2, 3, 4] = np.nan
    elif name == "negative.h5":
        arrays["bn3.variance"][7] = -2
    scaling = [0, 1], [np.inf if name == "scaling.h5" else 0], [1]
    model_file.write(name, "vgg6", text, (32, 32, 1), list("0123"), scaling, {"arch": "vgg6"}, rows, arrays)

CASES = [  # words, exit code, what the message must say
    (["train"], 2, "usage: filterscope train"),
    ([*TRAIN, "--out", "new.h5", "--arch", "vgg17"], 2, "unknown architecture 'vgg17'"),
    ([*TRAIN, "--out", "new.h5", "--lr", "fast"], 2, "--lr: 'fast' is not a number"),
    ([*TRAIN, "--out", "new.h5", "--momentum", "1.5"], 2, r"--momentum: 1.5 is not in 0 .. 1"),
    ([*TRAIN, "--out", "new.h5", "--epochs", "2.5"], 2, "--epochs: '2.5' is not a whole number"),
    ([*TRAIN, "--out", "new.h5", "--schedule", "stairs"], 2, "--schedule: 'stairs' is neither steps nor cosine"),
    ([*TRAIN, "--out", "new.h5", "--schedule", "cosine", "--fc-lr-decay", "0.5"], 2, "--schedule cosine takes no --fc-lr-decay"),
    ([*TRAIN, "--out", "new.h5", "--warmup", "1"], 2, "--warmup belongs to --schedule cosine"),
    ([*TRAIN, "--out", "new.h5", "--schedule", "cosine", "--warmup", "9"], 2, "--warmup: 9 is not below the"),
    ([*TRAIN, "--out", "new.h5", "--label-smoothing", "1.5"], 2, r"--label-smoothing: 1.5 is not in 0 .. 1"),
    ([*TRAIN, "--out", "new.h5", "--slots", "3"], 2, "--slots: 3 is no power of two"),
    ([*TRAIN, "--out", "new.h5", "--gpu"], 2, "no option --gpu"),
    ([*TRAIN, "--out"], 2, "--out needs a value"),
    ([*TRAIN, "--out", "new.h5", "more"], 2, "unexpected 'more'"),
    ([*TRAIN, "--out", "new.h5", "--data", "data"], 2, "data"),
    ([*TRAIN, "--out", "new.h5", "--data", "idx:gone"], 1, "gone"),
    ([*TRAIN, "--out", "new.h5", "--data", "idx:nothing"], 1, "nothing/train-(images|labels)"),
    ([*TRAIN, "--out", "new.h5", "--data", "hdf5:gone.h5"], 1, "gone.h5"),
    ([*TRAIN, "--out", "new.h5", "--data", "hdf5:float.h5"], 1, r"float.h5: /train_images: images must be unsigned bytes"),
    ([*TRAIN, "--out", "new.h5", "--data", "hdf5:cut.h5"], 1, "cut.h5: HDF5 cannot open it: truncated"),
    ([*TRAIN, "--out", "new.h5", "--data", "hdf5:label.h5"], 1, r"label.h5: /test/labels: label 4 in record 4: expected 0..3"),
    ([*TRAIN, "--out", "new.h5", "--data", short], 1, "short/train-images.*"),
    ([*TRAIN, "--out", "new.h5", "--data", magic], 1, "magic/train-images"),
    ([*TRAIN, "--out", "new.h5", "--data", other_count], 1, "119.*120|120.*119"),
    ([*TRAIN, "--out", "new.h5", "--data", empty], 1, "empty/train-images"),
    ([*TRAIN, "--out", "new.h5", "--data", packed], 1, "packed/train-images.*gz"),
    ([*TRAIN, "--out", "new.h5", "--data", odd], 2, "2x2 pool does not divide the 5x5 map"),
    ([*TRAIN, "--out", "new.h5", "--data", "cifar10:cifar"], 1, "data_batch_3.bin: label 12 in record 7: this set has 10 labels"),
    ([*TRAIN, "--out", "new.h5", "--train-images", "121"], 1, "121.*120|120.*121"),
    ([*TRAIN, "--out", "new.h5", "--label-names", "latin1.txt"], 1, r"latin1.txt: the name of label 1, 'K\\xe4fer': byte 2 is 0xe4: not UTF-8"),
    ([*TRAIN, "--out", "model.h5", "--label-names", "names.txt"], 3, "model.h5: label 0 is 0 there, a in names.txt; sweep and eval take"),
    ([*TRAIN, "--out", "new.h5", "--data", gap], 1, r"gap: no training or no test image of label 2 \(2\): a sweep needs both. --drop-empty-labels"),
    ([*TRAIN, "--out", "gone/new.h5"], 1, "gone/new.h5"),
    ([*TRAIN, "--out", "text.h5"], 3, "text.h5: not an HDF5 file"),
    ([*TRAIN, "--out", "sweep.h5"], 3, "sweep.h5: not a filterscope model file"),
    ([*TRAIN, "--out", "cut_model.h5"], 3, "cut_model.h5: not an HDF5 file, or truncated"),
    ([*TRAIN, "--out", "rotten_model.h5"], 3, "rotten_model.h5: damaged"),
    ([*TRAIN, "--out", "model.h5", "--lr", "0.03", "--seed", "2"], 3, "lr: file has 0.02, this command has 0.03; seed: file has 1"),
    ([*TRAIN, "--out", "model.h5", "--data", small], 3, "train-data: file has 120 images of 32x32x1, 4 labels, CRC"),
    ([*TRAIN, "--out", "new.h5", "--lr", "1e3", "--fc-lr", "1e3", "--epochs", "50"], 1, "the loss is -?(nan|inf) in epoch|training has diverged"),
    ([*TRAIN, "--out", "new.h5", "--arch", "bad.txt"], 2, "bad: line 3: 'maxpol' is no layer"),
    ([*TRAIN, "--out", "new.h5", "--arch", "large.txt"], 2, "large: line 1: 'conv 8 40x40': a 40x40 kernel on a 32x32 map"),
    ([*TRAIN, "--out", "new.h5", "--arch", "nothing"], 1, "nothing: cannot be read"),
    ([*TRAIN, "--out", "new.h5", "--arch", "model.h5"], 1, "model.h5: (larger than|byte)"),
    ([*TRAIN, "--out", "new.h5", "--pixels", "0"], 2, "--pixels: '0': expected 2 numbers"),
    ([*TRAIN, "--out", "new.h5", "--std", "0,0"], 2, "--std: '0,0': expected 1 or 1 numbers"),
    ([*TRAIN, "--out", "new.h5", "--std", "-1"], 2, "--std: -1 of channel 0 is not positive"),
    ([*TRAIN, "--out", "new.h5", "--std", "0.3,"], 2, "--std: '0.3,': expected 1 or 1 numbers"),
    ([*TRAIN, "--out", "new.h5", "--pixels", "0,"], 2, "--pixels: '0,' has no number at its end"),
    ([*TRAIN, "--out", "new.h5", "--pixels", "0, 1"], 2, "--pixels: '0, 1' has no number at ' 1'"),
    ([*TRAIN, "--out", "new.h5", "--pixels", "0,inf"], 2, "--pixels: '0,inf' has no number at 'inf'"),
    ([*TRAIN, "--out", "new.h5", "--pixels", "1,1"], 2, "--pixels: 1,1 is no range"),
    ([*TRAIN, "--out", "new.h5", "--std", "0x1p-3"], 2, "--std: '0x1p-3' has no number at '0x1p-3'"),
    ([*TRAIN, "--out", "new.h5", "--std", "nan"], 2, "--std: 'nan' has no number at 'nan'"),
    ([*TRAIN, "--out", "new.h5", "--std", "1e-300"], 2, "--pixels, --mean and --std: .* std 1e-300 of channel 0 make inputs of up to"),
    ([*TRAIN, "--out", "new.h5", "--lr", "0x10"], 2, "--lr: '0x10' is not a number"),
    ([*TRAIN, "--out", "new.h5", "--lr", "0,02"], 2, "--lr: '0,02' is not a number"),
    ([*TRAIN, "--out", "new.h5", "--lr", "1e-310"], 2, "--lr: '1e-310' is not a number that a double can hold"),
    ([*TRAIN, "--out", "new.h5", "--seed", " -1"], 2, "--seed: ' -1' is not a whole number"),
    ([*TRAIN, "--out", "new.h5", "--mean", "x"], 2, "--mean: 'x' has no number at 'x'"),
    ([*TRAIN, "--out", "model.h5", "--pixels", "0,1"], 3, "scaling: file has pixels -1 .. 1, mean 0, std 1"),
    ([*TRAIN, "--out", "new.h5", "--init", "gone.h5"], 1, "gone.h5: No such file"),
    ([*TRAIN, "--out", "old_model.h5"], 3, "old_model.h5: format version 2, this program reads 3 to 5"),
    ([*EVAL, "--split", "both"], 2, "--split: 'both' is none of test, train"),
    ([*EVAL, "--table", "all"], 2, "--table: 'all' is none of confusion, labels, logits"),
    ([*EVAL, "--images", "61"], 1, "61.*60|60.*61"),
    ([*EVAL[:4], grey3], 3, "trained on 32x32x1 images with 4 labels"),
    (["arch", "vgg17"], 2, "unknown architecture 'vgg17'"),
    (["arch", "model.h5", "--labels", "3"], 2, r"--labels does not belong to a model file \(model.h5\)"),
    (["arch", "cut_model.h5"], 1, "cut_model.h5: (larger than|byte)"),
    *[([*words, name], 1, f"{name}: {message}") for name, message in IMPOSSIBLE.items()
      for words in (["check"], ["status"], ["arch"], [*TRAIN, "--out", "new.h5", "--init"], [*EVAL[:1], *EVAL[3:], "--model"],
                    [*SWEEP[:1], *SWEEP[3:], "--out", "new.h5", "--model"])],
    (["arch", "vgg6", "--input", "32x32"], 2, "--input: line 1: '32x32' is no HEIGHTxWIDTHxCHANNELS"),
    (["arch", "vgg6", "--table", "all"], 2, "--table: 'all' is none of shapes, text, layers"),
    (["sweep", "--model", "model.h5"], 2, "usage: filterscope sweep"),
    ([*SWEEP, "--out", "new.h5", "--model", "gone.h5"], 1, "gone.h5: No such file"),
    ([*SWEEP, "--out", "new.h5", "--model", "cut_model.h5"], 3, "cut_model.h5"),
    ([*SWEEP, "--out", "new.h5", "--data", grey3], 3, "trained on 32x32x1 images with 4 labels, idx:three has 32x32x1 with 3"),
    ([*SWEEP, "--out", "new.h5", "--layers", "1,6"], 2, "--layers: '6' is no layer of vgg6, which has layers 1 to 5"),
    ([*SWEEP, "--out", "new.h5", "--layers", ","], 2, "--layers: '' is no layer of vgg6"),
    ([*SWEEP, "--out", "new.h5", "--layers", "1,,3"], 2, "--layers: '' is no layer of vgg6, which has layers 1 to 5"),
    ([*SWEEP, "--out", "new.h5", "--layers", "1, 3"], 2, "--layers: ' 3' is no layer of vgg6"),
    ([*SWEEP, "--out", "new.h5", "--layers", "1," * 111 + "6"], 2, "--layers: '6' is no layer of vgg6"),
    ([*SWEEP, "--out", "new.h5", "--layers", "1," * 112], 2, "--layers: a list of 224 characters: at most 223"),
    ([*SWEEP, "--out", "new.h5", "--label-names", "text.h5"], 1, "text.h5: 1000 names: this set has 4 labels"),
    ([*SWEEP, "--out", "new.h5", "--test-images", "3"], 1, "no test image of label 3"),
    ([*SWEEP, "--out", "new.h5", "--threshold", "nan"], 2, "--threshold: 'nan' is not a number"),
    ([*SWEEP, "--out", "gone/new.h5"], 1, "gone/new.h5"),
    ([*SWEEP, "--out", "sweep.h5", "--epochs", "2", "--lr", "0.5"], 3, "epochs: file has 1, this command has 2; lr: file has 0.01"),
    ([*SWEEP[:1], "--model", "model2.h5", *SWEEP[3:], "--out", "sweep.h5"], 3, "model: file has vgg6, CRC [0-9a-f]{8}, this command has"),
    ([*SWEEP, "--out", "sweep.h5", "--data", small], 3, "train-data: file has .*; test-data: file has .*, this command has 60 images"),
    ([*SWEEP, "--out", "sweep.h5", "--literal"], 3, "silencing: file has one pass, this command has literal"),
    ([*SWEEP, "--out", "cut_sweep.h5"], 3, "cut_sweep.h5.*truncated"),
    ([*SWEEP, "--out", "stub_sweep.h5"], 3, "stub_sweep.h5"),
    ([*SWEEP, "--out", "empty_sweep.h5"], 3, "empty_sweep.h5"),
    ([*SWEEP, "--out", "text.h5"], 3, "text.h5: not an HDF5 file"),
    ([*SWEEP, "--out", "model.h5"], 3, "model.h5"),
    ([*SWEEP, "--out", "folder.h5"], 3, "folder.h5"),
    (["plan", "--model", "model.h5", "--data", "idx:gone"], 1, "gone"),
    (["status", "gone.h5"], 1, "gone.h5: .*No such file"),
    (["status", "text.h5"], 3, "text.h5: not an HDF5 file"),
    (["status", "cut_model.h5"], 3, "cut_model.h5"),
    (["check", "rotten_model.h5"], 3, "rotten_model.h5: damaged"),
    (["check", "rotten_history.h5"], 3, "rotten_history.h5: damaged"),
    (["export", "model.h5"], 3, "model.h5"),
    (["status"], 2, "usage: filterscope status"),
    (["check", "cut_sweep.h5"], 3, "cut_sweep.h5"),
    (["export", "sweep.h5", "--table", "units"], 2, "--table: 'units' is none of layers, filters, probes"),
    (["sweeep"], 2, "no command 'sweeep'"),
]


def fingerprint():
    """Every file below the folder with its size and the time of its last change, which any write moves on."""
    paths = [os.path.join(root, name) for root, _, names in os.walk(".") for name in names]
    return {path: (status.st_size, status.st_ctime_ns) for path in paths for status in [os.stat(path)]}


def enter_copy():
    """A process that tries commands has the files to itself."""
    global before
    shutil.copytree(here + "/original", f"{here}/{os.getpid()}")
    os.chdir(f"{here}/{os.getpid()}")
    before = fingerprint()


def attempt(trial):
    """Whether it ends as it should, the lines that tell, and seconds."""
    global before
    (words, code, pattern), ranks = trial
    started = time.monotonic()
    done = run(ranks, *words, expect=None)
    took = time.monotonic() - started
    said = messages(done.stderr)
    after = fingerprint()
    good = done.returncode == code and len(said) == 1 and re.search(pattern, said[0]) and took < 30 and after == before
    line = " ".join(str(word) for word in words if not str(word).startswith("/"))
    lines = [f"{'ok  ' if good else 'FAIL'} {ranks} rank{'s' if ranks > 1 else ' '} exit {done.returncode}  {line}",
             f"       {' | '.join(said) or done.stderr[-300:]}"]
    if after != before:
        lines.append(f"       changed: {sorted(set(after.items()) ^ set(before.items()))}")
        before = after
    return bool(good), lines, took


# Most of a command's time here is waiting: for mpirun, and for what it waits for.
trials = [(each, ranks) for each in CASES for ranks in ((1, 3) if each[0][0] in ("train", "sweep", "plan", "eval") else (1,))]
failures, slowest = 0, 0.0
with multiprocessing.get_context("fork").Pool(3, enter_copy) as pool:
    for good, lines, took in pool.imap(attempt, trials):
        failures += not good
        slowest = max(slowest, took)
        print("\n".join(lines))
print(f"{len(CASES)} bad inputs, {failures} failures, the slowest took {slowest:.1f} s")
sys.exit(failures > 0)
