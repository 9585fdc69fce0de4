"""What flows in a graph of ONNX: maps, and constants, which are computed from other constants and from shapes."""
import numpy as np

import onnx_file
from layers import constant
from model_file import Failure, shown

MOST_COMPUTED = 1 << 28  # numbers of a constant that is computed from others


class Value:
    """
    layer    that gives it
    axes     its axes but the first, which is that of the images: "chw", "hwc", "hw", or "n" of a vector
    """

    def __init__(self, layer, axes):
        self.layer, self.axes = layer, axes

    def shape(self, images=1):
        sizes = dict(zip("hwc", self.layer.shape))
        return [images] + ([int(np.prod(self.layer.shape))] if self.axes == "n" else [sizes[axis] for axis in self.axes])

    def axis(self, number):
        """Its letter; "N" is that of the images."""
        return ("N" + self.axes)[number]

    def with_layer(self, layer):
        return Value(layer, self.axes)


def numbers(node, value, what="input"):
    """The numbers of a constant."""
    if isinstance(value, Value):
        raise Failure(f"{node.place}: its {what} depends on the images")
    return np.asarray(value.read())


def computed(function):
    """An operator on the numbers of constants."""
    def make(graph, node, *inputs):
        values = [None if one is None else numbers(node, one) for one in inputs]
        with np.errstate(all="ignore"):
            result = np.asarray(function(node, *values))
        return constant(node.outputs[0], result)
    return make


def arithmetic(function):
    def make(node, one, other):
        if np.prod(np.broadcast_shapes(one.shape, other.shape), dtype=float) > MOST_COMPUTED:
            raise Failure(f"{node.place}: {list(one.shape)} and {list(other.shape)} make more than {MOST_COMPUTED} numbers")
        return function(one, other)
    return computed(make)


def divided(one, other):
    return one // other if np.issubdtype(one.dtype, np.integer) else one / other


def axes_of(node, told, rank=None):
    """The attribute or input `axes`, none negative where the rank is told."""
    axes = node.get("axes") if told is None else told if isinstance(told, np.ndarray) else numbers(node, told, "axes")
    return None if axes is None else [int(axis) + (rank if rank and axis < 0 else 0) for axis in axes]


def unsqueeze(node, values, told=None):
    axes = axes_of(node, told)
    return np.expand_dims(values, tuple(axes))


def squeeze(node, values, told=None):
    axes = axes_of(node, told)
    return np.squeeze(values, None if axes is None else tuple(axes))


def reshaped(node, values, shape):
    node.wants("allowzero", 0)
    return values.reshape([values.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)])


def cut(node, values, starts, ends, axes=None, steps=None):
    axes = range(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), int) if steps is None else steps
    place = [slice(None)] * values.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        place[int(axis)] = slice(int(start), int(end), int(step))
    return values[tuple(place)]


def cast(node, values):
    return values.astype(onnx_file.KINDS.get(node.get("to"), "float32").replace("bfloat16", "float32"))


def literal(graph, node):
    if node.get("value") is not None:
        result = onnx_file.weight(graph.path, node.get("value"))
        result.name = shown(node.outputs[0])
        return result
    told = next((node.get(name) for name in ("value_float", "value_int", "value_floats", "value_ints") if node.get(name) is not None), None)
    if told is None:
        raise Failure(f"{node.place}: has no numbers")
    kind = np.float32 if isinstance(told, float) or told and isinstance(told, list) and isinstance(told[0], float) else np.int64
    return constant(node.outputs[0], np.array(told, kind))


def shape_of(graph, node, value):
    shape = value.shape(graph.images) if isinstance(value, Value) else list(value.shape)
    return constant(node.outputs[0], np.array(shape[node.get("start", 0):node.get("end", len(shape))], np.int64))


def filled(node, shape):
    if np.prod(shape, dtype=float) > MOST_COMPUTED:
        raise Failure(f"{node.place}: makes {list(shape)} numbers, more than {MOST_COMPUTED}")
    value = node.get("value")
    return np.full(shape, 0 if value is None else onnx_file.weight(node.path, value).read().ravel()[0])


COMPUTED = {
    "ConstantOfShape": computed(filled),
    "Constant": literal, "Shape": shape_of, "Identity": lambda graph, node, value: value,
    "Add": arithmetic(np.add), "Sub": arithmetic(np.subtract), "Mul": arithmetic(np.multiply), "Div": arithmetic(divided),
    "Sqrt": computed(lambda node, values: np.sqrt(values)), "Reciprocal": computed(lambda node, values: 1 / values),
    "Neg": computed(lambda node, values: -values), "Floor": computed(lambda node, values: np.floor(values)),
    "Cast": computed(cast), "Unsqueeze": computed(unsqueeze), "Squeeze": computed(squeeze), "Reshape": computed(reshaped),
    "Transpose": computed(lambda node, values: values.transpose(node.get("perm"))), "Slice": computed(cut),
    "Gather": computed(lambda node, values, places: values.take(places.astype(int), axis=node.get("axis", 0))),
    "Concat": computed(lambda node, *values: np.concatenate(values, axis=node.get("axis"))),
}
