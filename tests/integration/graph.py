"""A network with branches trains, is probed and silenced as a chain is: the same bits on any number of ranks, the literal
experiment's fields; and, where PyTorch is installed, its logits and what its probes see are PyTorch's, with PyTorch's weights."""
import importlib
import io
import os
import re
import subprocess
import sys

import h5py
import numpy as np

from common import BINARY, VARYING, folder, identical, run, write_idx

here = folder()
os.chdir(here)
with open("residual.txt", "w") as file:
    file.write("""conv 8 3x3 pad 1
bn
relu probe as a
conv 8 3x3 pad 1
bn as b
from a
conv 8 1x1 bias
add b
relu6 as c probe
globalavg
conv 4 1x1 bias
silu
conv 8 1x1 bias
sigmoid
scale c as d
conv 8 5x3 pad 2x1 groups 8
conv 12 3x3 dilation 2 pad 2 groups 4 bias
conv 6 3x3 stride 2 pad 1
tanh
maxpool 2 as e
from d
avgpool 3 stride 4 pad 1 floor as f
concat e f
gelu probe
fc K bias
""")
random = np.random.default_rng(3)
os.mkdir("data")
LABELS = 5
pattern = random.integers(0, 256, (LABELS, 12, 16, 3))
for split, count in (("train", 100), ("t10k", 40)):
    label = np.arange(count) % LABELS
    write_idx(f"data/{split}-images-idx4-ubyte", np.clip(pattern[label] + random.normal(0, 40, (count, 12, 16, 3)), 0, 255))
    write_idx(f"data/{split}-labels-idx1-ubyte", label)
DATA = ["--data", "idx:data"]
SWEEP = [*DATA, "--epochs", 2, "--batch", 20, "--slots", 4]

shapes = run(1, "arch", "residual.txt", "--input", "12x16x3", "--labels", LABELS).stdout
assert "probe 3: of the add" not in shapes and "probe 2: of the add" in shapes and "probe 8: of the concat" in shapes, shapes
for ranks in (1, 3):
    run(ranks, "train", "--arch", "residual.txt", *DATA, "--out", f"model{ranks}.h5", "--epochs", 6, "--batch", 20, "--slots", 4,
        "--lr", 0.1, "--fc-lr", 0.1, "--momentum", 0.9, "--fc-momentum", 0.9)
    run(ranks, "sweep", "--model", f"model{ranks}.h5", *SWEEP, "--out", f"sweep{ranks}.h5")
assert identical("model1.h5", "model3.h5", ("/history",)) and identical("sweep1.h5", "sweep3.h5", VARYING)
with h5py.File("model1.h5") as file:
    losses = file["history"]["train_loss"]
    assert losses[-1] < 0.9 * losses[0], losses
run(2, "sweep", "--model", "model1.h5", *SWEEP, "--out", "literal.h5", "--literal", "--layers", "2,8")
with h5py.File("sweep1.h5") as one, h5py.File("literal.h5") as literal:
    assert list(one["layers"]["layer"]) == [1, 2, 8] and list(one["layers"]["filters"]) == [8, 8, 14]
    for layer in (2, 8):
        a, b = (file[f"silence/{layer}/field"][:] for file in (one, literal))
        assert np.abs(a - b).max() < 1e-4 * np.abs(b).max()
refused = run(1, "sweep", "--model", "model1.h5", *SWEEP, "--out", "no.h5", "--layers", "4", expect=2).stderr
assert "--layers: convolution 4 of residual is not probed" in refused, refused

try:
    import torch
except ImportError:
    print("PyTorch is not installed (Debian: python3-torch): nothing was compared with it")
    sys.exit()
nn = torch.nn
torch.manual_seed(1)
torch.set_num_threads(1)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False),
                                    nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1),
                                    nn.Conv2d(8, 8, (5, 3), padding=(2, 1), groups=8, bias=False),
                                    nn.Conv2d(8, 12, 3, dilation=2, padding=2, groups=4),
                                    nn.Conv2d(12, 6, 3, stride=2, padding=1, bias=False), nn.Linear(14 * 3 * 4, LABELS)])

    def forward(self, x):
        """Logits, and what the three probes see."""
        first, norm, second, norm2, shortcut, squeeze, excite, depthwise, grouped, last, linear = self.layer
        a = torch.relu(norm(first(x)))
        c = nn.functional.relu6(shortcut(a) + norm2(second(a)))
        d = c * torch.sigmoid(excite(nn.functional.silu(squeeze(c.mean((2, 3), keepdim=True)))))
        e = nn.functional.max_pool2d(torch.tanh(last(grouped(depthwise(d)))), 2)
        joined = nn.functional.gelu(torch.cat([e, nn.functional.avg_pool2d(d, 3, 4, 1)], 1))
        return linear(joined.flatten(1)), {1: a, 2: c, 8: joined}


net = Residual()


def images(split):
    pixels = np.fromfile(f"data/{split}-images-idx4-ubyte", np.uint8, offset=20).reshape(-1, 12, 16, 3)
    return torch.from_numpy((pixels / 127.5 - 1).transpose(0, 3, 1, 2).astype(np.float32))


net(images("train"))  # moves the running statistics
torch.save(net.state_dict(), "residual.pth")


def script(name, *words):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis", name)
    done = subprocess.run([sys.executable, path, *words, "--filterscope", BINARY], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


script("import_torch.py", "residual.pth", "--arch", "residual.txt", "--input", "12x16x3", "--out", "torch.h5", "--pixels=-1,1")
with torch.no_grad():
    logits, seen = net.eval()(images("t10k"))
table = run(2, "eval", "--model", "torch.h5", *DATA, "--batch", 7, "--table", "logits").stdout
worst = np.abs(np.loadtxt(io.StringIO(table), delimiter=",", skiprows=1)[:, 2:] - logits.numpy()).max() / logits.abs().max().item()
print(f"logits: largest difference {worst:.2g} of the largest")
assert worst < 1e-5
run(2, "sweep", "--model", "torch.h5", *SWEEP, "--out", "torch_sweep.h5")
with h5py.File("torch_sweep.h5") as file:
    for layer, maps in seen.items():
        single = np.einsum("nfyx,kfyx->nfk", maps.numpy(), file[f"probe/{layer}/weight"][:])
        wanted = np.stack([single[np.arange(40) % LABELS == label].mean(0) for label in range(LABELS)], 1)
        worst = np.abs(file[f"silence/{layer}/field"][:] - wanted).max() / np.abs(wanted).max()
        print(f"fields of probe {layer}: largest difference {worst:.2g} of the largest")
        assert worst < 1e-4

script("export_torch.py", "torch.h5", "--out", "back.pth", "--module", "back.py")
sys.path.insert(0, here)
import back  # noqa: E402 (just written)

again = back.network()
again.load_state_dict({**again.state_dict(), **torch.load("back.pth")})
with torch.no_grad():
    assert torch.allclose(again.eval()(images("t10k")), logits, atol=1e-6)

# What TensorFlow pads for a stride of 2: PyTorch does so by a layer of its own.
with open("same.txt", "w") as file:
    file.write("conv 7 3x3 stride 2 pad same bias\nrelu\nconv 5 2x2 pad same\nglobalavg\nfc K\n")
pad = nn.functional.pad
first, second, linear = nn.Conv2d(3, 7, 3, stride=2), nn.Conv2d(7, 5, 2, bias=False), nn.Linear(5, LABELS, bias=False)
torch.save(nn.ModuleList([first, second, linear]).state_dict(), "same.pth")
script("import_torch.py", "same.pth", "--arch", "same.txt", "--input", "12x16x3", "--out", "same.h5", "--pixels=-1,1")
with torch.no_grad():
    x = pad(torch.relu(first(pad(images("t10k"), (0, 1, 0, 1)))), (0, 1, 0, 1))
    logits = linear(second(x).mean((2, 3)))
table = run(1, "eval", "--model", "same.h5", *DATA, "--table", "logits").stdout
assert np.abs(np.loadtxt(io.StringIO(table), delimiter=",", skiprows=1)[:, 2:] - logits.numpy()).max() < 1e-6

# Padding that differs from side to side, averages that leave it out, the shortcut without parameters: with and without branches.
PADDED = """conv 8 3x3 stride 2 pad same
hardsigmoid 0.2 as a
conv 8 3x3 stride 2 pad 1 bias
avgpool 3 stride 1 pad same as b
from a
subsample 2
add b
maxpool 3 stride 2 pad 2x0x1x1 ceil
avgpool 2x3 stride 1 pad 1x0x0x2
avgpool 2x3 stride 2x1 pad 1x0x0x2 ceil inside
avgpool 2x3 stride 2x1 pad 0x1x2x1 ceil
zeropad channels 1 2
maxpool 2 stride 1 pad same
fc K bias
"""
for name, text in (("padded", PADDED), ("chain", re.sub("from a\n|add b\n| as .", "", PADDED))):
    with open(f"{name}.txt", "w") as file:
        file.write(text)
    run(1, "train", "--arch", f"{name}.txt", *DATA, "--out", f"{name}.h5", "--epochs", 1, "--batch", 20)
    script("export_torch.py", f"{name}.h5", "--out", f"{name}.pth", "--module", f"{name}_module.py")
    network = importlib.import_module(f"{name}_module").network()
    network.load_state_dict(torch.load(f"{name}.pth"))
    with torch.no_grad():
        logits = network.eval()(images("t10k")).numpy()
    table = run(1, "eval", "--model", f"{name}.h5", *DATA, "--table", "logits").stdout
    assert np.abs(np.loadtxt(io.StringIO(table), delimiter=",", skiprows=1)[:, 2:] - logits).max() < 1e-5, name
print("padded pools and convolutions are PyTorch's")
