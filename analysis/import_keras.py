#!/usr/bin/env python3
"""A model file from a network that Keras saved: import_keras.py model.h5|model.keras --pixels LOW,HIGH --out model.h5

Architecture and weights come in one step, from HDF5 of Keras 1 to 3 (model.save("model.h5")) and from .keras archives, without Keras
or TensorFlow. Nothing in the file is run: Lambda layers and classes of its maker's own are refused by name. --pixels, --mean and
--std say how the images were scaled that it was given: x = (low + (high - low) p / 255 - mean) / std for a pixel p of 0..255; Rescaling and
Normalization layers at the start come on top. A softmax or sigmoid at the end is left out.
"""
import argparse

import numpy as np

import import_common
import keras_file
import layers
import model_file
import network
from layers import NO_PADS, Weight, constant
from model_file import Failure, shown
from tensors import damage

RENAMED = {  # Keras 1: Keras 2
    "nb_filter": "filters", "output_dim": "units", "subsample": "strides", "border_mode": "padding", "bias": "use_bias", "p": "rate",
    "atrous_rate": "dilation_rate", "alpha": "negative_slope",  # and this of Keras 2: Keras 3
}
FORMATS = {"th": "channels_first", "tf": "channels_last", "channels_first": "channels_first", "channels_last": "channels_last"}
WORDS = {  # activations
    "relu": "relu", "relu6": "relu6", "tanh": "tanh", "sigmoid": "sigmoid", "elu": "elu 1", "selu": "selu", "silu": "silu",
    "swish": "silu", "gelu": "gelu", "leaky_relu": "leakyrelu 0.2", "hard_swish": "hardswish", "hard_silu": "hardswish",
    "softmax": "softmax", "softplus": "softplus", "softsign": "softsign", "mish": "mish", "exponential": "exponential",
}
NETWORKS = ("Sequential", "Functional", "Model")


class Entry:
    """A layer of the description."""

    def __init__(self, model, description, weights):
        self.kind, self.config = description["class_name"], dict(description["config"])
        self.name = str(description.get("name") or self.config.get("name"))
        self.place = f"layer '{shown(self.name)}' ({shown(self.kind)})"
        self.model, self._weights, self.description = model, weights, description
        module = description.get("module") or "keras"
        if ">" in self.kind or module.split(".")[0] not in ("keras", "tf_keras", "tensorflow") or ".ops." in module:
            raise Failure(f"{self.place}: is not one of Keras' layers, and no code of its maker is run")
        for old, new in RENAMED.items():
            if old in self.config:
                self.config.setdefault(new, self.config[old])

    def get(self, key, *default):
        """A setting; null is its default."""
        value = self.config.get(key)
        if value is None and not default:
            raise Failure(f"{self.place}: has no {key}")
        return default[0] if value is None else value

    def number(self, key, *default):
        value = self.get(key, *default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise Failure(f"{self.place}: {key} {shown(str(value)):.80}: expected a number")
        return value

    def count(self, key, *default):
        value = self.number(key, *default)
        if value != int(value) or not 1 <= value <= 1 << 30:
            raise Failure(f"{self.place}: {key} {value:g}: expected a number of 1 or more")
        return int(value)

    def pair(self, key, *default):
        """(height, width) of 1 or more."""
        value = self.get(key, *default)
        values = [value] * 2 if isinstance(value, int) else value
        if not isinstance(values, (list, tuple)) or len(values) != 2 or not all(type(one) is int and one >= 1 for one in values):
            raise Failure(f"{self.place}: {key} {shown(str(value)):.80}: expected one or two numbers of 1 or more")
        return tuple(values)

    def weights(self, *roles):
        """{role: Weight}"""
        return self._weights.of(self.name, roles)

    @property
    def channels_first(self):
        """Of a layer of maps."""
        told = self.config.get("data_format") or self.config.get("dim_ordering")
        return FORMATS.get(told, self.model.format) == "channels_first"


class Model:
    """A file of Keras on the way to layers."""

    def __init__(self, file, size, backend):
        self.file, self.size, self.version = file, size, file.version
        formats = {FORMATS[one] for one in found_formats(file.config) if one in FORMATS}
        if len(formats) > 1:
            raise Failure(f"{file.path}: layers of both data formats, channels_first and channels_last")
        self.format = formats.pop() if formats else "channels_last"
        self.backend = backend or file.backend
        if not self.backend and self.format == "channels_first":
            raise Failure(f"{file.path}: channels_first, by a Keras that did not record its backend: --backend theano or tensorflow "
                          "is needed (Theano turns kernels by 180 degrees)")
        if not self.backend:
            print("  kernels are taken as TensorFlow applies them, since the file does not tell; --backend theano turns them")

    def output(self):
        """The layer at the end."""
        return self._network(self.file.config, None, self.file.weights, "the network")

    def _network(self, description, sources, weights_of, place):
        config = description["config"]
        if description["class_name"] not in NETWORKS:
            raise Failure(f"{place}: is of the class {shown(description['class_name'])}; Sequential and functional networks can be taken")
        listing = config if isinstance(config, list) else config["layers"]
        named = [(one["class_name"], str(one.get("name") or one["config"].get("name"))) for one in listing]
        if len({name for _, name in named}) < len(named):
            raise Failure(f"{place}: two layers have one name")
        weights = weights_of(named)
        entries = [Entry(self, one, weights) for one in listing]
        if description["class_name"] == "Sequential":
            return self._sequential(entries, config, sources)
        return self._functional(entries, config, sources, place)

    def _sequential(self, entries, config, sources):
        if not entries:
            raise Failure(f"{self.file.path}: a network without layers")
        current = sources[0] if sources else None
        for entry in entries:
            if current is None:
                shape = isinstance(config, dict) and config.get("build_input_shape")
                current = self._input(entry, shape or None)
            current = self._layer(entry, [current])
        return current

    def _input(self, entry, shape=None):
        """The network's input, by the first layer that tells it, in networks in the network, too; its shape is [images, ...]."""
        first, kind = entry.config, entry.kind
        while first:
            shape = first.get("batch_input_shape") or first.get("batch_shape") or shape
            nested = first.get("layers") if kind in NETWORKS else None
            first, kind = (nested[0]["config"], nested[0]["class_name"]) if nested else (None, None)
        place = f"the input ({entry.place})"
        if self.size:
            return layers.network_input(place, self.size)
        if not isinstance(shape, (list, tuple)) or not all(type(one) is int and one >= 1 for one in shape[1:]):
            raise Failure(f"{place}: its shape {shown(str(shape))} is open: --input HEIGHTxWIDTHxCHANNELS is needed")
        return layers.network_input(place, self.map_shape(place, shape[1:]))

    def map_shape(self, place, shape):
        if not 1 <= len(shape) <= 3:
            raise Failure(f"{place}: {list(shape)} is no shape of an image")
        if len(shape) < 3:
            return (1, 1, *shape) if len(shape) == 1 else (*shape, 1)
        return (*shape[1:], shape[0]) if self.format == "channels_first" else tuple(shape)

    def _functional(self, entries, config, sources, place):
        inputs, outputs = (ends(config[key]) for key in ("input_layers", "output_layers"))
        if len(inputs) != 1 or len(outputs) != 1:
            raise Failure(f"{place}: has {len(inputs)} inputs and {len(outputs)} outputs; one of each can be taken")
        done, waiting = {}, entries
        while waiting and outputs[0] not in done:
            rest = []
            for entry in waiting:
                if entry.name == inputs[0]:
                    done[entry.name] = sources[0] if sources else self._input(entry)
                    continue
                names = inbound(entry)
                if names and all(name in done for name in names):
                    done[entry.name] = self._layer(entry, [done[name] for name in names])
                else:
                    rest.append(entry)
            if len(rest) == len(waiting):
                raise Failure(f"{rest[0].place}: nothing leads to it from the input")
            waiting = rest
        if outputs[0] not in done:
            raise Failure(f"{place}: its output '{shown(outputs[0])}' is none of its layers")
        return done[outputs[0]]

    def _layer(self, entry, sources):
        with damage(self.file.path, entry.place):
            if entry.kind in NETWORKS:
                return self._network(entry.description, sources, lambda named: entry._weights.inside(entry.name, named), entry.place)
            maker = LAYERS.get(entry.kind)
            if not maker:
                code = entry.kind in ("Lambda", "TFOpLambda", "SlicingOpLambda")
                raise Failure(f"{entry.place}: {'holds code, and none is run' if code else 'there is no such layer here'}")
            if len(sources) > 1 and entry.kind not in JOINS:
                raise Failure(f"{entry.place}: has {len(sources)} inputs")
            result = maker(entry, sources if entry.kind in JOINS else sources[0])
            return result if entry.kind == "Activation" else activation(entry, result, entry.config.get("activation"))


def found_formats(description):
    """The data formats that the layers of maps name, those in networks in the network included."""
    config, stack = description.get("config"), []
    stack += config if isinstance(config, list) else config.get("layers", []) if isinstance(config, dict) else []
    while stack:
        one = stack.pop()
        inner = one["config"]
        if one["class_name"] in NETWORKS:
            stack += inner if isinstance(inner, list) else inner["layers"]
        elif one["class_name"] != "Flatten":
            yield inner.get("data_format") or inner.get("dim_ordering")


def ends(listed):
    """Names of input or output layers: ["name", 0, 0] or a list (or dict) of such."""
    listed = list(listed.values()) if isinstance(listed, dict) else listed
    return [listed[0]] if listed and isinstance(listed[0], str) else [one[0] for one in listed]


def inbound(entry):
    """Names of the layers that an entry of a functional network takes."""
    nodes = entry.description.get("inbound_nodes") or []
    if len(nodes) > 1:
        raise Failure(f"{entry.place}: is used {len(nodes)} times; layers that share weights cannot be taken")
    names, stack = [], [nodes[0]["args"] if nodes and isinstance(nodes[0], dict) else nodes]
    while stack:  # in order, whatever lists they stand in
        node = stack.pop()
        if isinstance(node, dict):
            if node.get("class_name") != "__keras_tensor__":
                raise Failure(f"{entry.place}: takes a {shown(str(node.get('class_name')))} as input")
            names.append(node["config"]["keras_history"][0])
        elif isinstance(node, (list, tuple)) and node and isinstance(node[0], str):
            if len(node) > 3 and node[3]:
                raise Failure(f"{entry.place}: is called with {shown(', '.join(node[3]))}")
            names.append(node[0])
        elif isinstance(node, (list, tuple)):
            stack += reversed(node)
        else:
            raise Failure(f"{entry.place}: takes the constant {shown(str(node))}")
    return names


def activation(entry, source, told):
    """The layer with the activation that its setting names, or that is written out in it as a layer."""
    if isinstance(told, dict) and told.get("class_name") in ACTIVATIONS:
        inner = Entry(entry.model, told, None)
        inner.place = f"{entry.place}, activation {inner.kind}"
        return ACTIVATIONS[inner.kind](inner, source)
    if isinstance(told, dict) and told.get("class_name") == "function":
        told = told.get("config")
    if told in (None, "linear"):
        return source
    if told == "hard_sigmoid":
        return layers.plain(source, entry.place, "hardsigmoid" if entry.model.version[0] >= 3 else "hardsigmoid 0.2")
    if not isinstance(told, str) or told not in WORDS:
        name = told.get("class_name") if isinstance(told, dict) else told
        raise Failure(f"{entry.place}: there is no activation '{shown(str(name))}' here")
    return layers.plain(source, entry.place, WORDS[told])


def pads_of(entry, source, kernel, stride, dilation=(1, 1)):
    told = entry.get("padding", "valid")
    if told == "valid":
        return NO_PADS
    if told != "same":
        raise Failure(f"{entry.place}: padding '{shown(str(told))}'")
    if entry.model.backend != "theano":
        return layers.same_pads(source.shape, kernel, stride, dilation)
    if not all(size % 2 for size in kernel):
        raise Failure(f"{entry.place}: padding 'same' of Theano with an even kernel")
    return tuple(d * (size // 2) for size, d in zip(kernel, dilation) for _ in (0, 1))


def turned(entry, kernel):
    """Theano's kernels are turned by 180 degrees."""
    old = entry.model.version[0] == 1 and entry.channels_first
    if entry.model.backend != "theano":
        return kernel
    return Weight(kernel.name, kernel.shape, kernel.kind, lambda: kernel.read()[..., ::-1, ::-1] if old else kernel.read()[::-1, ::-1])


def kernel_size(entry):
    return (entry.count("nb_row"), entry.count("nb_col")) if "nb_row" in entry.config else entry.pair("kernel_size")


def geometry(entry, source):
    stride, dilation = entry.pair("strides", (1, 1)), entry.pair("dilation_rate", (1, 1))
    return stride, pads_of(entry, source, kernel_size(entry), stride, dilation), dilation


def bias_role(entry):
    return ["bias"] if entry.get("use_bias", True) else []


def held(entry, kernel, shape):
    """The kernel, whose shape its settings tell."""
    if kernel.shape != shape:
        raise Failure(f"{entry.place}: tensor '{kernel.name}' is {list(kernel.shape)}, its settings say {list(shape)}")
    return kernel


def taken(entry, *roles):
    found = entry.weights(*roles)
    for role in roles:
        if role not in found:
            raise Failure(f"{entry.place}: the file has no {role} of it")
    return found


def conv(entry, source):
    found, filters, groups = taken(entry, "kernel", *bias_role(entry)), entry.count("filters"), entry.count("groups", 1)
    old = entry.model.version[0] == 1 and entry.channels_first  # [filter, channel, y, x]
    size, inputs = kernel_size(entry), source.shape[2] // groups
    kernel = held(entry, found["kernel"], (filters, inputs, *size) if old else (*size, inputs, filters))
    return layers.conv(source, entry.place, turned(entry, kernel), (2, 3, 1, 0) if old else (0, 1, 2, 3), found.get("bias"),
                       *geometry(entry, source), groups)


def depthwise(entry, source, kernel, bias):
    """A convolution of each channel by itself."""
    filters, size = source.shape[2] * entry.count("depth_multiplier", 1), kernel_size(entry)
    raw = turned(entry, held(entry, kernel, (*size, source.shape[2], filters // source.shape[2])))
    kernel = Weight(raw.name, (*size, 1, filters), raw.kind, lambda: raw.read().reshape(*size, 1, filters))
    return layers.conv(source, entry.place, kernel, (0, 1, 2, 3), bias, *geometry(entry, source), source.shape[2])


def depthwise_conv(entry, source):
    found = taken(entry, "kernel", *bias_role(entry))
    return depthwise(entry, source, found["kernel"], found.get("bias"))


def separable_conv(entry, source):
    found = taken(entry, "depthwise_kernel", "pointwise_kernel", *bias_role(entry))
    middle = depthwise(entry, source, found["depthwise_kernel"], None)
    kernel = held(entry, found["pointwise_kernel"], (1, 1, middle.shape[2], entry.count("filters")))
    return layers.conv(middle, entry.place, kernel, (0, 1, 2, 3), found.get("bias"), (1, 1), NO_PADS)


def dense(entry, source):
    """Of maps it is a 1x1 convolution."""
    found, units = taken(entry, "kernel", *bias_role(entry)), entry.count("units")
    if source.is_vector or source.is_input:
        return layers.fc(source, entry.place, found["kernel"], True, found.get("bias"), units)
    kernel = held(entry, found["kernel"], (source.shape[2], units))
    kernel = Weight(kernel.name, (1, 1, *kernel.shape), kernel.kind, lambda read=kernel.read: read()[None, None])
    return layers.conv(source, entry.place, kernel, (0, 1, 2, 3), found.get("bias"), (1, 1), NO_PADS)


def check_axis(entry, source, axis):
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    channel = (1, -1) if source.is_vector and source.flat else (1, -3) if entry.channels_first else (3, -1)
    if axis not in channel:
        raise Failure(f"{entry.place}: axis {shown(str(axis))} is not that of the channels ({channel[0]})")


def batch_norm(entry, source):
    if entry.get("mode", 0) != 0:
        raise Failure(f"{entry.place}: mode {shown(str(entry.get('mode')))}: only the mean and variance of the training can be taken")
    check_axis(entry, source, entry.get("axis", -1))
    roles = [role for role, setting in (("gamma", "scale"), ("beta", "center")) if entry.get(setting, True)]
    found, channels = taken(entry, *roles, "moving_mean", "moving_variance"), source.shape[2]
    ones, zeros = (constant(entry.place, np.full(channels, value, np.float32)) for value in (1, 0))
    return layers.batch_norm(source, entry.place, found.get("gamma", ones), found.get("beta", zeros), found["moving_mean"],
                             found["moving_variance"], entry.number("epsilon", 1e-3))


def pool(word):
    def make(entry, source):
        kernel = entry.pair("pool_size", (2, 2))
        stride = entry.pair("strides", kernel)
        if entry.get("padding", "valid") == "same" and entry.model.backend == "theano":
            raise Failure(f"{entry.place}: padding 'same' of Theano")
        return layers.pool(source, entry.place, word, kernel, stride, pads_of(entry, source, kernel, stride))
    return make


def whole_pool(word):
    return lambda entry, source: layers.whole_pool(source, entry.place, word, None if entry.get("keepdims", False) else "yxc")


def zero_padding(entry, source):
    told = entry.get("padding", 1)
    sides = [told, told] if isinstance(told, int) else told
    if isinstance(sides, dict):
        sides = [[sides.get("top_pad", 0), sides.get("bottom_pad", 0)], [sides.get("left_pad", 0), sides.get("right_pad", 0)]]
    sides = sides if len(sides) == 4 else [one for side in sides for one in ([side] * 2 if isinstance(side, int) else side)]
    return layers.padding(source, entry.place, tuple(map(int, sides)))


def flatten(entry, source):
    """Of channels_first maps the numbers stand (channel, y, x), unless the layer itself knows of that."""
    knows = entry.config.get("data_format") == "channels_first"
    return layers.flatten(source, entry.place, "cyx" if entry.model.format == "channels_first" and not knows else "yxc")


def reshape(entry, source):
    target, count = list(entry.get("target_shape")), int(np.prod(source.shape))
    if target.count(-1) == 1:
        target[target.index(-1)] = count // -int(np.prod(target))
    if source.is_input and len(target) == 3 and np.prod(target) == count:
        return layers.network_input(source.place, entry.model.map_shape(entry.place, target))
    if target == [count]:
        return layers.flatten(source, entry.place, "cyx" if entry.model.format == "channels_first" else "yxc")
    if source.is_vector and sorted(target) == sorted([1] * (len(target) - 1) + [count]):
        return source
    raise Failure(f"{entry.place}: from {layers.size_text(source.shape)} to {target}")


def dropout(entry, source):
    return layers.plain(source, entry.place, f"dropout {min(max(entry.number('rate'), 0), 1):g}")


def inactive(entry, source):
    print(f"  {entry.place}: left out; it does nothing but in training")
    return source


def relu(entry, source):
    most, slope, threshold = entry.get("max_value", None), entry.number("negative_slope", 0), entry.number("threshold", 0)
    if threshold or most not in (None, 6) or most and slope:
        raise Failure(f"{entry.place}: max_value {most}, negative_slope {slope:g}, threshold {threshold:g}")
    return layers.plain(source, entry.place, f"leakyrelu {slope:g}" if slope else "relu6" if most else "relu")


def sloped(word, default):
    return lambda entry, source: layers.plain(source, entry.place, f"{word} {entry.number('negative_slope', default):g}")


def prelu(entry, source):
    slope, channels = taken(entry, "alpha")["alpha"], source.shape[2]
    shape = (channels,) if source.flat else (channels, 1, 1) if entry.channels_first else (1, 1, channels)
    held(entry, slope, shape)
    return layers.prelu(source, entry.place, Weight(slope.name, (channels,), slope.kind, lambda: slope.read().reshape(channels)))


def rescaling(entry, source):
    return layers.affine(source, entry.place, entry.get("scale"), entry.get("offset", 0))


def normalization(entry, source):
    check_axis(entry, source, entry.get("axis", -1))
    if entry.get("invert", False):
        raise Failure(f"{entry.place}: invert")
    channels, told = source.shape[2], entry.config.get("mean")
    if told is not None:
        mean, variance = (constant(entry.place, np.broadcast_to(np.ravel(entry.get(key)).astype(np.float64), channels))
                          for key in ("mean", "variance"))
    else:
        found = taken(entry, "mean", "variance", "count")
        mean, variance = found["mean"], found["variance"]
    ones, zeros = (constant(entry.place, np.full(channels, value, np.float32)) for value in (1, 0))
    return layers.batch_norm(source, entry.place, ones, zeros, mean, variance, 0)


def join(word):
    def make(entry, sources):
        if word == "concat":
            check_axis(entry, sources[0], entry.get("axis", -1))
        return layers.join(sources, entry.place, word)
    return make


def named_activation(entry, source):
    return activation(entry, source, entry.get("activation"))


JOINS = {"Add": join("add"), "Concatenate": join("concat"), "Multiply": join("scale")}
ACTIVATIONS = {
    "Activation": named_activation, "ReLU": relu, "LeakyReLU": sloped("leakyrelu", 0.3), "ELU": sloped("elu", 1), "PReLU": prelu,
    "Softmax": lambda entry, source: layers.plain(source, entry.place, "softmax"),
}
CONVOLUTIONS = {"Conv2D": conv, "Convolution2D": conv, "AtrousConvolution2D": conv, "DepthwiseConv2D": depthwise_conv,
                "SeparableConv2D": separable_conv, "SeparableConvolution2D": separable_conv}
POOLS = {
    "MaxPooling2D": pool("maxpool"), "MaxPool2D": pool("maxpool"), "AveragePooling2D": pool("avgpool"), "AvgPool2D": pool("avgpool"),
    "GlobalAveragePooling2D": whole_pool("globalavg"), "GlobalAvgPool2D": whole_pool("globalavg"),
    "GlobalMaxPooling2D": whole_pool("globalmax"), "GlobalMaxPool2D": whole_pool("globalmax"),
}
LAYERS = {
    **CONVOLUTIONS, **POOLS, **JOINS, **ACTIVATIONS, "Dense": dense, "BatchNormalization": batch_norm, "ZeroPadding2D": zero_padding,
    "Flatten": flatten, "Reshape": reshape, "Dropout": dropout, "SpatialDropout2D": dropout, "Rescaling": rescaling,
    "Normalization": normalization, "InputLayer": lambda entry, source: source,
    **dict.fromkeys(("GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "RandomFlip", "RandomRotation",
                     "RandomTranslation", "RandomZoom", "RandomContrast", "RandomBrightness"), inactive),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="network: .h5, .hdf5 or .keras")
    network.add_options(parser)
    parser.add_argument("--json", help="the description that model.to_json() returned, where the file holds weights only")
    parser.add_argument("--backend", choices=("tensorflow", "theano"), help="of a Keras before 2.0, which did not record it")
    return import_common.parse(parser)


def run():
    options = arguments()
    binary, size = import_common.check_options(options), network.input_size(options.input)
    with network.naming(options.model):
        with damage(options.model, "describes no network of Keras"):
            output = Model(keras_file.File(options.model, options.json), size, options.backend).output()
        network.finish(options, binary, output)


if __name__ == "__main__":
    model_file.main(run)
