#!/usr/bin/env python3
"""What jobs/prune.sh has found in a folder: pruning.py FOLDER [--out FOLDER]

Writes pruning.csv (a row a pruned network: threshold, control, seed, the share of its parameters and of each layer's kernels that is
kept, the SR before, after pruning, after retraining), pruning_labels.csv (the same SRs by label), and the figure pruning: SR against
the kept share, means over seeds with the standard deviation, where a control is beside AFCC with as many kernels of each layer. Prints
the means. In both tables what is not there is empty, and labels may be called NA: read.csv(FILE, na.strings = "") in R.
"""
import argparse
import glob
import os
import re

import h5py
import numpy as np
import pandas as pd

import filterscope_figures as figures
import filterscope_pruning as pruning
import model_file
from filterscope_output import run_main, written

STEM = re.compile(r"(?P<threshold>[\d.e+-]+)-(?P<control>[a-z0-9]+)-(?P<seed>\d+)")


def kept(path):
    """({layer: share of its kernels that is kept}, share of all parameters) of a model file with masks."""
    masks = model_file.masks(model_file.program(), path)
    with h5py.File(path, "r") as file:
        parameters = sum(values.size for values in file["parameter"].values())
    pruned = sum(int((~kernels).sum()) * places for kernels, places in masks.values())
    return {name: kernels.mean() for name, (kernels, _) in masks.items()}, 1 - pruned / parameters


def rates(path, before=None):
    """(SR of all images, [label's row]) of a table that `eval --table labels` printed, with the labels and images of `before`."""
    try:
        table = pd.read_csv(path, dtype={"name": str}, keep_default_na=False, na_values={"sr": "NaN"})
        images, right = table["images"], table["right"].sum()
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: no table of labels: {error}: remove it, and jobs/prune.sh writes it again") from None
    if before is not None and not images.equals(before["images"]):
        raise ValueError(f"{path}: {len(table)} labels, {images.sum()} images; {len(before)} and {before['images'].sum()} before pruning")
    return right / images.sum(), table


def rows_of(folder):
    """(a row a pruned network, a row a network, stage and label) of what is complete."""
    before, untouched = rates(os.path.join(folder, "before.csv"))
    rows, labels = [], [untouched.assign(stage="before")]
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*-pruned.csv"))):
        stem = path.removesuffix("-pruned.csv")
        name = STEM.fullmatch(os.path.basename(stem))
        if not name or not os.path.exists(f"{stem}.h5"):
            continue
        shares, share = kept(f"{stem}.h5")
        row = {"threshold": float(name["threshold"]), "control": name["control"], "seed": int(name["seed"]), "kept": share,
               "sr_before": before}
        for stage in pruning.STAGES:
            row[f"sr_{stage}"] = np.nan
            if os.path.exists(f"{stem}-{stage}.csv"):
                row[f"sr_{stage}"], by_label = rates(f"{stem}-{stage}.csv", untouched)
                labels.append(by_label.assign(**{key: row[key] for key in ("threshold", "control", "seed")}, stage=stage))
        rows.append({**row, **{f"kept_{layer}": value for layer, value in shares.items()}})
    if not rows:
        raise ValueError(f"{folder}: no pruned network is complete yet")
    table = pd.DataFrame(rows)
    layers = pruning.by_depth(column for column in table if column.startswith("kept_"))
    return table[[*pruning.SETTINGS, *layers]], pd.concat(labels, ignore_index=True)


def cell(mean, deviation):
    """One seed has no deviation; none has no mean."""
    return "-" if np.isnan(mean) else f"{mean:.4f}" if np.isnan(deviation) else f"{mean:.4f} ± {deviation:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="OUT of jobs/prune.sh")
    parser.add_argument("--out", help="where to write (the folder itself)")
    options = parser.parse_args()
    out = options.out or options.folder
    table, labels = rows_of(options.folder)
    os.makedirs(out, exist_ok=True)
    for name, content in (("pruning", table), ("pruning_labels", labels)):
        with written(os.path.join(out, f"{name}.csv")) as part:
            content.to_csv(part, index=False)
    figures.save(pruning.figure(table), out, "pruning")
    print(f"SR before {table['sr_before'].iloc[0]:.4f}; means over seeds, ± the standard deviation")
    print("threshold  control          kept    SR pruned        SR retrained     seeds")
    for row in pruning.means(table).itertuples():
        print(f"{row.threshold:9g}  {row.control:15s}  {row.kept:.4f}  {cell(row.sr_pruned, row.sr_pruned_std):15s}"
              f"  {cell(row.sr_retrained, row.sr_retrained_std):15s}  {row.seeds}")


if __name__ == "__main__":
    run_main("pruning.py", main, model_file.Failure)
