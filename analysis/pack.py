"""Images of a folder, of WebDataset tar files or of Parquet files as one HDF5 file, which filterscope reads as hdf5:FILE.

    python3 analysis/pack.py --train photos --test-share 0.1 --size 64x64 --out photos.h5
    python3 analysis/pack.py --train imagenet/train --test imagenet/val --size 64x64 --out imagenet64.h5
    python3 analysis/pack.py --train shard-0000.tar shard-0001.tar --test test.tar --size 32x32 --out set.h5
    python3 analysis/pack.py --train train-00000-of-00001.parquet --test test-00000-of-00001.parquet --size 32x32 --out set.h5

A folder has a folder of images a label, whose names are the labels, in order. A tar file has, for each image, NAME.jpg, .jpeg, .png, .webp
or .bmp and NAME.cls (a number) or NAME.json (its member "label" or "cls"). A Parquet file has, as of Hugging Face, a column of images
("image", "img": their bytes, or a struct with "bytes") and one of labels ("label", "fine_label"). Killed at any moment, the same command
goes on. What is at the name --out is whole."""
import argparse
import concurrent.futures
import hashlib
import io
import itertools
import json
import os
import re
import struct
import tarfile
import time
import zlib

import h5py
import numpy as np

from filterscope_output import naming, run_main

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
AHEAD = 512  # images on their way between reading and writing
PROGRESS = struct.Struct("<5Q")  # /packed: images that are done; CRC-32 of training and of test images; key of the sources; 1: complete


def needs(module, package):
    try:
        return __import__(module, fromlist=["x"])
    except ImportError:
        raise ImportError(f"{package} is needed here: pip install {package}, or Debian's python3-{package.lower()}, if it has that") from None


class Folder:
    """A folder of images a label."""

    def __init__(self, path):
        self.names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
        self.entries = []
        for label, name in enumerate(self.names):
            for folder, folders, files in os.walk(os.path.join(path, name)):
                folders.sort()
                self.entries += [(label, os.path.join(folder, file)) for file in sorted(files) if file.lower().endswith(IMAGES)]
        counts = [itertools.count() for _ in self.names]
        self.entries.sort(key=lambda entry: (next(counts[entry[0]]), entry[0]))  # in turn: the first N images have all labels
        self.labels = [label for label, _ in self.entries]
        self.titles = [path for _, path in self.entries]

    def read(self, first):
        for _, path in self.entries[first:]:
            yield lambda path=path: open(path, "rb").read()


class Tar:
    """A WebDataset tar file."""

    def __init__(self, path):
        self.path, self.names, images, labels = path, None, {}, {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    stem, dot, kind = os.path.basename(member.name).partition(".")
                    stem, kind = os.path.join(os.path.dirname(member.name), stem), f".{kind.lower()}"
                    if not member.isfile() or not dot:
                        continue
                    if kind in IMAGES:
                        images[stem] = (member.name, member.offset_data, member.size)
                    elif kind in (".cls", ".json"):
                        labels.setdefault(stem, self._label(member.name, kind, archive.extractfile(member).read()))
        except tarfile.TarError as error:
            raise ValueError(f"{path}: no tar file, or a packed or damaged one (unpack .tar.gz first): {error}") from None
        missing = next((name for stem, (name, _, _) in images.items() if labels.get(stem) is None), None)
        if missing:
            raise ValueError(f"{path}: {missing}: has neither a .cls nor a .json with a label beside it")
        self.places = list(images.values())
        self.labels = [labels[stem] for stem in images]
        self.titles = [f"{path}: {name}" for name, _, _ in self.places]

    def _label(self, name, kind, text):
        try:
            value = json.loads(text)
            if kind == ".json":
                value = next((value[key] for key in ("label", "cls") if key in value), None)
            return None if value is None else whole(value)
        except (ValueError, TypeError):
            raise ValueError(f"{self.path}: {name}: has no label, a whole number from 0") from None

    def read(self, first):
        def part(offset, size):
            with open(self.path, "rb") as file:
                return os.pread(file.fileno(), size, offset)
        for _, offset, size in self.places[first:]:
            yield lambda offset=offset, size=size: part(offset, size)


class Parquet:
    """A Parquet file with bytes of images, as of Hugging Face."""

    def __init__(self, path):
        self.path, self.names = path, None
        parquet, arrow = needs("pyarrow.parquet", "pyarrow"), needs("pyarrow", "pyarrow")
        try:
            self.file = parquet.ParquetFile(path)
        except (arrow.ArrowException, OSError) as error:
            raise ValueError(f"{path}: no Parquet file: {error}") from None
        columns = self.file.schema_arrow.names
        self.image = next((name for name in ("image", "img") if name in columns), None)
        label = next((name for name in ("label", "fine_label", "labels", "cls") if name in columns), None)
        if not self.image or not label:
            raise ValueError(f"{path}: has columns {', '.join(columns)}: expected image or img, and label or fine_label")
        self.labels = [whole(value) for value in self.file.read(columns=[label])[label].to_pylist()]
        about = json.loads((self.file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        self.names = about.get("info", {}).get("features", {}).get(label, {}).get("names")
        self.titles = [f"{path}: row {row}" for row in range(len(self.labels))]

    def read(self, first):
        for group in range(self.file.num_row_groups):
            rows = self.file.metadata.row_group(group).num_rows
            if first >= rows:
                first -= rows
                continue
            for batch in self.file.iter_batches(batch_size=64, row_groups=[group], columns=[self.image]):
                for value in batch.column(0).to_pylist()[first:]:
                    yield lambda value=value: value["bytes"] if isinstance(value, dict) else value
                first = max(0, first - len(batch))


def whole(value):
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 65535:
        raise ValueError(f"label {value!r}: expected a whole number from 0 to 65534")
    return value


def sources(paths):
    """What is at the paths: folders of labels, tar and Parquet files, folders of these."""
    for path in paths:
        inside = sorted(os.listdir(path)) if os.path.isdir(path) else []
        parts = [name for name in inside if name.endswith((".tar", ".parquet"))]
        if parts:
            yield from sources([os.path.join(path, name) for name in parts])
        elif os.path.isdir(path):
            yield Folder(path)
        else:
            yield (Parquet if path.endswith(".parquet") else Tar)(path)


class Split:
    """The images of some sources, one behind the other."""

    def __init__(self, found, left_out):
        self.found = found
        self.titles = [title for source in found for title in source.titles]
        self.labels = [label for source in found for label in source.labels]
        self.keeps = [title not in left_out for title in self.titles]

    def read(self, first):
        for source in self.found:
            if first < len(source.labels):
                yield from source.read(first)
            first = max(0, first - len(source.labels))


def choose_tests(split, share):
    """1 for the images that become test images: a share of each label's, by a hash of their place."""
    ranks = {}
    for i, (label, keeps) in enumerate(zip(split.labels, split.keeps)):
        if keeps:
            ranks.setdefault(label, []).append((hashlib.sha256(f"{label} {len(ranks.get(label, ()))}".encode()).digest(), i))
    chosen = [False] * len(split.labels)
    for images in ranks.values():
        for _, i in sorted(images)[:round(share * len(images))]:
            chosen[i] = True
    return chosen


def find_names(found):
    """The labels' names, which all sources that have any agree on, or None."""
    names = [source.names for source in found if source.names]
    if any(other != names[0] for other in names[1:]):
        raise ValueError("training and test images have other labels: " + ", ".join(sorted(set(names[0]) ^ set(sum(names[1:], [])))[:5]))
    return names[0] if names else None


def decode(read, title, height, width, mode, resize):
    """uint8 [height][width][channels] of an encoded image; a text instead where it is none."""
    from PIL import Image, ImageOps
    try:
        with Image.open(io.BytesIO(read())) as image:
            if image.mode[0] in "IF":
                return f"{title}: has more than 8 bits a channel"
            image = ImageOps.exif_transpose(image).convert(mode)
            if image.size != (width, height):
                how = {"crop": ImageOps.fit, "stretch": Image.Image.resize, "pad": ImageOps.pad}[resize]
                image = how(image, (width, height), Image.BICUBIC)
            return np.asarray(image, np.uint8).tobytes()
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, Image.DecompressionBombError) as error:
        return f"{title}: {error}"


def create(path, splits, names, shape, key):
    """A file with all its places, none of them filled."""
    with naming(path), h5py.File(path, "w", libver="earliest") as file:
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        for split, labels in splits.items():
            space = h5py.h5s.create_simple((len(labels), *shape))
            h5py.h5d.create(file.id, f"{split}_images".encode(), h5py.h5t.STD_U8LE, space, early)
            file[f"{split}_labels"] = np.array(labels, np.uint16)
        if names:
            file["label_names"] = np.array([name.encode() for name in names], "S")
        file["packed"] = np.array((0, 0, 0, key, 0), "<u8")


def places(path, splits):
    with h5py.File(path, "r") as file:
        return {split: file[f"{split}_images"].id.get_offset() for split in splits}, file["packed"].id.get_offset()


class Packed:
    """The file while it is being filled: bytes go to fixed places only, so that a kill leaves what was recorded before."""

    def __init__(self, path, splits, bytes_of_image):
        self.offset, self.record = places(path, splits)
        self.path, self.file, self.size = path, os.open(path, os.O_RDWR), bytes_of_image
        self.done, train, test, self.key, _ = PROGRESS.unpack(os.pread(self.file, PROGRESS.size, self.record))
        self.crc, self.saved = {"train": train, "test": test}, time.monotonic()

    def put(self, split, row, pixels):
        self.write_at(self.offset[split] + row * self.size, pixels)
        self.crc[split] = zlib.crc32(pixels, self.crc[split])

    def save(self, complete=0):
        self.sync()
        self.write_at(self.record, PROGRESS.pack(self.done, self.crc["train"], self.crc["test"], self.key, complete))
        self.sync()
        self.saved = time.monotonic()

    def sync(self):
        with naming(self.path):
            os.fsync(self.file)

    def write_at(self, offset, data):
        view = memoryview(data)
        with naming(self.path):
            while view:
                count = os.pwrite(self.file, view, offset)
                view, offset = view[count:], offset + count


def in_order(pool, jobs):
    """Results of pool.submit(*job) in the order of the jobs, with AHEAD of them on their way."""
    waiting = [pool.submit(*job) for job in itertools.islice(jobs, AHEAD)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(*job) for job in itertools.islice(jobs, 1)]


def tell(done, all_images, begun, started, last):
    now = time.monotonic()
    if now - last < 5 and done < all_images:
        return last
    rate = (done - begun) / max(now - started, 1e-3)
    print(f"pack.py: {done} of {all_images} images, {rate:.0f} images/s, {(all_images - done) / max(rate, 1e-3):.0f} s left", flush=True)
    return now


def note_broken(options, title, message):
    print(f"pack.py: {message}", flush=True)
    with open(f"{options.out}.broken", "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{title}\n")


def fill(packed, plan, options):
    """Decodes what isn't there yet; what cannot be decoded is named, and goes to OUT.broken."""
    height, width = options.size
    mode, last = "L" if options.grey else "RGB", 0
    total, begun, started = sum(len(part) for _, part in plan), packed.done, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        skipped = 0
        for split, part in plan:
            first = min(max(packed.done - skipped, 0), len(part))
            skipped += len(part)
            jobs = ((decode, read, title, height, width, mode, options.resize) if to else (str,)
                    for read, title, (to, _) in zip(split.read(first), split.titles[first:], part[first:]))
            for pixels, (to, row), title in zip(in_order(pool, jobs), part[first:], split.titles[first:]):
                if to and isinstance(pixels, str):
                    note_broken(options, title, pixels)
                elif to:
                    packed.put(to, row, pixels)
                packed.done += 1
                if time.monotonic() - packed.saved > options.save_every:
                    packed.save()
                last = tell(packed.done, total, begun, started, last)


def make_plan(options, left_out):
    """[(Split, [(split, row) of each image])], {split: labels}, names."""
    train = Split(list(sources(options.train)), left_out)
    test = Split(list(sources(options.test)), left_out) if options.test else None
    chosen = choose_tests(train, options.test_share) if not test else [False] * len(train.labels)
    labels, plan = {"train": [], "test": []}, []
    for split, tests in ((train, chosen), (test, [True] * len(test.labels) if test else None)):
        if not split:
            continue
        part = []
        for label, is_test, keeps in zip(split.labels, tests, split.keeps):
            to = ("test" if is_test else "train") if keeps else None
            part.append((to, len(labels[to]) if to else 0))
            if to:
                labels[to].append(label)
        plan.append((split, part))
    empty = next((split for split in labels if not labels[split]), None)
    if empty:
        raise ValueError(f"no {empty} image: nothing in {', '.join(options.test if empty == 'test' and test else options.train)}")
    return plan, labels, find_names(train.found + (test.found if test else []))


def key_of(options, plan):
    """64 bits of what the file depends on."""
    summed = hashlib.sha256(repr((options.size, options.resize, options.grey)).encode())
    for split, part in plan:
        for title, label, place in zip(split.titles, split.labels, part):
            summed.update(f"{title}\0{label}\0{place}\n".encode("utf-8", "surrogateescape"))
    return int.from_bytes(summed.digest()[:8], "little")


def read_names(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return set(file.read().splitlines())


def sync_folder(path):
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def verify(path):
    """Whether the images are those that were packed."""
    with h5py.File(path, "r") as file:
        record = file["packed"][:] if "packed" in file else ()
        if len(record) != 5 or not record[4]:
            raise ValueError(f"{path}: " + ("is not complete: the command that began it goes on" if len(record) == 5 else "was not packed here"))
        for split, wanted in (("train", record[1]), ("test", record[2])):
            images, crc = file[f"{split}_images"], 0
            for first in range(0, len(images), 1000):
                crc = zlib.crc32(images[first:first + 1000], crc)
            if crc != wanted:
                raise ValueError(f"{path}: /{split}_images: CRC-32 {crc:08x} where {int(wanted):08x} was packed: it is damaged")
    print(f"pack.py: {path}: whole")


def pack(options):
    needs("PIL", "Pillow")
    if os.path.exists(options.out):
        raise ValueError(f"{options.out}: is there already")
    left_out = read_names(options.leave_out) if options.leave_out else set()
    plan, labels, names = make_plan(options, left_out)
    shape = (*options.size, 1 if options.grey else 3)
    part, key, size = f"{options.out}.part", key_of(options, plan), int(np.prod(shape))
    if not os.path.exists(part):
        create(f"{part}.new", labels, names, shape, key)
        os.replace(f"{part}.new", part)
    packed = Packed(part, labels, size)
    if packed.key != key:
        raise ValueError(f"{part}: was begun with other sources or settings: go on with these, or remove it")
    if packed.done:
        print(f"pack.py: goes on after {packed.done} images", flush=True)
    fill(packed, plan, options)
    broken = read_names(f"{options.out}.broken") - left_out if os.path.exists(f"{options.out}.broken") else ()
    if broken:
        os.remove(part)
        raise ValueError(f"{len(broken)} of {packed.done} images cannot be decoded: --leave-out {options.out}.broken packs the others")
    packed.save(complete=1)
    os.rename(part, options.out)
    sync_folder(options.out)
    print(f"pack.py: {options.out}: {len(labels['train'])} training and {len(labels['test'])} test images of "
          f"{shape[0]}x{shape[1]}x{shape[2]}, {len(set(labels['train']))} labels")


def read_size(text):
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not all(1 <= int(side) <= 512 for side in found.groups()):
        raise argparse.ArgumentTypeError(f"'{text}' is no HEIGHTxWIDTH of 1 to 512 each")
    return tuple(map(int, found.groups()))


def read_share(text):
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verify", metavar="FILE", help="nothing is packed: are the images of this file those that were?")
    parser.add_argument("--train", nargs="+", metavar="SOURCE", help="folders, tar or Parquet files, or folders of these")
    tests = parser.add_mutually_exclusive_group()
    tests.add_argument("--test", nargs="+", metavar="SOURCE", help="the same, of test images")
    tests.add_argument("--test-share", type=read_share, metavar="SHARE", help="of each label's training images, which become test images")
    parser.add_argument("--out", metavar="FILE", help="a new file")
    parser.add_argument("--size", type=read_size, metavar="HxW", help="of all images")
    parser.add_argument("--resize", choices=("crop", "stretch", "pad"), default="crop",
                        help="of other sizes: the largest middle part of that shape, all of it with its shape changed, or with black "
                        "borders; then bicubic (crop)")
    parser.add_argument("--grey", action="store_true", help="one channel (three: red, green, blue)")
    parser.add_argument("--leave-out", metavar="FILE", help="images that are left out, a name a line, as OUT.broken names them")
    parser.add_argument("--save-every", type=float, default=10, metavar="SECONDS", help="of work that a kill may cost (10)")
    options = parser.parse_args()
    if options.verify:
        verify(options.verify)
    elif options.train and (options.test or options.test_share) and options.out and options.size:
        pack(options)
    else:
        parser.error("wanted: --train, --test or --test-share, --size and --out; or --verify alone")


if __name__ == "__main__":
    run_main("pack.py", main)
