#!/usr/bin/env python3
"""A model file from a network that PyTorch trained: import_torch.py model.pth --arch FILE --out model.h5 --pixels LOW,HIGH

model.pth holds a state dict (torch.save(model.state_dict(), "model.pth")), a checkpoint around one, a pickled module or a TorchScript
program; .safetensors and NumPy's .npz (numpy.savez("model.npz", **{name: values.numpy() for name, values in
model.state_dict().items()})) are read, too. PyTorch is not needed, and nothing in a file is run. A tensor's name tells what it is:
weight, bias, running_mean, running_var, or Keras' kernel, gamma, beta, moving_mean, moving_variance. Modules go to the layers of the
architecture in order, every shape has to fit, and the mapping is printed. --pixels, --mean and --std say how the images were scaled
that it was trained with: x = (low + (high - low) p / 255 - mean) / std for a pixel p of 0..255. torchvision's ToTensor and
Normalize(mean, std) is --pixels 0,1 --mean ... --std ...

--check compares the logits with those that the network gave in PyTorch:
numpy.savez("check.npz", images=uint8 [images, height, width, channels], logits=[images, labels]).
"""
import argparse
import os

import numpy as np

import import_common
import matching
import model_file
import state_dict
from model_file import EPSILON, Failure, Usage, shown, with_our_epsilon
from tensors import numbers_of


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="state dict: .pth, .pt, .safetensors or .npz")
    parser.add_argument("--arch", required=True, help="architecture, built in or a file (filterscope arch)")
    parser.add_argument("--input", help="HEIGHTxWIDTHxCHANNELS (the architecture's input line)")
    parser.add_argument("--bn-eps", type=float, help="epsilon of its batch normalisation (PyTorch's 1e-5; Keras' own is 1e-3)")
    state_dict.add_options(parser)
    import_common.add_options(parser)
    return import_common.parse(parser)


def epsilon(options, tensors):
    if options.bn_eps is None:
        keras = next((name for name in tensors if matching.parts_of(name)[-1] in matching.OF_KERAS), None)
        if keras:
            raise Usage(f"--bn-eps is needed: '{shown(keras)}' is a name of Keras', whose epsilon is 1e-3 unless the network says otherwise")
        return EPSILON
    if not (options.bn_eps > 0 and np.isfinite(options.bn_eps)):
        raise Usage(f"--bn-eps: {options.bn_eps:g} is not positive")
    return options.bn_eps


def fit(assigned, tensors, layout, eps):
    """{name in the model file: array}; prints which tensor went where."""
    arrays = {}
    convert = model_file.from_torch if layout == "torch" else model_file.from_tensorflow
    for row, names, module in assigned:
        for role, name in names.items():
            if role in module.tensors:
                tensor = module.tensors[role]
                said, values = shown(tensor), convert(row, role, numbers_of(tensor, tensors[tensor], role))
                if row["kind"] == "prelu":
                    values = np.resize(values, row["out_channels"])
            else:  # affine=False
                said, values = "(not in the file)", np.full(row["out_channels"], role == "weight", np.float32)
            print(f"  {said:32s} {matching.text_of(values.shape if role not in module.tensors else tensors[tensor].shape):20s} -> "
                  f"{name:16s} line {row['line']}: {row['text']}")
            arrays[name] = values
        if row["kind"] == "bn" and eps != EPSILON:
            gamma, variance = names["weight"], names["variance"]
            arrays[gamma], arrays[variance] = with_our_epsilon(arrays[gamma], arrays[variance], eps)
    return arrays


def label_counts(tensors):
    """How many labels the network may have, the likeliest first: outputs of its last linear layer."""
    weights = [(name, tensor.shape) for name, tensor in tensors.items() if len(tensor.shape) in (2, 4)]
    counts = [shape[-1 if matching.parts_of(name)[-1] == "kernel" else 0] for name, shape in reversed(weights)]
    return list(dict.fromkeys(count for count in counts if count > 1))


def matched(binary, options, tensors, ordered):
    """(text, rows of the architecture, matching.assign()) with the number of labels that fits."""
    first = None
    for labels in label_counts(tensors):
        try:
            text, rows = model_file.layers(binary, options.arch, options.input, labels)
            if not options.input and not text.startswith("input "):
                raise Usage(f"--input is needed: {options.arch} has no input line")
            if not options.chain:
                matching.check_chain(text, tensors)
            return text, rows, matching.assign(rows, tensors, ordered, options.order)
        except Usage:
            raise
        except Failure as failure:
            first = first or failure
    raise first or Failure(f"{options.weights}: the state dict has no weights of two or more outputs")


def run():
    options = arguments()
    binary = import_common.check_options(options)
    tensors, ordered = state_dict.read(options.weights, options)
    eps = epsilon(options, tensors)
    text, rows, (assigned, layout) = matched(binary, options, tensors, ordered)
    size = "x".join(str(rows[0][key]) for key in ("height", "width", "channels"))
    print(f"{options.weights}: {len(tensors)} tensors, {rows[-1]['out_channels']} labels, {size} images")
    arrays = fit(assigned, tensors, layout, eps)
    arch = os.path.basename(options.arch)
    import_common.publish(options, binary, options.weights, os.path.splitext(arch)[0] or arch, text, rows, arrays)


if __name__ == "__main__":
    model_file.main(run)
