"""Weights, fields and tables are the same bits on 1, 2, 3 and 5 ranks, for training and for both forms of a sweep."""
from common import VARYING, folder, identical, make_idx, run, train_small, vgg6_with_units

here = folder()
data = make_idx(f"{here}/data")
RANKS = (1, 2, 3, 5)
arch = vgg6_with_units(f"{here}/units.txt")

for ranks in RANKS:
    train_small(f"{here}/model{ranks}.h5", data, ranks, arch, epochs=2)
    assert identical(f"{here}/model1.h5", f"{here}/model{ranks}.h5", ("/history",)), f"models of 1 and {ranks} ranks"

PASSES = ("--field-memory", 0.00008)  # GiB: of conv2 and conv3 together, then of a layer at a time
for form, layers in (((), "2-5,fc1"), (("--literal",), "5,fc1"), (("--team", 1), "2-5,fc1"), (PASSES, "2-5,fc1")):
    for ranks in RANKS:
        out = f"{here}/sweep{ranks}{''.join(map(str, form))}.h5"
        done = run(ranks, "sweep", "--model", f"{here}/model1.h5", "--data", data, "--out", out, "--epochs", 3, "--batch", 20,
                   "--test-every", 2, "--slots", 4, "--filters-per-unit", 100, "--layers", layers, *form,
                   *(("--test-images", 8) if "--literal" in form else ()))
        passes = done.stdout.count("phase three: the filters of")
        assert (passes > 2) == (form == PASSES), done.stdout
        assert identical(f"{here}/sweep1{''.join(map(str, form))}.h5", out, VARYING), f"sweeps of 1 and {ranks} ranks {form}"
    print(f"sweep {' '.join(map(str, form)) or '(one pass)'}: {RANKS} ranks give the same bits")

for form in "--team1", f"{PASSES[0]}{PASSES[1]}":
    assert identical(f"{here}/sweep1.h5", f"{here}/sweep1{form}.h5", VARYING), f"{form} changes no bit"
