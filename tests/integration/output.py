"""Whatever is printed, on a full disk, into a pipe without a reader and with standard output closed, ends with exit code 1 and one
line; training and sweeps complete their files first. Names cannot move a terminal's cursor or make a spreadsheet compute."""
import csv
import io
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pandas as pd

from common import BINARY, folder, identical, launch, make_idx, run

ANALYSIS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis")
sys.path.insert(0, ANALYSIS)
import filterscope as fs  # noqa: E402 (found by the line above)
from model_file import crc32c  # noqa: E402

here = folder()
os.chdir(here)
with open("net.txt", "w") as file:
    file.write("conv 256 3x3 pad 1\nrelu\nglobalavg\nfc K\n")
data = make_idx("data", labels=20, train=40, test=20)
SMALL = ["--data", data, "--epochs", 1, "--batch", 20, "--slots", 1, "--out"]
TRAIN, SWEEP = ["train", "--arch", "net.txt", *SMALL], ["sweep", "--model", "model.h5", *SMALL]
run(1, *TRAIN, "model.h5")
run(1, *SWEEP, "sweep.h5")


def full(command):
    with open("/dev/full", "w") as out:
        return subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=60), "No space left on device"


def without_reader(command):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60), "Broken pipe"
    finally:
        os.close(writer)


def closed(command):
    return subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, timeout=60), "Bad file descriptor"


def refused(command, program):
    for how in (full, without_reader, closed):
        done, cause = how(command)
        said = done.stderr.decode()
        assert done.returncode == 1, f"{' '.join(command)}, {how.__name__}: exit code {done.returncode}\n{said}"
        assert said.splitlines()[-1] == f"{program}: standard output: {cause}", f"{' '.join(command)}, {how.__name__}: {said}"
        assert said.count("standard output") == 1 and "Traceback" not in said and "Exception" not in said, said


looks = [["help"], ["--version"], ["help", "train"], ["sweep", "--help"], ["plan", *SWEEP[1:-1]], ["status", "sweep.h5"],
         ["status", "model.h5"], ["status", "sweep.h5", "--watch"], ["check", "sweep.h5"], ["check", "model.h5"],
         *(["arch", "net.txt", "--table", table] for table in ("shapes", "text", "layers")),
         *(["export", "sweep.h5", "--table", table] for table in ("layers", "filters", "probes", "history", "cluster_sizes")),
         *(["eval", "--model", "model.h5", "--data", data, *table]
           for table in ([], *(["--table", name] for name in ("confusion", "labels", "logits")))),
         ["bench", "--arch", "vgg6", "--images", 20, "--seconds", 1, "--only", "forward"]]
for words in looks:
    refused(launch(1, *words), "filterscope")
print(f"{len(looks)} commands: exit code 1 and the cause")

scripts = ["report.py sweep.h5 --out drawn", "report.py --help", "reproduce.py sweep.h5 --models model.h5", "reproduce.py --help"]
for words in map(str.split, scripts):
    refused([sys.executable, f"{ANALYSIS}/{words[0]}", *words[1:]], words[0])
assert os.path.exists("drawn/report.html")
r = ["Rscript", "-e", "library(ggplot2); library(hdf5r)"]
if shutil.which("Rscript") and subprocess.run(r, capture_output=True).returncode == 0:
    scripts.append("filterscope_figures.R")
    for how in (full, without_reader, closed):
        done, _ = how(["Rscript", f"{ANALYSIS}/filterscope_figures.R", "sweep.h5", "--out", "drawn"])
        assert done.returncode == 1 and done.stderr == b"filterscope_figures.R: standard output: cannot be written\n", done


def on_small_disk():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15000, 15000))


programs = [([sys.executable, f"{ANALYSIS}/report.py"], "small1/sr.png: File too large")]
if "filterscope_figures.R" in scripts:
    programs.append((["Rscript", f"{ANALYSIS}/filterscope_figures.R"], "small2/sr.png: could not be written whole"))
for command, cause in programs:
    out = cause.split("/")[0]
    done = subprocess.run([*command, "sweep.h5", "--out", out], capture_output=True, text=True, preexec_fn=on_small_disk)
    assert done.returncode == 1 and cause in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert os.listdir(out) == [], "a part of a figure stays"
print(f"{', '.join(dict.fromkeys(words.split()[0] for words in scripts))}: the same")

for words, whole in ((TRAIN, "model.h5"), (SWEEP, "sweep.h5")):
    for how in (full, without_reader, closed):
        out = f"{how.__name__}-{whole}"
        done, cause = how(launch(1, *words, out))
        assert done.returncode == 1 and done.stderr.decode() == f"filterscope: standard output: {cause}\n", done
        assert identical(whole, out, ("/history", "/provenance", "/resume")), out
        run(1, "check", out)
print("train and sweep: exit code 1, their files complete")

# Names of files.
name, escaped = b"\x1b[2Jpath\xe2\x80\xae\xc2\x9b\xe9\x7f.h5", b"\\x1b[2Jpath\\u202e\\xc2\\x9b\\xe9\\x7f.h5"
done = subprocess.run([BINARY, "status", name], capture_output=True)
assert done.returncode == 1 and done.stderr.startswith(b"filterscope: " + escaped), done.stderr
os.link("sweep.h5", name)
done = subprocess.run([BINARY, "status", name, "--watch"], capture_output=True)
assert done.returncode == 0 and escaped in done.stdout and b"\x1b" not in done.stdout, done.stdout
for script in ("report.py", "reproduce.py"):
    done = subprocess.run([sys.executable, f"{ANALYSIS}/{script}", b"\x1b[2J\xe9.h5"], capture_output=True)
    assert done.returncode == 1 and done.stderr == f"{script}: \\x1b[2J\\udce9.h5: no such file\n".encode(), done
print("names of files: escaped")

# Names of labels.
NAMES = ["NA", "null", "None", "nan", "NaN", "", "TRUE", "1e5", "007", "inf", "#N/A", 'a "quote"', "a, comma", " blank ", "=1+1", "+1", "-1",
         "@sum", "\u00e9\u4e2d", "#"]


def rename(path, names):
    with h5py.File(path, "r+") as file:
        labels = file["labels"]
        labels[:] = np.array([name.encode() for name in names], labels.dtype)
        labels.attrs["crc"] = np.asarray(crc32c(0, labels[:].tobytes()), labels.attrs["crc"].dtype)


shutil.copy("sweep.h5", "names.h5")
rename("names.h5", NAMES)
with h5py.File("names.h5", "r+") as file:
    filters = file["silence/filters"][:]
    filters["selected"] = np.arange(len(filters)) % len(NAMES)
    filters["share"][3], filters["sr"][4], filters["largest"][5] = np.nan, np.nan, np.inf
    file["silence/filters"][:] = filters
with open("filters.csv", "w") as file:
    file.write(run(1, "export", "names.h5", "--table", "filters").stdout)
expected = fs.open("names.h5").filters
by_pandas, by_r = re.findall(r'^ {4}((?:pandas\.)?read[._]csv\("filters\.csv",(?:.|\n {5,})*\))$',
                             open(f"{ANALYSIS}/README.md").read(), re.M)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas 3 has the default that others have to be told
    found = eval(by_pandas, {"pandas": pd})
pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
assert list(found["selected_label"]) == [NAMES[k] for k in expected["selected"]]
print(f"pandas: all of {len(NAMES)} names")
if shutil.which("Rscript"):
    script = (f"t <- {by_r}\n"
              'writeBin(charToRaw(paste0(t$selected_label, "\\n", collapse = "")), "r.txt")\n'
              "stopifnot(!anyNA(t$selected_label), is.numeric(t$sr), is.numeric(t$largest))\n")
    subprocess.run(["Rscript", "-e", script], check=True)
    with open("r.txt", encoding="utf-8") as file:
        assert file.read().split("\n")[:-1] == list(expected["selected_label"])
    print("R: the same")
rows = list(csv.DictReader(io.StringIO(run(1, "export", "names.h5", "--table", "filters", "--safe").stdout)))
assert [row["selected_label"] for row in rows] == [
    "'" + name if name[:1] in tuple("=+-@") else name for name in expected["selected_label"]]
print("export --safe: a ' before what a spreadsheet computes")

rename("names.h5", ["a\nb\rc\td\x1b[1m\u202e"] * len(NAMES))
text = run(1, "export", "names.h5", "--table", "filters").stdout
assert text.count("\n") == len(expected) + 1 and text.count(',"a\\x0ab\\x0dc\\x09d\\x1b[1m\\u202e",') == len(expected), text
print("export: a row is a line, whatever the names hold")
rename("names.h5", ["\u4e2d" * 10] * len(NAMES))  # some of these characters lie across the ends of buffers
assert run(1, "export", "names.h5", "--table", "filters").stdout.count("\u4e2d" * 10) == len(expected)
