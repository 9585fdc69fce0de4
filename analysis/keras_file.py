"""What Keras saved, read without Keras: the description of a network and its tensors, from HDF5 (Keras 1 to 3) and from .keras
archives. A description is JSON, and nothing that it names is run."""
import io
import json
import os
import re
import zipfile

import h5py

from layers import Weight
from model_file import Failure, shown
from tensors import damage

MOST_CONFIG = 64 << 20  # bytes; the largest networks of keras.applications have 1 MiB
INFLATION = 20          # weights hardly shrink: what grows more than this, and is large, is no network
LARGE = 64 << 20        # bytes
WEIGHTS_ONLY = ("holds weights only: store the network, too, where it was trained (model.save(FILE)), or give what model.to_json() "
                "returns by --json")
ROLES = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance", "alphas": "alpha",  # Keras 1
         "depthwise_kernel": "kernel"}  # before Keras 3


def grows_too_much(size, stored):
    return size > LARGE and size > INFLATION * stored


def parsed(path, text, what):
    """The JSON object in a text."""
    if len(text) > MOST_CONFIG:
        raise Failure(f"{path}: {what} of {len(text)} bytes")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path}: {what} is no JSON: {shown(str(error))}") from None
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise Failure(f"{path}: {what} describes no network of Keras")
    return config


def weight(dataset, name):
    """A dataset as a tensor; one that lies in another file or that inflates without measure is refused."""
    plist, size = dataset.id.get_create_plist(), dataset.size * dataset.dtype.itemsize
    if plist.get_external_count() or dataset.is_virtual:
        raise Failure(f"tensor '{name}' is kept in another file")
    if size and (dataset.id.get_storage_size() == 0 or grows_too_much(size, dataset.id.get_storage_size())):
        raise Failure(f"tensor '{name}' {list(dataset.shape)}: {dataset.id.get_storage_size()} bytes are stored of {size}")

    def read():
        with damage(dataset.file.filename, f"tensor '{shown(name)}'"):
            return dataset[()]
    return Weight(name, dataset.shape, dataset.dtype.name, read)


def datasets(group):
    """{path below the group: dataset}; links to elsewhere are not followed."""
    found = {}
    group.visititems(lambda name, node: found.update({name: node} if isinstance(node, h5py.Dataset) else {}))
    return found


class NamedWeights:
    """HDF5 of model.save() and save_weights(): a group for each layer, and tensors by name."""

    def __init__(self, group, top=None):
        self._group, self._top = group, top

    def inside(self, name, layers):
        """Those of the layers of a network in the network: its group holds them all."""
        return NamedWeights(self._group, self._top or name)

    def of(self, name, roles):
        """{role: Weight} of a layer, without those that it does not have."""
        group, found = self._group.get(self._top or name), {}
        if not isinstance(group, h5py.Group):
            raise Failure(f"has no group of weights for layer '{shown(self._top or name)}'")
        for path, dataset in datasets(group).items():
            parts = path.split("/")
            leaf = parts[-1].split(":")[0]
            if self._top and name not in parts[:-1] and not leaf.startswith(f"{name}_"):
                continue
            leaf = re.sub(r"_\d+$", "", leaf.removeprefix(f"{name}_"))
            role = leaf if leaf in roles else ROLES.get(leaf, leaf)
            if role in found or role not in roles:
                raise Failure(f"tensor '{shown(path)}' of layer '{shown(name)}': expected {', '.join(roles)}, each once")
            found[role] = weight(dataset, path)
        return found


def snake_case(name):
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


class NumberedWeights:
    """model.weights.h5 of a .keras archive: groups are named by class and number, tensors by number."""

    def __init__(self, group, layers):
        """layers: (class, name) in the network's order"""
        holder = next((group[key] for key in ("layers", "_layer_checkpoint_dependencies") if key in group), None)
        if not isinstance(holder, h5py.Group):
            raise Failure("model.weights.h5 has no layers")
        told = {node["vars"].attrs.get("name"): node for node in holder.values() if isinstance(node, h5py.Group) and "vars" in node}
        self._groups, count = {}, {}
        for kind, name in layers:
            key = snake_case(kind)
            count[key] = count.get(key, -1) + 1
            self._groups[name] = told.get(name) or holder.get(f"{key}_{count[key]}" if count[key] else key)

    def _group(self, name):
        if not isinstance(self._groups.get(name), h5py.Group):
            raise Failure(f"model.weights.h5 has no group for layer '{shown(name)}'")
        return self._groups[name]

    def inside(self, name, layers):
        return NumberedWeights(self._group(name), layers)

    def of(self, name, roles):
        group = self._group(name)
        variables = group.get("vars", {})
        if len(variables) != len(roles):
            raise Failure(f"model.weights.h5 has {len(variables)} tensors for layer '{shown(name)}', expected {', '.join(roles)}")
        return {role: weight(variables[str(i)], f"{group.name[1:]}/vars/{i}") for i, role in enumerate(roles)}


class File:
    """
    config     {"class_name", "config"} of the network
    version    (major, minor) of Keras
    backend    tensorflow, theano ... or None where the file does not tell
    weights    layers -> NamedWeights or NumberedWeights
    """

    def __init__(self, path, json_path=None):
        self.path = path
        if zipfile.is_zipfile(path):
            self._open_archive()
        elif h5py.is_hdf5(path):
            self._open_hdf5(json_path)
        else:
            raise Failure(f"{path}: neither HDF5 nor a zip archive, as Keras writes them, or cut off")

    def _version(self, text):
        numbers = re.findall(r"\d+", str(text)) or ["1"]
        self.version = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0

    def _attribute(self, file, name):
        value = file.attrs.get(name)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def _open_hdf5(self, json_path):
        with damage(self.path, "no sound HDF5 file"):
            file = h5py.File(self.path, "r")
            group = file["model_weights"] if "model_weights" in file else file
            numbered = "layers" in group or "_layer_checkpoint_dependencies" in group  # by Keras 3
            text = self._attribute(file, "model_config")
            self._version(self._attribute(file, "keras_version") or self._attribute(group, "keras_version") or (3 if numbered else 1))
            self.backend = self._attribute(file, "backend") or self._attribute(group, "backend") or ("tensorflow" if numbered else None)
        if json_path:
            with open(json_path, encoding="utf-8", errors="replace") as source:
                text = source.read(MOST_CONFIG + 1)
        elif text is None:
            weights_only = numbered or "layer_names" in group.attrs
            raise Failure(f"{self.path}: " + (WEIGHTS_ONLY if weights_only else "HDF5, but no network of Keras (no model_config)"))
        self.config = parsed(json_path or self.path, text, "model_config")
        self.weights = (lambda layers: NumberedWeights(group, layers)) if numbered else lambda layers: NamedWeights(group)

    def _member(self, archive, name):
        if name not in archive.namelist():
            raise Failure(f"{self.path}: no archive of Keras: has no {name}")
        info = archive.getinfo(name)
        if info.file_size > os.path.getsize(self.path) and grows_too_much(info.file_size, info.compress_size):
            raise Failure(f"{self.path}: {name} would inflate from {info.compress_size} to {info.file_size} bytes")
        with archive.open(info) as file:
            data = file.read(info.file_size + 1)
        if len(data) != info.file_size:
            raise Failure(f"{self.path}: {name} has {len(data)} bytes or more, {info.file_size} are announced")
        return data

    def _open_archive(self):
        with damage(self.path, "a zip archive that is cut off or damaged"), zipfile.ZipFile(self.path) as archive:
            self.config = parsed(self.path, self._member(archive, "config.json"), "config.json")
            metadata = json.loads(self._member(archive, "metadata.json")) if "metadata.json" in archive.namelist() else {}
            data = self._member(archive, "model.weights.h5")
        if not data.startswith(b"\x89HDF"):
            raise Failure(f"{self.path}: model.weights.h5 is no HDF5")
        with damage(self.path, "model.weights.h5"):
            group = h5py.File(io.BytesIO(data), "r")
        self._version(metadata.get("keras_version", "3"))
        self.backend = "tensorflow"
        self.weights = lambda layers: NumberedWeights(group, layers)
