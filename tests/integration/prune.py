"""Pruning: masks by clusters and by controls are those of a second implementation; weights stay 0 through training on any number of
ranks, and in PyTorch; what is frozen stays as it was; graphs; what does not fit is refused."""
import contextlib
import importlib
import io
import os
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np

from common import BUILD, folder, identical, launch, make_idx, run, train_small, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "reference"))
import masks  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis"))
import export_torch  # noqa: E402

try:
    import torch
except ImportError:
    print("PyTorch is not installed (Debian: python3-torch): nothing was exported")
    torch = None

here = folder()
os.chdir(here)
sys.path.insert(0, here)
LABELS = 5
DATA = make_idx("data", labels=LABELS, train=200, test=90, size=16)
with open("chain.txt", "w") as file:
    file.write("conv 12 3x3 pad 1 bias\nbn\nrelu\nconv 20 3x3 pad 1 bias\nbn\nrelu\nmaxpool 2\nconv 16 3x3 pad 1\nbn\nrelu\nmaxpool 2\nfc K\n")
train_small("model.h5", DATA, arch="chain.txt", epochs=4)
SWEEP = ["sweep", "--data", DATA, "--epochs", 2, "--batch", 20, "--slots", 4]
run(2, *SWEEP, "--model", "model.h5", "--out", "sweep.h5", "--knockout", "zero")
PRUNE = ["prune", "--model", "model.h5", "--sweep", "sweep.h5"]


def prune(*words, **options):
    out = f"pruned{len(os.listdir())}.h5"
    said = run(1, *PRUNE, "--out", out, *words, **options).stdout
    return out, said


def read(path):
    """{name: mask}, {array: values}."""
    with h5py.File(path) as file:
        arrays = {f"{group}/{name}": values[:] for group in ("parameter", "momentum", "statistic") for name, values in file[group].items()}
        assert file.attrs["format_version"] == (4 if "mask" in file else 3)
        found = {name: masks.unpack(bits[:], arrays[f"parameter/{name}.weight"].shape[2] if "conv" in name else bits.shape[1] * 8)
                 for name, bits in file.get("mask", {}).items()}
        if "fc1" in found:
            found["fc1"] = found["fc1"][:, :arrays["parameter/fc1.weight"].shape[1] // 16]  # 4x4 maps
    return found, arrays


def pruned_weights(name, kept, weight):
    """The weights of the kernels that are not kept."""
    if name.startswith("conv"):
        return weight.transpose(3, 2, 0, 1)[~kept]
    return weight.reshape(len(kept), -1, kept.shape[1]).transpose(0, 2, 1)[~kept]


def check_zero(path):
    """Pruned weights and their momentum are +0 to the bit; how many there are."""
    found, arrays = read(path)
    count = 0
    for name, kept in found.items():
        for group in ("parameter", "momentum"):
            weights = pruned_weights(name, kept, arrays[f"{group}/{name}.weight"])
            assert not weights.view(np.uint32).any(), f"{path}: /{group}/{name}"
            count += weights.size
    return count


def expected(threshold, unclustered=False):
    with h5py.File("sweep.h5") as file:
        sets = [[masks.clustered_labels(field, threshold) for field in file[f"silence/{layer}/field"][:]] for layer in (1, 2, 3)]
    sets.append([{k} for k in range(LABELS)])
    return {name: masks.mask(sets[n], sets[n + 1], unclustered) for n, name in enumerate(("conv2", "conv3", "fc1"))}


# Masks by clusters, and what becomes of the other arrays.
for threshold in (0.3, 0.1, 0.6, 0.95):
    for words in ((), ("--keep-unclustered",)):
        path, said = prune(*(() if threshold == 0.3 else ("--threshold", threshold)), *words)
        found, arrays = read(path)
        wanted = expected(threshold, bool(words))
        assert found.keys() == wanted.keys(), found.keys()
        for name in wanted:
            assert np.array_equal(found[name], wanted[name]), f"{name} at {threshold}"
        check_zero(path)
        before = read("model.h5")[1]
        for name, values in arrays.items():
            layer = name.split("/")[1].split(".")[0]
            if name.endswith(".weight") and layer in found:
                kept = found[layer]
                assert np.array_equal(pruned_weights(layer, ~kept, values), pruned_weights(layer, ~kept, before[name])), name
            else:
                assert np.array_equal(values, before[name]), name
by_clusters, _ = prune()
kept = {name: mask.sum() for name, mask in read(by_clusters)[0].items()}
shares = {name: mask.mean() for name, mask in read(by_clusters)[0].items()}
assert 0 < min(shares.values()) and max(shares.values()) < 1, shares
print("masks: those of the second implementation; kept", {name: round(float(share), 3) for name, share in shares.items()})

# Random clusters, of more labels than a word of 64 bits has, through groups, a concat, an add and channels of zeros.
with open("joined.txt", "w") as file:
    file.write("conv 12 3x3 pad 1\nrelu as a probe\nconv 8 3x3 pad 1\nrelu as b probe\nconcat a b\nconv 10 3x3 pad 1 groups 2\nrelu as c probe\n"
               "conv 10 1x1\nadd c\nrelu probe\nzeropad channels 2 1\nconv 13 3x3 pad 1 groups 13\nrelu probe\nglobalavg\nfc K\n")
JOINED = {"conv2": lambda s: (s[1], s[2], 1), "conv3": lambda s: (s[1] + s[2], s[3], 2), "conv4": lambda s: (s[3], s[4], 1),
          "conv5": lambda s: ([set(), set(), *s[4], set()], s[5], 13), "fc1": lambda s: (s[5], s["labels"], 1)}
with open("dense.txt", "w") as file:
    file.write("conv 6 3x3 pad 1\nrelu\nmaxpool 2\nfc 20 bias\nrelu\nfc 13\ntanh\nfc K bias\n")
DENSE = {name: lambda s, n=n: (s[n], s[n + 1] if n < 3 else s["labels"], 1) for n, name in enumerate(("fc1", "fc2", "fc3"), 1)}
CHAIN = {"conv2": lambda s: (s[1], s[2], 1), "conv3": lambda s: (s[2], s[3], 1), "fc1": lambda s: (s[3], s["labels"], 1)}
for arch, layers in (("chain.txt", CHAIN), ("joined.txt", JOINED), ("dense.txt", DENSE)):
    for labels in (3, 64, 65, 130):
        printed = subprocess.run([f"{BUILD}/tests/print_masks", arch, str(labels), "40"], capture_output=True, text=True, check=True).stdout
        networks = list(masks.read_printed(printed))
        assert len(networks) == 40
        for sets, found, unclustered in networks:
            sets["labels"] = [{k} for k in range(labels)]
            assert found.keys() == layers.keys(), found.keys()
            for name, ends in layers.items():
                assert np.array_equal(found[name], masks.grouped_mask(*ends(sets), unclustered)), (arch, labels, name)
        assert {unclustered for _, _, unclustered in networks} == {True, False}
        assert 0.01 < np.mean([found[name].mean() for _, found, _ in networks for name in layers]) < 0.99
print("random clusters of 3 to 130 labels, 480 networks, a chain, a graph and hidden fully connected layers: no difference")

# Controls keep as many kernels.
weight = read("model.h5")[1]["parameter/conv2.weight"]
for control in ("random", "l1", "clusters", "knockout"):
    first, _ = prune("--control", control, "--seed", 5)
    again, _ = prune("--control", control, "--seed", 5)
    other, _ = prune("--control", control, "--seed", 6)
    found = read(first)[0]
    assert {name: mask.sum() for name, mask in found.items()} == kept, control
    assert identical(first, again)
    same = all(np.array_equal(found[name], read(other)[0][name]) for name in found)
    assert same == (control == "l1"), control
    if control == "l1":
        norms = np.abs(weight.astype(float)).sum((0, 1)).T
        assert norms[found["conv2"]].min() >= norms[~found["conv2"]].max()
    if control == "knockout":
        with h5py.File("sweep.h5") as file:
            drops = [file["knockout/baseline"]["right"] - file[f"knockout/{layer}/right"][:] for layer in (1, 2, 3)]
        worth = drops[1].sum(1)[:, None] + drops[0].sum(1)
        assert worth[found["conv2"]].min() >= worth[~found["conv2"]].max()
        assert drops[2].T[found["fc1"]].min() >= drops[2].T[~found["fc1"]].max()
    halved = read(prune("--control", control, "--keep", 0.25)[0])[0]
    assert [mask.sum() for mask in halved.values()] == [60, 80, 20], control
    check_zero(first)

# Some pairs only; pruned again.
only, said = prune("--layers", "2-3")
assert list(read(only)[0]) == ["conv3"] and "conv3" in said and "fc1" not in said
assert list(read(prune("--layers", "conv1-2,3-fc1")[0])[0]) == ["conv2", "fc1"]
run(1, *SWEEP, "--model", only, "--out", "again.h5")
twice = "twice.h5"
run(1, "prune", "--model", only, "--sweep", "again.h5", "--out", twice, "--threshold", 0.5)
first, second = read(only)[0]["conv3"], read(twice)[0]
assert len(second) == 3 and not (second["conv3"] & ~first).any()
assert "parameters are kept" in run(1, "status", twice).stdout and "no damage" in run(1, "check", twice).stdout

# 50 steps on 1, 2 and 3 ranks; frozen layers; stopped and gone on.
TRAIN = ["train", "--data", DATA, "--init", by_clusters, "--batch", 20, "--slots", 4, "--epochs", 5, "--lr", 0.01, "--momentum", 0.95,
         "--fc-lr", 0.01, "--fc-momentum", 0.95, "--out"]
start = read(by_clusters)[1]


def train(ranks, out, *words, epochs=5):
    run(ranks, *TRAIN, out, *words, "--epochs", epochs)
    assert check_zero(out) > 500
    return read(out)


for ranks in (1, 2, 3):
    found, arrays = train(ranks, f"all{ranks}.h5")
    assert all(np.array_equal(found[name], read(by_clusters)[0][name]) for name in found)
    changed = {name for name in arrays if not np.array_equal(arrays[name], start[name])}
    assert changed == set(arrays), set(arrays) - changed
    assert identical("all1.h5", f"all{ranks}.h5", ("/history",)), f"{ranks} ranks"
for layers, trained in (("conv2,fc1", ("conv2.", "bn2.", "fc1.")), ("conv1", ("conv1.", "bn1.")), ("fc1", ("fc1.",))):
    for ranks in (1, 3):
        _, arrays = train(ranks, f"some{ranks}.h5", "--train-layers", layers, epochs=2)
        for name, values in arrays.items():
            group, array = name.split("/")
            reference = np.zeros_like(values) if group == "momentum" else start[name]
            assert np.array_equal(values, reference) != array.startswith(trained), f"{layers}: {name}"
        assert identical("some1.h5", f"some{ranks}.h5", ("/history",)), f"{layers}, {ranks} ranks"
    os.remove("some1.h5")
    os.remove("some3.h5")
neighbours = [only if word == by_clusters else word for word in TRAIN]
run(1, *neighbours, "beside.h5", "--train-layers", "neighbours")
arrays, before = read("beside.h5")[1], read(only)[1]
for name in ("conv1.weight", "fc1.weight", "conv2.weight", "conv3.weight"):
    assert np.array_equal(arrays[f"parameter/{name}"], before[f"parameter/{name}"]) == (name[:5] not in ("conv2", "conv3")), name
job = subprocess.Popen(launch(2, *TRAIN, "stopped.h5", "--train-layers", "conv2,fc1", "--epochs", 30), stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
wait_until(lambda: os.path.exists("stopped.h5") or job.poll() is not None, 60, "the first epoch")
job.send_signal(signal.SIGUSR1)
assert job.wait(60) == 75, job.stdout.read()
run(3, *TRAIN, "stopped.h5", "--train-layers", "conv2,fc1", "--epochs", 30)
run(1, *TRAIN, "whole.h5", "--train-layers", "conv2,fc1", "--epochs", 30)
assert identical("whole.h5", "stopped.h5", ("/history",)), "stopped and gone on"
assert "train-layers" in run(1, *TRAIN, "whole.h5", "--train-layers", "conv2", "--epochs", 30, expect=3).stderr
print("training: pruned weights are 0 after 50 steps, the same bits on 1, 2 and 3 ranks, frozen layers as they were")

# A graph: through adds and concats; what cannot be told stays whole.
with open("graph.txt", "w") as file:
    file.write("conv 12 3x3 pad 1\nbn\nrelu as a probe\nconv 12 3x3 pad 1\nbn\nrelu probe\nconv 12 3x3 pad 1\nbn\nadd a\nrelu as b probe\n"
               "conv 8 1x1\nbn\nrelu\nconcat b here as c\nconv 16 3x3 pad 1 groups 2\nbn\nrelu probe\nconv 16 3x3 pad 1 groups 16\nbn\n"
               "relu probe\nglobalavg\nfc 24 bias\nrelu\nfc K bias\n".replace("conv 16 3x3 pad 1 groups 2\n", "conv 16 3x3 pad 1 groups 4\n"))
train_small("graph.h5", DATA, arch="graph.txt", epochs=2)
run(1, *SWEEP, "--model", "graph.h5", "--out", "graph_sweep.h5")
said = run(1, "prune", "--model", "graph.h5", "--sweep", "graph_sweep.h5", "--out", "graph_pruned.h5").stdout
found, _ = read("graph_pruned.h5")
with h5py.File("graph_sweep.h5") as file:
    sets = {layer: [masks.clustered_labels(field, 0.3) for field in file[f"silence/{layer}/field"][:]] for layer in (1, 2, 3, 5, 6)}
wanted = {"conv2": masks.mask(sets[1], sets[2]), "conv3": masks.mask(sets[2], sets[3]),
          "conv6": np.array([[bool(a & b)] for a, b in zip(sets[5], sets[6])])}
assert found.keys() == wanted.keys(), found.keys()
for name in wanted:
    assert np.array_equal(found[name], wanted[name]), name
for name, why in (("conv4", "no clusters of its own"), ("conv5", "no clusters of conv4"), ("fc1", "no clusters of its own"),
                  ("fc2", "no clusters of fc1"), ("conv1", "reads the images")):
    assert any(line.startswith(name) and why in line for line in said.splitlines()), (name, said)
print("graph: masks through an add; what the sweep does not know stays whole")

# What is cut off goes whole: the logits stay.
def logits(model):
    text = run(1, "eval", "--model", model, "--data", DATA, "--table", "logits").stdout
    return np.array([line.split(",")[2:] for line in text.splitlines()[1:]], float)


def check_export(path, wanted):
    """In PyTorch the weights that are pruned are 0 to the bit, and the logits are the same."""
    if torch is None:
        return
    name = f"exported{len(os.listdir())}"
    sys.argv = ["export_torch.py", path, "--out", f"{name}.pth", "--module", f"{name}.py"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        export_torch.run()
    module, state, numbers, zeros = importlib.import_module(name), torch.load(f"{name}.pth"), {"conv": 0, "fc": 0}, 0
    found, _ = read(path)
    for weight in (values.numpy() for values in state.values() if values.ndim > 1):
        kind = "conv" if weight.ndim == 4 else "fc"
        numbers[kind] += 1
        kept = found.pop(f"{kind}{numbers[kind]}", None)
        if kept is not None:
            pruned = weight.reshape(*kept.shape, -1)[~kept]
            assert not pruned.view(np.uint32).any(), (path, kind, numbers)
            zeros += pruned.size
    assert not found and zeros and f"; {zeros} pruned weights are 0" in printed.getvalue(), (path, found, zeros, printed.getvalue())
    network = module.network()
    network.load_state_dict({**network.state_dict(), **state})
    pixels = np.fromfile("data/t10k-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 1, 16, 16).astype(np.float32)
    x = (module.low + (module.high - module.low) * pixels / 255 - module.mean[0]) / module.std[0]
    with torch.no_grad():
        difference = np.abs(network.eval()(torch.from_numpy(x)).numpy() - wanted).max() / np.abs(wanted).max()
    assert difference < 1e-5, (path, difference)


for model, sweep, threshold in (("model.h5", "sweep.h5", 0.95), ("all1.h5", None, None), ("graph.h5", "graph_sweep.h5", 0.95)):
    words = ["--sweep", sweep, "--threshold", threshold] if sweep else []
    if sweep:
        run(1, "prune", "--model", model, *words, "--out", "sparse.h5")
    run(1, "prune", "--model", model, *words, "--out", "small.h5", "--compact")
    large, small = logits("sparse.h5" if sweep else model), logits("small.h5")
    difference = np.abs(large - small).max() / np.abs(large).max()
    assert difference <= 1e-6, (model, difference)
    check_export("sparse.h5" if sweep else model, large)
    check_export("small.h5", small)
    with h5py.File("small.h5") as file, h5py.File(model) as whole:
        sizes = [sum(values.size for values in f["parameter"].values()) for f in (file, whole)]
        text = file["architecture"][0].decode()
    print(f"compact: {model}: {sizes[1]} parameters become {sizes[0]}, logits differ by {difference:.1e} of the largest")
    if model != "all1.h5":
        assert sizes[0] < sizes[1], text
    check_zero("small.h5")
    run(2, "train", "--init", "small.h5", "--data", DATA, "--epochs", 1, "--out", "trained.h5")
    check_zero("trained.h5")
    if model == "graph.h5":
        check_export("trained.h5", logits("trained.h5"))
    os.remove("small.h5")
    os.remove("trained.h5")
    if sweep:
        os.remove("sparse.h5")

# What does not fit.
train_small("other.h5", DATA, arch="chain.txt", epochs=1)
shutil.copy("sweep.h5", "torn.h5")
with h5py.File("torn.h5", "r+") as file:
    file["silence/2/field"][3, 1, 1] += 1
run(1, *SWEEP, "--model", "model.h5", "--out", "plain.h5", "--layers", "1,2")
job = subprocess.Popen(launch(1, *SWEEP[:4], 2000, "--model", "model.h5", "--out", "part.h5"), stdout=subprocess.DEVNULL)
wait_until(lambda: os.path.exists("part.h5") or job.poll() is not None, 60, "a sweep")
job.send_signal(signal.SIGUSR1)
assert job.wait(60) == 75
for words, code, text in (
        (["--sweep", "sweep.h5", "--model", "other.h5"], 3, "sweep.h5: is a sweep of chain, CRC"),
        (["--sweep", "sweep.h5", "--model", "graph.h5"], 3, "sweep.h5: is a sweep of chain, CRC"),
        (["--sweep", "part.h5"], 3, "part.h5: the sweep is not complete"),
        (["--sweep", "torn.h5"], 3, "is damaged"),
        (["--sweep", "model.h5"], 3, "model.h5"),
        (["--sweep", "gone.h5"], 1, "gone.h5"),
        (["--model", "sweep.h5"], 3, "sweep.h5"),
        (["--sweep", "plain.h5", "--control", "knockout"], 2, "plain.h5 has no filters that were knocked out"),
        (["--sweep", "plain.h5", "--layers", "2-3"], 2, "nothing to prune (--layers 2-3): the sweep has no clusters of its own"),
        (["--control", "worst"], 2, "'worst' is none of"), (["--keep", "0.5"], 2, "--keep belongs to a --control"),
        (["--keep", "1.5", "--control", "l1"], 2, "--keep: 1.5"), (["--layers", "7-8"], 2, "no layer '7'"),
        (["--layers", "3-2"], 2, "3 does not come before 2"), (["--layers", "2"], 2, "'2' is no pair"), (["--layers", ""], 2, "no pair"),
        (["--out", "model.h5"], 1, "model.h5: exists"), (["--out", "other.h5"], 1, "other.h5: exists")):
    error = run(3 if "part.h5" in words else 1, *PRUNE, "--out", "new.h5", *words, expect=code).stderr
    assert text in error and error.count("filterscope: ") == 1, (words, error)
    assert not os.path.exists("new.h5")
for words, code, text in ((["--train-layers", "conv9"], 2, "no layer 'conv9'"), (["--train-layers", ""], 2, "names no layer"),
                          (["--train-layers", "neighbours", "--init", "model.h5"], 2, "no layer has a mask")):
    error = run(2, *TRAIN, "new.h5", *words, expect=code).stderr
    assert text in error and not os.path.exists("new.h5"), error
shutil.copy(by_clusters, "bad.h5")
with h5py.File("bad.h5", "r+") as file:
    file["mask/conv2"][0, 0] ^= 1
assert "CRC" in run(1, "check", "bad.h5", expect=3).stderr
print("refused: other models, sweeps that are incomplete or damaged, layers and options that are none")
