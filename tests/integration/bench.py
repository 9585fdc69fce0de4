"""filterscope bench measures every phase and every convolution's error; and OpenBLAS is told its kernels where it does not know the
CPU, unless the user has chosen."""
import os
import re
import sys

from common import BUILD, folder, run

SMALL = ["bench", "--arch", "vgg6", "--batch", 8, "--images", 20, "--seconds", 0.01]
for ranks in (1, 2):
    text = run(ranks, *SMALL).stdout
    for phase in ("forward", "train", "probe", "silence"):
        assert float(re.search(rf"^{phase} +([0-9.]+) images/s", text, re.M)[1]) > 0, text
    assert "of peak" in text and "of the bound of F(4x4, 3x3)" in text and "MiB" in text, text
rows = [line.split() for line in run(1, *SMALL, "--only", "layers").stdout.splitlines() if re.match(r" +[0-9]+ ", line)]
assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"], rows
errors = [float(row[column]) for row in rows for column in (7, 11, 15)]
assert 0 < max(errors) < 1e-4, errors
print(f"largest error of five layers against the naive kernel: {max(errors):.1e}")
# A residual network, some of whose convolutions are not probed, and one of a file, for other images.
text = run(2, "bench", "--arch", "resnet20-b", *SMALL[3:]).stdout
assert "for all 19 probes" in text and "all 688 filters" in text, text
shared, alone = map(float, re.search(r"([0-9.]+) MiB of maps on rank 0, ([0-9.]+) if none", text).groups())
assert 0 < shared < alone / 3, text
with open(f"{folder()}/net.txt", "w") as file:
    file.write("input 24x20x2\nconv 4 3x3 pad 1 as a\nrelu\nadd a probe\nglobalavg\nfc K\n")
assert "net, " in run(1, "bench", "--arch", file.name, *SMALL[3:]).stdout
refused = run(1, "bench", "--arch", file.name, "--input", "8x8x2", *SMALL[3:], expect=2).stderr
assert "line 1: 'input 24x20x2': the images are 8x8x2" in refused, refused
refused = run(1, *SMALL, "--only", "training", expect=2).stderr
assert "'training' is none of forward, train, sweep, layers" in refused, refused

if not os.path.exists(os.path.join(BUILD, "tests", "libcore.so")):
    sys.exit(print("no kernels are chosen for another BLAS than OpenBLAS"))
unknown = {"LD_PRELOAD": os.path.join(BUILD, "tests", "libcore.so")}
with open("/proc/cpuinfo") as file:
    avx512 = "avx512f" in file.read().split()
os.environ.pop("OPENBLAS_CORETYPE", None)
chosen = re.search(r"core (\w+)", run(1, *SMALL, "--only", "forward", env=unknown).stdout)[1]
assert (chosen == "SkylakeX") == avx512, chosen
kept = re.search(r"core (\w+)", run(1, *SMALL, "--only", "forward", env={**unknown, "OPENBLAS_CORETYPE": "Sandybridge"}).stdout)[1]
assert kept == "Sandybridge", kept
print(f"kernels chosen for an unknown CPU: {chosen}; a user's own choice stays: {kept}")
