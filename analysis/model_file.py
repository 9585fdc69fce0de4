"""The model file (include/filterscope/model_file.h) from Python: what the scripts that import and export networks share."""
import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np

FORMAT, VERSION, NAME_BYTES = "filterscope-model", 3, 32
EPSILON = 1e-5  # of batch normalisation


class Failure(Exception):
    """One line that names value and place."""
    code = 1


class Usage(Failure):
    """Of an option."""
    code = 2


class Mismatch(Failure):
    """Another network than was meant."""
    code = 3


def main(run):
    """Runs a script's run(): any failure is one line and its exit code, and what could not be printed is a failure."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        run()
        if sys.stdout:
            sys.stdout.flush()
        return
    except Failure as error:
        said, code = str(error), error.code
    except MemoryError as error:
        said, code = f"not enough memory {error}", 1
    except OSError as error:
        said, code = f"{error.filename or 'standard output'}: {error.strerror or error}", 1
    except KeyboardInterrupt:
        said, code = "interrupted", 130
    with contextlib.suppress(OSError):
        print(f"{os.path.basename(sys.argv[0])}: {shown(said).strip()}", file=sys.stderr)
        for stream in streams:
            stream.flush()
    os._exit(code)  # what could not be printed would be tried, and reported, once more


def shown(text):
    """For a terminal: a character that cannot be printed as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def stored(text, most):
    """What a fixed string of so many bytes holds of it: cut, but not inside a character."""
    return shown(text).encode()[:most].decode(errors="ignore")


@contextlib.contextmanager
def appears(path):
    """Yields another name in the folder of `path`: the file written there comes under `path` when the block ends well, and goes
    otherwise."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if os.path.lexists(path):
            raise Failure(f"{path}: exists")
        os.rename(temporary, path)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def program(path=None):
    """The filterscope program: `path`, $FILTERSCOPE, that of this source tree or of this installation, or what PATH has."""
    home = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    own = [name for name in (f"{home}/build/filterscope", f"{home}/../../bin/filterscope") if os.path.exists(name)]
    for candidate in (path, os.environ.get("FILTERSCOPE"), *own, shutil.which("filterscope")):
        if candidate:
            return candidate
    raise Failure("no filterscope program: build it, or name it with --filterscope")


def call(*words):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode:
        raise Failure(done.stderr.strip().removeprefix("filterscope: ") or f"{words[0]}: exit code {done.returncode}")
    return done.stdout


def layers(binary, arch, size=None, labels=10):
    """Text of an architecture (a name or a file), and a row a layer that computes: `filterscope arch --table layers`."""
    return _arch(binary, [arch, "--labels", labels] + (["--input", size] if size else []))


def layers_of(binary, model):
    """layers() of a model that read() returned."""
    return _arch(binary, [model["path"]])


def _arch(binary, words):
    words = [binary, "arch", *words]
    rows = list(csv.DictReader(io.StringIO(call(*words, "--table", "layers"))))
    for row in rows:
        row.update({key: int(float(value)) for key, value in row.items() if key not in ("kind", "text")})
    return call(*words, "--table", "text"), rows


def arrays_of(rows):
    """(row, group, name, role) of each array in the file's order; role is weight, bias, mean or variance."""
    count = {}
    for row in (row for row in rows if row["parameters"]):
        kind = row["kind"]
        count[kind] = count.get(kind, 0) + 1
        names = {"weight": "gamma" if kind == "bn" else "weight", "bias": "beta" if kind == "bn" else "bias"}
        roles = ["weight", "bias"] if row["bias"] else ["weight"]
        for group in ("parameter", "momentum"):
            for role in roles:
                yield row, group, f"{kind}{count[kind]}.{names[role]}", role
        if kind == "bn":
            for role in ("mean", "variance"):
                yield row, "statistic", f"{kind}{count[kind]}.{role}", role


# CRC-32C over many stretches at once, joined by the matrix that takes a CRC over zeros (as zlib's crc32_combine does).
_TABLE = np.arange(256, dtype=np.uint32)
for _ in range(8):
    _TABLE = np.where(_TABLE & 1, np.uint32(0x82F63B78) ^ (_TABLE >> 1), _TABLE >> 1).astype(np.uint32)


def _step(register, byte):
    return _TABLE[(register ^ byte) & 255] ^ (register >> 8)


def _times(matrix, vectors):
    """Product over GF(2); matrix [32] holds the image of each bit."""
    product = np.zeros_like(vectors)
    for bit in range(32):
        product ^= np.where(vectors >> np.uint32(bit) & 1, matrix[bit], np.uint32(0))
    return product


def _over_zeros(count):
    power, result = _step(np.uint32(1) << np.arange(32, dtype=np.uint32), np.uint32(0)), np.uint32(1) << np.arange(32, dtype=np.uint32)
    while count:
        if count & 1:
            result = _times(power, result)
        power, count = _times(power, power), count >> 1
    return result


def crc32c(crc, data):
    """Continues `crc` (0 at the start) over bytes: fs_crc32c."""
    data = np.frombuffer(data, np.uint8)
    lanes = 1 << max(0, len(data).bit_length() - 10)
    length = len(data) // lanes
    register = np.full(lanes, 0xFFFFFFFF, np.uint32)
    for byte in np.ascontiguousarray(data[:lanes * length].reshape(lanes, length).T):
        register = _step(register, byte)
    register ^= np.uint32(0xFFFFFFFF)
    while len(register) > 1:
        register = _times(_over_zeros(length), register[0::2]) ^ register[1::2]
        length *= 2
    crc = int(_times(_over_zeros(length), np.array([crc], np.uint32))[0] ^ register[0])
    rest = np.uint32(crc ^ 0xFFFFFFFF)
    for byte in data[length:]:
        rest = _step(rest, byte)
    return int(rest) ^ 0xFFFFFFFF


def _text(crc, text):
    return crc32c(crc, text.encode() + b"\0")


def write(path, arch, text, size, label_names, scaling, config, rows, arrays):
    """Writes a network that was trained elsewhere.
    size      (height, width, channels)
    scaling   (pixel [2], mean [channels], std [channels])
    config    {key: value}
    rows      of layers()
    arrays    {"conv1.weight": ...}, as /parameter and /statistic hold them
    """
    pixel, mean, std = (np.asarray(values, np.float64) for values in scaling)
    numbers = np.array([*size, len(label_names), 0, 0, 0], np.int32)
    crc = _text(_text(0, arch), text)
    for values in (pixel, mean, std, numbers, np.zeros(1, np.int64), np.zeros(1, np.float64)):
        crc = crc32c(crc, values.tobytes())
    for key, value in config.items():
        crc = _text(_text(crc, key), value)
    for name in label_names:
        crc = _text(crc, name)
    image = io.BytesIO()  # where the disk is full, HDF5 crashes
    with _failing_with(path), h5py.File(image, "w", libver=("v108", "v108")) as file:  # metadata under checksums: filterscope reads no other
        for group, name, values in _all_arrays(rows, arrays):
            crc = crc32c(crc, values.tobytes())
            file[f"{group}/{name}"] = values
        for group in ("parameter", "momentum", "statistic"):
            file.require_group(group)
        file["architecture"] = np.array([text.encode()], f"S{len(text.encode())}")
        file["scaling/pixel"], file["scaling/mean"], file["scaling/std"] = pixel, mean, std
        entries = [(key.encode(), value.encode()) for key, value in config.items()]
        file["config"] = np.array(entries, [("key", "S32"), ("value", "S224")])
        file["label_names"] = np.array([name.encode() for name in label_names], f"S{NAME_BYTES}")
        history = [("epoch", "<i4")] + [(name, "<f8") for name in ("lr", "fc_lr", "train_loss", "train_sr", "test_sr", "seconds")]
        file["history"] = np.zeros(0, history)
        file["history"].attrs["crc"] = np.uint32(0)
        file.attrs["format"], file.attrs["arch"] = np.array(FORMAT.encode(), "S32"), np.array(arch.encode(), "S32")
        file.attrs["format_version"] = np.int32(VERSION)
        for name, value in zip(("height", "width", "channels", "labels", "epochs", "epoch", "batch"), numbers):
            file.attrs[name] = value
        file.attrs["right"], file.attrs["loss"], file.attrs["crc"] = np.int64(0), np.float64(0), np.uint32(crc)
    with open(path, "wb") as file:
        file.write(image.getbuffer())


@contextlib.contextmanager
def _failing_with(path):
    """h5py's errors as a line; which kind it raises depends on where the disk is full."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = os.strerror(error.errno) if getattr(error, "errno", None) else str(error).splitlines()[0]
        raise Failure(f"{path}: {reason}") from None


def _all_arrays(rows, arrays):
    for _, group, name, _ in arrays_of(rows):
        values = arrays[name].astype("<f4")
        yield group, name, np.zeros_like(values) if group == "momentum" else values


def _string(stored):
    return stored.decode(errors="backslashreplace")  # old files hold what a name file had, perhaps Latin-1


def read(binary, path):
    """A model file that `filterscope check` finds sound: {path, arch, text, size, label_names, scaling, arrays}."""
    call(binary, "check", path)
    with _failing_with(path), h5py.File(path, "r") as file:
        arrays = {name: values[:] for group in ("parameter", "statistic") for name, values in file[group].items()}
        return {"path": path, "arch": _string(file.attrs["arch"]), "text": _string(file["architecture"][0]),
                "size": tuple(int(file.attrs[name]) for name in ("height", "width", "channels")),
                "label_names": [_string(name) for name in file["label_names"][:]],
                "scaling": tuple(file[f"scaling/{name}"][:] for name in ("pixel", "mean", "std")), "arrays": arrays}


_rows = {}  # by architecture: asking the program takes a while


def _rows_of_text(binary, path, text):
    if text not in _rows:
        _rows[text] = layers_of(binary, {"path": path})[1]
    return _rows[text]


def network_crc(binary, path, file):
    """What a sweep's /config has of the network of an open model file: fs_network_crc."""
    text = bytes(file["architecture"][0])
    rows = _rows_of_text(binary, path, text)
    shape = np.array([file.attrs[name] for name in ("height", "width", "channels", "labels")], np.int32)
    arrays = [file[f"{group}/{name}"][:] for wanted in ("parameter", "statistic") for _, group, name, _ in arrays_of(rows)
              if group == wanted]
    stretches = [bytes(file.attrs["arch"]).ljust(NAME_BYTES, b"\0"), text, shape, *arrays]
    return crc32c(0, b"".join(stretch if isinstance(stretch, bytes) else stretch.tobytes() for stretch in stretches))


def masks(binary, path):
    """{"conv2": (kept bool [outputs, inputs], weights of a kernel)} of the layers that have one; inputs are those of a group."""
    _, rows = layers_of(binary, {"path": path})
    of_layer = {name.partition(".")[0]: row for row, group, name, role in arrays_of(rows) if role == "weight"}
    with _failing_with(path), h5py.File(path, "r") as file:
        packed = {name: bits[:] for name, bits in file["mask"].items()} if "mask" in file else {}
    result = {}
    for name, bits in packed.items():
        row = of_layer[name]
        inputs = row["channels"] // max(row["groups"], 1)
        places = row["kernel_height"] * row["kernel_width"] or row["height"] * row["width"]
        result[name] = np.unpackbits(bits, axis=1, bitorder="little")[:, :inputs].astype(bool), places
    return result


def shape_of(row, role, layout):
    """Shape of one array's tensor with the axes of PyTorch ("torch") or of TensorFlow ("tensorflow")."""
    shape = torch_shape(row, role)
    if layout == "torch" or len(shape) == 1:
        return shape
    return (*shape[2:], *reversed(shape[:2]))


def torch_shape(row, role):
    """Shape of the PyTorch tensor of one array."""
    if role != "weight" or row["kind"] in ("bn", "prelu"):
        return (row["out_channels"],)
    if row["kind"] == "conv":
        return (row["out_channels"], row["channels"] // row["groups"], row["kernel_height"], row["kernel_width"])
    return (row["out_channels"], row["channels"] * row["height"] * row["width"])


def from_torch(row, role, values):
    """PyTorch's axes to the file's: [filter, channel, y, x] to [y, x, channel, filter]; a linear layer's inputs from (channel,
    y, x) to (y, x, channel)."""
    if role == "weight" and row["kind"] == "conv":
        return np.ascontiguousarray(values.transpose(2, 3, 1, 0))
    if role == "weight" and row["kind"] == "fc":
        maps = values.reshape(len(values), row["channels"], row["height"], row["width"])
        return np.ascontiguousarray(maps.transpose(0, 2, 3, 1).reshape(len(values), -1))
    return values


def from_tensorflow(row, role, values):
    """TensorFlow's axes to the file's: a linear layer's [input, output] to [output, input]."""
    return np.ascontiguousarray(values.T if role == "weight" and row["kind"] == "fc" else values)


def to_torch(row, role, values):
    """The inverse of from_torch."""
    if role == "weight" and row["kind"] == "conv":
        return np.ascontiguousarray(values.transpose(3, 2, 0, 1))
    if role == "weight" and row["kind"] == "fc":
        maps = values.reshape(len(values), row["height"], row["width"], row["channels"])
        return np.ascontiguousarray(maps.transpose(0, 3, 1, 2).reshape(len(values), -1))
    return values


def with_our_epsilon(gamma, variance, eps):
    """(gamma, variance) that with the epsilon of the model file normalise as these do with `eps`."""
    wanted = variance.astype(np.float64) + eps
    ours = np.maximum(wanted - EPSILON, 0)
    factor = np.sqrt((ours + EPSILON) / wanted)
    return (gamma * factor).astype(np.float32), ours.astype(np.float32)
