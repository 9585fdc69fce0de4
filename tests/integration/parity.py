"""An imported network computes what PyTorch computes: logits, training and probe losses, fields, against numbers that PyTorch
printed (tests/fixtures, made by tests/reference/torch_network.py) and, where PyTorch is installed, against PyTorch itself: a network
trained there gives the same number of right answers, and goes there and back."""
import csv
import io
import os
import subprocess
import sys

import h5py
import numpy as np

from common import FASHION, folder, run, skip, write_idx

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FIXTURES = os.path.join(TOP, "tests", "fixtures")
sys.path.insert(0, os.path.join(TOP, "tests", "reference"))
os.environ["FILTERSCOPE"] = os.path.join(os.environ["FILTERSCOPE_BUILD"], "filterscope")
if not os.path.isdir(FASHION):
    skip(f"{FASHION} is missing (Debian: dataset-fashion-mnist)")
here, data = folder(), f"idx-plain:{FASHION}"
STEPS, TESTED = 50, 500


def script(name, *words, expect=0):
    command = [sys.executable, os.path.join(TOP, "analysis", name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == expect, f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def import_network(weights, path):
    script("import_torch.py", weights, "--arch", f"{FIXTURES}/small.txt", "--out", path, "--pixels", "0,1", "--mean", 0.286, "--std",
           0.353)
    return path


def answers(model, ranks):
    """Logits of the first test images, and the right answers on all."""
    logits = run(ranks, "eval", "--model", model, "--data", data, "--images", TESTED, "--table", "logits").stdout
    labels = run(ranks, "eval", "--model", model, "--data", data, "--table", "labels").stdout
    return (np.loadtxt(io.StringIO(logits), delimiter=",", skiprows=1)[:, 2:],
            sum(int(row["right"]) for row in csv.DictReader(io.StringIO(labels))))


def losses(model):
    """Of 50 steps from the weights of `model`: epochs of one batch."""
    run(1, "train", "--arch", f"{FIXTURES}/small.txt", "--init", model, "--data", data, "--out", f"{model}.trained", "--epochs", STEPS,
        "--train-images", 100, "--test-images", 1, "--lr", 0.0005, "--fc-lr", 0.0005, "--lr-decay", 1, "--fc-lr-decay", 1, "--momentum", 0.9,
        "--fc-momentum", 0.9, "--weight-decay", 5e-4, "--fc-weight-decay", 5e-4, "--slots", 4)
    with h5py.File(f"{model}.trained") as file:
        return file["history"]["train_loss"]


def sweep(model):
    out = f"{model}.sweep"
    run(1, "sweep", "--model", model, "--data", data, "--out", out, "--epochs", STEPS, "--train-images", 100, "--test-images", TESTED,
        "--test-every", STEPS, "--slots", 4)
    return out


def difference(what, found, expected, most, relative_to=1.0):
    worst = float((np.abs(np.asarray(found, float) - expected) / relative_to).max())
    print(f"{what}: largest difference {worst:.2g}, allowed {most:g}")
    assert worst <= most, what


def scale_of(fields):
    return np.abs(fields).max(axis=(1, 2), keepdims=True)


def compare(name, model, expected):
    logits, right = answers(model, 1)
    difference(f"{name}: {TESTED} x 10 logits", logits, expected["logits"], 1e-4)
    print(f"{name}: {right} right answers of 10000 test images, PyTorch {expected['right']}")
    assert right == expected["right"]
    difference(f"{name}: losses of {STEPS} training steps", losses(model), expected["losses"], 1e-3)
    with h5py.File(sweep(model)) as file:
        for layer in (1, 2, 3):
            history, fields = file["probe/history"][:], expected[f"field{layer}"]
            difference(f"{name}: losses of {STEPS} steps of probe {layer}", history["train_loss"][history["layer"] == layer],
                       expected[f"probe{layer}"], 1e-3)
            difference(f"{name}: fields of layer {layer}, over each one's largest element", file[f"silence/{layer}/field"][:], fields,
                       1e-4, scale_of(fields))


with np.load(f"{FIXTURES}/small_expected.npz") as file:
    compare("fixture", import_network(f"{FIXTURES}/small.npz", f"{here}/fixture.h5"), dict(file))

try:
    import torch
except ImportError:
    print("PyTorch is not installed (Debian: python3-torch): only the fixture was compared")
    sys.exit()
import torch_network  # noqa: E402 (needs PyTorch)

torch.set_num_threads(1)
net = torch_network.pretrain(seed=6)
torch.save(net.state_dict(), f"{here}/live.pth")
model = import_network(f"{here}/live.pth", f"{here}/live.h5")
compare("live", model, torch_network.expect(net))

# Colour, no square, and fully connected layers on a map of several pixels: axes in the right order.
random, here_data = np.random.default_rng(3), f"{here}/colour"
os.mkdir(here_data)
pixels = random.integers(0, 256, (60, 12, 18, 3))
for split in ("train", "t10k"):
    write_idx(f"{here_data}/{split}-images-idx4-ubyte", pixels)
    write_idx(f"{here_data}/{split}-labels-idx1-ubyte", np.arange(60) % 5)
with open(f"{here}/colour.txt", "w") as file:
    file.write("conv 6 3x3 stride 2 pad 2 bias\nsilu\navgpool 3 stride 2 pad 1 ceil\nconv 8 2x2 pad 2\nprelu\nmaxpool 3 stride 2 ceil\n"
               "bn\nhardswish\nflatten\nfc 7 bias\nbn\nleakyrelu 0.2\nfc K\n")
torch.manual_seed(4)
nn = torch.nn
colour = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=2), nn.SiLU(), nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
                       nn.Conv2d(6, 8, 2, padding=2, bias=False), nn.PReLU(8, init=0.4), nn.MaxPool2d(3, stride=2, ceil_mode=True),
                       nn.BatchNorm2d(8), nn.Hardswish(), nn.Flatten(), nn.Linear(96, 7), nn.BatchNorm1d(7), nn.LeakyReLU(0.2),
                       nn.Linear(7, 5, bias=False))
mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.25])
x = torch.from_numpy(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
colour(x)  # moves the running statistics
torch.save(colour.state_dict(), f"{here}/colour.pth")
with torch.no_grad():
    np.savez(f"{here}/check.npz", images=pixels.astype(np.uint8), logits=colour.eval()(x).numpy())
colour_words = ["import_torch.py", f"{here}/colour.pth", "--arch", f"{here}/colour.txt", "--out", f"{here}/colour.h5", "--input", "12x18x3", "--pixels",
                "0,1", "--mean", "0.4,0.5,0.6", "--check", f"{here}/check.npz", "--std"]
assert "more than" in script(*colour_words, "0.2,0.25,0.3", expect=3).stderr and not os.path.exists(f"{here}/colour.h5")
print(script(*colour_words, "0.2,0.3,0.25").stdout)
table = run(2, "eval", "--model", f"{here}/colour.h5", "--data", f"idx:{here_data}", "--batch", 7, "--table", "logits").stdout
with torch.no_grad():
    difference("colour: logits", np.loadtxt(io.StringIO(table), delimiter=",", skiprows=1)[:, 2:], colour.eval()(x).numpy(), 1e-5)

# There and back: the exported module takes the exported tensors, and gives the same logits.
script("export_torch.py", model, "--out", f"{here}/back.pth", "--module", f"{here}/back.py", "--filterscope", os.environ["FILTERSCOPE"])
sys.path.insert(0, here)
import back  # noqa: E402 (just written)

again = back.network()
again.load_state_dict({**again.state_dict(), **torch.load(f"{here}/back.pth", weights_only=True)})
difference("exported: logits", torch_network.logits(again.eval(), TESTED), torch_network.logits(net.eval(), TESTED), 1e-6)
script("export_torch.py", model, "--out", f"{here}/like.pth", "--like", f"{here}/live.pth")
like, live = (torch.load(f"{here}/{name}.pth", weights_only=True) for name in ("like", "live"))
assert all(torch.equal(values, live[name]) for name, values in like.items()) and len(like) == len(live) - 2

script("export_torch.py", f"{here}/colour.h5", "--out", f"{here}/colour_back.pth", "--module", f"{here}/colour_back.py")
import colour_back  # noqa: E402 (just written)

again = colour_back.network()
again.load_state_dict({**again.state_dict(), **torch.load(f"{here}/colour_back.pth", weights_only=True)})
with torch.no_grad():
    difference("colour, exported: logits", again.eval()(x).numpy(), colour(x).numpy(), 1e-6)
