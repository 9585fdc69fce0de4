"""Which tensor of a checkpoint is which array of a network. A tensor's name tells its module and its role in it; modules go to the
layers in order, and every role, shape and number in a name has to agree."""
import fnmatch
import re

import model_file
import tensor_files
from model_file import Failure, Usage, shown
from tensors import Tensor
from torch_file import SAVE, Foreign, describe

ROLES = {  # the last part of a name
    "weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance",
    "kernel": "weight", "gamma": "weight", "scale": "weight", "beta": "bias", "moving_mean": "mean", "moving_variance": "variance",
    "moving_var": "variance", "mean": "mean", "var": "variance", "variance": "variance"}
OF_BATCHNORM = {"gamma", "scale", "beta"}  # which a convolution's parameters are never called
OF_KERAS = {"gamma", "beta", "moving_mean", "moving_variance"}
COUNTERS = {"num_batches_tracked", "n_averaged", "total_ops", "total_params"}
REPARAMETRISED = {  # parts of names that tell that the weight is computed from several tensors, and what undoes it
    "weight_g": "remove_weight_norm", "weight_v": "remove_weight_norm", "parametrizations": "parametrize.remove_parametrizations",
    "weight_orig": "prune.remove or remove_spectral_norm", "weight_mask": "prune.remove"}
BRANCHES = {"shortcut", "shortcuts", "downsample", "skip", "residual", "residuals", "res", "resblock", "resblocks", "resnet", "basicblock",
            "bottleneck", "projection", "identity", "branch", "branches", "inception", "mixed", "denseblock", "denselayer", "squeeze",
            "expand", "se", "attention", "attn"}
# layer1.0.conv1, stage2.1.left.0, but not layer1.0.weight; blocks.0.conv2
NESTED = re.compile(r"(^|\.)(layer|stage)_?\d+(\.\d+)+\.[a-z_]\w*\.|\.\d+\.(conv|bn|norm|fc)_?[2-9]\.", re.IGNORECASE)
MOST_DEPTH = 5  # of dicts in each other that are looked into
MOST_MODULES = 64  # of modules in each other


def add_options(parser):
    parser.add_argument("--key", metavar="A.B", help="the state dict's place in a checkpoint that holds several, a number in a list")
    parser.add_argument("--ignore", metavar="PATTERN", action="append", default=[],
                        help="tensors to leave out, * for any characters (repeated: further ones)")
    parser.add_argument("--order", help="PREFIX,PREFIX ...: first parts of the tensors' names in the order of the layers; or file, or "
                        "names (by their numbers), where these two contradict each other")
    parser.add_argument("--chain", action="store_true",
                        help="the network is a plain chain of its layers, although names of its tensors speak of branches")


def parts_of(name):
    """features.0.weight, or Keras' features/0/kernel:0, in parts."""
    return re.split(r"[./]", name.removesuffix(":0"))


# --- the state dict in a checkpoint

def _is_state_dict(value, strict):
    return isinstance(value, dict) and any(
        isinstance(name, str) and isinstance(tensor, Tensor) and len(tensor.shape) >= 2 and
        (not strict or ROLES.get(parts_of(name)[-1]) == "weight") for name, tensor in value.items())


def _of_module(value, seen, prefix=""):
    """The state dict of a pickled module or TorchScript program, whose code is not run; of anything else {}. `seen` ends what refers
    to itself."""
    state, found = value.state if isinstance(value, Foreign) else None, {}
    if isinstance(state, dict) and id(value) not in seen and prefix.count(".") < MOST_MODULES:
        seen.add(id(value))
        script = value.name.startswith("__torch__.")  # has all as plain attributes
        groups = [state] if script else [state.get(group) for group in ("_parameters", "_buffers", "_modules")]
        for name, held in ((name, held) for group in groups if isinstance(group, dict) for name, held in group.items()):
            found.update({f"{prefix}{name}": held} if isinstance(held, Tensor) else _of_module(held, seen, f"{prefix}{name}."))
    return found


def _candidates(tree, strict, path=(), seen=None):
    """(path, state dict, class of the pickled module that it is from or None) of each in the tree, which may refer to itself."""
    seen = set() if seen is None else seen
    state = _of_module(tree, set()) or tree
    if not isinstance(state, (dict, list, tuple)) or id(tree) in seen:
        return
    seen.add(id(tree))
    if _is_state_dict(state, strict):
        yield path, state, describe(tree) if state is not tree else None
    elif len(path) < MOST_DEPTH:
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from _candidates(value, strict, (*path, str(key)), seen)


def _at_key(path, tree, key):
    rest, found = key, tree
    while rest:
        items = {str(k): v for k, v in (found.items() if isinstance(found, dict) else
                                        enumerate(found) if isinstance(found, (list, tuple)) else ())}
        name = max((k for k in items if k and (rest == k or rest.startswith(f"{k}."))), key=len, default=None)
        if name is None:
            raise Usage(f"--key: '{key}': {path} has no '{rest}' there, but {_list(items) or describe(found)}")
        found, rest = items[name], rest[len(name) + 1:]
    found = _of_module(found, set()) or found
    if not _is_state_dict(found, False):
        raise Usage(f"--key: '{key}' of {path} is {describe(found)}, no state dict of tensors")
    return found


def _list(names, most=8):
    names = [shown(str(name)) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _nothing(path, tree):
    if isinstance(tree, Foreign) and tree.name.startswith("__torch__."):
        return Failure(f"{path}: a TorchScript program whose tensors are frozen into its code, which is not run: {SAVE}")
    inside = f" ({_list(tree)})" if isinstance(tree, dict) else ""
    return Failure(f"{path}: holds {describe(tree)}{inside} and no state dict of tensors: {SAVE}")


def find(path, tree, key):
    """The state dict in what tensor_files.read() returned; says which where it is not all."""
    if key:
        return _at_key(path, tree, key)
    found = list(_candidates(tree, True)) or list(_candidates(tree, False))
    if not found:
        raise _nothing(path, tree)
    if len(found) > 1:
        raise Failure(f"{path}: holds {len(found)} state dicts, {_list('.'.join(place) for place, _, _ in found)}: --key says which is meant")
    place, state, module = found[0]
    if place:
        print(f"{path}: the state dict '{shown('.'.join(place))}' is taken" +
              (f" of {_list(tree)}" if isinstance(tree, dict) and len(tree) > 1 else ""))
    if module:
        print(f"{path}: a {'TorchScript program' if '__torch__' in module else 'pickled module'} of {module}: its tensors are taken, no code "
              "is run")
    return state


def select(path, state, patterns):
    """{name: Tensor} of the state dict without counters, what --ignore names and what is no tensor."""
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(str(name), pattern) for name in state):
            raise Usage(f"--ignore: '{pattern}' matches no tensor of {path}")
    kept, left = {}, []
    for name, value in state.items():
        leaf = parts_of(str(name))[-1]
        if any(fnmatch.fnmatchcase(str(name), pattern) for pattern in patterns) or leaf in COUNTERS:
            left += [name] if leaf != "num_batches_tracked" else []
        elif isinstance(value, Foreign) and leaf != "_extra_state":
            raise Failure(f"{path}: '{shown(str(name))}' is {describe(value)}, which is not read; --ignore leaves it out")
        elif isinstance(value, Tensor) and isinstance(name, str):
            kept[name] = value
        else:
            left.append(name)
    if left:
        print(f"{path}: left out: {_list(left)}")
    return kept


def read(path, options):
    """({name: Tensor}, whether their order tells anything) of a file, by the options of add_options()."""
    tree, ordered = tensor_files.read(path)
    if not tree and isinstance(tree, dict):
        raise Failure(f"{path}: the state dict has no tensor")
    tensors = select(path, find(path, tree, options.key), options.ignore)
    if not any(len(tensor.shape) >= 2 for tensor in tensors.values()):
        raise Failure(f"{path}: the state dict has no tensor of two axes or more")
    return tensors, ordered


# --- its modules

class Module:
    """The tensors whose names agree but for the last part."""

    def __init__(self, parts):
        self.parts, self.tensors = parts, {}  # {role: name}
        self.name = ".".join(parts)
        self.tokens = tuple(int(token) if token.isdecimal() else token
                            for part in parts for token in (*re.findall(r"\d+|\D+", part), "."))

    def kind(self, tensors):
        if "mean" in self.tensors or "variance" in self.tensors:
            return "bn"
        weight = self.tensors.get("weight")
        return {4: "conv", 2: "fc"}.get(len(tensors[weight].shape) if weight else 0, "other")


def _place(module, role, name):
    if role in module.tensors:
        raise Failure(f"tensors '{shown(module.tensors[role])}' and '{shown(name)}' are both the {role} of one module")
    module.tensors[role] = name


def modules_of(tensors, batchnorm):
    """Modules in the order of the file. A name that tells no role is taken as a weight (two axes and more) or as the bias of the one
    before, where the architecture has no batch normalisation that it might belong to."""
    modules, last = {}, None
    for name, tensor in tensors.items():
        parts = tuple(parts_of(name))
        undo = next((REPARAMETRISED[part] for part in parts if part in REPARAMETRISED), None)
        if undo:
            raise Failure(f"tensor '{shown(name)}' is a part of a weight: {undo} in PyTorch makes it whole before it is saved")
        role = ROLES.get(parts[-1])
        if role:
            last = modules.setdefault(parts[:-1], Module(parts[:-1]))
            _place(last, role, name)
        elif len(tensor.shape) >= 2:
            last = modules.setdefault(parts, Module(parts))
            _place(last, "weight", name)
        elif batchnorm or not last or len(tensor.shape) != 1:
            raise Failure(f"tensor '{shown(name)}' {list(tensor.shape)}: its name does not tell whether it is a weight, bias, running_mean "
                          "or running_var; --ignore leaves it out")
        else:
            _place(last, "bias", name)
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
        if row["kind"] == "bn" and before and not _told(before, result[-1]) and _numbers(before) != _numbers(result[-1]):
            return None
    falling = any(_told(a, b) and a.tokens > b.tokens for place, a in enumerate(result) for b in result[place + 1:])
    return None if falling or any(queues.values()) else result


def _numbers(module):
    return [token for token in module.tokens if isinstance(token, int)]


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
    ordered = ordered and not _was_sorted(modules, tensors)
    if order == "file":
        return [modules]
    if order == "names":
        return [_by_numbers(modules, ordered)]
    if order:
        return [_by_prefixes(modules, order, ordered)]
    numbered = _by_numbers(modules, ordered)
    kinds = [found for found in (_by_kind(rows, modules if ordered else numbered, tensors),) if found]
    return [modules, numbered, *kinds] if ordered else [*kinds, numbered]


def _check_told(modules, tensors):
    """Of a file without an order: that no two modules could be exchanged for each other without anything to tell them apart."""
    for place, first in enumerate(modules):
        for second in modules[place + 1:]:
            alike = all(tensors[name].shape == tensors[second.tensors[role]].shape if role in second.tensors else False
                        for role, name in first.tensors.items())
            if alike and not _told(first, second):
                raise Failure(f"the names do not tell which of '{shown(first.name)}' and '{shown(second.name)}' comes first: --order "
                              "PREFIX,PREFIX says it")


# --- and its layers

def text_of(shape):
    return "[" + ", ".join(map(str, shape)) + "]"


def _problem(row, arrays, module, tensors, layout):
    """What does not fit where `module` is the layer of `row`; None where all does.
    arrays    {role: name in the model file} of the layer
    """
    place, own = f"line {row['line']} '{row['text']}'", {role: shown(name) for role, name in module.tensors.items()}
    first = next(iter(module.tensors))
    if row["kind"] != "bn":
        strange = next((name for role, name in module.tensors.items()
                        if role in ("mean", "variance") or parts_of(name)[-1] in OF_BATCHNORM), None)
        if strange:
            return f"tensor '{shown(strange)}' is batch normalisation's by its name, {place} wants {arrays['weight']}"
    for role in ("weight", *module.tensors):
        if role in own and role in arrays:
            shape, wanted = tensors[module.tensors[role]].shape, model_file.shape_of(row, role, layout)
            if shape != wanted:
                return f"tensor '{own[role]}' is {text_of(shape)}, {place} wants {arrays[role]} {text_of(wanted)}"
    for role in own:
        if role not in arrays:
            return (f"tensor '{own[role]}' {text_of(tensors[module.tensors[role]].shape)}: {place} has no bias; with one it is "
                    f"'{row['text']} bias'")
    missing = [role for role in arrays if role not in own]
    if row["kind"] == "bn" and missing == ["weight", "bias"]:
        return None  # affine=False
    if row["kind"] == "bn" and ("mean" in missing or "variance" in missing):
        return (f"{place} wants {arrays['mean']} and {arrays['variance']}, '{own[first]}' comes without: no batch normalisation, or one "
                "without running statistics")
    if missing:
        return f"{place} wants {arrays[missing[0]]} {text_of(model_file.shape_of(row, missing[0], layout))}, but '{own[first]}' comes without"
    return None


def _mismatch(layers, modules, tensors, layout):
    """The first thing that does not fit; None where all does."""
    for place, (row, arrays) in enumerate(layers):
        if place == len(modules):
            role, name = next(iter(arrays.items()))
            return (f"line {row['line']} '{row['text']}' wants {name} {text_of(model_file.shape_of(row, role, layout))}, but no tensor is "
                    "left")
        problem = _problem(row, arrays, modules[place], tensors, layout)
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


def assign(rows, tensors, ordered, order=None):
    """([(row, {role: name in the model file}, module) of each layer with parameters], layout: torch, or tensorflow where tensors
    called kernel have its axes).
    rows      model_file.layers()
    ordered   whether the order of `tensors` tells anything
    order     --order
    """
    layers = _layers(rows)
    modules = modules_of(tensors, any(row["kind"] == "bn" for row, _ in layers))
    kernels = any(parts_of(name)[-1] == "kernel" for name in tensors)
    fitting, problems = [], []
    for candidate in orders([row for row, _ in layers], modules, tensors, order, ordered):
        for layout in ("tensorflow", "torch") if kernels else ("torch",):
            problem = _mismatch(layers, candidate, tensors, layout)
            problems += [problem] if problem else []
            fitting += [(candidate, layout)] if not problem and (candidate, layout) not in fitting else []
    sorted_names = not ordered or _was_sorted(modules, tensors)
    if not fitting:
        raise Failure(problems[0] + (" (in the order of the names, the file has none; --order gives one)" if sorted_names and not order
                                     else ""))
    if len({layout for _, layout in fitting}) > 1:
        raise Failure("the tensors called kernel fit with TensorFlow's axes and with PyTorch's: under the name weight they are PyTorch's")
    if len(fitting) > 1:
        differing = next(pair for pair in zip(fitting[0][0], fitting[1][0]) if pair[0] is not pair[1])
        raise Failure(f"the file has '{shown(differing[0].name)}' where the names' numbers have '{shown(differing[1].name)}', and both "
                      "fit: --order file or --order names says which holds")
    chosen, layout = fitting[0]
    if chosen != modules:
        print("the layers' tensors come in another order than in the file: by --order, their kinds or the numbers in their names")
    if sorted_names and not order:
        _check_told(chosen, tensors)
    return [(row, arrays, module) for (row, arrays), module in zip(layers, chosen)], layout


def check_chain(text, tensors):
    """Refuses a network that branches, by its tensors' names, where the architecture is a chain."""
    if any(line.split()[:1] in (["add"], ["concat"], ["scale"], ["from"]) for line in text.splitlines()):
        return
    for name in tensors:
        words = {word.lower() for part in parts_of(name)[:-1] for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part)}
        sign = next(iter(sorted(words & BRANCHES)), None)
        if sign or NESTED.search(name.replace("/", ".")):
            raise Failure(f"tensor '{shown(name)}' speaks of a network with branches" + (f" ('{sign}')" if sign else "") + ", which a chain of "
                          "layers with the same shapes computes otherwise; --chain says that it is a chain nevertheless")
