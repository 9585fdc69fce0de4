"""The Python version of CIFAR-10 or CIFAR-100 as the binary version, which filterscope reads.

    python3 analysis/convert_cifar.py cifar-10-python.tar.gz --out cifar-10-batches-bin

The archive as downloaded, or the folder that was in it (cifar-10-batches-py, cifar-100-python). Its files are pickles: of these
only NumPy arrays and plain containers are made, and nothing else that they name is called."""
import argparse
import contextlib
import os
import pickle
import shutil
import tarfile

import numpy as np

from filterscope_output import run_main

RECONSTRUCT = np.zeros(0).__reduce__()[0]  # by which NumPy unpickles an array, wherever this release keeps it
KNOWN = {"_codecs.encode": lambda text, encoding="latin1": text.encode("latin1"), "numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype,
         "numpy.core.multiarray._reconstruct": RECONSTRUCT, "numpy._core.multiarray._reconstruct": RECONSTRUCT}
SETS = (  # {file of the binary version: pickle}, names, pickle of names and its key, keys of a record's labels
    ({**{f"data_batch_{i}.bin": f"data_batch_{i}" for i in range(1, 6)}, "test_batch.bin": "test_batch"},
     "batches.meta.txt", "batches.meta", "label_names", ["labels"]),
    ({"train.bin": "train", "test.bin": "test"}, "fine_label_names.txt", "meta", "fine_label_names", ["coarse_labels", "fine_labels"]),
)


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if f"{module}.{name}" not in KNOWN:
            raise ValueError(f"names {module}.{name}, which a file of CIFAR does not")
        return KNOWN[f"{module}.{name}"]


class Files:
    """The pickles of an archive or a folder, by name without folders."""

    def __init__(self, path):
        self.path, self.archive = path, None if os.path.isdir(path) else tarfile.open(path)
        if self.archive:
            self.members = {os.path.basename(member.name): member for member in self.archive if member.isfile()}
        else:
            self.members = {name: os.path.join(path, name) for name in os.listdir(path)}

    def load(self, name):
        member = self.members[name]
        with self.archive.extractfile(member) if self.archive else open(member, "rb") as file:
            try:
                found = Unpickler(file, encoding="bytes").load()
                return {key.decode() if isinstance(key, bytes) else key: value for key, value in found.items()}
            except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, MemoryError) as error:
                raise ValueError(f"{self.path}: {name}: no pickle of CIFAR: {error or type(error).__name__}") from None


def records(files, name, keys):
    """The records of one pickle as the binary version has them: labels, then the three planes."""
    batch = files.load(name)
    missing = [key for key in ["data", *keys] if key not in batch]
    if missing:
        raise ValueError(f"{files.path}: {name}: has no {missing[0]}")
    pixels, labels = np.asarray(batch["data"]), [np.asarray(batch[key]) for key in keys]
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise ValueError(f"{files.path}: {name}: data is {pixels.dtype} {list(pixels.shape)}, expected uint8 [images, 3072]")
    for key, values in zip(keys, labels):
        if values.shape != pixels.shape[:1] or values.dtype.kind not in "iu" or not ((values >= 0) & (values < 100)).all():
            raise ValueError(f"{files.path}: {name}: {key} are not {len(pixels)} labels of 0 to 99")
    return np.column_stack([*(values.astype(np.uint8) for values in labels), pixels])


def convert(files, chosen, folder):
    batches, names_file, meta, key, keys = chosen
    for name, source in batches.items():
        records(files, source, keys).tofile(os.path.join(folder, name))
    if meta in files.members:
        with open(os.path.join(folder, names_file), "w", encoding="utf-8") as file:
            file.writelines(f"{name.decode() if isinstance(name, bytes) else name}\n" for name in files.load(meta)[key])


@contextlib.contextmanager
def made(folder):
    """Gives a folder that becomes `folder`, which must not exist, when all is in it; else nothing stays."""
    part = f"{folder.rstrip('/')}.part"
    if os.path.lexists(folder):
        raise ValueError(f"{folder}: exists")
    os.mkdir(part)
    try:
        yield part
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", help="archive or folder of the Python version")
    parser.add_argument("--out", required=True, help="folder for the files of the binary version")
    options = parser.parse_args()
    try:
        files = Files(options.source)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{options.source}: {str(error).splitlines()[0].rstrip(':') if str(error) else 'truncated'}") from None
    chosen = next((one for one in SETS if all(name in files.members for name in one[0].values())), None)
    if not chosen:
        raise ValueError(f"{options.source}: has neither data_batch_1 to data_batch_5 and test_batch nor train and test")
    with made(options.out) as part:
        convert(files, chosen, part)
    print(f"{options.out}: --data cifar{'100' if chosen is SETS[1] else '10'}:{options.out}")


if __name__ == "__main__":
    run_main("convert_cifar.py", main, tarfile.TarError, EOFError)
