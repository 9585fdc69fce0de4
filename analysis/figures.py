#!/usr/bin/env python3
"""Figures and the table of a sweep: figures.py sweep.h5 [--out DIR] [--table] [--layer L --filter F]

layers.png/.pdf  SR, and SNR with signal and noise, by layer
filter.png/.pdf  one filter's K x K field before and after clipping, the latter with its clusters as diagonal blocks
"""
import argparse
import os
import sys

import h5py
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)
from matplotlib.colors import ListedColormap  # noqa: E402

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito: told apart by the colour-blind


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="results file of filterscope sweep")
    parser.add_argument("--out", default=".", help="folder of the figures (.)")
    parser.add_argument("--table", action="store_true", help="print the layer table, too")
    parser.add_argument("--layer", type=int, help="layer of the filter that is shown (the last)")
    parser.add_argument("--filter", type=int, help="number of the filter, from 0 (the one with the clearest clusters)")
    return parser.parse_args()


def print_table(rows, names):
    print("layer  name     filters  dead      SR    N_c  labels    C_s   noise   signal  noise  SNR (ours)")
    for row, name in zip(rows, names):
        print(f"{row['layer']:5d}  {name:8s} {row['filters']:7d} {row['dead']:5d}  {row['sr']:.4f}  {row['clusters']:5.2f}"
              f"  {row['covered']:6.2f}  {row['cluster_size']:5.2f}  {row['noise']:6.2f}  {row['signal']:7.1f}"
              f"  {row['noise_internal'] + row['noise_external']:5.1f}  {row['snr']:.3f}")
    print("N_c, labels, noise: means over the layer's filters; C_s: mean size of all clusters; layer signal and noise: sums (ours)")


def save(figure, folder, name):
    for kind in ("png", "pdf"):
        figure.savefig(os.path.join(folder, f"{name}.{kind}"), dpi=150, bbox_inches="tight")
    plt.close(figure)


def plot_layers(rows, arch, labels, folder):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    left.plot(rows["layer"], rows["sr"], "o-", color=BLUE)
    left.axhline(1 / labels, color="grey", linestyle=":", label="chance")
    left.set(xlabel="convolution layer", ylabel="SR (share of test images)", title="SR of each layer's probe", ylim=(0, 1))
    left.legend(loc="lower right")
    noise = rows["noise_internal"] + rows["noise_external"]
    right.plot(rows["layer"], rows["snr"], "o-", color=BLUE, label="SNR (left axis)")
    right.set(xlabel="convolution layer", ylabel="SNR (ours)", title="Signal to noise of the clipped fields")
    right.set_ylim(0, 1.15 * np.nanmax(np.where(np.isfinite(rows["snr"]), rows["snr"], np.nan)))
    per_filter = right.twinx()
    per_filter.plot(rows["layer"], rows["signal"] / rows["filters"], "s--", color=GREEN, label="signal a filter")
    per_filter.plot(rows["layer"], noise / rows["filters"], "^--", color=ORANGE, label="noise a filter")
    per_filter.set(ylabel="signal, noise a filter (ours)", ylim=(0, None))
    lines = right.get_lines() + per_filter.get_lines()
    right.legend(lines, [line.get_label() for line in lines], loc="lower right")
    for axes in (left, right):
        axes.set_xticks(rows["layer"])
    figure.suptitle(arch)
    figure.tight_layout()
    save(figure, folder, "layers")


def best_filter(rows):
    """With a cluster of several labels, where there is one; then the least noise; then the most labels in clusters."""
    single = rows["covered"] <= rows["clusters"]
    order = np.lexsort((-rows["covered"], rows["noise"], single, rows["dead"]))
    return int(rows["filter"][order[0]])


def show_matrix(axes, values, order, names, title, **options):
    image = axes.imshow(values[np.ix_(order, order)], **options)
    few = len(order) <= 30
    axes.set(xlabel="output unit", ylabel="input label", title=title)
    axes.set_xticks(range(len(order)) if few else [], [names[k] for k in order] if few else [], rotation=60, ha="right")
    axes.set_yticks(range(len(order)) if few else [], [names[k] for k in order] if few else [])
    return image


def plot_filter(file, layer, number, names, threshold, folder):
    field = file[f"silence/{layer}/field"][number].astype(float)
    cluster = file[f"silence/{layer}/cluster"][number]
    normalised = field / field.max()
    clipped = (normalised > threshold).astype(int)
    order = sorted(range(len(names)), key=lambda k: (cluster[k] == 0, cluster[k], k))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8))
    limit = np.abs(normalised).max()
    image = show_matrix(left, normalised, range(len(names)), names, "averaged field / its largest element", cmap="PuOr_r",
                        vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=left, shrink=0.8, label="field (1 = largest)")
    member = (cluster[:, None] == cluster[None, :]) & (cluster[:, None] > 0)
    show_matrix(right, np.where(clipped == 0, 0, np.where(member, 2, 1)), order, names,
                f"clipped at {threshold:g}, labels ordered by cluster", cmap=ListedColormap(["white", ORANGE, BLUE]), vmin=0,
                vmax=2)
    for colour, text in ((BLUE, "cluster"), (ORANGE, "noise")):
        right.scatter([], [], marker="s", color=colour, label=text)
    right.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.suptitle(f"layer {layer}, filter {number}: N_c = {cluster.max()}, noise = {clipped.sum() - member.sum()}")
    figure.tight_layout()
    save(figure, folder, "filter")


def main():
    options = arguments()
    try:
        file = h5py.File(options.results, "r")
    except OSError as error:
        sys.exit(f"figures.py: {options.results}: {error}")
    if file.attrs.get("format") not in (b"filterscope-results", "filterscope-results", np.bytes_(b"filterscope-results")):
        sys.exit(f"figures.py: {options.results}: not a filterscope results file")
    if not file["state"]["complete"][0]:
        done = file["units"]["state"][:]
        sys.exit(f"figures.py: {options.results}: the sweep is not complete: {int((done == 1).sum())} of {len(done)} units are done")
    config = {key.decode(): value.decode() for key, value in file["config"][:]}
    names = [name.decode() for name in file["labels"][:]]
    rows = file["silence/layers"][:]
    if options.table:
        print_table(rows, [name.decode() for name in file["layers"]["name"]])
    layer = options.layer if options.layer is not None else int(rows["layer"][-1])
    filters = file["silence/filters"][:]
    filters = filters[filters["layer"] == layer]
    number = options.filter if options.filter is not None else best_filter(filters) if len(filters) else 0
    if not 0 <= number < len(filters) or filters["dead"][number]:
        sys.exit(f"figures.py: layer {layer} has no living filter {number}; layers {list(rows['layer'])} were probed")
    os.makedirs(options.out, exist_ok=True)
    plot_layers(rows, config["model"].split(",")[0], len(names), options.out)
    plot_filter(file, layer, number, names, float(config["threshold"]), options.out)
    for name in ("layers", "filter"):
        print(os.path.join(options.out, f"{name}.png"))


if __name__ == "__main__":
    main()
