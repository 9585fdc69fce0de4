"""import_onnx.py takes what torch.onnx.export and tf2onnx write, with the answers that PyTorch and Keras gave, and refuses by node,
operator and attribute what it cannot take, and what is damaged or hostile."""
import os
import sys

import numpy as np

from common import skip
from foreign import call, failures, refuses, same_numbers, takes, tell, unpack

try:
    import onnx
    import torch
    from onnx import TensorProto, helper, numpy_helper
    from torch import nn
except ImportError as error:
    skip(f"{error} (Debian: python3-onnx, python3-torch)")

unpack()
for network in ("sequential2", "functional2"):  # tf2onnx: images and maps as (height, width, channel), turned around convolutions
    takes(f"{network}.onnx", f"{network}.npz")
takes("residual2.onnx", "residual2.npz")


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, maps):
        first = torch.relu(self.first(maps))
        maps = torch.cat([torch.relu(first + self.second(first))], 1)
        maps = maps * torch.sigmoid(self.gate(nn.functional.adaptive_avg_pool2d(maps, 1)))
        return self.head(torch.cat([maps, first], 1).mean([2, 3]))


class Shortcut(nn.Module):
    """A residual block with the shortcut without parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(5, 8, 3, stride=2, padding=1)

    def forward(self, maps):
        return self.conv(maps) + nn.functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))


def shifted(maps):
    return (maps - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1)


torch.manual_seed(1)
conv, relu = nn.Conv2d, nn.ReLU
NETWORKS = {
    "plain": [conv(3, 4, 3, padding=1), relu(), nn.MaxPool2d(2), conv(4, 5, 3, bias=False), nn.BatchNorm2d(5), relu(), nn.Flatten(),
              nn.Linear(60, 7), relu(), nn.Dropout(0.3), nn.Linear(7, 4)],
    "view": [conv(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3), relu(), nn.AvgPool2d(2), Call(lambda maps: maps.view(maps.size(0), -1)),
             nn.Linear(80, 8, bias=False), nn.BatchNorm1d(8), relu(), nn.Linear(8, 3)],
    "pools": [conv(3, 4, 3), relu(), nn.MaxPool2d(3, 2, 1, ceil_mode=True), conv(4, 5, 2), nn.AvgPool2d(2, ceil_mode=True), conv(5, 6, 1),
              nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3), nn.Softmax(1)],
    "heads": [nn.ZeroPad2d(1), conv(3, 4, 3, stride=2), relu(), conv(4, 6, 1), Call(lambda maps: maps.mean([2, 3], keepdim=True)),
              conv(6, 3, 1), Call(lambda maps: maps.squeeze(-1).squeeze(-1))],
    "scaled": [Call(shifted), Call(lambda maps: 2 * maps - 0.5), conv(3, 4, 3), relu(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
               nn.Linear(4, 3)],
    "activations": [conv(3, 4, 3), nn.LeakyReLU(0.2), conv(4, 4, 1), nn.ELU(), conv(4, 4, 1), nn.SiLU(), conv(4, 4, 1), nn.Hardswish(),
                    conv(4, 4, 1), nn.Tanh(), conv(4, 4, 1), nn.GELU(), conv(4, 4, 1),
                    Call(lambda maps: maps * nn.functional.relu6(maps + 3) / 6), conv(4, 4, 1),
                    Call(lambda maps: (0.2 * maps + 0.5).clamp(0, 1)), conv(4, 4, 1),
                    Call(lambda maps: torch.max(torch.min(0.3 * maps + 0.5, torch.ones(1)), torch.zeros(1))), nn.Sigmoid(), nn.ReLU6(),
                    nn.Flatten(), nn.Linear(320, 3)],
    "grouped": [conv(3, 6, 3, groups=3), relu(), conv(6, 4, (1, 3), padding=(0, 1)), conv(4, 4, 3, dilation=2), nn.Flatten(),
                nn.Linear(96, 3)],
    "padded": [conv(3, 4, 3), relu(), nn.AvgPool2d(3, 2, 1, count_include_pad=False), conv(4, 4, 1), relu(), nn.ZeroPad2d((0, 1, 1, 0)),
               nn.MaxPool2d(2, 1), nn.ZeroPad2d((1, 0, 0, 2)), nn.AvgPool2d((3, 2), 1), conv(4, 5, 1), Shortcut(), nn.Flatten(),
               nn.Linear(48, 3)],
    "residual": [Residual()],
}


def export(name, modules, opset, **options):
    """name.onnx with random statistics, and name.npz with PyTorch's answers."""
    network = nn.Sequential(*modules).eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(), module.running_var.uniform_(0.3, 2), nn.init.normal_(module.weight)
    images = np.random.default_rng(1).integers(0, 256, (5, 10, 12, 3)).astype(np.uint8)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)) / np.float32(255))
    np.savez(f"{name}.npz", images=images, **{"probabilities" if name == "pools" else "logits": network(pixels).detach().numpy()})
    torch.onnx.export(network, pixels[:1], f"{name}.onnx", opset_version=opset, input_names=["images"], **options)


open_images = {"dynamic_axes": {"images": {0: "images"}}, "do_constant_folding": False}
unfolded = {"training": torch.onnx.TrainingMode.PRESERVE}
for number, (name, modules) in enumerate(NETWORKS.items()):
    export(name, modules, 9 + 2 * (number % 4), **(open_images if number % 2 else unfolded if name == "plain" else {}))
    takes(f"{name}.onnx", f"{name}.npz")

# What cannot be taken.
plain, images = onnx.load("plain.onnx"), ["images"]


def changed(name, change, source=plain):
    model = onnx.ModelProto()
    model.CopyFrom(source)
    change(model)
    with open(name, "wb") as file:
        file.write(model.SerializeToString())
    return name


def node(kind, number=0):
    return lambda model: [one for one in model.graph.node if one.op_type == kind][number]


def attribute(kind, name, value):
    def change(model):
        found = node(kind)(model)
        for one in [one for one in found.attribute if one.name == name]:
            found.attribute.remove(one)
        found.attribute.append(helper.make_attribute(name, value))
    return change


def inserted(kind, domain="", **attributes):
    """The operator before the first ReLU."""
    def change(model):
        relu = node("Relu")(model)
        place = list(model.graph.node).index(relu)
        model.graph.node.insert(place, helper.make_node(kind, [relu.input[0]], ["between"], name="between", domain=domain, **attributes))
        model.graph.node[place + 1].input[0] = "between"
    return change


def weight_of(model, kind, place=1):
    return next(one for one in model.graph.initializer if one.name == node(kind)(model).input[place])


def numbers(kind, place, index, value):
    def change(model):
        tensor = weight_of(model, kind, place)
        values = numpy_helper.to_array(tensor).copy()
        values[index] = value
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return change


def outside(location, **more):
    def change(model):
        tensor = weight_of(model, "Conv")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=str(value))
    return change


def huge(model):
    weight_of(model, "Conv", 2).dims[0] = 1 << 40


def short(model):
    weight_of(model, "Conv").raw_data = weight_of(model, "Conv").raw_data[:-4]


def opset(version):
    return lambda model: setattr(model.opset_import[0], "version", version)


def second_output(model):
    model.graph.output.add().CopyFrom(model.graph.output[0])


def open_size(model):
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "any"


def as_half(model):
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


kernel = numpy_helper.to_array(weight_of(plain, "Conv"))
with open("kernel.bin", "wb") as file:
    file.write(bytes(64) + kernel.tobytes())
os.mkdir("inner")
os.symlink("../kernel.bin", "inner/link.bin")
takes(changed("beside.onnx", outside("kernel.bin", offset=64, length=kernel.nbytes)), "plain.npz")
tell(same_numbers("beside.onnx.out.h5", "plain.onnx.out.h5"), "beside.onnx", "the same numbers")
takes(changed("open.onnx", open_size), "plain.npz", "--input", "10x12x3")
done = call(changed("half.onnx", as_half), "--pixels", "0,1", "--out", "half.h5")
tell(done.returncode == 0, "half.onnx", done.stderr)
CASES = [
    (inserted("Celu"), r"node 'between' \(Celu\): there is no such operator here"),
    (inserted("Conv2", domain="my.own"), r"node 'between' \(Conv2\): an operator of 'my.own', none of ONNX' own"),
    (inserted("Clip", min=-1.0, max=1.0), r"node 'between' \(Clip\): between -1 and 1"),
    (inserted("Transpose", perm=[0, 1, 3, 2]), r"node 'between' \(Transpose\): attribute perm = \[0, 1, 3, 2\]"),
    (inserted("Softmax", axis=1), r"node 'between' \(Softmax\), 'softmax': 'softmax' is no layer"),
    (inserted("HardSigmoid", alpha=0.3, beta=0.4), r"\(HardSigmoid\): attributes alpha = 0.3, beta = 0.4"),
    (inserted("Slice", starts=[1], ends=[9], axes=[2]), r"\(Slice\): from 1 to 9 in steps of 1 of axis 2"),
    (inserted("Relu", mine=1), r"node 'between' \(Relu\): attribute 'mine' is not known here"),
    (inserted("If"), r"node 'between' \(If\): there is no such operator here"),
    (attribute("Conv", "auto_pad", "MINE"), r"\(Conv\): attribute auto_pad = MINE"),
    (attribute("Conv", "group", 7), r"\(Conv\): attribute group = 7 for 3 channels"),
    (attribute("Conv", "kernel_shape", [5, 5]), r"\(Conv\): attribute kernel_shape = \[5, 5\], its weight is \[4, 3, 3, 3\]"),
    (attribute("Conv", "strides", [0, 1]), r"\(Conv\): kernel \[3, 3\], strides \[0, 1\]"),
    (attribute("Conv", "pads", [1, 1, -1, 1]), r"\(Conv\): padding 1x-1x1x1 takes rows or columns away"),
    (attribute("MaxPool", "dilations", [2, 2]), r"\(MaxPool\): attribute dilations = \[2, 2\]"),
    (attribute("MaxPool", "kernel_shape", [2]), r"\(MaxPool\): kernel \[2\].*two axes can be taken"),
    (attribute("BatchNormalization", "training_mode", 1), r"\(BatchNormalization\): attribute training_mode = 1"),
    (attribute("BatchNormalization", "epsilon", float("inf")), r"\(BatchNormalization\): epsilon inf"),
    (attribute("Gemm", "alpha", 0.5), r"\(Gemm\): attributes alpha = 0.5, beta = 1"),
    (attribute("Flatten", "axis", 2), r"\(Flatten\): attribute axis = 2"),
    (numbers("Conv", 1, (2, 1, 0, 1), np.nan), r"tensor '.*weight' element \[2, 1, 0, 1\] is nan"),
    (numbers("BatchNormalization", 4, 3, -0.5), r"tensor '.*running_var' element \[3\] is -0.5, a negative variance"),
    (huge, r"tensor '.*bias' is \[1099511627776\], node '.*' \(Conv\) wants \[4\]"),
    (short, r"tensor '.*weight': \[4, 3, 3, 3\] of float32, but 107 numbers"),
    (outside("/etc/passwd"), r"is kept in '/etc/passwd', outside the model's folder"),
    (outside("../x.bin"), r"is kept in '../x.bin', outside the model's folder"),
    (outside("kernel.bin", offset=128), r"wants 432 bytes from 128 on of kernel.bin, which has 496"),
    (outside("kernel.bin", offset=-8), r"wants 432 bytes from -8 on"),
    (outside("gone.bin"), "is kept in 'gone.bin', which is not there"),
    (opset(6), "opset 6: 7 to 24 can be taken"),
    (opset(99), "opset 99: 7 to 24 can be taken"),
    (second_output, "has 1 inputs and 2 outputs; one of each can be taken"),
    (open_size, r"input 'images': its shape \[1, 3, '\?', '\?'\] is open: --input"),
    (lambda model: model.graph.ClearField("node"), "has no nodes"),
    (lambda model: model.graph.ClearField("initializer"), "its input '.*' comes from nowhere"),
]
for number, (change, pattern) in enumerate(CASES):
    refuses(changed(f"bad{number}.onnx", change), pattern)
os.rename(changed("linked.onnx", outside("link.bin", offset=64)), "inner/linked.onnx")
refuses("inner/linked.onnx", "is kept in 'link.bin', outside the model's folder")
with open("plain.onnx", "rb") as file:
    data = file.read()
for part in (0.1, 0.5, 0.99):
    with open("cut.onnx", "wb") as file:
        file.write(data[:int(part * len(data))])
    refuses("cut.onnx", "cut.onnx: no ONNX file, or damaged")
refuses("plain.onnx", "other --pixels, --mean", "--pixels", "0,255", "--check", "plain.npz", code=3)
with open("page.onnx", "w") as file:
    file.write("<!DOCTYPE html>")
refuses("page.onnx", "page.onnx: no ONNX file, or damaged")
sys.exit(bool(failures))
