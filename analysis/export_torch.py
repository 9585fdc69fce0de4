#!/usr/bin/env python3
"""A PyTorch state dict from a model file: export_torch.py model.h5 --out model.pth [--module net.py]

The names are those of the torch.nn.Sequential that --module writes, or with --like those of another state dict, in order.
"""
import argparse
import contextlib
import io
import os

import matching
import model_file
import state_dict
from model_file import Failure, shown


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file of filterscope train or import_torch.py")
    parser.add_argument("--out", required=True, help="state dict (.pth, .pt), which must not exist")
    parser.add_argument("--module", help="write the network as a Python file, too")
    parser.add_argument("--like", help="state dict whose names are taken")
    state_dict.add_options(parser)
    parser.add_argument("--filterscope", help="the program ($FILTERSCOPE, the build folder beside this one, or PATH)")
    return parser.parse_args()


def pair(row, key):
    return row[f"{key}_height"], row[f"{key}_width"]


ACTIVATIONS = {"relu": "ReLU", "relu6": "ReLU6", "leakyrelu": "LeakyReLU", "elu": "ELU", "silu": "SiLU", "gelu": "GELU",
               "sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "Hardswish", "hardsigmoid": "Hardsigmoid"}


def words_of(line):
    """The words of a line without "as NAME" and "probe" at its end, and NAME."""
    words, name = line.split(), None
    while words[-1] == "probe" or words[-2:-1] == ["as"]:
        name = name if words[-1] == "probe" else words[-1]
        del words[-1 if words[-1] == "probe" else -2:]
    return words, name


# What torch.nn has no module for: its code goes into the file of a network that needs it.
CLASSES = {
    "HardSigmoid": '''class HardSigmoid(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x):
        return torch.clamp(self.slope * x + 0.5, 0, 1)
''',
    "AvgPool": '''class AvgPool(nn.Module):
    """Zeros around the map, (left, right, top, bottom); so many of them as `counted` says count in an average."""

    def __init__(self, kernel, stride, counted, zeros):
        super().__init__()
        self.kernel, self.stride, self.counted, self.zeros = kernel, stride, counted, zeros

    def forward(self, x):
        pad, pool = nn.functional.pad, nn.functional.avg_pool2d
        rest = [zeros - counted for zeros, counted in zip(self.zeros, self.counted)]
        share = pool(pad(pad(torch.ones_like(x[:1, :1]), self.counted, value=1.0), rest), self.kernel, self.stride)
        return pool(pad(x, self.zeros), self.kernel, self.stride) / share
''',
}


def pads_of(row):
    """(left, right, top, bottom), as torch.nn.functional.pad takes them."""
    return row["pad_width"], row["pad_right"], row["pad_height"], row["pad_bottom"]


def is_even(row):
    return row["pad_width"] == row["pad_right"] and row["pad_height"] == row["pad_bottom"]


def conv(row):
    dilation = "" if pair(row, "dilation") == (1, 1) else f", dilation={pair(row, 'dilation')}"
    groups = "" if row["groups"] == 1 else f", groups={row['groups']}"
    zeros, padding = ([], pair(row, "pad")) if is_even(row) else ([f"nn.ZeroPad2d({pads_of(row)})"], 0)
    return [*zeros, f"nn.Conv2d({row['channels']}, {row['out_channels']}, {pair(row, 'kernel')}, stride={pair(row, 'stride')}, "
            f"padding={padding}{dilation}{groups}, bias={bool(row['bias'])})"]


def reach(row, axis):
    """How far the windows reach over the end of the map; where it is padded that may be less than the padding."""
    size, kernel, stride, out = (row[name + axis] for name in ("", "kernel_", "stride_", "out_"))
    return max((out - 1) * stride + kernel - size - row["pad_" + axis], 0)


def pool(row):
    """PyTorch's own where that can: the same padding on both sides, at most half the window."""
    words, kernel, stride = words_of(row["text"])[0], pair(row, "kernel"), pair(row, "stride")
    is_max, inside = row["kind"] == "maxpool", "inside" in words or "same" in words
    if is_even(row) and all(2 * pad <= size for pad, size in zip(pair(row, "pad"), kernel)):
        more = (", ceil_mode=True" if "ceil" in words else "") + (", count_include_pad=False" if inside and not is_max else "")
        return [f"nn.{'Max' if is_max else 'Avg'}Pool2d({kernel}, stride={stride}, padding={pair(row, 'pad')}{more})"]
    left, right, top, bottom = pads_of(row)
    zeros = left, reach(row, "width"), top, reach(row, "height")
    if is_max:
        return [f"nn.ConstantPad2d({zeros}, float('-inf'))", f"nn.MaxPool2d({kernel}, stride={stride})"]
    counted = (0, 0, 0, 0) if inside else (left, min(right, zeros[1]), top, min(bottom, zeros[3]))
    return [f"AvgPool({kernel}, {stride}, {counted}, {zeros})"]


def constructor(row):
    """Of all that is one module."""
    kind, numbers = row["kind"], words_of(row["text"])[0][1:]
    if kind == "bn":
        return f"nn.BatchNorm{'1d' if row['dense'] else '2d'}({row['channels']})"
    if kind in ("globalmax", "globalavg"):
        return f"nn.Adaptive{'Max' if kind == 'globalmax' else 'Avg'}Pool2d(1)"
    if kind == "fc":
        return f"nn.Linear({row['channels'] * row['height'] * row['width']}, {row['out_channels']}, bias={bool(row['bias'])})"
    if kind == "prelu":
        return f"nn.PReLU({row['channels']})"
    if kind == "subsample":  # a pool of single pixels
        return f"nn.MaxPool2d(1, stride={pair(row, 'stride')})"
    if kind == "zeropad":
        return f"nn.ConstantPad3d((0, 0, 0, 0, {numbers[1]}, {numbers[2]}), 0.0)"
    if kind == "hardsigmoid" and numbers:
        return f"HardSigmoid({numbers[0]})"
    return f"nn.{ACTIVATIONS[kind]}({', '.join(numbers)})"


def modules_of(row):
    """As modules(), of a line."""
    *before, last = {"conv": conv, "maxpool": pool, "avgpool": pool}.get(row["kind"], lambda row: [constructor(row)])(row)
    return [(name, None) for name in before] + [(last, row)]


def modules(text, rows):
    """(constructor, row or None) of each module of a torch.nn.Sequential that computes what `text` says."""
    by_line, result = {row["line"]: row for row in rows}, []
    for number, line in enumerate(text.splitlines(), 1):
        row, words = by_line.get(number), words_of(line)[0]
        if row and row["kind"] == "fc" and not any(name == "nn.Flatten()" for name, _ in result):
            result.append(("nn.Flatten()", None))
        if row:
            result += modules_of(row)
        elif words[0] == "dropout":
            result.append((f"nn.Dropout({words[1] if len(words) > 1 else 0.5})", None))
    if not any(name == "nn.Flatten()" for name, _ in result):
        result.append(("nn.Flatten()", None))
    return result


def join(row, words):
    """The expression of a line that joins maps, each with its four axes, since one that was flattened has lost two."""
    inputs = words[1:] if words[0] == "concat" else ["here", *words[1:]]
    sizes = [(row["out_height"], row["out_width"])] * len(inputs)
    if words[0] == "scale":
        sizes[0] = row["height"], row["width"]
    maps = ["here" if name == "here" else f'maps["{name}"]' for name in inputs]
    maps = [f"{name}.reshape(len({name}), -1, {height}, {width})" for name, (height, width) in zip(maps, sizes)]
    return f"torch.cat([{', '.join(maps)}], 1)" if words[0] == "concat" else (" + " if words[0] == "add" else " * ").join(maps)


def graph(text, rows):
    """As modules(), of a network with branches, and the lines of its forward()."""
    by_line, listing, lines = {row["line"]: row for row in rows}, [], ["maps = {}"]
    for number, line in enumerate(text.splitlines(), 1):
        row, (words, name) = by_line.get(number), words_of(line)
        if words[0] == "from":
            lines.append(f'here = maps["{words[1]}"]')
        elif words[0] in ("add", "concat", "scale"):
            lines.append(f"here = {join(row, words)}")
        elif row or words[0] == "dropout":
            flat = ".flatten(1)" if row and (row["kind"] == "fc" or (row["kind"] == "bn" and row["dense"])) else ""
            for module in modules_of(row) if row else [(f"nn.Dropout({words[1] if len(words) > 1 else 0.5})", None)]:
                lines.append(f"here = self[{len(listing)}](here{flat})")
                listing.append(module)
        if name:
            lines.append(f'maps["{name}"] = here')
    return listing, [*lines, "return here.flatten(1)"]


def has_branches(text):
    return any(line.split()[0] in ("from", "add", "concat", "scale") for line in text.splitlines())


def state_of(rows, arrays):
    """{name in the model file: array with PyTorch's axes}."""
    return {name: model_file.to_torch(row, role, arrays[name]) for row, group, name, role in model_file.arrays_of(rows)
            if group != "momentum"}


def sequential_names(listing, rows):
    """The names of these in the Sequential."""
    leaves = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
    place = {row["line"]: number for number, (_, row) in enumerate(listing) if row}
    return [f"{place[row['line']]}.{leaves[role]}" for row, group, _, role in model_file.arrays_of(rows) if group != "momentum"]


def module_text(model, listing, forward):
    """The Python file; `forward` is None where the modules follow one another."""
    pixel, mean, std = ([float(value) for value in values] for values in model["scaling"])
    lines = "".join(f"        {name},\n" for name, _ in listing)
    own = "".join(f"        {line}\n" for line in forward or [])
    own = f"class Network(nn.Sequential):\n    def forward(self, here):\n{own}\n\n" if forward else ""
    own = "".join(f"{code}\n\n" for name, code in CLASSES.items() if any(one.startswith(f"{name}(") for one, _ in listing)) + own
    return (f'"""{model["arch"]}: takes [images, {model["size"][2]}, {model["size"][0]}, {model["size"][1]}]; for pixels p of 0..255\n'
            f'x = (low + (high - low) p / 255 - mean) / std."""\n{"import torch" + chr(10) if own else ""}from torch import nn\n\n'
            f"low, high = {pixel[0]!r}, {pixel[1]!r}\nmean = {mean!r}\nstd = {std!r}\n\n\n{own}"
            f"def network():\n    return {'Network' if forward else 'nn.Sequential'}(\n{lines}    )\n")


def rename(state, rows, text, options):
    """`state` under the names, and in the order, of --like."""
    like, ordered = state_dict.read(options.like, options)
    if not options.chain:
        matching.check_chain(text, like)
    assigned, layout = matching.assign(rows, like, ordered, options.order)
    if layout != "torch":
        raise Failure(f"{options.like}: has TensorFlow's axes")
    names = {}
    for _, arrays, module in assigned:
        for role, name in arrays.items():
            if role not in module.tensors:
                raise Failure(f"{options.like}: '{shown(module.name)}' has no tensor for {name}")
            names[module.tensors[role]] = name
    return {name: state[names[name]] for name in like}


def write(contents):
    """Files {path: bytes}: all of them or none."""
    with contextlib.ExitStack() as stack:
        for path, content in contents.items():
            with open(stack.enter_context(model_file.appears(path)), "xb") as file:
                file.write(content)


def run():
    options = arguments()
    for path in (options.out, options.module):
        if path and os.path.lexists(path):
            raise Failure(f"{path}: exists")
    try:
        import torch
    except ImportError:
        raise Failure("PyTorch is needed (Debian: python3-torch)") from None
    binary = model_file.program(options.filterscope)
    model = model_file.read(binary, options.model)
    _, rows = model_file.layers_of(binary, model)
    listing, forward = graph(model["text"], rows) if has_branches(model["text"]) else (modules(model["text"], rows), None)
    state = state_of(rows, model["arrays"])
    if options.like:
        state = rename(state, rows, model["text"], options)
    else:
        state = dict(zip(sequential_names(listing, rows), state.values()))
    for name, values in state.items():
        print(f"  {shown(name):32s} {list(values.shape)}")
    content = io.BytesIO()  # torch.save has errors of its own for a full disk
    torch.save({name: torch.from_numpy(values) for name, values in state.items()}, content)
    module = {options.module: module_text(model, listing, forward).encode()} if options.module else {}
    write({options.out: content.getvalue(), **module})
    pruned = sum(int((~kept).sum()) * places for kept, places in model_file.masks(binary, options.model).values())
    print(f"{options.out}: {len(state)} tensors" + (f"; {pruned} pruned weights are 0" if pruned else ""))


if __name__ == "__main__":
    model_file.main(run)
