"""From layers (layers.py) to the text of the architecture and the model file."""
import contextlib
import os
import re
import tempfile

import numpy as np

import import_common
import model_file
from layers import Layer, size_text, unpadded
from model_file import Failure, Usage


def add_options(parser):
    import_common.add_options(parser)
    parser.add_argument("--input", help="HEIGHTxWIDTHxCHANNELS, where the file leaves them open")
    parser.add_argument("--arch-out", help="write the architecture's text, too: a file that must not exist")


@contextlib.contextmanager
def naming(path):
    """Failures name the file."""
    try:
        yield
    except Usage:
        raise
    except Failure as error:
        if str(error).startswith(f"{path}: ") or error.code != 1:
            raise
        raise Failure(f"{path}: {error}") from None


def input_size(text):
    """(height, width, channels) of --input, or None."""
    if text and not re.fullmatch(r"[1-9]\d{0,5}x[1-9]\d{0,5}x[1-9]\d{0,5}", text):
        raise Usage(f"--input: '{text}' is no HEIGHTxWIDTHxCHANNELS")
    return tuple(map(int, text.split("x"))) if text else None


def in_order(output):
    """The layers that the output depends on and itself, each behind its inputs."""
    found, stack, seen = [], [(output, iter(output.inputs))], {output}
    while stack:
        layer, inputs = stack[-1]
        fresh = next((one for one in inputs if one not in seen), None)
        if fresh:
            seen.add(fresh)
            stack.append((fresh, iter(fresh.inputs)))
        else:
            found.append(layer)
            stack.pop()
    return found


class Text:
    """text, and `layers`: that of each line."""

    def __init__(self, output):
        self.layers, self._lines, self._names, last = [], [], {}, None
        for layer in in_order(output):
            self._add(layer, last)
            last = layer
        self.text = "".join(line + (f" as {self._names[layer]}" if layer in self._names and not line.startswith("from") else "") + "\n"
                            for layer, line in zip(self.layers, self._lines))

    def _add(self, layer, last):
        if layer.is_input:
            self._write(layer, f"input {size_text(layer.shape)}")
            return
        here = last if last in layer.inputs and (layer.word != "scale" or last is layer.inputs[0]) else layer.inputs[0]
        if here is not last:
            self._write(here, f"from {self._name(here)}")
        self._write(layer, self._joined(layer, here))

    def _joined(self, layer, here):
        """The names of all inputs but the current map; of concat that is one word among them."""
        if len(layer.inputs) == 1:
            return layer.line
        names = ["here" if source is here else self._name(source) for source in layer.inputs]
        if layer.word != "concat":
            names.remove("here")
            names = [self._name(here) if name == "here" else name for name in names]
        return " ".join([layer.line, *names])

    def _write(self, layer, line):
        self.layers.append(layer)
        self._lines.append(line)

    def _name(self, layer):
        return self._names.setdefault(layer, f"map{len(self._names) + 1}")


def ending(output):
    """The layer that gives the logits, as many as there are labels: without what only makes probabilities of them."""
    squashed = None
    while output.word in ("softmax", "sigmoid", "flatten", "dropout"):
        squashed = output if output.word in ("softmax", "sigmoid") else squashed
        output = unpadded(output.inputs[0], output.place)
    if squashed:
        print(f"  {squashed.place}: left out at the end; it does not change which label is the largest")
    if squashed and squashed.word == "sigmoid" and output.word == "fc" and output.shape[2] == 1:
        print(f"  {output.place}: one output, which becomes two labels: 0 and 1")
        return both_labels(output)
    if output.shape[:2] != (1, 1) or output.shape[2] < 2:
        raise Failure(f"{output.place}: the network ends in {size_text(output.shape)}, not in a number for each of two labels or more")
    return output


def both_labels(output):
    """One logit as two: softmax(0, z) is (1 - sigmoid(z), sigmoid(z))."""
    arrays = {role: lambda read=read: np.concatenate([np.zeros_like(read()), read()]) for role, read in output.arrays.items()}
    return Layer(output.line.replace("fc 1", "fc 2", 1), output.place, output.inputs, (1, 1, 2), output.flat, arrays)


def rows_of(binary, text, labels):
    """model_file.layers(); what the program does not know is named by the layer's own name."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="filterscope-") as file:
        file.write(text.text)
        file.flush()
        try:
            return model_file.layers(binary, file.name, None, labels)
        except Failure as error:
            found = re.search(r"line (\d+): (.*)", str(error))
            if not found or not 0 < int(found[1]) <= len(text.layers):
                raise
            line = text.text.splitlines()[int(found[1]) - 1]
            raise Failure(f"{text.layers[int(found[1]) - 1].place}, '{line}': {found[2]}") from None


def arrays_of(text, rows):
    """{name in the model file: array}; prints which layer went where."""
    arrays = {}
    for row, group, name, role in model_file.arrays_of(rows):
        layer = text.layers[row["line"] - 1]
        if group == "momentum":
            continue
        if role == "weight":
            print(f"  {layer.place:48s} -> line {row['line']}: {row['text']}")
        arrays[name] = layer.arrays[role]()
    return arrays


def rescaled(scaling, layer):
    """(pixel, mean, std) that also do what layers before the first line did to the images."""
    pixel, mean, std = (np.array(values, np.float64) for values in scaling)
    factor, offset = layer.scaling
    if (factor < 0).all():
        pixel, mean, factor = -pixel, -mean, -factor
    if (factor <= 0).any():
        raise Failure(f"{layer.place}: its channels are scaled by {factor.tolist()}, of both signs")
    return pixel, mean - offset * std / factor, std / factor


def finish(options, binary, output):
    """Writes the model file, and the text where it is asked for."""
    output = ending(output)
    text = Text(output)
    canonical, rows = rows_of(binary, text, output.shape[2])
    arrays = arrays_of(text, rows)
    scaling = import_common.scaling(options, rows[0]["channels"])
    if text.layers[0].scaling:
        scaling = rescaled(scaling, text.layers[0])
    arch = os.path.splitext(os.path.basename(options.model))[0]
    with written(options.arch_out, canonical):
        import_common.publish(options, binary, options.model, arch, canonical, rows, arrays, scaling)


@contextlib.contextmanager
def written(path, text):
    """The text comes under `path`, unless that is None, when the block ends well."""
    if not path:
        yield
        return
    if os.path.lexists(path):
        raise Failure(f"{path}: exists")
    with model_file.appears(path) as temporary:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
        yield
