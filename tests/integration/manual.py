"""What people read and type: help, the man pages, completion and status --watch say what the program and its files have."""
import os
import pty
import re
import shutil
import subprocess

import h5py

from common import BINARY, folder, make_idx, run, skip, train_small

TREE = os.path.join(os.path.dirname(__file__), "..", "..")
CLI = f"{TREE}/src/cli"
here = folder()
commands = re.findall(r"^  (\w+) ", run(1, "help").stdout, re.M)
assert {"train", "sweep", "plan", "status", "export", "check"} <= set(commands), commands
options = {}
for command in commands:
    text = run(1, "help", command).stdout
    assert text == run(1, command, "--help").stdout and text.startswith(f"usage: filterscope {command}"), command
    options[command] = re.findall(r"^  (--[\w-]+)", text, re.M)
assert "no command 'sweeep'" in run(1, "help", "sweeep", expect=2).stderr


def complete(*words):
    script = (f'. {CLI}/completion/filterscope; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _filterscope; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", BINARY, *words], capture_output=True, text=True, check=True)
    return done.stdout.split()


def page(name):
    path = f"{CLI}/man/{name}"
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z", path], capture_output=True, text=True)
        assert not done.stderr, done.stderr
    return re.sub(r"\\f[BIR]", "", open(path).read().replace("\\-", "-"))


manual = page("filterscope.1")
for command in commands:
    assert re.search(rf"^\.B {command}$", manual, re.M), f"filterscope.1 lacks {command}"
for option in sum(options.values(), []):
    assert re.search(rf"{option}\b(?!-)", manual), f"filterscope.1 lacks {option}"
known = set(sum(options.values(), []))
for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", manual):
    assert option in known, f"filterscope.1 has {option}, which no command has"
architectures = complete("train", "--arch", "")
for name in architectures:
    assert re.search(rf"(?<![\w-]){name}(?![\w-])", manual), f"filterscope.1 lacks {name}"
print(f"filterscope.1: {len(architectures)} architectures, {len(commands)} commands, {sum(map(len, options.values()))} options")



def source(path):
    with open(f"{TREE}/{path}") as file:
        return file.read()


# What there is more than one of is named wherever people look for it.
words = re.findall(r"&fs_kind_(\w+)", source("src/ops/table.c"))
formats = re.findall(r'^    \{"([\w-]+:)",', source("src/data/dataset.c"), re.M)
assert "relu" in words and "idx:" in formats, (words, formats)
for path, pattern, names in (
        ("src/cli/man/filterscope.1", r"(?<![\w-]){}(?![\w-])", words + formats), ("include/filterscope/architecture.h", r"\b{}\b", words),
        ("analysis/README.md", r"\b{}\b", words), ("analysis/export_torch.py", '"{}"', set(words) - {"input", "flatten"}),
        ("include/filterscope/dataset.h", "{}(?:DIR|FILE) +[^ ]", formats), ("jobs/README.md", "`{}(?:DIR|FILE)`", formats)):
    text = manual if path.endswith(".1") else source(path)
    for name in names:
        assert re.search(pattern.format(name), text), f"{path} lacks {name}"
for name in formats:
    assert re.search(f"{name}(DIR|FILE)", run(1, "help", "train").stdout), f"FS_DATASET_SPECS lacks {name}"
print(f"{len(words)} words of architectures, {len(formats)} formats of data sets")

data = make_idx(f"{here}/data", labels=4, train=40, test=20)
train_small(f"{here}/model.h5", data, ranks=1)
sweep = ["sweep", "--model", f"{here}/model.h5", "--data", data, "--layers", "5", "--batch", 20, "--epochs", 1, "--knockout", "zero", "--out"]
run(1, *sweep, f"{here}/sweep.h5")
manual, count = page("filterscope-results.5"), 0
with h5py.File(f"{here}/sweep.h5") as file:
    places = []
    file.visititems(lambda name, node: places.append((name, node.dtype.names or ())) if isinstance(node, h5py.Dataset) else None)
    assert set(file.attrs) == {"format", "format_version"} and all(f".B {name}\n" in manual for name in file.attrs)
for name, columns in places:
    heading = "/" + name.replace("/5/", "/ LAYER /")
    entry = re.search(rf"^\.BI? {re.escape(heading)}$(.*?)^\.(TP|SH)", manual, re.M | re.S)
    assert entry, f"filterscope-results.5 lacks {heading}"
    for column in columns:
        assert re.search(rf"\b{column}\b", entry[1]), f"filterscope-results.5: {heading} lacks {column}"
        count += 1
print(f"filterscope-results.5: {len(places)} datasets, {count} columns")


assert set(complete("")) == {"help", *commands}
assert complete("sw") == ["sweep"] and complete("help", "exp") == ["export"]
for command in commands:
    assert complete(command, "--") == ["--help", *options[command]], command
assert complete("export", "--table", "cl") == ["cluster_sizes"] and "vgg16-fc1" in complete("train", "--arch", "vgg")
print("completion: commands, options, tables, architectures")

text = run(1, "status", "--watch", "--interval", 1, f"{here}/sweep.h5").stdout
assert "1 of 1 epochs" in text and "11 of 11 units done; complete" in text and not re.search(r"[\x00-\x09\x0b-\x1f]", text), text
assert "complete" in run(1, "status", f"{here}/model.h5", "--watch").stdout
assert run(1, "status", "--watch", f"{here}/gone.h5", expect=1).stderr.count("\n") == 1
job = subprocess.Popen([BINARY, *map(str, sweep), f"{here}/long.h5", "--epochs", "100"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)
while not os.path.exists(f"{here}/long.h5"):
    assert job.poll() is None, job.stderr.read()
try:
    master, slave = pty.openpty()
except OSError as error:
    job.kill()
    skip(f"status --watch on a terminal: no pseudo-terminal here ({error}); all before has passed")
watcher = subprocess.Popen([BINARY, "status", "--watch", "--interval", "1", f"{here}/long.h5"], stdout=slave)
os.close(slave)
seen = b""
try:
    while part := os.read(master, 4096):
        seen += part
except OSError:  # the watcher has closed its end
    pass
assert watcher.wait(60) == 0 and job.wait(60) == 0
looks = seen.decode().split("\x1b[H\x1b[2J")[1:]
assert len(looks) > 1 and "complete" in looks[-1], looks
assert any("images/s" in look and "left" in look and "pid" in look for look in looks), looks
assert "1 rank in 1 team on" in looks[-1]
print(f"status --watch: {len(looks)} looks until it was complete")
