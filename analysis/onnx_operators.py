"""What the operators of ONNX are as layers: OPERATORS has a maker for each, called with the graph, the node and its inputs (Value, or
Weight where they are constants), for import_onnx.py."""
import numpy as np

import layers
from layers import NO_PADS, Weight, constant
from model_file import Failure, shown
from onnx_values import Value, axes_of, numbers

TO_CHANNELS_FIRST = [0, 3, 1, 2]


def maps(node, value):
    """The layer of (channel, height, width) maps."""
    if not isinstance(value, Value) or value.axes != "chw" and value.layer.shape[:2] != (1, 1):
        raise Failure(f"{node.place}: its input is no map of (channel, height, width)")
    return value.layer


def fixed(node, value, what):
    if isinstance(value, Value):
        raise Failure(f"{node.place}: its {what} depends on the images")
    return value


def window(node, source, kernel):
    """(stride, pads, whether "same") of a convolution or pool."""
    stride, dilation = node.get("strides", [1, 1]), node.get("dilations", [1, 1])
    told, auto = node.get("pads", [0, 0, 0, 0]), node.get("auto_pad", "NOTSET")
    if not len(kernel) == len(stride) == len(dilation) == 2 or len(told) != 4:
        raise Failure(f"{node.place}: kernel {kernel}, strides {stride}, pads {told}: two axes can be taken")
    if min(*kernel, *stride, *dilation) < 1:
        raise Failure(f"{node.place}: kernel {kernel}, strides {stride}, dilations {dilation}")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return stride, layers.same_pads(source.shape, kernel, stride, dilation, auto == "SAME_LOWER"), dilation
    if auto not in ("NOTSET", "VALID"):
        raise Failure(f"{node.place}: attribute auto_pad = {shown(auto)}")
    top, left, bottom, right = told if auto == "NOTSET" else NO_PADS
    return stride, (top, bottom, left, right), dilation


def conv(graph, node, value, weight, bias=None):
    source, weight = maps(node, value), fixed(node, weight, "weight")
    kernel = node.get("kernel_shape", list(weight.shape[2:]))
    if list(weight.shape[2:]) != kernel:
        raise Failure(f"{node.place}: attribute kernel_shape = {kernel}, its weight is {list(weight.shape)}")
    groups = node.get("group", 1)
    if groups < 1 or source.shape[2] % groups:
        raise Failure(f"{node.place}: attribute group = {groups} for {source.shape[2]} channels")
    stride, pads, dilation = window(node, source, kernel)
    bias = bias and fixed(node, bias, "bias")
    return Value(layers.conv(source, node.place, weight, (2, 3, 1, 0), bias, stride, pads, dilation, groups), "chw")


def pool(word):
    def make(graph, node, value):
        source, kernel = maps(node, value), node.get("kernel_shape", [])
        stride, pads, dilation = window(node, source, kernel)
        if dilation != [1, 1]:
            raise Failure(f"{node.place}: attribute dilations = {dilation}")
        node.wants("storage_order", 0)
        up, counts = bool(node.get("ceil_mode", 0)), bool(node.get("count_include_pad", 0))
        return Value(layers.pool(source, node.place, word, kernel, stride, pads, up, counts), "chw")
    return make


def whole_pool(word):
    return lambda graph, node, value: Value(layers.whole_pool(maps(node, value), node.place, word), "chw")


def reduced(word):
    """A mean or maximum over height and width."""
    def make(graph, node, value, told=None):
        axes = axes_of(node, told, 1 + len(value.axes))
        if sorted(value.axis(axis) for axis in axes or []) != ["h", "w"]:
            raise Failure(f"{node.place}: axes {axes}: those of height and width can be taken")
        node.wants("noop_with_empty_axes", 0, 1)
        return Value(layers.whole_pool(value.layer, node.place, word), value.axes if node.get("keepdims", 1) else "n")
    return make


def batch_norm(graph, node, value, *tensors):
    node.get("momentum"), node.get("is_test")
    node.wants("spatial", 1)
    node.wants("training_mode", 0)
    if value.axes not in ("chw", "n") or value.axes == "n" and value.layer.shape[:2] != (1, 1):
        raise Failure(f"{node.place}: its channels are not at the second axis")
    tensors = [fixed(node, one, "statistics") for one in tensors]
    return value.with_layer(layers.batch_norm(value.layer, node.place, *tensors, node.get("epsilon", 1e-5)))


def activation(line):
    """line   words, with {} for the attribute alpha"""
    def make(graph, node, value, *rest):
        words = line.split()
        if len(words) > 1:
            words[1] = f"{np.float32(node.get('alpha', float(words[1]))):.8g}"
        return value.with_layer(layers.plain(value.layer, node.place, " ".join(words)))
    return make


def clip(graph, node, value, low=None, high=None):
    low = node.get("min", -np.inf) if low is None else float(numbers(node, low, "min"))
    high = node.get("max", np.inf) if high is None else float(numbers(node, high, "max"))
    return clipped(node, value, low, high)


def clipped(node, value, low, high):
    """A relu, a relu6, or a hard sigmoid written out."""
    layer = value.layer.inputs[0] if value.layer.word == "relu" else value.layer  # PyTorch writes relu6 as both
    word, slope = {6: "relu6"}.get(high, "relu" if high > 1e38 else None), layer.affine and layer.affine[0][0]
    if (low, high) == (0, 1) and slope and slope > 0 and is_affine(layer, layer.inputs[0], slope, 0.5):
        layer, word = layer.inputs[0], hard_sigmoid_line(slope)
    if low != 0 or not word:
        raise Failure(f"{node.place}: between {low:g} and {high:g}")
    return value.with_layer(layers.plain(layer, node.place, word))


def limited(graph, node, one, other):
    """The smaller of maps and a number, which what follows has to make a clip of, or the larger."""
    value, bound = (one, other) if isinstance(one, Value) else (other, one)
    bound = float(numbers(node, bound, "bound"))
    if node.kind == "Min":
        return value.with_layer(layers.plain(value.layer, node.place, f"min {bound:.9g}"))
    if value.layer.word != "min":
        return clipped(node, value, bound, np.inf)
    return clipped(node, value.with_layer(value.layer.inputs[0]), bound, float(value.layer.line.split()[1]))


def hard_sigmoid_line(slope):
    return "hardsigmoid" if abs(slope - 1 / 6) < 1e-6 else f"hardsigmoid {np.float32(slope):.8g}"


def hard_sigmoid(graph, node, value):
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if not 1e-6 <= alpha <= 1000 or beta != 0.5:
        raise Failure(f"{node.place}: attributes alpha = {alpha:g}, beta = {beta:g}; a slope alpha and 0.5 can be taken")
    return value.with_layer(layers.plain(value.layer, node.place, hard_sigmoid_line(alpha)))


def gelu(graph, node, value):
    node.wants("approximate", "none")
    return value.with_layer(layers.plain(value.layer, node.place, "gelu"))


def prelu(graph, node, value, slope):
    values = per_channel(node, value, numbers(node, slope, "slope"))
    return value.with_layer(layers.prelu(value.layer, node.place, constant(fixed(node, slope, "slope").name, values)))


def softmax(graph, node, value):
    """Left out at the end, where its axis is the only one that is left."""
    node.get("axis")
    return value.with_layer(layers.plain(value.layer, node.place, "softmax"))


def dropout(graph, node, value, ratio=None, training=None):
    node.get("seed"), node.get("is_test")
    if training and numbers(node, training).any():
        raise Failure(f"{node.place}: is one of training")
    ratio = node.get("ratio", 0.5) if ratio is None else float(numbers(node, ratio))
    return value.with_layer(layers.plain(value.layer, node.place, f"dropout {min(max(ratio, 0), 1):g}"))


def padding(graph, node, value, told=None, fill=None, axes=None):
    mode, fill = node.get("mode", "constant"), node.get("value", 0) if fill is None else float(numbers(node, fill))
    pads = [int(one) for one in (node.get("pads", []) if told is None else numbers(node, told, "pads"))]
    rank = 1 + len(value.axes)
    axes = list(range(rank)) if axes is None else axes_of(node, axes, rank)
    if len(pads) != 2 * len(axes) or mode != "constant" or fill:
        raise Failure(f"{node.place}: pads {pads}, mode {shown(mode)}, value {fill:g}: zeros can be taken")
    sides = {value.axis(axis): (pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes)}
    if any(any(side) for axis, side in sides.items() if axis not in "hwc"):
        raise Failure(f"{node.place}: pads {pads}: height, width and channels can be padded")
    source = layers.padding(value.layer, node.place, (*sides.get("h", (0, 0)), *sides.get("w", (0, 0))))
    channels = sides.get("c", (0, 0))
    return value.with_layer(layers.zero_channels(source, node.place, *channels) if any(channels) else source)


def strided(graph, node, value, *told):
    """A slice of every so many rows and columns, from the first to the last."""
    rank, names = 1 + len(value.axes), ("starts", "ends", "axes", "steps")
    told = [None if one is None else numbers(node, one, name) for name, one in zip(names, told + (None,) * 4)]
    starts, ends, axes, steps = (node.get(name) if one is None else one.tolist() for name, one in zip(names, told))
    axes = axes_of(node, np.array(range(len(starts)) if axes is None else axes), rank)
    steps, shape = steps or [1] * len(axes), value.shape(graph.images)
    stride = {"h": 1, "w": 1}
    for start, end, axis, step in zip(starts, ends, axes, steps):
        whole = start in (0, -shape[axis]) and end >= shape[axis]
        if not whole or step < 1 or step > 1 and value.axis(axis) not in "hw":
            raise Failure(f"{node.place}: from {start} to {end} in steps of {step} of axis {axis}: all or every so many rows and columns "
                          "can be taken")
        stride[value.axis(axis)] = step
    step = stride["h"], stride["w"]
    return value if step == (1, 1) else value.with_layer(layers.subsample(value.layer, node.place, step))


def vector(value, place):
    """A map as a vector."""
    if value.axes == "n" or value.layer.shape[:2] == (1, 1):
        return Value(value.layer, "n")
    return Value(layers.flatten(value.layer, place, {"chw": "cyx", "hwc": "yxc"}[value.axes]), "n")


def flatten(graph, node, value):
    if node.get("axis", 1) not in (1, -len(value.axes)):
        raise Failure(f"{node.place}: attribute axis = {node.get('axis')}")
    return vector(value, node.place)


def as_shape(graph, node, value, shape):
    """A reshape, which flattens, or moves axes of size one."""
    rest, layer = shape[1:], value.layer
    if len(rest) == 1:
        return vector(value, node.place)
    if layer.is_input and value.axes == "n" and len(rest) == 3:
        return Value(layers.network_input(layer.place, (*rest[1:], rest[0])), "chw")
    for axes in ("chw", "hwc", "hw", "ch"):
        fresh = Value(layer, axes)
        kept = [size for size in value.shape()[1:] if size > 1] == [size for size in rest if size > 1]
        ones = 1 in layer.shape if len(axes) == 3 and value.axes != "n" else layer.shape[:2] == (1, 1)
        if fresh.shape()[1:] == rest and kept and (ones or axes == value.axes):
            return fresh
    raise Failure(f"{node.place}: from {value.shape(graph.images)} to {shape}")


def reshape(graph, node, value, told):
    node.wants("allowzero", 0)
    now, shape = value.shape(graph.images), [int(one) for one in numbers(node, told, "shape")]
    shape = [now[i] if one == 0 and i < len(now) else one for i, one in enumerate(shape)]
    if shape.count(-1) == 1:
        shape[shape.index(-1)] = int(np.prod(now)) // max(1, -int(np.prod(shape)))
    if len(shape) < 2 or np.prod(shape) != np.prod(now) or shape[0] != graph.images:
        raise Failure(f"{node.place}: from {now} to {shape}")
    return as_shape(graph, node, value, shape)


def squeezed(graph, node, value, told=None):
    shape = value.shape(graph.images)
    axes = axes_of(node, told, len(shape)) or [axis for axis, size in enumerate(shape) if axis and size == 1]
    return as_shape(graph, node, value, [size for axis, size in enumerate(shape) if axis not in axes])


def unsqueezed(graph, node, value, told=None):
    axes = axes_of(node, told)
    shape = np.expand_dims(np.empty(value.shape(graph.images), np.void), tuple(axes)).shape
    return as_shape(graph, node, value, list(shape))


def transpose(graph, node, value):
    perm = node.get("perm", list(range(len(value.axes), -1, -1)))
    axes = "".join(value.axis(axis) for axis in perm)
    if axes not in ("Nchw", "Nhwc", "Nhw", "Nn"):
        raise Failure(f"{node.place}: attribute perm = {perm}")
    return Value(value.layer, axes[1:])


def gemm(graph, node, value, weight, bias=None):
    node.wants("transA", 0)
    turned, alpha, beta = node.get("transB", 0), node.get("alpha", 1.0), node.get("beta", 1.0)
    if alpha != 1 or beta != 1 and bias is not None:
        raise Failure(f"{node.place}: attributes alpha = {alpha:g}, beta = {beta:g}")
    weight = fixed(node, weight, "weight")
    source, units = vector(value, node.place).layer, weight.shape[0 if turned else -1]
    bias = bias and flat_bias(node, fixed(node, bias, "bias"), units)
    return Value(layers.fc(source, node.place, weight, not turned, bias, units), "n")


def flat_bias(node, bias, units):
    """[units] from [units] or [1, units]"""
    if bias.shape not in ((units,), (1, units)):
        return constant(bias.name, np.broadcast_to(numbers(node, bias), (1, units))[0])
    return Weight(bias.name, (units,), bias.kind, lambda: bias.read().reshape(units))


def matmul(graph, node, value, weight):
    """By a matrix [input, unit]; of maps with the channels at the end it is a 1x1 convolution."""
    weight = fixed(node, weight, "second input")
    if not isinstance(value, Value) or len(weight.shape) != 2:
        raise Failure(f"{node.place}: a product of maps and a constant matrix can be taken")
    if value.axes == "n":
        return Value(layers.fc(value.layer, node.place, weight, True, None, weight.shape[1]), "n")
    if value.axes != "hwc":
        raise Failure(f"{node.place}: a product along the width")
    kernel = Weight(weight.name, (1, 1, *weight.shape), weight.kind, lambda: weight.read()[None, None])
    return Value(layers.conv(value.layer, node.place, kernel, (0, 1, 2, 3), None, (1, 1), NO_PADS), "hwc")


def per_channel(node, value, values):
    """[channels] from a constant that is broadcast over all else."""
    shape = value.shape()
    if values.ndim > len(shape):
        raise Failure(f"{node.place}: a constant of {list(values.shape)} for {shape}")
    values = values.reshape([1] * (len(shape) - values.ndim) + list(values.shape))
    channel = 1 if value.axes == "n" else (1 + value.axes.index("c") if "c" in value.axes else None)
    if any(size > 1 and axis != channel for axis, size in enumerate(values.shape)) or value.axes == "n" and not value.layer.is_vector:
        raise Failure(f"{node.place}: a constant of {list(values.shape)}, which is not one number a channel")
    return np.broadcast_to(values.ravel(), value.layer.shape[2])


def with_bias(layer, place, values):
    arrays = {**layer.arrays, "bias": lambda: constant(place, values).values([layer.shape[2]], place)}
    return layers.Layer(f"{layer.line} bias", layer.place, layer.inputs, layer.shape, layer.flat, arrays)


def combined(word, factor, offset):
    """An operator on two maps (word), or on one and a constant: factor and offset make of that what maps are scaled by, and what is
    then added."""
    def make(graph, node, one, other):
        if isinstance(one, Value) and isinstance(other, Value):
            return both(node, word, one, other)
        value, told, second = (one, other, True) if isinstance(one, Value) else (other, one, False)
        values = per_channel(node, value, numbers(node, told).astype(np.float64))
        layer, name = value.layer, node.inputs[0 if second else 1]
        if word == "add" and layer.word in ("conv", "fc") and "bias" not in layer.arrays and graph.users.get(name) == 1:
            return value.with_layer(with_bias(layer, node.place, values))
        scale, shift = factor(values, second), offset(values, second)
        return value.with_layer(layers.affine(layer, node.place, scale, shift))
    return make


def is_affine(layer, source, factor, offset):
    return (layer.affine is not None and layer.inputs[0] is source and np.allclose(layer.affine[0], factor, rtol=1e-5)
            and np.allclose(layer.affine[1], offset, rtol=1e-5))


def unscaled(layer):
    """(what a layer multiplies, by how much); others are their own."""
    if layer.affine and not layer.affine[1].any():
        return layer.inputs[0], layer.affine[0]
    return layer, 1


def known_product(one, other):
    """(x, an activation, a factor) where one times other is the activation of x, written out: x sigmoid(x), x min(max(x + 3, 0), 6) / 6,
    x (1 + erf(x / sqrt 2)) / 2; else None."""
    (source, factor), (gate, more) = unscaled(one), unscaled(other)
    inner, factor = gate.inputs[0] if gate.inputs else gate, factor * more
    if gate.line in ("sigmoid", "hardsigmoid") and inner is source:
        return source, {"sigmoid": "silu", "hardsigmoid": "hardswish"}[gate.line], factor
    if gate.word == "relu6" and is_affine(inner, source, 1, 3):
        return source, "hardswish", 6 * factor
    if (gate.affine and inner.word == "erf" and (gate.affine[0] == gate.affine[1]).all()
            and is_affine(inner.inputs[0], source, 0.5**0.5, 0)):
        return source, "gelu", 2 * factor * gate.affine[0]
    return None


def both(node, word, one, other):
    """An operator on two maps."""
    if not word:
        raise Failure(f"{node.place}: of two maps")
    if one.axes != other.axes and (one.layer.shape[:2] != (1, 1) or other.layer.shape[:2] != (1, 1)):
        raise Failure(f"{node.place}: of maps whose axes are in another order")
    known = word == "scale" and (known_product(one.layer, other.layer) or known_product(other.layer, one.layer))
    if known:
        return one.with_layer(layers.affine(layers.plain(known[0], node.place, known[1]), node.place, known[2], 0))
    return one.with_layer(layers.join([one.layer, other.layer], node.place, word))


def divide_factor(values, second):
    if not second:
        raise Failure("a constant divided by maps")
    return 1 / values


def concat(graph, node, *values):
    if not all(isinstance(one, Value) for one in values) or len({one.axes for one in values}) > 1:
        raise Failure(f"{node.place}: joins maps with something else")
    axis = node.get("axis", 1)
    letter = values[0].axis(axis)
    if letter != "c" and not (letter == "n" and all(one.layer.is_vector for one in values)):
        raise Failure(f"{node.place}: attribute axis = {axis}: that of the channels can be taken")
    return joined(node, "concat", values)


def joined(node, word, values):
    """One map is itself: the first layer of a dense block joins no others."""
    return values[0] if len(values) == 1 else values[0].with_layer(layers.join([one.layer for one in values], node.place, word))


def summed(graph, node, *values):
    if not all(isinstance(one, Value) for one in values):
        raise Failure(f"{node.place}: adds constants")
    return joined(node, "add", values)


def passed(graph, node, value):
    node.get("to"), node.get("saturate")
    return value


OPERATORS = {
    "Conv": conv, "BatchNormalization": batch_norm, "MaxPool": pool("maxpool"), "AveragePool": pool("avgpool"),
    "GlobalAveragePool": whole_pool("globalavg"), "GlobalMaxPool": whole_pool("globalmax"), "ReduceMean": reduced("globalavg"),
    "ReduceMax": reduced("globalmax"), "Relu": activation("relu"), "LeakyRelu": activation("leakyrelu 0.01"),
    "Elu": activation("elu 1"), "Sigmoid": activation("sigmoid"), "Tanh": activation("tanh"), "Erf": activation("erf"),
    "HardSwish": activation("hardswish"),
    "HardSigmoid": hard_sigmoid, "Clip": clip, "Min": limited, "Max": limited, "PRelu": prelu, "Gelu": gelu, "Softmax": softmax,
    "LogSoftmax": softmax,
    "Dropout": dropout, "Pad": padding, "Slice": strided, "Flatten": flatten, "Reshape": reshape, "Squeeze": squeezed,
    "Unsqueeze": unsqueezed, "Transpose": transpose, "Gemm": gemm, "MatMul": matmul, "Concat": concat, "Sum": summed,
    "Identity": passed, "Cast": passed,
    "Add": combined("add", lambda values, second: 1, lambda values, second: values),
    "Sub": combined(None, lambda values, second: 1 if second else -1, lambda values, second: -values if second else values),
    "Mul": combined("scale", lambda values, second: values, lambda values, second: 0),
    "Div": combined(None, divide_factor, lambda values, second: 0),
}
