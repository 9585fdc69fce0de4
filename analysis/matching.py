"""Which tensor of a state dict is which array of a network. A tensor's name tells its module and its role in it; modules go to the
layers in order, and every role, shape and number in a name has to agree."""
import re

import model_file
from model_file import Failure, Usage, shown

ROLES = {  # the last part of a name
    "weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance",
    "kernel": "weight", "gamma": "weight", "scale": "weight", "beta": "bias", "moving_mean": "mean", "moving_variance": "variance",
    "moving_var": "variance", "mean": "mean", "var": "variance", "variance": "variance"}
OF_BATCHNORM = {"gamma", "scale", "beta"}  # which a convolution's parameters are never called
OF_KERAS = {"gamma", "beta", "moving_mean", "moving_variance"}
REPARAMETRISED = {  # parts of names that tell that the weight is computed from several tensors, and what undoes it
    "weight_g": "remove_weight_norm", "weight_v": "remove_weight_norm", "parametrizations": "parametrize.remove_parametrizations",
    "weight_orig": "prune.remove or remove_spectral_norm", "weight_mask": "prune.remove"}
BRANCHES = {"shortcut", "shortcuts", "downsample", "skip", "residual", "residuals", "res", "resblock", "resblocks", "resnet", "basicblock",
            "bottleneck", "projection", "identity", "branch", "branches", "inception", "mixed", "denseblock", "denselayer", "squeeze",
            "expand", "se", "attention", "attn"}
# layer1.0.conv1, stage2.1.left.0, but not layer1.0.weight; blocks.0.conv2
NESTED = re.compile(r"(^|\.)(layer|stage)_?\d+(\.\d+)+\.[a-z_]\w*\.|\.\d+\.(conv|bn|norm|fc)_?[2-9]\.", re.IGNORECASE)
MOST_NAME = 1000  # characters: names are compared part by part


def parts_of(name):
    """features.0.weight, or Keras' features/0/kernel:0, in parts."""
    return re.split(r"[./]", name.removesuffix(":0"))


def text_of(shape):
    return "[" + ", ".join(map(str, shape)) + "]"


class Module:
    """The tensors whose names agree but for the last part."""

    def __init__(self, parts):
        self.parts, self.tensors = parts, {}  # {role: name}
        self.name = ".".join(parts)
        self.tokens = tuple(int(token) if re.fullmatch(r"\d{1,9}", token) else token
                            for part in parts for token in (*re.findall(r"\d+|\D+", part), "."))
        self.numbers = [token for token in self.tokens if isinstance(token, int)]

    def kind(self, tensors):
        if "mean" in self.tensors or "variance" in self.tensors:
            return "bn"
        weight = self.tensors.get("weight")
        return {4: "conv", 2: "fc", 1: "prelu"}.get(len(tensors[weight].shape) if weight else 0, "other")


def _place(module, role, name):
    if role in module.tensors:
        raise Failure(f"tensors '{shown(module.tensors[role])}' and '{shown(name)}' are both the {role} of one module")
    module.tensors[role] = name


def _check_name(name, parts):
    if len(name) > MOST_NAME:
        raise Failure(f"tensor '{shown(name[:40])}...': a name of {len(name)} characters")
    undo = next((REPARAMETRISED[part] for part in parts if part in REPARAMETRISED), None)
    if undo:
        raise Failure(f"tensor '{shown(name)}' is a part of a weight: {undo} in PyTorch makes it whole before it is saved")


def modules_of(tensors, batchnorm):
    """Modules in the order of the file. A name that tells no role is taken as a weight (two axes and more) or as the bias of the one
    before, where the architecture has no batch normalisation that it might belong to."""
    modules, last = {}, None
    for name, tensor in tensors.items():
        parts = tuple(parts_of(name))
        _check_name(name, parts)
        role, owner = ROLES.get(parts[-1]), parts[:-1]
        if not role and len(tensor.shape) >= 2:
            role, owner = "weight", parts
        if role:
            last = modules.setdefault(owner, Module(owner))
        elif batchnorm or not last or len(tensor.shape) != 1:
            raise Failure(f"tensor '{shown(name)}' {text_of(tensor.shape)}: its name does not tell whether it is a weight, bias, "
                          "running_mean or running_var; --ignore leaves it out")
        _place(last, role or "bias", name)
    return list(modules.values())


def _told(first, second):
    """Whether the names' numbers tell which of two modules comes first."""
    differing = next(((a, b) for a, b in zip(first.tokens, second.tokens) if a != b), ("", ""))
    return all(isinstance(token, int) for token in differing)


def _by_numbers(modules, ordered):
    """By the numbers in names; words by their first appearance, or by the alphabet where the file's order tells nothing."""
    first = {}
    for place, module in enumerate(modules):
        for end in range(1, len(module.tokens) + 1):
            first.setdefault(module.tokens[:end], place)

    def key(module):
        return [(0, token) if isinstance(token, int) else (1, first[module.tokens[:end + 1]]) if ordered else (1, token)
                for end, token in enumerate(module.tokens)]

    return sorted(modules, key=key)


def _by_kind(rows, modules, tensors):
    """The next module of a layer's kind for each layer: names such as conv1, conv2, bn1, bn2. None where numbers contradict it."""
    queues, result = {}, []
    for module in modules:
        queues.setdefault(module.kind(tensors), []).append(module)
    for row in rows:
        queue = queues.get(row["kind"])
        if not queue:
            return None
        result.append(queue.pop(0))
        before = result[-2] if len(result) > 1 else None
        if row["kind"] == "bn" and before and not _told(before, result[-1]) and before.numbers != result[-1].numbers:
            return None
    falling = any(_told(a, b) and a.tokens > b.tokens for place, a in enumerate(result) for b in result[place + 1:])
    return None if falling or any(queues.values()) else result


def _was_sorted(modules, tensors):
    """Whether the file's order is that of an alphabet: PyTorch has a weight before its bias, and 2 before 10."""
    names = list(tensors)
    late = any(list(module.tensors).index("bias") < list(module.tensors).index("weight")
               for module in modules if {"weight", "bias"} <= set(module.tensors))
    return late or (names == sorted(names) and _by_numbers(modules, True) != modules)


def _by_prefixes(modules, order, ordered):
    prefixes = [tuple(parts_of(prefix.strip().rstrip("./"))) for prefix in order.split(",")]
    place = {}
    for module in modules:
        fitting = [prefix for prefix in prefixes if module.parts[:len(prefix)] == prefix]
        if not fitting:
            raise Usage(f"--order: tensor '{shown(next(iter(module.tensors.values())))}' begins with none of {order}")
        place[module] = prefixes.index(max(fitting, key=len))
    return sorted(modules if ordered else _by_numbers(modules, False), key=place.get)


def orders(rows, modules, tensors, order, ordered):
    """Lists of modules in which the layers may come, the likeliest first."""
    if order == "file":
        return [modules]
    if order == "names":
        return [_by_numbers(modules, ordered)]
    if order:
        return [_by_prefixes(modules, order, ordered)]
    numbered = _by_numbers(modules, ordered)
    by_kind = _by_kind(rows, modules if ordered else numbered, tensors)
    kinds = [by_kind] if by_kind else []
    return [modules, numbered, *kinds] if ordered else [*kinds, numbered]


def _check_told(modules, tensors):
    """Of a file without an order: that no two modules could be exchanged for each other without anything to tell them apart."""
    for place, first in enumerate(modules):
        for second in modules[place + 1:]:
            alike = all(role in second.tensors and tensors[name].shape == tensors[second.tensors[role]].shape
                        for role, name in first.tensors.items())
            if alike and not _told(first, second):
                raise Failure(f"the names do not tell which of '{shown(first.name)}' and '{shown(second.name)}' comes first: --order "
                              "PREFIX,PREFIX says it")


def _misplaced(row, arrays, module):
    """A tensor whose name says that it is batch normalisation's, in another layer."""
    for role, name in module.tensors.items():
        if row["kind"] != "bn" and (role in ("mean", "variance") or parts_of(name)[-1] in OF_BATCHNORM):
            return f"tensor '{shown(name)}' is batch normalisation's by its name, {_line(row)} wants {arrays['weight']}"
    return None


def _misshapen(row, arrays, module, tensors, layout):
    for role in sorted(module.tensors, key=lambda role: role != "weight"):
        shape, wanted = tensors[module.tensors[role]].shape, model_file.shape_of(row, role, layout)
        if role in arrays and shape != wanted and (row["kind"], shape) != ("prelu", (1,)):  # one slope for all channels
            return f"tensor '{shown(module.tensors[role])}' is {text_of(shape)}, {_line(row)} wants {arrays[role]} {text_of(wanted)}"
    for role, name in module.tensors.items():
        if role not in arrays:
            return f"tensor '{shown(name)}' {text_of(tensors[name].shape)}: {_line(row)} has no bias, which the word bias gives it"
    return None


def _missing(row, arrays, module, layout):
    missing, first = [role for role in arrays if role not in module.tensors], shown(next(iter(module.tensors.values())))
    if not missing or (row["kind"] == "bn" and missing == ["weight", "bias"]):  # the latter: affine=False
        return None
    if row["kind"] == "bn" and {"mean", "variance"} & set(missing):
        return (f"{_line(row)} wants {arrays['mean']} and {arrays['variance']}, '{first}' comes without: no batch normalisation, or one "
                "without running statistics")
    wanted = model_file.shape_of(row, missing[0], layout)
    return f"{_line(row)} wants {arrays[missing[0]]} {text_of(wanted)}, but '{first}' comes without"


def _line(row):
    return f"line {row['line']} '{row['text']}'"


def _mismatch(layers, modules, tensors, layout):
    """The first thing that does not fit; None where all does."""
    for place, (row, arrays) in enumerate(layers):
        if place == len(modules):
            role, name = next(iter(arrays.items()))
            return f"{_line(row)} wants {name} {text_of(model_file.shape_of(row, role, layout))}, but no tensor is left"
        module = modules[place]
        problem = (_misplaced(row, arrays, module) or _misshapen(row, arrays, module, tensors, layout) or
                   _missing(row, arrays, module, layout))
        if problem:
            return problem
    if len(modules) > len(layers):
        name = next(iter(modules[len(layers)].tensors.values()))
        count = sum(len(module.tensors) for module in modules[:len(layers)])
        return (f"tensor '{shown(name)}' {text_of(tensors[name].shape)} is left over: the architecture takes {count} of {len(tensors)}; "
                f"--ignore '{shown(name)}' leaves it out")
    return None


def _layers(rows):
    """(row, {role: name in the model file}) of each layer with parameters."""
    found = {}
    for row, group, name, role in model_file.arrays_of(rows):
        if group != "momentum":
            found.setdefault(row["line"], (row, {}))[1][role] = name
    return list(found.values())


def _choose(fitting):
    """The one way in which all fits, or why there is none."""
    if len({layout for _, layout in fitting}) > 1:
        raise Failure("the tensors called kernel fit with TensorFlow's axes and with PyTorch's: under the name weight they are PyTorch's")
    if len(fitting) > 1:
        first, second = next(pair for pair in zip(fitting[0][0], fitting[1][0]) if pair[0] is not pair[1])
        raise Failure(f"the file has '{shown(first.name)}' where the names' numbers have '{shown(second.name)}', and both fit: --order file "
                      "or --order names says which holds")
    return fitting[0]


def assign(rows, tensors, ordered, order=None):
    """([(row, {role: name in the model file}, module) of each layer with parameters], layout: torch, or tensorflow where tensors
    called kernel have its axes).
    rows      model_file.layers()
    ordered   whether the order of `tensors` tells anything
    order     --order
    """
    layers = _layers(rows)
    modules = modules_of(tensors, any(row["kind"] == "bn" for row, _ in layers))
    ordered = ordered and not _was_sorted(modules, tensors)
    layouts = ("tensorflow", "torch") if any(parts_of(name)[-1] == "kernel" for name in tensors) else ("torch",)
    ways = [(way, layout) for way in orders([row for row, _ in layers], modules, tensors, order, ordered) for layout in layouts]
    problems = [_mismatch(layers, way, tensors, layout) for way, layout in ways]
    fitting = [way for place, way in enumerate(ways) if not problems[place] and way not in ways[:place]]
    if not fitting:
        raise Failure(problems[0] + ("" if ordered or order else " (in the order of the names: the file has none; --order gives one)"))
    chosen, layout = _choose(fitting)
    if chosen != modules:
        print("the layers' tensors come in another order than in the file: by --order, their kinds or the numbers in their names")
    if not ordered and not order:
        _check_told(chosen, tensors)
    return [(row, arrays, module) for (row, arrays), module in zip(layers, chosen)], layout


def check_chain(text, tensors):
    """Refuses a network that branches, by its tensors' names, where the architecture is a chain."""
    if any(line.split()[:1] in (["add"], ["concat"], ["scale"], ["from"]) for line in text.splitlines()):
        return
    for name in tensors:
        words = {word.lower() for part in parts_of(name)[:-1] for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part)}
        if words & BRANCHES or NESTED.search(name.replace("/", ".")):
            raise Failure(f"tensor '{shown(name)}' speaks of a network with branches, which a chain of layers with the same shapes computes "
                          "otherwise; --chain says that it is a chain nevertheless")
