"""Files of tensors, read without PyTorch: the numbers that PyTorch wrote, in every form of file and tensor; nothing in a file runs, takes
memory that the file does not hold, or keeps the reader busy; other files are named for what they are."""
import argparse
import io
import json
import math
import os
import pickle
import resource
import struct
import sys
import time
import zipfile
from collections import OrderedDict

import numpy as np

from common import folder

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis"))
import tensor_files  # noqa: E402
from model_file import Failure  # noqa: E402
from tensors import Tensor  # noqa: E402

os.chdir(folder())
SECONDS, failures = 20, 0


def report(fine, *said):
    global failures
    failures += not fine
    print("ok  " if fine else "FAIL", *said)


def put(name, content):
    with open(name, "wb") as file:
        file.write(content)
    return name


def read(name):
    """The tree in a file, and of its tensors at the top the numbers."""
    tree, _ = tensor_files.read(name)
    return tree, {key: value.read() for key, value in tree.items() if isinstance(value, Tensor)} if isinstance(tree, dict) else {}


def refused(name, content, word):
    """Whether it ends soon in one line with `word`."""
    started, said = time.process_time(), "was read"
    try:
        read(put(name, content))
    except Failure as failure:
        said = str(failure)
    report(word in said and "\n" not in said and time.process_time() - started < SECONDS, said[:160])


def zipped(members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def pth(data, **storages):
    """What torch.save writes around a pickle."""
    return zipped({"m/data.pkl": data, "m/version": b"3\n", **{f"m/data/{key[1:]}": value for key, value in storages.items()}})


def legacy(data, keys=b"]."):
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join(head) + data + b"\x80\x02" + keys


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def npy(array, shape=None):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {**np.lib.format.header_data_from_array_1_0(array), "shape": shape or array.shape})
    return content.getvalue() + array.tobytes()


resource.setrlimit(resource.RLIMIT_AS, (6 << 30, resource.RLIM_INFINITY))  # PyTorch's libraries take most of it

# --- nothing runs, and nothing takes what the file does not hold
touch = b"cposix\nsystem\n(Vtouch ran\ntR."
FLOAT, REBUILD = b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n"


def integers(numbers):
    return b"(" + b"".join(b"I%d\n" % number for number in numbers) + b"t"


def tensor(count, offset, size, stride):
    """A pickled dict of one tensor in storage 0."""
    storage = b"(Vstorage\n" + FLOAT + b"V0\nVcpu\nI%d\ntQ" % count
    return b"\x80\x02}Va.weight\n" + REBUILD + b"(" + storage + b"I%d\n" % offset + integers(size) + integers(stride) + b"\x89NtRs."


for name, content in (("a.pth", pth(touch)), ("b.pth", legacy(touch)), ("c.pth", pth(b"\x80\x02cos\nsystem\nVtouch ran\n\x85R."))):
    tree, _ = read(put(name, content))
    report(getattr(tree, "name", "").endswith(".system") and not os.path.exists("ran"), f"{name}: a call is a name: {tree.name}")
doubled = b"\x80\x02]" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(200)) + b"."
for data, word in (
    (b"\x80\x02" + b"]" * (5 << 20) + b".", "steps"),
    (b"\x80\x02}q\0" + doubled[2:-1] + b"Vx\ns.", None),  # as a key it would be hashed for ever
    (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.", "no sound"),
    (b"\x80\x02\x8b\xff\xff\xff\x7f.", "no sound"),
    (b"\x80\x02Nr\xff\xff\xff\xff.", None),  # a place in the memo
    (b"\x80\x02]q\0h\0a.", None),  # holds itself
    (b"\x80\x02}Vx\nctorch\nSize\nh", "no sound"), (b"\x80\x02]" + b"\x85" * 300000 + b".", None),
    (b"\x80\x02.", "no sound"), (b"", "no sound"), (b"\x80\x02\x82\x01.", "no sound"), (b"\x80\x05\x97.", "no sound"),
):
    for name, content in (("bomb.pth", pth(data)), ("old.pth", legacy(data))):
        if word:
            refused(name, content, word)
            continue
        started = time.process_time()
        read(put(name, content))
        report(time.process_time() - started < SECONDS, f"{name}: ends")
four = np.arange(4, dtype="<f4").tobytes()
good = tensor(4, 0, [2, 2], [2, 1])
report((read(put("good.pth", pth(good, _0=four)))[1]["a.weight"] == [[0, 1], [2, 3]]).all(), "a tensor by hand")
swapped = zipped({"m/data.pkl": good, "m/byteorder": b"big", "m/data/0": np.arange(4, dtype=">f4").tobytes()})
report((read(put("big.pth", swapped))[1]["a.weight"] == [[0, 1], [2, 3]]).all(), "a big-endian machine's")
for numbers in ((4, 1, [2, 2], [2, 1]), (4, -1, [1], [1]), (4, 0, [2], [-1]), (4, 0, [1 << 62], [1 << 62]), (4, 0, [2, 2], [1]),
                (1 << 40, 0, [2], [1])):
    refused("view.pth", pth(tensor(*numbers), _0=four), "no sound PyTorch archive")
refused("gone.pth", pth(good), "storage 0")
refused("short.pth", pth(good, _0=four[:8]), "storage 0")
refused("packed.pth", zipped({"m/data.pkl": good, "m/data/0": four + bytes(1 << 20)}, zipfile.ZIP_DEFLATED), "larger than the file")
refused("cut.pth", pth(good, _0=four)[:-30], "cut off or damaged")
flipped = pth(good, _0=four)
refused("bit.pth", flipped.replace(four, four[:-1] + b"\1"), "Bad CRC-32")
wide = tensor(4, 0, [10**9, 10**9], [0, 0])
tree, _ = tensor_files.read(put("wide.pth", pth(wide, _0=four)))
report(tree["a.weight"].shape == (10**9, 10**9), "a view without end is only a shape")

refused("n.safetensors", safetensors({"a": entry("F32", [2], 0, 4)}, four), "at 0 to 4")
refused("n.safetensors", safetensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, four), "begins at byte 4")
refused("n.safetensors", safetensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 12, 16)}, four), "begins at byte 12")
refused("n.safetensors", safetensors({"a": entry("F32", [2], 0, 8)}, four), "end at byte 8 of 16")
refused("n.safetensors", safetensors({"a": entry("F32", [8], 0, 32)}, four), "of 16 bytes")
refused("n.safetensors", safetensors({"a": entry("F32", [-2, -2], 0, 16)}, four), "shape")
refused("n.safetensors", safetensors({"a": entry("F32", [1 << 40, 1 << 40], 0, 16)}, four), "of 16 bytes")
refused("n.safetensors", safetensors({"a": entry("F8_E4M3", [16], 0, 16)}, four), "F8_E4M3")
refused("n.safetensors", safetensors(b'{"a": {}, "a": {}}'), "twice")
refused("n.safetensors", safetensors({"a": "x"}, four), "'a': dtype, shape and data_offsets are not told")
refused("n.safetensors", safetensors(b'{"a":' + b"[" * 100000), "nested")
refused("n.safetensors", struct.pack("<Q", 1 << 62) + b"{}", "a header of")
bf16 = (np.array([1.5, -2, 0, 3e38], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
header = {"__metadata__": {"format": "pt"}, "a": entry("BF16", [2, 2], 0, 8), "b": entry("F16", [4], 8, 16), "c": entry("F64", [], 16, 24)}
_, arrays = read(put("b.safetensors", safetensors(header, bf16 + np.arange(4, dtype="<f2").tobytes() + struct.pack("<d", 0.1))))
a, b, c = arrays.values()
report(a[0].tolist() == [1.5, -2] and a.dtype == np.float32 and b.tolist() == [0, 1, 2, 3] and c == 0.1,
       "safetensors: bfloat16, float16, float64")

refused("n.npz", zipped({"a.npy": npy(np.zeros(4), (1 << 40,))}), "there are 32")
refused("n.npz", zipped({"a.npy": npy(np.zeros(1 << 20), (4,))}, zipfile.ZIP_DEFLATED), "are 32 bytes")
refused("n.npz", zipped({"a.npy": npy(np.zeros(4), (-4,))}), "a")
np.savez("objects.npz", a=np.array([{"a": 1}], dtype=object))
refused("n.npz", open("objects.npz", "rb").read(), "Python objects are not read")
np.savez("fortran.npz", a=np.asfortranarray(np.arange(6).reshape(2, 3)))
report((read("fortran.npz")[1]["a"] == np.arange(6).reshape(2, 3)).all(), "NumPy: Fortran's order")
zeros = zipped({"a.npy": npy(np.zeros(1 << 28, "u1"))}, zipfile.ZIP_DEFLATED)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tree, _ = tensor_files.read(put("zeros.npz", zeros))
report(tree["a"].shape == (1 << 28,) and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16,
       f"{len(zeros)} bytes that inflate to {1 << 28} are not inflated for their shape")

# --- what else people have
for name, content, word in (
    ("a.pth", b"", "is empty"), ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ("a.pth", b"\n<!DOCTYPE html><html>", "a web page"), ("a.pth", b"\x1f\x8b\x08\0", "gzip"),
    ("a.pth", bytes(257) + b"ustar\0", "a tar archive"),
    ("a.h5", b"\x89HDF\r\n\x1a\n", "import_keras.py"),
    ("a.keras", zipped({"config.json": b"{}", "model.weights.h5": b""}), "import_keras.py"),
    ("a.onnx", b"\x08\x07\x12\x07pytorch", "import_onnx.py"), ("a", b"\x08\x07\x12\x07pytorch", "import_onnx.py"),
    ("a.caffemodel", b"\x0a\x03net", "Caffe"), ("a.pb", b"\x0a\x03net", "TensorFlow"), ("a.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
    ("a.npy", b"\x93NUMPY\1\0", "numpy.savez"), ("a.zip", zipped({"x/model.pth": b""}), "unpack it first"), ("a.zip", zipped({}), "empty"),
    ("a.pkl", pickle.dumps({"a": [1]}), "a pickle of a dict of 1 that torch.save did not write"),
    ("a.pth", b"some text", "no file of tensors"),
    ("a.pkl", pickle.dumps(argparse.Namespace(a=1)), "class 'argparse.Namespace'"),
):
    refused(name, content, word)
os.makedirs("saved/variables")
put("saved/saved_model.pb", b"")
for name, word in (("saved", "SavedModel"), ("gone.pth", "no such file")):
    try:
        os.path.exists(name) and name == "gone.pth" and os.remove(name)
        read(name)
    except Failure as failure:
        report(word in str(failure), failure)

# --- what PyTorch writes
try:
    import torch
except ImportError:
    print("PyTorch is not installed: nothing that it writes was read")
    sys.exit(failures > 0)
base = torch.arange(60.).reshape(3, 4, 5)
parameter = torch.nn.Parameter(base.clone())
parameter.tag = 5
tensors = {
    "plain": base, "permuted": base.permute(2, 0, 1), "view": base[1:, ::2, 1:3], "expanded": torch.ones(1).expand(4, 5),
    "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "half": base.half(), "bfloat16": base.bfloat16(), "double": base.double(),
    "bool": torch.tensor([True, False]), "parameter": torch.nn.Parameter(base.clone()), "with state": parameter,
    **{name: torch.arange(5).to(getattr(torch, name)) for name in ("int64", "int32", "int16", "int8", "uint8")}}
beside = {"lr": np.float64(0.3), "array": np.arange(3), "size": base.shape, "device": torch.device("cpu"), "dtype": torch.float32,
          "set": {1, 2}, "namespace": argparse.Namespace(a=1), "complex": torch.zeros(2, dtype=torch.complex64),
          "sparse": torch.eye(3).to_sparse(), "big": 10**30, "nested": OrderedDict(a=base), ("a", 1): "pair", "acc": 91.2, "none": None,
          "function": math.prod, "random": torch.get_rng_state()}
for settings in ({}, {"pickle_protocol": 4}, {"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False},
                 {"_use_new_zipfile_serialization": False, "pickle_protocol": 4}):
    torch.save({**tensors, **beside}, "all.pth", **settings)
    tree, arrays = read("all.pth")
    for name, wanted in tensors.items():
        wanted = (wanted.float() if name == "bfloat16" else wanted).detach().numpy()
        report(arrays[name].dtype == wanted.dtype and arrays[name].shape == wanted.shape and (arrays[name] == wanted).all(), name, settings)
    report(tree["acc"] == 91.2 and tree["big"] == 10**30 and tree["lr"].name.endswith("multiarray.scalar"), "beside tensors", settings)
sys.exit(failures > 0)
