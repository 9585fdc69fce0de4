"""Shared by the tests of import_keras.py and import_onnx.py: networks that others stored, and what the import says of them."""
import os
import re
import subprocess
import sys
import tarfile

import h5py

from common import BINARY, folder

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
os.environ["FILTERSCOPE"] = BINARY
failures = []


def unpack():
    """The networks of tests/reference/foreign_networks.py in a scratch folder, which is entered."""
    os.chdir(folder())
    with tarfile.open(os.path.join(TOP, "tests", "fixtures", "networks.tar.xz")) as archive:
        archive.extractall()


def call(source, *words, script="import_model.py"):
    command = [sys.executable, os.path.join(TOP, "analysis", script), source, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def tell(fine, name, said):
    print("ok  " if fine else "FAIL", name, said)
    if not fine:
        failures.append(name)


def takes(source, check, *words):
    """Imports a network, whose answers must be those that its own framework gave."""
    out = f"{os.path.basename(source)}.out.h5"
    done = call(source, "--pixels", "0,1", "--out", out, "--check", check, *words)
    tell(done.returncode == 0 and os.path.exists(out), source, (done.stderr or done.stdout).strip().splitlines()[-2:])
    return None if done.returncode else out


def refuses(source, pattern, *words, code=1):
    """One line that matches, the exit code, and nothing written."""
    before = sorted(os.listdir("."))
    done = call(source, *(() if "--pixels" in words or code == 2 else ("--pixels", "0,1")), "--out", "refused.h5", *words)
    said = done.stderr.strip().splitlines()
    fine = done.returncode == code and len(said) == 1 and re.search(pattern, said[0]) and sorted(os.listdir(".")) == before
    tell(fine, source, said if fine else (done.returncode, pattern, said))


def same_numbers(one, other):
    """Whether two model files hold the same parameters and statistics."""
    with h5py.File(one) as first, h5py.File(other) as second:
        return all((first[group][name][:] == second[group][name][:]).all() for group in ("parameter", "statistic") for name in first[group])
