"""What safety costs: a sweep of VGG-6 on 2 ranks with all of it, and one without CRCs, records, resume slots, locks' checks,
watching and fsync, in turn; both on the same images, with the same results. Prints each pair, the median ratio, and the share
of the time that the first spends in these calls, which a machine of varying speed disturbs less.

  safety.py [PAIRS] [TRAIN_IMAGES] [EPOCHS]    (5, 10000, 4)"""
import os
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import common
from common import FASHION, folder, identical, run, skip

if not os.path.isdir(FASHION):
    skip(f"{FASHION} is not there (Debian: dataset-fashion-mnist)")
pairs, images, epochs = [int(word) for word in sys.argv[1:]] + [5, 10000, 4][len(sys.argv) - 1:]
common.BINARY = os.path.join(common.BUILD, "tests", "filterscope_safety")
here = folder()
DATA = ["--data", f"idx:{FASHION}", "--test-images", 2000]
TRAIN = ["train", "--arch", "vgg6", *DATA, "--train-images", 2000, "--epochs", 1, "--lr", 0.02, "--momentum", 0.9]
SWEEP = ["sweep", *DATA, "--train-images", images, "--epochs", epochs, "--test-every", epochs]
SETTINGS = {}, {"WITHOUT_SAFETY": "1"}


def sweep(without):
    """(seconds from start to end, seconds in what safety needs: of the rank that spent more)"""
    path = f"{here}/sweep{without}.h5"
    if os.path.exists(path):
        os.remove(path)
    started = time.monotonic()
    done = run(2, *SWEEP, "--model", f"{here}/model{without}.h5", "--out", path, env=SETTINGS[without])
    took = time.monotonic() - started
    return took, max(float(found) for found in re.findall(r"safety: (\S+) seconds", done.stdout))


for without in (0, 1):  # the same weights; files with CRCs and without
    run(2, *TRAIN, "--out", f"{here}/model{without}.h5", env=SETTINGS[without])
ratios, shares = [], []
for pair in range(pairs):
    times = {without: sweep(without) for without in (pair % 2, 1 - pair % 2)}  # either goes first as often
    (safe, inside), (bare, _) = times[0], times[1]
    ratios.append(safe / bare)
    shares.append(inside / safe)
    print(f"pair {pair + 1}: {safe:.2f} s with, {bare:.2f} s without: ratio {ratios[-1]:.4f}; in its calls {inside:.3f} s, "
          f"{100 * shares[-1]:.2f} %", flush=True)
GUARDS = ("/config", "/labels", "/layers", "/units", "/state", "/resume", "/provenance")  # all else is what was computed
assert identical(f"{here}/sweep0.h5", f"{here}/sweep1.h5", GUARDS)
print(f"median ratio {statistics.median(ratios):.4f}; median share of the calls {100 * statistics.median(shares):.2f} %")
