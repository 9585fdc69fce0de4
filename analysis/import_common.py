"""What the importers share: their options, how pixels are scaled, names of labels, a comparison with what the network's own
framework printed, and a model file that appears whole or not at all."""
import io
import os
import re
import sys
import tempfile

import numpy as np

import model_file
import tensor_files
from model_file import Failure, Mismatch, Usage

MOST_DIFFERENCE = 1e-3  # of the largest logit: float32 in another order makes some 1e-5, another pixel range more than 1e-2
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def add_options(parser):
    parser.add_argument("--out", required=True, help="model file, which must not exist")
    parser.add_argument("--pixels", help="LOW,HIGH: what the network was given for the pixels 0 and 255 (required)")
    parser.add_argument("--mean", default="0", help="then subtracted, one for all channels or one each as A,B,C (0)")
    parser.add_argument("--std", default="1", help="then divided by, one for all channels or one each (1)")
    parser.add_argument("--labels", help="file with a label name a line (0, 1, 2 ...)")
    parser.add_argument("--check", metavar="IMAGES.npz", help="images, and the logits (or probabilities) that the network gave for "
                        "them where it was trained: compared before the model file appears")
    parser.add_argument("--filterscope", help="the program ($FILTERSCOPE, the build folder beside this one, or PATH)")


def parse(parser):
    """The options; --pixels -1,1 is a value and no further option."""
    words = []
    for word in sys.argv[1:]:
        if words and words[-1] in ("--pixels", "--mean", "--std") and re.match(r"-[\d.]", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return parser.parse_args(words)


def check_options(options):
    """What can be told before the network is read. Returns the program."""
    if os.path.lexists(options.out):
        raise Failure(f"{options.out}: exists")
    if options.pixels is None:
        raise Usage("--pixels LOW,HIGH is needed: what the network was given for the pixels 0 and 255, before --mean and --std. 0,1 is "
                    "torchvision's ToTensor and division by 255, -1,1 is p / 127.5 - 1, 0,255 is pixels as they are")
    low, high = numbers("--pixels", options.pixels, 2, False)
    if low == high:
        raise Usage(f"--pixels: {options.pixels} is no range")
    return model_file.program(options.filterscope)


def numbers(option, text, count, one_for_all=True):
    words = [word.strip() for word in text.split(",")]
    values = [float(word) for word in words if NUMBER.fullmatch(word)]
    if len(values) < len(words):
        raise Usage(f"{option}: '{text}' is no list of numbers")
    if one_for_all and len(values) == 1:
        values *= count
    if len(values) != count or not np.isfinite(values).all():
        raise Usage(f"{option}: '{text}': expected {'1 or ' if one_for_all else ''}{count} numbers")
    if option == "--std" and min(values) <= 0:
        raise Usage(f"--std: {min(values):g} is not positive")
    return values


def scaling(options, channels):
    """(pixel [2], mean [channels], std [channels]), as model_file.write takes them."""
    return (numbers("--pixels", options.pixels, 2, False), numbers("--mean", options.mean, channels),
            numbers("--std", options.std, channels))


def label_names(path, labels):
    """The names in the file, a line each, or 0, 1, 2 ..."""
    if not path:
        return [str(label) for label in range(labels)]
    with open(path, "rb") as file:
        content = file.read()
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: line {content[:error.start].count(10) + 1}: byte 0x{content[error.start]:02x} is no UTF-8") from None
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != labels:
        raise Failure(f"{path}: {len(names)} names, the network has {labels} labels")
    for name in names:
        if not name.isprintable():
            raise Failure(f"{path}: name {name!r} has a character that cannot be printed")
        if len(name.encode()) >= model_file.NAME_BYTES:
            print(f"{path}: '{name}' is cut to '{model_file.stored(name, model_file.NAME_BYTES - 1)}'")
    return [model_file.stored(name, model_file.NAME_BYTES - 1) for name in names]


def read_check(path, size, labels):
    """(images uint8 [N, height, width, channels], what: a key of OUTPUTS, their values [N, labels])."""
    arrays = tensor_files.read_npz(path)
    what = next((name for name in ("logits", "probabilities") if name in arrays), None)
    if "images" not in arrays or not what:
        raise Failure(f"{path}: has {', '.join(map(model_file.shown, arrays))}: images and logits (or probabilities) are needed")
    images, expected = arrays["images"], arrays[what]
    shape = images.shape + (1,) if len(images.shape) == 3 else images.shape
    if images.kind != "uint8" or len(shape) != 4 or shape[1:] != size or not shape[0]:
        raise Failure(f"{path}: images are {images.kind} {list(images.shape)}: pixels of 0 to 255 as the data set has them are needed, "
                      f"uint8 [images, {size[0]}, {size[1]}, {size[2]}]")
    if expected.shape != (shape[0], labels):
        raise Failure(f"{path}: {what} are {list(expected.shape)}, expected [{shape[0]}, {labels}]")
    values = expected.read().astype(np.float64)
    if not np.isfinite(values).all():
        raise Failure(f"{path}: {what} of image {int(np.argmin(np.isfinite(values).all(axis=1)))} are not finite")
    if what == "logits":  # so they are called where a network ends in a softmax or its logarithm, too
        what = next((what for what, sums in (("probabilities", values), ("log probabilities", np.exp(np.minimum(values, 1))))
                     if (sums >= 0).all() and np.allclose(sums.sum(axis=1), 1, atol=1e-3)), what)
    return images.read().reshape(shape), what, values


def _write_idx(path, magic, array):
    with open(path, "wb") as file:
        file.write(np.array([magic, *array.shape], ">u4").tobytes())
        file.write(np.ascontiguousarray(array).tobytes())


def logits_of(binary, model, images, labels):
    """The program's own logits [N, labels] of uint8 images [N, height, width, channels], by `filterscope eval`."""
    label = np.arange(len(images)) % labels
    label[-1] = labels - 1  # the largest label tells how many there are
    with tempfile.TemporaryDirectory(prefix="filterscope-") as folder:
        for split in ("train", "t10k"):
            _write_idx(f"{folder}/{split}-images-idx4-ubyte", 0x804, images)
            _write_idx(f"{folder}/{split}-labels-idx1-int", 0xC01, label.astype(">i4"))
        table = model_file.call(binary, "eval", "--model", model, "--data", f"idx-plain:{folder}", "--table", "logits")
    return np.loadtxt(io.StringIO(table), delimiter=",", skiprows=1, ndmin=2)[:, 2:]


def log_softmax(logits):
    below = logits - logits.max(axis=1, keepdims=True)
    return below - np.log(np.exp(below).sum(axis=1, keepdims=True))


OUTPUTS = {"logits": np.asarray, "probabilities": lambda logits: np.exp(log_softmax(logits)), "log probabilities": log_softmax}


def compare(binary, model, path, expected):
    """Fails where the program's answers to the images of read_check() are others."""
    images, what, values = expected
    found = OUTPUTS[what](logits_of(binary, model, images, values.shape[1]))
    difference, largest = np.abs(found - values).max(axis=1), np.abs(values).max()
    image, bound = int(difference.argmax()), MOST_DIFFERENCE * largest
    same = int((found.argmax(axis=1) == values.argmax(axis=1)).sum())
    said = (f"{path}: largest difference of the {what} {difference[image]:.2g} (image {image}; the largest is {largest:.3g}), the same "
            f"answer to {same} of {len(values)} images ({same / len(values):.2%})")
    if not difference[image] <= bound:
        raise Mismatch(f"{said}: more than {bound:.2g} is another network, or other --pixels, --mean, --std or epsilon")
    print(said)


def publish(options, binary, source, arch, text, rows, arrays, scaled=None):
    """Writes the model file; it appears as options.out once `filterscope check` finds it sound and --check agrees.
    source    file that the network came from
    arch      its name, cut where it is too long
    text      architecture, of which rows are model_file.layers()
    arrays    as model_file.write takes them
    scaled    scaling() and what else the network does to the images first
    """
    size, labels = tuple(rows[0][key] for key in ("height", "width", "channels")), rows[-1]["out_channels"]
    scaled, names = scaled or scaling(options, size[2]), label_names(options.labels, labels)
    expected = read_check(options.check, size, labels) if options.check else None
    arch = model_file.stored(arch, model_file.NAME_BYTES - 1)
    config = {"arch": arch, "source": model_file.stored(os.path.basename(source), 200)}
    with model_file.appears(options.out) as temporary:
        model_file.write(temporary, arch, text, size, names, scaled, config, rows, arrays)
        model_file.call(binary, "check", temporary)
        if expected:
            compare(binary, temporary, options.check, expected)
    print(f"{options.out}: {sum(values.size for values in arrays.values())} numbers"
          + ("" if expected else "; --check compares its answers with those of the network where it was trained"))
