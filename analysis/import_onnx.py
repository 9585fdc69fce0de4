#!/usr/bin/env python3
"""A model file from an ONNX network: import_onnx.py model.onnx --pixels LOW,HIGH --out model.h5

Architecture and weights come in one step, as torch.onnx.export, tf2onnx and others write them. --pixels, --mean and --std say how the
images were scaled that it was given: x = (low + (high - low) p / 255 - mean) / std for a pixel p of 0..255; what the network itself
does to the images at the start comes on top. A softmax or sigmoid at the end is left out. Python's module onnx is needed (Debian:
python3-onnx).
"""
import argparse

import import_common
import layers
import model_file
import network
import onnx_file
from model_file import Failure, shown
from onnx_operators import OPERATORS, TO_CHANNELS_FIRST
from onnx_values import COMPUTED, Value
from tensors import damage


class Graph:
    """A model of ONNX on the way to layers. `values` has, by name, a Value or a constant (layers.Weight)."""

    def __init__(self, path, size):
        self.path, model = path, onnx_file.load(path)
        graph = model.graph
        self.nodes = [onnx_file.Node(path, proto) for proto in graph.node]
        self.values = {tensor.name: onnx_file.weight(path, tensor) for tensor in graph.initializer}
        if graph.sparse_initializer:
            raise Failure(f"{path}: sparse tensors cannot be taken")
        inputs = [one for one in graph.input if one.name not in self.values]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise Failure(f"{path}: has {len(inputs)} inputs and {len(graph.output)} outputs; one of each can be taken")
        names = [name for node in self.nodes for name in node.inputs] + [graph.output[0].name]
        self.users = {name: names.count(name) for name in set(names)} if len(names) < 1 << 14 else {}
        self.images, self.output_name = 1, graph.output[0].name
        self.values[inputs[0].name] = self._input(inputs[0], size)

    def _input(self, told, size):
        place = f"input '{shown(told.name)}'"
        dims = [one.dim_value for one in told.type.tensor_type.shape.dim]  # 0 where it is open
        self.images = dims[0] if dims and dims[0] > 0 else 1
        rest = dims[1:]
        if not 1 <= len(rest) <= 3:
            raise Failure(f"{place}: {dims} is no shape of images")
        last = len(rest) == 3 and self._channels_last(told.name, rest)
        axes = ("hwc" if last else "chw") if len(rest) == 3 else "hw" if len(rest) == 2 else "n"
        if not size:
            if min(rest) < 1:
                raise Failure(f"{place}: its shape {['?' if one < 1 else one for one in dims]} is open: --input HEIGHTxWIDTHxCHANNELS is "
                              "needed")
            sizes = dict(zip(axes, rest))
            size = tuple(sizes.get(axis, 1) for axis in "hwc") if axes != "n" else (1, 1, rest[0])
        return Value(layers.network_input(place, size), axes)

    def _channels_last(self, name, sizes):
        """Whether the images come as (height, width, channel): they are turned before the first convolution, or, of one channel,
        reshaped."""
        for node in self.nodes:
            if node.kind in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool"):
                return False
            if node.kind == "Transpose":
                return node.get("perm") == TO_CHANNELS_FIRST
            if node.kind == "Reshape" and node.inputs[0] == name and sizes[2] == 1 and sizes[0] > 1:
                return True
        return False

    def output(self):
        """The layer at the end."""
        for node in self.nodes:
            with damage(self.path, node.place):
                self._run(node)
        result = self.values.get(self.output_name)
        if not isinstance(result, Value):
            raise Failure(f"{self.path}: its output '{shown(self.output_name)}' does not depend on the images")
        return result.layer

    def _run(self, node):
        if node.domain not in ("", "ai.onnx"):
            raise Failure(f"{node.place}: an operator of '{shown(node.domain)}', none of ONNX' own")
        inputs = [self._value(node, name) for name in node.inputs]
        moving = [one for one in inputs if isinstance(one, Value)]
        if not moving or node.kind == "Shape":
            maker = COMPUTED.get(node.kind)
        else:
            maker = OPERATORS.get(node.kind)
        if not maker:
            raise Failure(f"{node.place}: there is no such operator here" + ("" if moving else " for constants"))
        if any(self.users.get(name) for name in node.outputs[1:]):
            raise Failure(f"{node.place}: more than its first output is used")
        self.values[node.outputs[0]] = maker(self, node, *inputs)
        node.check()

    def _value(self, node, name):
        if name and name not in self.values:
            raise Failure(f"{node.place}: its input '{shown(name)}' comes from nowhere")
        return self.values[name] if name else None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="network: .onnx")
    network.add_options(parser)
    return import_common.parse(parser)


def run():
    options = arguments()
    binary, size = import_common.check_options(options), network.input_size(options.input)
    with network.naming(options.model):
        network.finish(options, binary, Graph(options.model, size).output())


if __name__ == "__main__":
    model_file.main(run)
