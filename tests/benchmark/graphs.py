"""filterscope bench on 2 ranks beside what a user would take today, on networks with branches: PyTorch (eager, channels last, and
torch.compile), onnxruntime and OpenVINO on 2 threads. All are measured in turn, round after round; the ratio is to the best of them.

  graphs.py [--rounds N] [--seconds S] [--only NAMES]      names of networks, sizes (32, 224), phases (forward, train), by commas

    32x32, batch 128, and 224x224, batch 16; weights are random, batch norm as after construction (speed does not depend on them)
    forward: resnet18, mobilenet_v2, efficientnet_b0;  training step (SGD with Nesterov momentum): resnet18, mobilenet_v2

Needs a Python with PyPI's torch and torchvision, and for more peers onnx, onnxscript, onnxruntime and openvino (about 4 GB), named
by PEERS_PYTHON or found as python3; skipped without. What is not there, or fails, or does not compute in float32 (OpenVINO takes
bfloat16 on CPUs with AMX unless told: it is told), is left out and said so. A quiet machine is needed: these libraries lose more than
filterscope does when a core is busy elsewhere."""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
from common import BINARY, skip
from today import compare, find_python

LABELS = 1000
CASES = [(size, batch, phase, name) for size, batch in ((32, 128), (224, 16)) for phase, names in
         (("forward", ("resnet18", "mobilenet_v2", "efficientnet_b0")), ("train", ("resnet18", "mobilenet_v2"))) for name in names]
OWN = {("resnet18", 32): "resnet18", ("resnet18", 224): "resnet18-224", "mobilenet_v2": "mobilenetv2", "efficientnet_b0": "efficientnet-b0"}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=float, default=5)
parser.add_argument("--only", default="")
options = parser.parse_args()
python = find_python(skip, "torch, torchvision")
only = set(options.only.split(",")) - {""}
print(f"images/s, medians of {options.rounds} rounds")
for size, batch, phase, name in CASES:
    groups = (({"resnet18", "mobilenet_v2", "efficientnet_b0"}, name), ({"32", "224"}, str(size)), ({"forward", "train"}, phase))
    if all(own_word in only or not only & group for group, own_word in groups):
        compare(python, BINARY, OWN.get((name, size), OWN.get(name)), name, phase, size, batch, LABELS, options.rounds, options.seconds)
