"""analysis/pack.py: folders, tar and Parquet files become the same HDF5 file, which filterscope reads; killed, it goes on; what cannot be
decoded is named."""
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time

import h5py
import numpy as np

from common import BUILD, folder, run, skip

try:
    from PIL import Image
except ImportError:
    skip("no Pillow (Debian: python3-pil)")
sys.path.append(os.path.join(BUILD, "python"))  # where tests/run.sh puts pyarrow
try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    pyarrow = None
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis", "pack.py")
os.environ["PYTHONPATH"] = os.path.join(BUILD, "python")
os.chdir(folder())
random = np.random.default_rng(1)
NAMES = ["a cat", "döner", "z"]


def start(out, *words):
    command = [sys.executable, SCRIPT, "--out", out, "--size", "12x16", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pack(out, *words, expect=0):
    job = start(out, *words)
    said, error = job.communicate(timeout=120)
    assert job.returncode == expect and len(error.splitlines()) == expect, (said, error)
    assert os.path.exists(out) == (expect == 0)
    return said + error


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make(split, count):
    """The images as PNG in folders, a tar file and a Parquet file; returns what is to be packed, labels in turn."""
    images = [random.integers(0, 256, (12, 16, 3), dtype=np.uint8) for _ in range(count)]
    labels = [i % 3 for i in range(count)]
    with tarfile.open(f"{split}.tar", "w") as archive:
        for i, (image, label) in enumerate(zip(images, labels)):
            os.makedirs(f"{split}/{NAMES[label]}", exist_ok=True)
            with open(f"{split}/{NAMES[label]}/{i:04d}.png", "wb") as file:
                file.write(png(image))
            text = (".cls", str(label)) if i % 2 else (".json", json.dumps({"label": label}))
            for kind, content in ((".png", png(image)), (text[0], text[1].encode())):
                member = tarfile.TarInfo(f"part/{i:04d}{kind}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    if pyarrow:
        table = pyarrow.table({"image": [{"bytes": png(image), "path": None} for image in images], "label": labels})
        about = {"info": {"features": {"label": {"names": NAMES, "_type": "ClassLabel"}}}}
        pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), f"{split}.parquet", row_group_size=50)
    return np.array(images), np.array(labels)


train, test = make("train", 150), make("test", 30)
for kind in ("", ".tar", *([".parquet"] if pyarrow else [])):
    out = f"set{kind}.h5"
    pack(out, "--train", f"train{kind}", "--test", f"test{kind}")
    with h5py.File(out) as file:
        for split, (images, labels) in (("train", train), ("test", test)):
            assert np.array_equal(file[f"{split}_images"], images) and np.array_equal(file[f"{split}_labels"], labels), (kind, split)
        assert ("label_names" in file) == (kind != ".tar")
print("folders, tar" + (", Parquet" if pyarrow else "") + ": every pixel")

with open("net.txt", "w") as file:
    file.write("conv 4 3x3 stride 4\nrelu\nglobalavg\nfc K\n")
run(1, "train", "--arch", "net.txt", "--data", "hdf5:set.h5", "--data-memory", 0.00001, "--out", "m.h5", "--epochs", 1, "--batch", 30)
assert "döner" in run(1, "eval", "--model", "m.h5", "--data", "hdf5:set.h5").stdout

# Other sizes, and a share as test images, none of them in both.
Image.fromarray(np.repeat(np.repeat(train[0][0], 4, 0), 6, 1)).save(f"train/{NAMES[0]}/0000.png")
pack("share.h5", "--train", "train", "--test-share", 0.2, "--resize", "stretch", "--grey")
with h5py.File("share.h5") as file:
    assert file["train_images"].shape == (120, 12, 16, 1) and np.array_equal(np.bincount(file["test_labels"]), [10, 10, 10])
    both = np.concatenate([file["train_images"], file["test_images"]]).reshape(150, -1)
    assert len(np.unique(both, axis=0)) == 150

# Killed at some moments: goes on, to the same file.
kills, full = 0, ""
words = ["--train", "train.tar", "--test", "test.tar", "--save-every", 0]
while not os.path.exists("killed.h5"):
    job = start("killed.h5", *words)
    while kills < 3 and job.poll() is None:
        try:
            with h5py.File("killed.h5.part") as file:
                if file["packed"][0] > 40 * (kills + 1):
                    break
        except OSError:
            pass
        time.sleep(0.01)
    if kills < 3 and job.poll() is None:
        job.send_signal(signal.SIGSTOP)
        if kills == 1 and not os.path.exists("killed.h5"):
            said = run(1, "train", "--arch", "net.txt", "--data", "hdf5:killed.h5.part", "--out", "n.h5", expect=1).stderr
            assert "killed.h5.part: is not complete" in said, said
        job.send_signal(signal.SIGKILL)
        kills += 1
    said = job.communicate()[0]
    if kills == 1 and not full and not os.path.exists("killed.h5"):
        full = subprocess.run(job.args, capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))).stderr
        assert full == "pack.py: killed.h5.part: File too large\n", full
assert "goes on after" in said and kills > 0 and full, (kills, said)
with open("killed.h5", "rb") as left, h5py.File("set.tar.h5") as right, h5py.File("killed.h5") as file:
    assert np.array_equal(file["train_images"], right["train_images"]) and np.array_equal(file["packed"], right["packed"])
    offset = file["train_images"].id.get_offset() + 1000
assert subprocess.run([sys.executable, SCRIPT, "--verify", "killed.h5"], capture_output=True).returncode == 0
with open("killed.h5", "r+b") as file:
    file.seek(offset)
    byte = file.read(1)
    file.seek(offset)
    file.write(bytes([byte[0] ^ 1]))
assert "/train_images: CRC-32" in subprocess.run([sys.executable, SCRIPT, "--verify", "killed.h5"], capture_output=True, text=True).stderr
print(f"killed {kills} times: the same file")

with open(f"train/{NAMES[1]}/0004.png", "r+b") as file:
    file.truncate(100)
with open(f"train/{NAMES[2]}/0005.png", "wb") as file:
    file.write(b"no image")
said = pack("broken.h5", "--train", "train", "--test", "test", expect=1)
assert f"train/{NAMES[1]}/0004.png: " in said and f"train/{NAMES[2]}/0005.png: " in said and "2 of 180 images cannot be decoded" in said, said
pack("broken.h5", "--train", "train", "--test", "test", "--leave-out", "broken.h5.broken")
with h5py.File("broken.h5") as file:
    assert len(file["train_images"]) == 148
for words, says in ((["--train", "net.txt", "--test", "test"], "net.txt: no tar file"), (["--train", "none", "--test", "test"], "none: No such"),
                    (["--train", "train/z", "--test", "test"], "no train image")):
    assert says in pack("no.h5", *words, expect=1), words
print("what cannot be decoded or read is named")
