"""What torch.save wrote, zip archive or legacy, read without PyTorch: by an interpreter of pickles that knows tensors and plain
containers only. It calls nothing that a file names: a global is a name, and an object of a class that is not known here is a Foreign
with that class' name."""
import io
import os
import pickletools
import struct
import zipfile

import numpy as np

from model_file import Failure, shown
from tensors import BFLOAT16, Tensor, damage, decode, item_size

MOST_PICKLE = 32 << 20  # bytes; those of a state dict are some 200 for each tensor
MOST_STEPS = 2 << 20  # of its interpreter: some seconds and, at 64 bytes an object, 128 MiB
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
KINDS = {"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": BFLOAT16, "Long": "int64", "Int": "int32",
         "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "Untyped": "uint8",
         "ComplexFloat": "complex64", "ComplexDouble": "complex128", "QInt8": "int8", "QUInt8": "uint8", "QInt32": "int32"}
DTYPES = {"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"}
SAVE = "where it was trained, torch.save(model.state_dict(), FILE) saves what is needed"


class Global:
    """A name that a pickle refers to."""

    def __init__(self, name):
        self.name = name


class Foreign:
    """An object of another class: its name, and its state as far as that is plain."""

    def __init__(self, name):
        self.name, self.state = name, None


class Storage:
    """`count` numbers, whose bytes read() returns in this order ("<" or ">")."""

    def __init__(self, kind, count, read, order="<"):
        self.kind, self.count, self.read, self.order = kind, count, read, order


def _sizes(numbers, what):
    if not isinstance(numbers, tuple) or len(numbers) > 64 or not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        raise ValueError(f"a tensor's {what} is no list of sizes")
    return numbers


def _tensor(storage, offset, size, stride, *rest, kind=None):
    """A view of a storage, offset and strides in elements."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    size, stride, (offset,) = _sizes(size, "size"), _sizes(stride, "stride"), _sizes((offset,), "offset")
    kind = kind or storage.kind
    count = storage.count * item_size(storage.kind) // item_size(kind)
    extent = sum((s - 1) * t for s, t in zip(size, stride)) + 1 if 0 not in size else 0
    if len(size) != len(stride) or offset + extent > count:
        raise ValueError(f"a tensor {list(size)} of strides {list(stride)} from {offset} on in {count} numbers")

    def read():
        data = storage.read()[offset * item_size(kind):][:extent * item_size(kind)]
        values = decode(data, kind, storage.order)
        steps = [step * values.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(values, size, steps).copy()

    return Tensor(size, kind, read)


def _tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, *rest):
    kind = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else None
    if kind not in DTYPES:
        return Foreign(f"tensor of {kind}")
    return _tensor(storage, offset, size, stride, kind=kind)


def _of_subclass(function, subclass, arguments, state):
    return _call(function, arguments)


def _ordered(pairs=()):
    return {_key(key): value for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


KNOWN = {
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": lambda *factory: {},
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": lambda data, *rest: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *rest: data,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda data, *rest: data,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    "torch._tensor._rebuild_from_type": _of_subclass,
    "torch.tensor._rebuild_from_type": _of_subclass,
    "torch.Size": lambda sizes: sizes,
}


def _call(function, arguments):
    name = function.name if isinstance(function, Global) else f"result of {getattr(function, 'name', 'a constant')}"
    if name in ("copyreg._reconstructor", "copy_reg._reconstructor") and isinstance(arguments[0], Global):
        name = arguments[0].name
    return KNOWN[name](*arguments) if name in KNOWN else Foreign(name)


def _key(key):
    """Names, numbers and the like; others would be compared and hashed part by part, which takes a hostile file for ever."""
    return key if key is None or isinstance(key, (str, int, float, bytes)) else Foreign(type(key).__name__)


class Machine:
    """Interprets one pickle after another from a stream. `load` returns the storage for a persistent id."""

    def __init__(self, load):
        self.load, self.steps = load, 0

    def run(self, stream):
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(stream):
            self.spend(1)
            if opcode.name in PUSHED:
                self.stack.append(argument)
            elif opcode.name in CONSTANTS:
                self.stack.append(CONSTANTS[opcode.name]())
            elif opcode.name in STEPS:
                STEPS[opcode.name](self, argument)
            elif opcode.name not in ("PROTO", "FRAME", "STOP"):
                raise ValueError(f"{opcode.name} is not read")
        return self.stack.pop()

    def spend(self, steps):
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise ValueError(f"more than {MOST_STEPS} steps: no state dict takes so many")

    def since_mark(self):
        begin = self.marks.pop()
        items = self.stack[begin:]
        del self.stack[begin:]
        return items

    def drop(self, argument):
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def top(self, count):
        items = self.stack[len(self.stack) - count:]
        del self.stack[len(self.stack) - count:]
        if len(items) < count:
            raise ValueError("it takes more than there is")
        return items

    def extend(self, items):
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def update(self, items):
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update((_key(key), value) for key, value in zip(items[0::2], items[1::2]))

    def dictionary(self, argument):
        items = self.since_mark()
        self.stack.append({})
        self.update(items)

    def call(self, argument):
        function, arguments = self.top(2)
        if not isinstance(arguments, tuple):
            raise ValueError("arguments that are no tuple")
        self.spend(sum(len(argument) for argument in arguments if isinstance(argument, (dict, list, tuple))))
        self.stack.append(_call(function, arguments))

    def call_with_names(self, argument):
        self.top(1)
        self.call(argument)

    def build(self, argument):
        (state,) = self.top(1)
        if isinstance(self.stack[-1], Foreign):
            self.stack[-1].state = state

    def make(self, argument):
        """An object of the oldest protocols."""
        items = self.since_mark()
        self.stack.append(Foreign(argument.replace(" ", ".") if argument else getattr(items[0], "name", "?")))

    def name(self, argument):
        module, name = argument.split(" ", 1) if argument else self.top(2)
        self.stack.append(Global(f"{module}.{name}"))

    def keep(self, argument):
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def persistent(self, argument):
        self.stack.append(self.load(self.top(1)[0] if argument is None else argument))


PUSHED = {"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
          "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
          "BYTEARRAY8"}
CONSTANTS = {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
             "EMPTY_DICT": dict, "EMPTY_SET": list}  # a set's members are never looked at
STEPS = {
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "LIST": lambda m, a: m.stack.append(m.since_mark()),
    "FROZENSET": lambda m, a: m.stack.append(m.since_mark()),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.stack.append(tuple(m.top(1))),
    "TUPLE2": lambda m, a: m.stack.append(tuple(m.top(2))),
    "TUPLE3": lambda m, a: m.stack.append(tuple(m.top(3))),
    "DICT": Machine.dictionary,
    "APPEND": lambda m, a: m.extend(m.top(1)),
    "APPENDS": lambda m, a: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, a: m.extend(m.since_mark()),
    "SETITEM": lambda m, a: m.update(m.top(2)),
    "SETITEMS": lambda m, a: m.update(m.since_mark()),
    "POP": Machine.drop,
    "POP_MARK": lambda m, a: m.since_mark(),
    "DUP": lambda m, a: m.stack.append(m.stack[-1]),
    "PUT": Machine.keep, "BINPUT": Machine.keep, "LONG_BINPUT": Machine.keep, "MEMOIZE": Machine.keep,
    "GET": lambda m, a: m.stack.append(m.memo[a]),
    "BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "GLOBAL": Machine.name, "STACK_GLOBAL": Machine.name, "INST": Machine.make, "OBJ": Machine.make,
    "REDUCE": Machine.call, "NEWOBJ": Machine.call, "NEWOBJ_EX": Machine.call_with_names, "BUILD": Machine.build,
    "PERSID": Machine.persistent, "BINPERSID": Machine.persistent,
}


def _storage_id(identity):
    """(kind, key, count, view) of a persistent id ("storage", type, key, device, count[, view])."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage" or not isinstance(identity[1], Global):
        raise ValueError("a persistent id that is no storage's")
    name = identity[1].name.rpartition(".")[2]
    kind = KINDS.get(name.removesuffix("Storage"))
    if not kind:
        raise ValueError(f"storage of {shown(identity[1].name)}, which is not read")
    return kind, str(identity[2]), _sizes((identity[4],), "count")[0], identity[5] if len(identity) > 5 else None


def is_archive(names):
    """Whether the members of a zip archive are those of torch.save."""
    return any(name.endswith("/data.pkl") and name.count("/") == 1 for name in names)


class Archive:
    """The zip archive ROOT/data.pkl, ROOT/byteorder, ROOT/data/KEY: a member a storage, never compressed."""

    def __init__(self, path):
        self.path, self.zip = path, zipfile.ZipFile(path)
        self.members = {info.filename: info for info in self.zip.infolist()}
        self.root = next(name for name in self.members if name.endswith("/data.pkl")).partition("/")[0]
        held = [info.file_size for name, info in self.members.items() if name.startswith((f"{self.root}/data/", f"{self.root}/data.pkl"))]
        if sum(held) > os.path.getsize(path):
            raise ValueError("its members are larger than the file: compressed, which torch.save does not do, or overlapping")
        self.order = ">" if f"{self.root}/byteorder" in self.members and self.member("byteorder") == b"big" else "<"
        self.last = None, b""  # several tensors may share a storage

    def member(self, name):
        info = self.members.get(f"{self.root}/{name}")
        if not info:
            raise ValueError(f"no member {self.root}/{name}: incomplete")
        if not info.CRC:
            info.CRC = None  # torch.serialization.set_crc32_options(False)
        return self.zip.read(info)

    def storage(self, identity):
        kind, key, count, view = _storage_id(identity)
        info = self.members.get(f"{self.root}/data/{key}")
        if not info or info.file_size != count * item_size(kind) or view:
            raise ValueError(f"storage {key} has {count} numbers of {kind}, its member {info.file_size if info else 'no'} bytes")

        def read():
            with damage(self.path, f"storage {shown(key)}"):
                if self.last[0] != key:
                    self.last = key, self.member(f"data/{key}")
            return self.last[1]

        return Storage(kind, count, read, self.order)


def read_archive(path):
    """What a zip archive by torch.save holds: Tensors, Foreigns and plain values in dicts, lists and tuples."""
    with damage(path, "no sound PyTorch archive"):
        archive = Archive(path)
        if archive.members[f"{archive.root}/data.pkl"].file_size > MOST_PICKLE:
            raise ValueError(f"a pickle of more than {MOST_PICKLE} bytes")
        return Machine(archive.storage).run(io.BytesIO(archive.member("data.pkl")))


def is_pickle(start):
    return len(start) > 2 and start[0] == 0x80 and 2 <= start[1] <= 5


class Legacy:
    """Five pickles (magic number, protocol, system, the object, keys of storages), then each storage: its count in 8 bytes, and its
    numbers, which PyTorch writes little-endian on any machine."""

    def __init__(self, path):
        self.path, self.size = path, os.path.getsize(path)
        self.counts, self.places = {}, {}

    def storage(self, identity):
        if isinstance(identity, tuple) and identity[:1] == ("module",):  # a pickled module: its class, and its source text
            return identity[1]
        kind, key, count, view = _storage_id(identity)
        if self.counts.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"storage {key} comes with several sizes")
        first = 0
        if view:
            first, count = _sizes(tuple(view[1:]), "view")
            if first + count > self.counts[key][1]:
                raise ValueError(f"a view of {count} numbers from {first} on in storage {key}")

        def read():
            with damage(self.path, f"storage {shown(key)}"), open(self.path, "rb") as file:
                file.seek(self.places[key] + first * item_size(kind))
                return file.read(count * item_size(kind))

        return Storage(kind, count, read)

    def find_storages(self, file, keys):
        for key in map(str, keys):
            kind, count = self.counts[key]
            number, place = struct.unpack("<q", file.read(8))[0], file.tell()
            end = place + count * item_size(kind)
            if number != count or end > self.size:
                raise ValueError(f"storage {key} has {number} numbers of {count}, and ends at byte {end} of {self.size}")
            self.places[key] = place
            file.seek(end)
        if set(self.places) != set(self.counts):
            raise ValueError(f"storage {next(iter(set(self.counts) - set(self.places)))} is missing")


def read_legacy(path):
    """read_archive() of a file that PyTorch before 1.6, or with _use_new_zipfile_serialization=False, wrote."""
    with damage(path, "no sound pickle by torch.save"), open(path, "rb") as file:
        legacy = Legacy(path)
        machine, stream = Machine(legacy.storage), io.BytesIO(file.read(MOST_PICKLE))
        magic = machine.run(stream)
        if magic != LEGACY_MAGIC:
            raise Failure(f"{path}: is a pickle of {describe(magic)} that torch.save did not write, and pickles can run code: {SAVE}, or "
                          "numpy.savez(FILE, **{name: array, ...}) the arrays")
        protocol, _, found, keys = (machine.run(stream) for _ in range(4))
        if protocol != LEGACY_PROTOCOL or not isinstance(keys, list):
            raise ValueError(f"protocol {protocol if isinstance(protocol, int) else '?'}")
        file.seek(stream.tell())
        legacy.find_storages(file, keys)
        return found


def describe(value):
    """What a value is, for messages."""
    if isinstance(value, Foreign):
        return f"class '{shown(value.name)}'"
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
