"""Tables written as Parquet come back with the same values."""
import importlib.util
import os
import sys
import unittest.mock

import pandas as pd

from common import BUILD, folder, make_idx, run, skip, train_small

sys.path.append(os.path.join(BUILD, "python"))  # where tests/run.sh puts pyarrow
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "analysis"))
import filterscope as fs  # noqa: E402 (found by the line above)

here = folder()
data = make_idx(f"{here}/data", labels=10, train=40, test=20)
train_small(f"{here}/model.h5", data, ranks=1)
run(1, "sweep", "--model", f"{here}/model.h5", "--data", data, "--out", f"{here}/sweep.h5", "--layers", "4,5", "--epochs", 2,
    "--batch", 20, "--test-every", 2)
results = fs.open(f"{here}/sweep.h5")


def misfit(*_, **__):
    raise KeyError("no such type extension")  # as a pyarrow does that is newer than this pandas


try:
    with unittest.mock.patch("pandas.DataFrame.to_parquet", misfit):
        results.write_parquet(f"{here}/parquet")
    sys.exit("a pyarrow that doesn't fit")
except ImportError as error:
    assert "'no such type extension'" in str(error) and not os.listdir(f"{here}/parquet"), error
if not any(map(importlib.util.find_spec, ("pyarrow", "fastparquet"))):  # pandas uses either
    skip("neither pyarrow nor fastparquet is installed (Debian has neither: README says which)")
for path, (name, table) in zip(results.write_parquet(f"{here}/parquet"), results.tables().items(), strict=True):
    found = pd.read_parquet(path)
    pd.testing.assert_frame_equal(found, table, check_exact=True)
    print(f"{os.path.basename(path)}: {len(found)} rows, the same values")
