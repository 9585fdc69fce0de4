"""The state dict in a checkpoint: found among what was saved beside it, without what --ignore names."""
import fnmatch

import tensor_files
from matching import ROLES, parts_of
from model_file import Failure, Usage, shown
from tensors import Tensor
from torch_file import SAVE, Foreign, describe

COUNTERS = {"num_batches_tracked", "n_averaged", "total_ops", "total_params"}
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
        places = _list(".".join(place) for place, _, _ in found)
        raise Failure(f"{path}: holds {len(found)} state dicts, {places}: --key says which is meant")
    place, state, module = found[0]
    if place:
        print(f"{path}: the state dict '{shown('.'.join(place))}' is taken" +
              (f" of {_list(tree)}" if isinstance(tree, dict) and len(tree) > 1 else ""))
    if module:
        kind = "TorchScript program" if "__torch__" in module else "pickled module"
        print(f"{path}: a {kind} of {module}: its tensors are taken, no code is run")
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
