"""report.py and the R script draw every figure as PNG and PDF; the HTML report is one well-formed file that needs nothing else and
has every table, the configuration, the provenance and the citation. The installed package does the same."""
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import h5py

from common import folder, make_idx, run, train_small

ANALYSIS = os.path.join(os.path.dirname(__file__), "..", "..", "analysis")
sys.path.insert(0, ANALYSIS)
import filterscope_report  # noqa: E402 (found by the line above)

here = folder()
data = make_idx(f"{here}/data", labels=10, train=40, test=20)
train_small(f"{here}/model.h5", data, ranks=1)
words = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--layers", "5", "--epochs", 2, "--batch", 20]
knocked = f"{here}/knocked.h5"
run(1, *words, "--knockout", "zero", "--groups", "labels", "--curve", "clusters,-sr", "--draws", 2, "--out", knocked)
for seed in (1, 2):
    run(1, *words, "--seed", seed, "--out", f"{here}/seed{seed}.h5")


class Reader(HTMLParser):
    """Open tags, the rows of each table, what the page would fetch, and what its own links may lead to."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.fetched, self.ids = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href")]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag == "table":
            self.rows.append(0)
        elif tag == "tr":
            self.rows[-1] += 1
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


def drawn(out, text):
    """The names of the figures in `out`, each of which is a PNG and a PDF."""
    names = re.findall(r"([\w-]+)\.png \(and \.pdf\)", text)
    for name in names:
        assert open(f"{out}/{name}.png", "rb").read(8) == b"\x89PNG\r\n\x1a\n", name
        assert os.path.getsize(f"{out}/{name}.png") > 5000, name
        assert open(f"{out}/{name}.pdf", "rb").read(5) == b"%PDF-", name
    return sorted(re.sub(r"-\d+-\d+", "", name) for name in names)


def by_program(out, *words, program=(sys.executable, f"{ANALYSIS}/report.py"), **settings):
    done = subprocess.run([*program, *words, "--out", out], capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(out, *words):
    """report.py in this process: what it prints, or why it ends."""
    sys.argv = ["report.py", *words, "--out", out]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            filterscope_report.main()
    except SystemExit as error:
        return str(error)
    return printed.getvalue()


names = drawn(f"{here}/one", by_program(f"{here}/one", f"{here}/seed1.h5"))
assert names == ["clusters", "field", "history", "share", "sizes", "sr"], names
page = Reader()
text = open(f"{here}/one/report.html", encoding="utf-8").read()
page.feed(text)
links = [source[1:] for source in page.fetched if source.startswith("#")]
pictures = [source for source in page.fetched if not source.startswith("#")]
assert not page.open and len(pictures) == 6 and all(source.startswith("data:image/png") for source in pictures)
assert links == page.ids and len(set(links)) == len(links) == 10, links
assert page.rows[:4] == [1 + 1, 1 + 1, 1 + 512, 1 + 2], page.rows  # layers, probes, filters, history
for part in ("threshold", "test-data", "arXiv:2305.18078", "--seed 1", "seed1.h5: complete"):
    assert part in text, part
assert "OpenBLAS" in text or "BLIS" in text
assert "http" not in text, "the report wants a network"
print("one file:", ", ".join(names))

text = report(f"{here}/knocked", knocked)
assert drawn(f"{here}/knocked", text) == ["clusters", "curves", "drops-5", "field", "groups", "history", "knockout", "share", "sizes", "sr"], text
page = Reader()
page.feed(open(f"{here}/knocked/report.html", encoding="utf-8").read())
steps = 9 + 8 + 1  # 1, 2 ... 256 out; 128, 64 ... 1 left; none left
assert not page.open and page.rows[5:9] == [1 + 1, 1 + 512, 1 + 10 * 4, 1 + 4 * steps], page.rows  # behind the sizes
assert "knock-out: nothing is complete yet" in report(here, f"{here}/seed1.h5", "--figure", "knockout")

names = drawn(f"{here}/two", report(f"{here}/two", f"{here}/seed1.h5", f"{here}/seed2.h5"))
assert "field-1" in names and "field-2" in names, names
text = open(f"{here}/two/report.html", encoding="utf-8").read()
assert "In every row: " in text and ">pooled</span> 1;" in text and ">pooled<small>" not in text
print("two files:", ", ".join(names))
one = report(f"{here}/field", f"{here}/seed1.h5", "--figure", "field", "--layer", "5", "--filter", "3")
assert drawn(f"{here}/field", one) == ["field"] and len(os.listdir(f"{here}/field")) == 2
wrong = report(here, f"{here}/seed1.h5", "--figure", "field", "--layer", "5", "--filter", "512")
assert "has no filter 512, only 0 to 511" in wrong, wrong
assert "gone.h5: no such file" in report(here, f"{here}/gone.h5")

shutil.copy(f"{here}/seed1.h5", f"{here}/begun.h5")
with h5py.File(f"{here}/begun.h5", "r+") as file:
    file["state"][:] = 0
text = report(f"{here}/begun", f"{here}/begun.h5")
assert text.count("nothing is complete yet") == 3, text
assert drawn(f"{here}/begun", text) == ["field", "history", "share"]
print("a file without layer tables: what there is, and what is missing")

r = ["Rscript", "-e", "library(ggplot2); library(hdf5r)"]
if shutil.which("Rscript") and subprocess.run(r, capture_output=True).returncode == 0:
    program = ("Rscript", f"{ANALYSIS}/filterscope_figures.R")
    for out, files in (("r1", [f"{here}/seed1.h5"]), ("r2", [f"{here}/seed1.h5", f"{here}/seed2.h5"]), ("r3", [knocked])):
        names = drawn(f"{here}/{out}", by_program(f"{here}/{out}", *files, program=program))
        more = {"r1": ["field"], "r2": [], "r3": ["field", "knockout", "drops", "groups", "curves"]}[out]
        assert names == sorted(["clusters", "history", "share", "sizes", "sr", *more]), names
        print("R:", ", ".join(names))
else:
    print("R with hdf5r and ggplot2 is not installed (Debian: r-base-core r-cran-hdf5r r-cran-ggplot2): R drew nothing")

if subprocess.run([sys.executable, "-c", "import setuptools, wheel, pip"], capture_output=True).returncode == 0:
    shutil.copytree(ANALYSIS, f"{here}/analysis")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target",
                    f"{here}/installed", f"{here}/analysis"], check=True, stderr=subprocess.DEVNULL)
    program = (sys.executable, f"{here}/installed/bin/filterscope-report")
    text = by_program(f"{here}/again", f"{here}/seed1.h5", "--figure", "sr", program=program, PYTHONPATH=f"{here}/installed")
    assert drawn(f"{here}/again", text) == ["sr"]
    print("pip install: filterscope-report")
else:
    print("pip, setuptools or wheel is missing: the package was not installed")
