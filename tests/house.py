"""Arrows between the folders of src point downwards, in the order of src/README.md, by includes and by calls; a public header is
one folder's; no files use each other in a circle. Prints the arrows, files an arrow.

  FILTERSCOPE_BUILD=build tests/house.py"""
import collections
import os
import re
import subprocess
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ["FILTERSCOPE_BUILD"]
faults, arrows = [], collections.defaultdict(set)


def read(*path):
    with open(os.path.join(HOME, *path)) as file:
        return file.read()


def symbols():
    """{name: file that defines it}, {file: names that it needs}; a file is FOLDER/NAME, without its .c."""
    objects = os.path.join(BUILD, "filterscope.p")
    files = [os.path.join(BUILD, "libfilterscope.a"), *(os.path.join(objects, name) for name in os.listdir(objects) if name.endswith(".o"))]
    lines = subprocess.run(["nm", "-g", "-A", *files], check=True, capture_output=True, text=True).stdout.splitlines()
    defined, needed = {}, collections.defaultdict(set)
    for line in lines:
        found = re.search(r"src_([a-z]+)_(\w+)\.c\.o:.* (\w) (\w+)$", line)
        if not found:
            continue
        folder, stem, kind, name = found.groups()
        if kind == "U":
            needed[f"{folder}/{stem}"].add(name)
        else:
            defined[name] = f"{folder}/{stem}"
    return defined, needed


def owners(defined):
    """{public header: the folder that defines the functions that it declares}"""
    found = {}
    for name in os.listdir(os.path.join(HOME, "include", "filterscope")):
        text = re.sub(r"/\*.*?\*/", "", read("include", "filterscope", name), flags=re.S)
        folders = {defined[word].split("/")[0] for word in re.findall(r"\b(fs_\w+)\(", text) if word in defined}
        if len(folders) != 1:
            faults.append(f"include/filterscope/{name} declares functions of {len(folders)} folders: {sorted(folders)}")
        found[f"filterscope/{name}"] = min(folders, default="base")
    return found


def includes(owner):
    """(file, its folder, folder of what it includes, that)"""
    files = [(f"include/{name}", folder) for name, folder in owner.items()]
    files += [(f"src/{folder}/{name}", folder) for folder in ORDER for name in os.listdir(os.path.join(HOME, "src", folder))
              if name.endswith((".c", ".h"))]
    for path, folder in files:
        for header in re.findall(r'^#include "(\S+)"', read(path), re.M):
            yield path, folder, owner.get(header, header.split("/")[0] if "/" in header else folder), header


def circles(uses):
    """Files that reach themselves, as the sets of those that reach each other."""
    def reach(start):
        seen, left = set(), [start]
        while left:
            for other in uses[left.pop()] - seen:
                seen.add(other)
                left.append(other)
        return seen
    reached = {file: reach(file) for file in list(uses)}
    return {frozenset(other for other in reached[file] if file in reached.get(other, ())) for file in reached if file in reached[file]}


def check_arrow(file, folder, other, what):
    if folder != other:
        arrows[folder, other].add(file)
    if ORDER.index(folder) > ORDER.index(other):
        faults.append(f"{file} is in {folder} and needs {what} of {other}, which is above it")


FOLDERS = [name for name in os.listdir(os.path.join(HOME, "src")) if os.path.isdir(os.path.join(HOME, "src", name))]
ORDER = re.findall(rf"^    ({'|'.join(FOLDERS)})  ", read("src", "README.md"), re.M)
assert sorted(ORDER) == sorted(FOLDERS), f"src/README.md lists {ORDER}, src has {sorted(FOLDERS)}"
defined, needed = symbols()
assert len(needed) > 100, f"only {len(needed)} files with symbols in {BUILD}"
for path, folder, other, header in includes(owners(defined)):
    check_arrow(path, folder, other, header)
uses = collections.defaultdict(set)
for file, names in needed.items():
    for name in names & defined.keys():
        uses[file].add(defined[name])
        check_arrow(f"src/{file}.c", file.split("/")[0], defined[name].split("/")[0], name)
for circle in circles(uses):
    faults.append(f"a circle of files: {', '.join(sorted(circle))}")
for (folder, other), files in sorted(arrows.items(), key=lambda item: [ORDER.index(name) for name in item[0]]):
    print(f"{folder:8} -> {other:8} {len(files):3} files")
print("\n".join(sorted(set(faults))) or f"{len(needed)} files, {len(arrows)} arrows, all downwards, no circle")
sys.exit(bool(faults))
