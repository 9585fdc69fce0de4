#!/usr/bin/env python3
"""A model file from a network that PyTorch trained: import_torch.py model.pth --arch FILE --out model.h5

model.pth holds a state dict (torch.save(model.state_dict(), "model.pth")), or is a .safetensors file, or, for machines without
PyTorch, NumPy's (numpy.savez("model.npz", **{name: values.numpy() for name, values in model.state_dict().items()})). It is loaded
safely: a file that would run code is refused. Tensors go to the layers of the architecture in order, and every shape has to fit; the mapping is
printed. --pixels, --mean and --std say how the images were scaled that it was trained with: x = (low + (high - low) p / 255 -
mean) / std for a pixel p of 0..255. torchvision's ToTensor and Normalize(mean, std) is --pixels 0,1 --mean ... --std ...
"""
import argparse
import os
import re
import sys

import numpy as np

import model_file
from model_file import Failure


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="state dict: .pth, .pt, .safetensors or .npz")
    parser.add_argument("--arch", required=True, help="architecture, built in or a file (filterscope arch)")
    parser.add_argument("--out", required=True, help="model file, which must not exist")
    parser.add_argument("--input", help="HEIGHTxWIDTHxCHANNELS (the architecture's input line)")
    parser.add_argument("--labels", help="file with a label name a line (0, 1, 2 ...)")
    parser.add_argument("--pixels", default="-1,1", help="LOW,HIGH: what the pixels 0 and 255 become (-1,1)")
    parser.add_argument("--mean", default="0", help="then subtracted, one for all channels or one each as A,B,C (0)")
    parser.add_argument("--std", default="1", help="then divided by, one for all channels or one each (1)")
    parser.add_argument("--bn-eps", type=float, default=1e-5, help="epsilon of its batch normalisation (1e-5)")
    parser.add_argument("--order", help="PREFIX,PREFIX ...: beginnings of the tensors' names in the order of the layers (the file's)")
    parser.add_argument("--filterscope", help="the program ($FILTERSCOPE, the build folder beside this one, or PATH)")
    return parser.parse_args()


def load_torch(path):
    try:
        import torch
    except ImportError:
        raise Failure(f"{path}: PyTorch is needed to read it (Debian: python3-torch)") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except TypeError:
        raise Failure(f"{path}: PyTorch {torch.__version__} cannot load safely; 1.13 and later can") from None
    except Exception as error:  # what it raises depends on version and file
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Failure(f"{path}: no state dict that could be loaded safely (save model.state_dict()): {first}") from None
    for key in ("state_dict", "model_state_dict", "model"):  # checkpoints wrap it
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise Failure(f"{path}: holds a {type(found).__name__}, not a state dict of tensors")
    return {name: tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy() for name, tensor in found.items()}


def natural(name):
    """features.2.weight before features.10.weight; of one module weight, bias, running_mean, running_var."""
    module, _, leaf = name.rpartition(".")
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)|\.", module) if part]
    leaves = ("weight", "bias", "running_mean", "running_var")
    return parts, leaves.index(leaf) if leaf in leaves else len(leaves)


def load_numpy(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        raise Failure(f"{path}: no .npz file of arrays: {error}") from None


def load_safetensors(path):
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise Failure(f"{path}: the Python module safetensors is needed to read it") from None
    try:
        found = load_file(path)
    except Exception as error:
        raise Failure(f"{path}: not a safetensors file: {error}") from None
    return {name: found[name] for name in sorted(found, key=natural)}


def load(path):
    """{name: array} in order. A safetensors file has none: there names are sorted."""
    if not os.path.isfile(path):
        raise Failure(f"{path}: no such file")
    reader = {".npz": load_numpy, ".safetensors": load_safetensors}.get(os.path.splitext(path)[1], load_torch)
    return reader(path)


def choose(tensors, order):
    """Without the counters of batch normalisation, and in the order asked for."""
    names = [name for name in tensors if not name.endswith("num_batches_tracked")]
    if order:
        prefixes = order.split(",")
        place = {name: next((i for i, prefix in enumerate(prefixes) if name.startswith(prefix)), None) for name in names}
        for name in names:
            if place[name] is None:
                raise Failure(f"--order: tensor '{name}' begins with none of {order}")
        names.sort(key=lambda name: place[name])
    if not names:
        raise Failure("the state dict has no tensor")
    return [(name, tensors[name]) for name in names]


def shape_text(shape):
    return "[" + ", ".join(map(str, shape)) + "]"


def fit(rows, tensors, bn_eps):
    """{name in the model file: array}; prints which tensor went where."""
    arrays, rest = {}, list(tensors)
    for row, group, name, role in model_file.arrays_of(rows):
        if group == "momentum":
            continue
        wanted, place = model_file.torch_shape(row, role), f"line {row['line']} '{row['text']}'"
        if not rest:
            raise Failure(f"{place} wants {name} {shape_text(wanted)}, but no tensor is left")
        tensor, values = rest.pop(0)
        if tuple(values.shape) != wanted:
            raise Failure(f"tensor '{tensor}' is {shape_text(values.shape)}, {place} wants {name} {shape_text(wanted)}")
        if not np.issubdtype(values.dtype, np.floating):
            raise Failure(f"tensor '{tensor}' holds {values.dtype}, no floating-point numbers")
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise Failure(f"tensor '{tensor}' holds {values[~np.isfinite(values)][0]}")
        if role == "variance":
            values = (values.astype(np.float64) + (bn_eps - 1e-5)).astype(np.float32)
        print(f"  {tensor:32s} {shape_text(values.shape):20s} -> {name:16s} line {row['line']}: {row['text']}")
        arrays[name] = model_file.from_torch(row, role, values)
    if rest:
        raise Failure(f"tensor '{rest[0][0]}' {shape_text(rest[0][1].shape)} is left over: the architecture takes {len(arrays)} of "
                      f"{len(tensors)}")
    return arrays


def numbers(option, text, count, one_for_all=True):
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        raise Failure(f"{option}: '{text}' is no list of numbers") from None
    if one_for_all and len(values) == 1:
        values *= count
    if len(values) != count or not np.isfinite(values).all():
        raise Failure(f"{option}: '{text}': expected {'1 or ' if one_for_all else ''}{count} numbers")
    if option == "--std" and min(values) <= 0:
        raise Failure(f"--std: {min(values):g} is not positive")
    return values


def label_names(path, labels):
    if not path:
        return [str(label) for label in range(labels)]
    with open(path, encoding="utf-8") as file:
        names = [line.strip() for line in file if line.strip()]
    if len(names) != labels:
        raise Failure(f"{path}: {len(names)} names, the network has {labels} labels")
    return [name.encode()[:model_file.NAME_BYTES - 1].decode(errors="ignore") for name in names]


def run(options):
    if os.path.exists(options.out):
        raise Failure(f"{options.out}: exists")
    binary = model_file.program(options.filterscope)
    tensors = choose(load(options.weights), options.order)
    heads = [values for _, values in tensors if values.ndim >= 2]
    if not heads:
        raise Failure(f"{options.weights}: no tensor has two axes or more")
    labels = heads[-1].shape[0]
    text, rows = model_file.layers(binary, options.arch, options.input, labels)
    if not options.input and not text.startswith("input "):
        raise Failure(f"--input is needed: {options.arch} has no input line")
    size = tuple(rows[0][key] for key in ("height", "width", "channels"))
    scaling = (numbers("--pixels", options.pixels, 2, False), numbers("--mean", options.mean, size[2]),
               numbers("--std", options.std, size[2]))
    if scaling[0][0] == scaling[0][1]:
        raise Failure(f"--pixels: {options.pixels} is no range")
    names = label_names(options.labels, labels)
    print(f"{options.weights}: {len(tensors)} tensors, {labels} labels, {'x'.join(map(str, size))} images")
    arrays = fit(rows, tensors, options.bn_eps)
    arch = os.path.basename(options.arch)
    arch = (os.path.splitext(arch)[0] or arch).encode()[:model_file.NAME_BYTES - 1].decode(errors="ignore")
    config = {"arch": arch, "source": os.path.basename(options.weights)[:200]}
    temporary = f"{options.out}.tmp"
    try:
        model_file.write(temporary, arch, text, size, names, scaling, config, rows, arrays)
        model_file.call(binary, "check", temporary)
        os.replace(temporary, options.out)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    print(f"{options.out}: {sum(values.size for values in arrays.values())} numbers")


def main():
    try:
        run(arguments())
    except (Failure, OSError) as error:
        sys.exit(f"import_torch.py: {error}")


if __name__ == "__main__":
    main()
