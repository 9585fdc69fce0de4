"""Clusters, noise and SNR agree with the second implementation, on random matrices and on the fields of a real sweep."""
import os
import subprocess
import sys

from common import BUILD, FASHION, folder, run, train_small, skip, vgg6_with_units

here = folder()
measure = os.path.join(os.path.dirname(__file__), "..", "reference", "measure.py")
program = os.path.join(BUILD, "tests", "print_measures")

for labels, count in ((3, 3000), (10, 3000), (100, 60)):
    path = f"{here}/fields{labels}.bin"
    found = subprocess.run([program, path, str(labels), str(count)], capture_output=True, text=True, check=True).stdout
    second = subprocess.run([sys.executable, measure, "fields", path, str(labels), str(count)], capture_output=True, text=True,
                            check=True).stdout
    assert len(found.splitlines()) == count
    for number, (a, b) in enumerate(zip(found.splitlines(), second.splitlines(), strict=True)):
        assert a.split() == b.split(), f"K = {labels}, field {number}:\n{a}\n{b}"
    print(f"K = {labels}: {count} random matrices, no difference")

if not os.path.isdir(FASHION):
    skip(f"{FASHION} is missing (Debian: dataset-fashion-mnist)")
data = f"idx:{FASHION}"
few = {"train_images": 400, "test_images": 300}
train_small(f"{here}/model.h5", data, arch=vgg6_with_units(f"{here}/units.txt"), **few)
run(2, "sweep", "--model", f"{here}/model.h5", "--data", data, "--out", f"{here}/sweep.h5", "--epochs", 2, "--train-images", 400,
    "--test-images", 300)
done = subprocess.run([sys.executable, measure, "compare", f"{here}/sweep.h5"], capture_output=True, text=True)
print(done.stdout.strip(), done.stderr.strip())
assert done.returncode == 0
