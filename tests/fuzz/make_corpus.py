"""Writes seed inputs for the fuzzers: make_corpus.py FOLDER; their formats are at the top of each fuzz_*.c."""
import gzip
import os
import struct
import sys


def put(target, *inputs):
    os.makedirs(f"{sys.argv[1]}/{target}", exist_ok=True)
    for number, data in enumerate(inputs):
        with open(f"{sys.argv[1]}/{target}/seed{number:02}", "wb") as file:
            file.write(data)


def two_files(flags, first, second):
    return struct.pack("<BH", flags, len(first)) + first + second


def idx(sizes, data):
    return struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes) + data


images, labels = idx((3, 4, 4), bytes(range(48))), idx((3,), bytes((0, 1, 1)))
mnist = idx((2, 28, 28), bytes(2 * 784))
put("idx", two_files(0, images, labels), two_files(3, gzip.compress(images), gzip.compress(labels)),
    two_files(1, gzip.compress(images), labels), two_files(0, mnist, idx((2,), bytes((1, 0)))), two_files(0, images[:20], labels),
    two_files(0, idx((1 << 31, 1 << 15, 1 << 15), b""), labels))
names = b"".join(b"label%d\n" % k for k in range(10))
put("cifar", two_files(0, names, bytes((3,)) + bytes(3072)), two_files(0, b"", bytes((10,)) + bytes(3072)),
    two_files(0, "".join(f"K\u00e4fer{k}\r\n" for k in range(10)).encode("utf-8-sig"), bytes((3,)) + bytes(3072)),
    two_files(0, names.decode().encode("utf-16"), bytes((3,)) + bytes(3072)),
    two_files(1, b"".join(b"fine%d\n" % k for k in range(100)), bytes((1, 99)) + bytes(3072)), two_files(1, names, bytes(100)))
put("arch", b"input 32x32x3\nconv 32 5x5 stride 2 bias\nrelu\nconv 64 3x3 pad 1  # comment\nbn\nrelu\nglobalavg\nfc K bias\n",
    b"conv 4 3 pad 1\nmaxpool 2x2 stride 1x2 pad 1 floor\navgpool 2 floor\ndropout 0.5\nflatten\nfc 8\nbn\nrelu\nfc K\n",
    b"input 9x8x3 as images\nconv 4 3x3 pad same groups 1 as a\nprelu\nconv 4 1x3 dilation 1x2 pad 0x0x2x2\nadd a\nhardsigmoid 0.2\n"
    b"from images\nconv 4 1x1 as c\nconcat here c a\nleakyrelu 0.1\nsilu probe as d\nglobalavg\nsigmoid\nscale d\nfc K\n",
    b"conv 4 3x3 as a\nsubsample 2x1\nzeropad channels 1 2\navgpool 3 stride 1 pad 1x0x0x2 ceil inside\nmaxpool 2 pad same\nelu 0.5\n"
    b"relu6\ngelu\ntanh\nhardswish\nhardsigmoid\nfc K bias\n",
    b"conv K 1x1\nglobalmax\n", b"conv 99999999999 0x0 stride -1 pad 1e9\nfc\n")
put("groups", b"\xef\xbb\xbf# some\r\n\r\n1 0 2 # a comment\r\nfc1 299 0 17\n\t12  11\nconv1 1", b"1 0\r12 3\r", b"2 1\n", b"1 0 0\n",
    b"conv1 99999999999\n", "1 0\n".encode("utf-16"))
# What is edited depends on the number of datasets and attributes: one record for each of the first 96.
edits = [b""] + [struct.pack("<BBI8s", what, 3, 0, value) for what in range(96) for value in (b"\xff" * 8, b"\1\0\0\0\0\0\0\0")]
# A damaged layout, on reading which HDF5 1.10 crashed.
edits.append(bytes.fromhex("3c033c002758585858585858585858626174010000000058585858583b6000006000030000002b00001f0300"))
for target in ("hdf5", "model", "results"):
    put(target, *edits)
