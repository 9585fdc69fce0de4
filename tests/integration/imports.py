"""What import_torch.py and export_torch.py refuse: one line that names tensor, place and shapes, and nothing written; other epsilons
and orders of tensors."""
import os
import re
import subprocess
import sys

import h5py
import numpy as np

from common import BINARY, folder, make_idx, run

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis")
os.environ["FILTERSCOPE"] = BINARY
here = folder()
os.chdir(here)
with open("net.txt", "w") as file:
    file.write("conv 4 3x3\nbn\nrelu\nmaxpool 2\nfc K bias\n")
random = np.random.default_rng(1)
SHAPES = {"a.weight": (4, 1, 3, 3), "b.weight": (4,), "b.bias": (4,), "b.running_mean": (4,), "b.running_var": (4,),
          "c.weight": (3, 36), "c.bias": (3,)}
good = {name: random.random(shape).astype(np.float32) for name, shape in SHAPES.items()}
good["b.num_batches_tracked"] = np.array(7)


def changed(remove=(), **values):
    return {**{name: array for name, array in good.items() if name not in remove},
            **{name.replace("_", ".", 1): array for name, array in values.items()}}


def save(name, state):
    np.savez(name, **state)
    return name


def call(script, *words):
    command = [sys.executable, f"{SCRIPTS}/{script}", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def imports(weights, out, *words, arch="net.txt", size="8x8x1"):
    return call("import_torch.py", weights, "--arch", arch, "--out", out, *(["--input", size] if size else []),
                *([] if "--pixels" in words or "no pixels" in words else ["--pixels", "-1,1"]),
                *(word for word in words if word != "no pixels"))


save("good.npz", good)
done = imports("good.npz", "good.h5", "--pixels", "0,1", "--mean", "0.5")
assert done.returncode == 0 and "c.weight" in done.stdout and "fc1.weight" in done.stdout, done.stdout + done.stderr
assert "trained elsewhere" in run(1, "status", "good.h5").stdout
nan = good["c.weight"].copy()
nan[1, 2] = np.nan
np.savez("objects.npz", a=np.array([{"a": 1}], dtype=object))
with open("text.npz", "w") as file:
    file.write("no archive")
with open("bad.txt", "w") as file:
    file.write("conv 4 3x3\nbun\n")
CASES = [  # arguments, what the message must say
    ((save("shape.npz", changed(a_weight=np.zeros((4, 1, 5, 5), "f4"))), "n.h5"),
     r"tensor 'a.weight' is \[4, 1, 5, 5\], line 1 'conv 4 3x3' wants conv1.weight \[4, 1, 3, 3\]"),
    ((save("short.npz", changed(remove=["c.bias"])), "n.h5"), r"line 5 'fc K bias' wants fc1.bias \[3\], but 'c.weight' comes without"),
    ((save("long.npz", changed(d_weight=np.zeros((3, 3), "f4"))), "n.h5"), r"tensor 'd.weight' \[3, 3\] is left over"),
    ((save("nan.npz", changed(c_weight=nan)), "n.h5"), r"tensor 'c.weight' element \[1, 2\] is nan"),
    ((save("int.npz", changed(c_bias=np.zeros(3, int))), "n.h5"), "tensor 'c.bias' holds int64"),
    ((save("empty.npz", {}), "n.h5"), "empty.npz: is a zip archive without tensors"),
    (("objects.npz", "n.h5"), "objects.npz: array 'a': holds object, no numbers"),
    (("text.npz", "n.h5"), "text.npz: is no file of tensors that is known"),
    (("gone.npz", "n.h5"), "gone.npz: no such file"),
    (("good.npz", "good.h5"), "good.h5: exists"),
    (("good.npz", "gone/n.h5"), "gone/n.h5"),
    (("good.npz", "n.h5", "no pixels"), "--pixels LOW,HIGH is needed"),
    (("good.npz", "n.h5", "--mean", "a"), "--mean: 'a' is no list of numbers"),
    (("good.npz", "n.h5", "--std", "0"), "--std: 0 is not positive"),
    (("good.npz", "n.h5", "--std", "1,2"), "--std: '1,2': expected 1 or 1 numbers"),
    (("good.npz", "n.h5", "--pixels", "1,1"), "--pixels: 1,1 is no range"),
    (("good.npz", "n.h5", "--order", "a.,b."), "--order: tensor 'c.weight' begins with none of"),
]
failures = 0
for words, pattern in CASES:
    before = sorted(os.listdir("."))
    done = imports(*words)
    said = done.stderr.splitlines()
    code = 2 if pattern.startswith("--") else 1
    fine = done.returncode == code and len(said) == 1 and re.search(pattern, said[0]) and sorted(os.listdir(".")) == before
    failures += not fine
    print("ok  " if fine else "FAIL", said)
assert "--input is needed" in imports("good.npz", "n.h5", size=None).stderr
assert "bad: line 2: 'bun' is no layer" in imports("good.npz", "n.h5", arch="bad.txt").stderr
assert "unknown architecture 'vgg17'" in imports("good.npz", "n.h5", arch="vgg17").stderr

# Another order of the tensors, and another epsilon: the same answers as those of the variance that makes up for it.
shuffled = dict(sorted(good.items(), key=lambda item: "cab".index(item[0][0])))
assert "in another order" in imports(save("shuffled.npz", shuffled), "kinds.h5").stdout
assert imports("shuffled.npz", "ordered.h5", "--order", "a.,b.,c.").returncode == 0
assert imports("good.npz", "epsilon.h5", "--bn-eps", "1e-3").returncode == 0
with h5py.File("good.h5") as first, h5py.File("ordered.h5") as second, h5py.File("epsilon.h5") as third:
    for name, values in first["parameter"].items():
        assert (values[:] == second[f"parameter/{name}"][:]).all(), name
    assert np.allclose(third["statistic/bn1.variance"][:], good["b.running_var"] + 1e-3 - 1e-5, atol=1e-7)
    assert third["scaling/pixel"][:].tolist() == [-1, 1] and first["scaling/mean"][:].tolist() == [0.5]

# Training may start from it; not so where the architecture or the images are others.
data = make_idx("data", labels=3, train=40, test=20, size=8)
start = ["train", "--arch", "net.txt", "--data", data, "--epochs", 1, "--batch", 20, "--init", "good.h5", "--out"]
run(1, *start, "tuned.h5")
with h5py.File("tuned.h5") as file:
    config = dict(file["config"][:])
    assert config[b"init"].startswith(b"net, CRC") and config[b"scaling"].startswith(b"pixels 0 .. 1, mean 0.5, std 1"), config
with open("other.txt", "w") as file:
    file.write("conv 4 3x3 bias\nfc K\n")
assert "good.h5: has another architecture" in run(1, *start, "n.h5", "--arch", "other.txt", expect=3).stderr
other = make_idx("other", labels=4, train=40, test=20, size=8)
assert "good.h5: was trained on 8x8x1 images with 3 labels" in run(1, *start, "n.h5", "--data", other, expect=3).stderr
assert "--mean: '1,2': expected 1 or 1 numbers" in run(1, *start, "n.h5", "--mean", "1,2", expect=2).stderr

try:  # its tensors come in the order of their names: more than nine layers
    from safetensors.numpy import save_file
    with open("deep.txt", "w") as file:
        file.write("conv 1 1x1\n" * 11 + "fc K\n")
    save_file({f"{layer}.weight": np.full((1, 1, 1, 1) if layer < 11 else (3, 64), layer, "f4") for layer in range(12)}, "deep.safetensors")
    assert imports("deep.safetensors", "deep.h5", arch="deep.txt").returncode == 0
    with h5py.File("deep.h5") as file:
        assert [file[f"parameter/conv{layer}.weight"][0, 0, 0, 0] for layer in range(1, 12)] == list(range(11))
except ImportError:
    print("safetensors is not installed: no such file was tried")

try:
    import torch
except ImportError:
    print("PyTorch is not installed: no .pth file was tried")
    sys.exit(failures > 0)
tensors = {name: torch.from_numpy(values) for name, values in good.items()}
torch.save({"epoch": 3, "state_dict": tensors}, "wrapped.pth")  # as checkpoints are
assert imports("wrapped.pth", "wrapped.h5").returncode == 0
torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), "whole.pth")
for name in ("whole.pth", "text.npz"):
    os.replace(name, "refused.pth")
    done = imports("refused.pth", "n.h5")
    word = "tensor '0.weight' is [2, 2]" if name == "whole.pth" else "no file of tensors"
    assert done.returncode == 1 and word in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
done = call("export_torch.py", "data", "--out", "n.pth")
assert done.returncode == 1 and done.stderr.count("\n") == 1 and not os.path.exists("n.pth"), done.stderr
done = call("export_torch.py", "good.h5", "--out", "like.pth", "--like", "short.npz")
assert done.returncode == 1 and "wants fc1.bias [3], but 'c.weight' comes without" in done.stderr, done.stderr
sys.exit(failures > 0)
