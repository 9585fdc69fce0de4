"""Files of named tensors, read without the libraries that write them, and so that nothing in a file can run: .npz, .safetensors and
(torch_file.py) PyTorch's. Headers are held against the size of the file first, and a tensor's numbers are read when they are asked
for. Files of other kinds are named for what they are."""
import json
import math
import os
import struct
import zipfile

import h5py
import numpy as np

import torch_file
from model_file import Failure, shown
from tensors import BFLOAT16, Tensor, damage, decode, item_size

SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": BFLOAT16, "I64": "int64", "I32": "int32", "I16": "int16",
               "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool"}
MOST_HEADER = 16 << 20  # bytes of a safetensors header: some 100 for each tensor


def _npy_header(file):
    """(shape, whether Fortran order, dtype) at the start of a .npy file."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f".npy version {version[0]}.{version[1]}: no plain array")
    return (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)


def _npz_tensor(path, name, info):
    def opened():
        return zipfile.ZipFile(path).open(info)

    with damage(path, f"array '{shown(name)}'"):
        with opened() as file:
            shape, fortran, dtype = _npy_header(file)
            begin = file.tell()
        if dtype.hasobject or dtype.names or dtype.kind not in "fiub":
            raise ValueError(f"holds {dtype}, no numbers" + (" (Python objects are not read)" if dtype.hasobject else ""))
        size = math.prod(shape) * dtype.itemsize
        if info.file_size - begin != size:
            raise ValueError(f"{list(shape)} of {dtype} are {size} bytes, there are {info.file_size - begin}")

    def read():
        with damage(path, f"array '{shown(name)}'"), opened() as file:
            file.read(begin)
            data = file.read(size + 1)  # one more: the end, where zipfile compares its checksum
            if len(data) != size:
                raise ValueError(f"{list(shape)} of {dtype} are {size} bytes, there are {len(data)}")
            values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
            return np.ascontiguousarray(values.astype(dtype.newbyteorder("=")))

    return Tensor(shape, dtype.newbyteorder("=").name, read)


def read_npz(path):
    """{name: Tensor} of NumPy's archive, in its order."""
    if not os.path.isfile(path):
        raise Failure(f"{path}: no such file")
    with damage(path, "no .npz file of arrays"):
        members = [info for info in zipfile.ZipFile(path).infolist() if info.filename.endswith(".npy")]
    return {info.filename[:-4]: _npz_tensor(path, info.filename[:-4], info) for info in members}


def _once(pairs):
    """An object of JSON, whose names must differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _safetensors_tensor(path, name, entry, data, bytes_left):
    if not isinstance(entry, dict) or {"dtype", "shape", "data_offsets"} - entry.keys():
        raise ValueError(f"tensor '{name}': dtype, shape and data_offsets are not told")
    kind, shape, (begin, end) = SAFETENSORS.get(entry["dtype"]), entry["shape"], entry["data_offsets"]
    if not kind:
        raise ValueError(f"tensor '{name}' holds {entry['dtype']}, which is not read")
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(f"tensor '{name}': shape {shape}, offsets {begin} to {end}")
    if end - begin != math.prod(shape) * item_size(kind) or end > bytes_left:
        raise ValueError(f"tensor '{name}': {shape} of {entry['dtype']} at {begin} to {end} of {bytes_left} bytes")

    def read():
        with damage(path, f"tensor '{shown(name)}'"), open(path, "rb") as file:
            file.seek(data + begin)
            return decode(file.read(end - begin), kind).reshape(shape)

    return begin, end, Tensor(shape, kind, read)


def read_safetensors(path):
    """{name: Tensor}, in no order that tells anything."""
    with damage(path, "not a sound safetensors file"), open(path, "rb") as file:
        size = os.path.getsize(path)
        length = struct.unpack("<Q", file.read(8))[0]
        if length > min(size - 8, MOST_HEADER):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_once)
        except RecursionError:
            raise ValueError("its header is nested too deeply") from None
        header.pop("__metadata__", None)
        found = {name: _safetensors_tensor(path, name, entry, 8 + length, size - 8 - length) for name, entry in header.items()}
        last = 0
        for begin, end, name in sorted((begin, end, name) for name, (begin, end, _) in found.items()):
            if begin != last:
                raise ValueError(f"tensor '{name}' begins at byte {begin}, where the one before ends at {last}")
            last = end
        if last != size - 8 - length:
            raise ValueError(f"its tensors end at byte {last} of {size - 8 - length}")
    return {name: tensor for name, (_, _, tensor) in found.items()}


KERAS = "read it by analysis/import_keras.py"
SAVE = "where it was trained, save the state dict: torch.save(model.state_dict(), FILE)"
MAGICS = [  # bytes at the start, what such a file is and the way in
    (b"\x89HDF\r\n", f"HDF5; if Keras wrote it, {KERAS}"),
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself: git lfs pull fetches it"),
    (b"\x1f\x8b", "packed by gzip: unpack it first (gunzip, or tar -xzf)"),
    (b"BZh", "packed by bzip2: unpack it first"),
    (b"\xfd7zXZ", "packed by xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a rar archive: unpack it first"),
    (b"\x93NUMPY", "a single NumPy array: numpy.savez stores several, each under its tensor's name"),
    (b"GGUF", "a GGUF file, which holds no convolutional network"),
    (b"MATLAB", "a MATLAB file: scipy.io.loadmat reads it, numpy.savez writes .npz"),
]
ENDINGS = {  # of files without a magic number
    ".onnx": "ONNX: read it by analysis/import_onnx.py",
    ".caffemodel": "Caffe's: a converter to ONNX or PyTorch comes first (caffe2onnx, MMdnn)",
    ".pb": "TensorFlow's: tf2onnx converts it to ONNX, which analysis/import_onnx.py reads",
    ".ckpt": "a TensorFlow checkpoint: tf2onnx converts it to ONNX, which analysis/import_onnx.py reads",
    ".index": "a TensorFlow checkpoint: tf2onnx converts it to ONNX, which analysis/import_onnx.py reads",
    ".msgpack": "Flax's: numpy.savez stores its arrays, each under its path",
    ".params": "MXNet's: its ONNX export is read by analysis/import_onnx.py",
    ".weights": "Darknet's: its layers are not in the file; convert it to ONNX",
}


def _zip_kind(path, names):
    """What a zip archive is that holds neither PyTorch's tensors nor arrays."""
    if "config.json" in names and "model.weights.h5" in names:
        return f"Keras' (.keras): {KERAS}"
    inner = next((name for name in names if name.endswith((".pth", ".pt", ".safetensors", ".h5", ".onnx", ".keras"))), None)
    if inner:
        return f"a zip archive with {shown(inner)}: unpack it first"
    return f"a zip archive without tensors ({', '.join(map(shown, names[:3])) or 'empty'})"


def is_onnx(start):
    """Whether a file starts as a model of ONNX: its version below 32, then another of its fields."""
    return len(start) > 8 and start[0] == 8 and start[1] < 32 and start[2] in (0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42) and start[8] != ord("{")


def is_keras(path):
    """Whether it is HDF5 or an archive of Keras."""
    if h5py.is_hdf5(path):
        return True
    try:
        return {"config.json", "model.weights.h5"} <= set(zipfile.ZipFile(path).namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _other_kind(path, start, size):
    """What a file is that is none of those that are read."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page and not the file itself: download it anew"
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it first (PyTorch before 0.2 wrote such files, too: a later one reads and saves them anew)"
    if start[4:8] == b"TFL3":
        return "TensorFlow Lite's: read the network that it was made from, or its ONNX export by analysis/import_onnx.py"
    for magic, kind in MAGICS:
        if start.startswith(magic):
            return kind
    ending = os.path.splitext(path)[1].lower()
    if ending in ENDINGS:
        return ENDINGS[ending]
    if is_onnx(start):
        return ENDINGS[".onnx"]
    return f"no file of tensors that is known here ({size} bytes, the first {start[:8].hex(' ')})"


def read(path):
    """(what a PyTorch checkpoint holds: Tensors in dicts and lists; of other files a dict of Tensors; whether its order tells
    anything). The kind is told by the content."""
    if os.path.isdir(path):
        saved = os.path.exists(os.path.join(path, "saved_model.pb"))
        raise Failure(f"{path}: is a folder" + (f": TensorFlow's SavedModel, which {ENDINGS['.pb'].split(': ')[1]}" if saved else ""))
    if not os.path.isfile(path):
        raise Failure(f"{path}: no such file")
    with open(path, "rb") as file:
        start, size = file.read(1 << 12), os.path.getsize(path)
    if not size:
        raise Failure(f"{path}: is empty")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with damage(path, "a zip archive that is cut off or damaged"):
            names = zipfile.ZipFile(path).namelist()
        if torch_file.is_archive(names):
            return torch_file.read_archive(path), True
        if names and any(name.endswith(".npy") for name in names):
            return read_npz(path), True
        raise Failure(f"{path}: is {_zip_kind(path, names)}")
    if torch_file.is_pickle(start):
        return torch_file.read_legacy(path), True
    if start[8:9] == b"{":
        return read_safetensors(path), False
    raise Failure(f"{path}: is {_other_kind(path, start, size)}")
