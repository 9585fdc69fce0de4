"""Layers of a network that another framework trained, each with its line of the text (include/filterscope/architecture.h) and its
tensors. import_keras.py and import_onnx.py make them, network.py a model file of them. Which lines there are, the program says.

Maps are (height, width, channels). A flattened map keeps its shape, and says in which order its numbers stand. pads are (top, bottom,
left, right); other pairs are (height, width).
"""
import numpy as np

from model_file import Failure, with_our_epsilon
from tensors import Tensor, numbers_of

NO_PADS = (0, 0, 0, 0)
MOST_NUMBERS = 1 << 31  # of one tensor: 8 GiB


class Weight(Tensor):
    """A tensor with its name, whose numbers stay in the file until its shape is known to be right."""

    def __init__(self, name, shape, kind, read):
        super().__init__(map(int, shape), kind, read)
        self.name = name

    def values(self, wanted, place, role="weight"):
        """float32 [wanted]; see numbers_of()."""
        if self.shape != tuple(wanted):
            raise Failure(f"tensor '{self.name}' is {list(self.shape)}, {place} wants {list(wanted)}")
        if np.prod(self.shape, dtype=float) > MOST_NUMBERS:
            raise Failure(f"tensor '{self.name}' {list(self.shape)} of {place} is larger than {MOST_NUMBERS} numbers")
        return numbers_of(self.name, self, role)


def constant(name, values):
    values = np.asarray(values)
    return Weight(name, values.shape, values.dtype.name, lambda: values)


class Layer:
    """
    line     its words; None for the input, and for a padding, which goes into the line of the layer that follows
    place    what it is called where it comes from, for messages
    inputs   layers
    shape    (height, width, channels) of its output
    flat     None, or "yxc" or "cyx": the order in which a flattened map's numbers stand
    arrays   {role: () -> array as the model file holds it}
    pads     of a padding
    scaling  of the input: (factor [channels], what is then added [channels]), where layers before the first line did that
    affine   the same of a layer that affine() made
    """

    def __init__(self, line, place, inputs, shape, flat=None, arrays=None):
        self.line, self.place, self.inputs, self.shape = line, place, list(inputs), tuple(map(int, shape))
        self.flat, self.arrays, self.pads, self.scaling, self.affine = flat, arrays or {}, NO_PADS, None, None
        if min(self.shape) < 1:
            raise Failure(f"{place}: its map would be {size_text(self.shape)}")

    @property
    def word(self):
        return self.line.split()[0] if self.line else None

    @property
    def is_input(self):
        return not self.inputs

    @property
    def is_vector(self):
        return self.flat is not None or self.shape[:2] == (1, 1)


def network_input(place, shape):
    return Layer(None, place, (), shape)


def size_text(shape):
    return "x".join(map(str, shape))


def pair(values):
    return str(values[0]) if values[0] == values[1] else size_text(values)


def unpadded(source, place):
    if source.pads != NO_PADS:
        raise Failure(f"{source.place}: its padding goes into no convolution or pool, but to {place}")
    return source


def before(source, place):
    """The map that a convolution or pool takes, and the zeros around it."""
    if source.flat and source.shape[:2] != (1, 1):
        raise Failure(f"{place}: wants maps, and {source.place} gives a vector")
    return (source.inputs[0], source.pads) if source.pads != NO_PADS else (source, NO_PADS)


def added(pads, more, place):
    if min(more) < 0:
        raise Failure(f"{place}: padding {size_text(more)} takes rows or columns away")
    return tuple(one + other for one, other in zip(pads, more))


def options(stride, pads, dilation=(1, 1), groups=1):
    """The words that say so; stride is None where it needs none."""
    top, bottom, left, right = pads
    words = [f"stride {pair(stride)}"] if stride else []
    if any(pads):
        words.append(f"pad {pair((top, left))}" if (top, left) == (bottom, right) else f"pad {size_text(pads)}")
    if tuple(dilation) != (1, 1):
        words.append(f"dilation {pair(dilation)}")
    return words + ([f"groups {groups}"] if groups > 1 else [])


def windows(size, kernel, stride, first, last, dilation=1, up=False):
    """Outputs along an axis with `first` zeros before and `last` behind; rounded up, but each begins before the zeros behind."""
    room = size + first + last - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if up else room // stride) + 1
    return count - (up and (count - 1) * stride >= size + first)


def output_size(shape, kernel, stride, pads, dilation=(1, 1), up=False):
    return [windows(shape[i], kernel[i], stride[i], pads[2 * i], pads[2 * i + 1], dilation[i], up) for i in (0, 1)]


def same_pads(shape, kernel, stride, dilation=(1, 1), odd_first=False):
    """As many outputs as size / stride, rounded up; TensorFlow puts the odd zero behind."""
    pads = ()
    for size, k, s, d in zip(shape, kernel, stride, dilation):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pads += (large, small) if odd_first else (small, large)
    return pads


def padding(source, place, pads):
    """Zeros around a map."""
    source, already = before(source, place)
    layer = Layer(None, place, [source], source.shape)
    layer.pads = added(already, pads, place)
    return layer if any(layer.pads) else source


def conv(source, place, weight, axes, bias, stride, pads, dilation=(1, 1), groups=1):
    """weight's axes in the order `axes` are y, x, channel of the group, filter; bias may be None."""
    source, zeros = before(source, place)
    if len(weight.shape) != 4:
        raise Failure(f"{place}: tensor '{weight.name}' is {list(weight.shape)}: a convolution over two axes has four")
    height, width, _, filters = (weight.shape[axis] for axis in axes)
    kernel, pads, wanted = (height, width), added(zeros, pads, place), [0] * 4
    for axis, size in zip(axes, (height, width, source.shape[2] // groups, filters)):
        wanted[axis] = size
    words = ["conv", str(filters), size_text(kernel)]
    words += options(None if tuple(stride) == (1, 1) else stride, pads, dilation, groups) + (["bias"] if bias else [])
    arrays = {"weight": lambda: np.ascontiguousarray(weight.values(wanted, place).transpose(axes))}
    if bias:
        arrays["bias"] = lambda: bias.values([filters], place)
    size = output_size(source.shape, kernel, stride, pads, dilation)
    return Layer(" ".join(words), place, [source], (*size, filters), None, arrays)


def fc(source, place, weight, transposed, bias, units):
    """weight is [unit, input] or, transposed, [input, unit], with the inputs in the order of the flattened source."""
    unpadded(source, place)
    height, width, channels = source.shape
    inputs = height * width * channels

    def values():
        found = weight.values((inputs, units) if transposed else (units, inputs), place)
        found = found.T if transposed else found
        if source.flat == "cyx":
            found = found.reshape(units, channels, height, width).transpose(0, 2, 3, 1).reshape(units, inputs)
        return np.ascontiguousarray(found)
    arrays = {"weight": values}
    if bias:
        arrays["bias"] = lambda: bias.values([units], place)
    return Layer(f"fc {units}" + (" bias" if bias else ""), place, [source], (1, 1, units), "yxc", arrays)


def batch_norm(source, place, gamma, beta, mean, variance, epsilon):
    """One of the images themselves goes into their scaling."""
    if not 0 <= epsilon < np.inf:
        raise Failure(f"{place}: epsilon {epsilon:g}")
    channels = [source.shape[2]]

    def spread():
        values = variance.values(channels, place, "variance")
        if not (values + epsilon).all():
            raise Failure(f"{place}: epsilon 0, and a variance of 0 in tensor '{variance.name}'")
        return values
    if source.is_input:
        factor = gamma.values(channels, place) / np.sqrt(spread().astype(np.float64) + epsilon)
        return affine(source, place, factor, beta.values(channels, place) - factor * mean.values(channels, place))
    arrays = {"weight": lambda: with_our_epsilon(gamma.values(channels, place), spread(), epsilon)[0],
              "bias": lambda: beta.values(channels, place), "mean": lambda: mean.values(channels, place),
              "variance": lambda: with_our_epsilon(np.ones(channels), spread(), epsilon)[1]}
    return Layer("bn", place, [unpadded(source, place)], source.shape, source.flat, arrays)


def affine(source, place, factor, offset):
    """factor * x + offset, one number for all channels or one each: of the images themselves it goes into their scaling, elsewhere it
    is a batch normalisation."""
    channels = source.shape[2]
    factor, offset = (np.broadcast_to(np.asarray(values, np.float64), channels) for values in (factor, offset))
    if not np.isfinite(factor).all() or not np.isfinite(offset).all() or not factor.all():
        raise Failure(f"{place}: scales by {factor.tolist()} and adds {offset.tolist()}")
    if source.affine:
        first, shift = source.affine
        return affine(source.inputs[0], place, first * factor, shift * factor + offset)
    if not source.is_input:
        if np.allclose(factor, 1, atol=1e-6) and not offset.any():
            return source
        zeros, ones = (constant(place, np.full(channels, value, np.float32)) for value in (0, 1))
        result = batch_norm(source, place, constant(place, factor), constant(place, offset), zeros, ones, 0)
        result.affine = factor, offset
        return result
    first, shift = source.scaling or (np.ones(channels), np.zeros(channels))
    result = network_input(source.place, source.shape)
    result.scaling = (first * factor, shift * factor + offset)
    return result


def _not_negative(layer):
    while layer.word in ("dropout", "maxpool", "avgpool", "globalmax", "globalavg"):
        layer = layer.inputs[0]
    return layer.word in ("relu", "relu6", "sigmoid", "hardsigmoid")


def pool(source, place, word, kernel, stride, pads, up=False, counts_zeros=False):
    """
    word           maxpool or avgpool
    up             a last window may hang over the edge
    counts_zeros   an average is one of the whole window where a part of that is padding
    """
    source, zeros = before(source, place)
    if word == "maxpool" and any(zeros) and not _not_negative(source):
        raise Failure(f"{place}: takes the maximum of zeros around a map with negative numbers")
    inside = word == "avgpool" and any(pads) and not counts_zeros
    if inside and any(zeros):
        raise Failure(f"{place}: an average that counts zeros around a map, but not its own padding")
    padded = [source.shape[0] + zeros[0] + zeros[1], source.shape[1] + zeros[2] + zeros[3]]
    wanted, pads = output_size(padded, kernel, stride, pads, up=up), added(zeros, pads, place)
    size = output_size(source.shape, kernel, stride, pads, up=up)
    if size != wanted:
        raise Failure(f"{place}: its last window begins in the zeros around a map")
    fits = all((source.shape[i] + pads[2 * i] + pads[2 * i + 1] - kernel[i]) % stride[i] == 0 for i in (0, 1))
    words = [word, pair(kernel)] + options(None if tuple(stride) == tuple(kernel) else stride, pads)
    words += ([] if fits else ["ceil" if up else "floor"]) + (["inside"] if inside else [])
    return Layer(" ".join(words), place, [source], (*size, source.shape[2]))


def whole_pool(source, place, word, flat=None):
    """word is globalmax or globalavg."""
    return Layer(word, place, [unpadded(source, place)], (1, 1, source.shape[2]), flat)


def subsample(source, place, stride):
    """The first of each so many pixels."""
    size = [windows(size, 1, step, 0, 0) for size, step in zip(source.shape, stride)]
    return Layer(f"subsample {pair(stride)}", place, [unpadded(source, place)], (*size, source.shape[2]))


def zero_channels(source, place, before, behind):
    """Channels of zeros around those of a map."""
    added((0, 0), (before, behind), place)
    return Layer(f"zeropad channels {before} {behind}", place, [unpadded(source, place)],
                 (*source.shape[:2], before + source.shape[2] + behind))


def plain(source, place, line):
    """An activation, a dropout: the shape stays."""
    return Layer(line, place, [unpadded(source, place)], source.shape, source.flat)


def prelu(source, place, slope):
    """slope [channels]"""
    layer = plain(source, place, "prelu")
    layer.arrays = {"weight": lambda: slope.values([source.shape[2]], place)}
    return layer


def flatten(source, place, order):
    return source if source.flat else Layer("flatten", place, [unpadded(source, place)], source.shape, order)


def join(sources, place, word):
    """word is add, concat or scale; of scale one may be 1x1."""
    for source in sources:
        unpadded(source, place)
    shapes, flats = [source.shape for source in sources], {source.flat for source in sources}
    if word == "concat":
        fits, shape = len({one[:2] for one in shapes}) == 1, (*shapes[0][:2], sum(one[2] for one in shapes))
    else:
        shape = max(shapes)
        fits = all(one == shape or word == "scale" and one == (1, 1, shape[2]) for one in shapes)
    if not fits or len(flats) > 1 and shape[:2] != (1, 1) and word != "scale":
        raise Failure(f"{place}: {word} of maps of {' and '.join(map(size_text, shapes))}")
    if word == "scale":
        sources = sorted(sources, key=lambda source: source.shape)
    return Layer(word, place, sources, shape, sources[-1].flat)
