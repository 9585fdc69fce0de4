"""ONNX files: nodes with their attributes, and tensors, those in files beside the model included."""
import math
import os
import warnings

import numpy as np

from layers import Weight
from model_file import Failure, shown
from tensors import BFLOAT16, damage, decode, item_size

OPSETS = range(7, 25)  # before 7 Add and its like broadcast in another way; what is newer may mean something else
KINDS = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
         12: "uint32", 13: "uint64", 16: BFLOAT16}
TYPED = {"float32": "float_data", "float64": "double_data", "int64": "int64_data", "uint32": "uint64_data", "uint64": "uint64_data"}
EXTERNAL = 1


def load(path):
    """The model, without the data that lies beside it."""
    try:
        import onnx
    except ImportError:
        raise Failure(f"{path}: the Python module onnx is needed to read it (Debian: python3-onnx; PyPI: onnx)") from None
    if os.path.getsize(path) >= 1 << 31:
        raise Failure(f"{path}: larger than the 2 GiB that one such file can be")
    with damage(path, "no ONNX file, or damaged"), warnings.catch_warnings(record=True) as doubts:
        with open(path, "rb") as file:
            model = onnx.ModelProto.FromString(file.read())
        if doubts or not model.graph.node:
            raise ValueError(str(doubts[0].message) if doubts else "has no nodes")
    check_opset(path, model)
    return model


def check_opset(path, model):
    version = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if version not in OPSETS:
        raise Failure(f"{path}: opset {version}: {OPSETS[0]} to {OPSETS[-1]} can be taken; export the network anew with another one "
                      "(torch.onnx.export and tf2onnx have an option for it)")


def external_bytes(path, tensor, size):
    """The numbers of a tensor that lie in a file in the folder of the model or below."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    folder, location = os.path.realpath(os.path.dirname(path) or "."), told.get("location", "")
    beside = os.path.realpath(os.path.join(folder, location))
    if not location or os.path.isabs(location) or os.path.commonpath([folder, beside]) != folder:
        raise Failure(f"tensor '{shown(tensor.name)}' is kept in '{shown(location)}', outside the model's folder")
    if not os.path.isfile(beside):
        raise Failure(f"tensor '{shown(tensor.name)}' is kept in '{shown(location)}', which is not there")
    begin, length = int(told.get("offset", 0)), int(told.get("length", size))
    if length != size or begin < 0 or begin + size > os.path.getsize(beside):
        raise Failure(f"tensor '{shown(tensor.name)}' wants {size} bytes from {begin} on of {shown(location)}, which has "
                      f"{os.path.getsize(beside)} (length {length})")
    with open(beside, "rb") as file:
        file.seek(begin)
        return file.read(size)


def typed_values(tensor, kind):
    """The numbers of a tensor that stand in a field of their own type."""
    field = getattr(tensor, TYPED.get(kind, "int32_data"))
    if kind in ("float16", BFLOAT16):
        return decode(np.array(field, "<u2").tobytes(), kind)
    return np.array(field).astype(kind)


def weight(path, tensor):
    """A TensorProto."""
    name, kind, count = shown(tensor.name), KINDS.get(tensor.data_type), math.prod(tensor.dims)
    if not kind or count < 0:
        raise Failure(f"{path}: tensor '{name}' {list(tensor.dims)}: data type {tensor.data_type} cannot be taken")

    def read():
        with damage(path, f"tensor '{name}'"):
            if tensor.data_location == EXTERNAL:
                values = decode(external_bytes(path, tensor, count * item_size(kind)), kind)
            else:
                values = decode(tensor.raw_data, kind) if tensor.raw_data else typed_values(tensor, kind)
            if len(values) != count:
                raise ValueError(f"{list(tensor.dims)} of {kind}, but {len(values)} numbers")
            return values.reshape(tensor.dims)
    return Weight(name, tensor.dims, kind, read)


class Node:
    """An operator; get() its attributes: one that is not asked for is unknown here, and refused by check()."""

    def __init__(self, path, proto):
        self.path, self.kind, self.inputs, self.outputs = path, proto.op_type, list(proto.input), list(proto.output)
        self.name = proto.name or (self.outputs[0] if self.outputs else "")
        self.place = f"node '{shown(self.name)}' ({shown(self.kind)})"
        self._attributes, self._asked = {one.name: one for one in proto.attribute}, set()
        self.domain = proto.domain

    def get(self, name, default=None):
        self._asked.add(name)
        attribute = self._attributes.get(name)
        if attribute is None:
            return default
        if attribute.ref_attr_name:
            raise Failure(f"{self.place}: attribute '{name}' refers to one of a function")
        value = {1: attribute.f, 2: attribute.i, 3: attribute.s, 4: attribute.t, 6: list(attribute.floats),
                 7: list(attribute.ints)}.get(attribute.type)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def wants(self, name, *values, default=None):
        """An attribute that can be one of some values only; the first is the default unless that is told."""
        value = self.get(name, values[0] if default is None else default)
        if value not in values:
            raise Failure(f"{self.place}: attribute {name} = {shown(str(value))}")
        return value

    def check(self):
        for name in sorted(set(self._attributes) - self._asked):
            raise Failure(f"{self.place}: attribute '{shown(name)}' is not known here")
