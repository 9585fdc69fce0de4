"""Pruning by clusters (AFCC) beside its controls (ours): what jobs/prune.sh found, as tables and a figure.

    import filterscope_pruning as pruning, filterscope_figures as figures
    table = pruning.read("pruned")                  # OUT of jobs/prune.sh: its pruning.csv, a row a pruned network
    pruning.means(table), pruning.kept(table)       # SR by threshold and control, over seeds; kept share of each layer's kernels
    figures.save(pruning.figure(table), "figures", "pruning")

analysis/pruning.py writes pruning.csv. Errors are ValueError, naming file and cause.
"""
import os
import re

import pandas as pd
from matplotlib.figure import Figure

import filterscope_figures as figures

NAMES = {"none": "AFCC", "random": "random kernels", "l1": "L1 norm", "clusters": "random clusters", "knockout": "knock-out"}
STAGES = ("pruned", "retrained")
SETTINGS = ["threshold", "control", "seed", "kept", "sr_before", "sr_pruned", "sr_retrained"]
COLUMNS = {
    "threshold": ("", "clipping threshold of the clusters: the higher, the less is kept"),
    "control": ("", "what chose the kernels: AFCC, or a control with as many of each layer (ours)"),
    "seeds": ("networks", "over which mean and standard deviation are"),
    "kept": ("share of parameters", "that are not pruned, of all"),
    "sr_before": ("share of images", "SR of the network before"),
    "sr_pruned": ("share of images", "SR after pruning, mean"),
    "sr_pruned_std": ("share of images", "its standard deviation over seeds"),
    "sr_retrained": ("share of images", "SR after retraining, mean"),
    "sr_retrained_std": ("share of images", "its standard deviation over seeds"),
}


def by_depth(layers):
    """Names of layers in their order, as conv2, conv10, fc1."""
    return sorted(layers, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def read(folder):
    """The table of FOLDER/pruning.csv."""
    path = os.path.join(folder, "pruning.csv")
    try:
        table = pd.read_csv(path, dtype={"control": str}, keep_default_na=False, na_values=[""], float_precision="round_trip")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; analysis/pruning.py writes it") from None
    except ValueError as error:
        raise ValueError(f"{path}: no table: {error}") from None
    numbers = table.drop(columns="control", errors="ignore")
    if table.empty or not set(SETTINGS) <= set(table) or any(kind.kind not in "if" for kind in numbers.dtypes):
        raise ValueError(f"{path}: no table of analysis/pruning.py")
    return table


def means(table):
    """Means and standard deviations over seeds: a row a threshold and control, the columns COLUMNS. One seed has no deviation."""
    table = table.assign(order=table["control"].map({name: place for place, name in enumerate(NAMES)}))
    groups = table.sort_values(["threshold", "order"]).groupby(["threshold", "control"], sort=False)
    rows = groups[["kept", "sr_before"]].mean().assign(seeds=groups.size())
    for stage in STAGES:
        rows[f"sr_{stage}"], rows[f"sr_{stage}_std"] = groups[f"sr_{stage}"].mean(), groups[f"sr_{stage}"].std()
    rows = rows.reset_index()
    rows["control"] = rows["control"].map(lambda name: NAMES.get(name, name))
    return rows[list(COLUMNS)]


def kept(table):
    """Share of each layer's kernels that is kept, a row a threshold; several rows where controls were told to keep other numbers."""
    layers = by_depth(column.removeprefix("kept_") for column in table if column.startswith("kept_"))
    rows = table[["threshold", "kept", *(f"kept_{layer}" for layer in layers)]].drop_duplicates().sort_values(["threshold", "kept"])
    return rows.rename(columns={f"kept_{layer}": layer for layer in layers}).reset_index(drop=True)


def figure(table):
    """SR against the kept share: a panel after pruning, one after retraining."""
    drawn = Figure(figsize=(9, 4), layout="constrained")
    axes = drawn.subplots(1, 2, sharex=True, sharey=True)
    rows = means(table).sort_values("kept")
    for panel, stage in zip(axes, STAGES):
        for number, name in enumerate(NAMES.values()):
            own = rows[(rows["control"] == name) & rows[f"sr_{stage}"].notna()]
            if len(own):
                panel.errorbar(own["kept"], own[f"sr_{stage}"], own[f"sr_{stage}_std"].fillna(0), label=name,
                               color=figures.COLOURS[number], marker=figures.MARKERS[number], capsize=3)
        panel.axhline(table["sr_before"].iloc[0], color="0.5", linestyle=":", label="before")
        panel.set(title=f"after {'pruning' if stage == 'pruned' else 'retraining'}", xlabel="kept share of the parameters")
    axes[0].set_ylabel("SR (share of test images)")
    axes[0].legend()
    return drawn
