#!/usr/bin/env python3
"""The paper's tables and claims from results files, as Markdown: reproduce.py vgg6-sweep-*.h5 --models vgg6.h5

Files that differ in the seed of the probes alone belong together: means, with ± the standard deviation over the seeds. Files that
are not complete are named and left out. What is marked (ours) is this project's own definition, the verdicts on the claims too.
"""
import argparse
import io
import os

import h5py
import numpy as np
import pandas as pd

import filterscope as fs
from filterscope_output import run_main
from model_file import FORMAT, Failure, call, program

THRESHOLDS = (0.2, 0.3, 0.4, 0.5)
PUBLISHED = {"avgg6": "0.936", "avgg8": "0.940", "avgg16": "0.955", "vgg16": "about 0.935", "vgg16-fc1": "about 0.935"}  # CIFAR-10
MOSTLY = 0.9  # rank correlation from which a claim holds "mostly"
LAYER_COLUMNS = {"SR": ("sr", 4), "N_f": ("filters", 0), "N_c": ("clusters", 2), "C_s": ("cluster_size", 2),
                 "noise a filter": ("noise", 2), "signal (ours)": ("signal", 1), "noise (ours)": ("layer_noise", 1),
                 "SNR (ours)": ("snr", 3), "share (ours)": ("share", 3), "dead": ("dead", 0)}
SENSITIVE = ("N_c", "C_s", "noise a filter", "SNR (ours)")
TRENDS = (("SR rises with depth", "sr", 1), ("SNR (ours) rises with depth", "snr", 1), ("noise a filter falls with depth", "noise", -1))


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def layer_table(run, threshold=None, binary=None):
    """`results.layers`, or the same at another threshold by `filterscope export`; with the layer's noise as one number."""
    table = run.layers
    if threshold is not None:
        text = call(binary, "export", run.path, "--table", "layers", "--threshold", threshold)
        table = pd.read_csv(io.StringIO(text), float_precision="round_trip")
    return table.assign(layer_noise=table["noise_internal"] + table["noise_external"])


def over_seeds(tables):
    """Mean and standard deviation by layer (NaN of one table), and the layers' names."""
    by_layer = pd.concat(tables).drop(columns="name").groupby("layer")
    return by_layer.mean(), by_layer.std(), tables[0].set_index("layer")["name"]


def number(mean, spread, digits):
    return f"{mean:.{digits}f}" + (f" ± {spread:.{max(digits, 1)}f}" if spread > 0 else "")


def layers_markdown(tables):
    mean, spread, names = over_seeds(tables)
    rows = [[names[layer], *(number(mean.at[layer, column], spread.at[layer, column], digits)
                             for column, digits in LAYER_COLUMNS.values())] for layer in mean.index]
    return markdown(["layer", *LAYER_COLUMNS], rows)


def rank_correlation(values):
    """Spearman's, of values and their places, without the last digits: 0.9 is 0.9."""
    if len(values) < 2:
        return np.nan
    return round(pd.Series(range(len(values))).corr(pd.Series(list(values)).rank()), 9)


def trend(tables, column, sign):
    """Whether the mean over seeds of `column` rises (sign 1) or falls (-1) from layer to layer.
    Returns (verdict, rank correlation of the mean, [of each table], [(layer's name, change)] of the steps that do not).
    yes: every step does; mostly: the rank correlation is sign * MOSTLY or beyond; else no (ours)."""
    mean, _, names = over_seeds(tables)
    steps = mean[column].diff().iloc[1:]
    wrong = [(names[layer], change) for layer, change in steps.items() if not sign * change > 0]
    correlation = rank_correlation(mean[column])
    verdict = "yes" if not wrong else "mostly" if sign * correlation >= MOSTLY else "no"
    return verdict, correlation, [rank_correlation(table[column]) for table in tables], wrong


def selection(shares):
    """Of the filters' shares of their selected unit: mean, median, part of them above 0.5, above 0.9."""
    return shares.mean(), shares.median(), (shares > 0.5).mean(), (shares > 0.9).mean()


def describe_trend(tables, column, sign):
    verdict, correlation, each, wrong = trend(tables, column, sign)
    figures = f"rank correlation {correlation:.3f}" + (f" ({min(each):.3f} to {max(each):.3f})" if len(each) > 1 else "")
    return verdict, figures, ", ".join(f"{name} {change:+.3g}" for name, change in wrong)


def claims_markdown(tables, shares):
    """tables: of layers, one a seed; shares: of all filters of all seeds that are not dead, a Series by layer's name."""
    rows = [[claim, *describe_trend(tables, column, sign)] for claim, column, sign in TRENDS]
    mean, median, half, most = selection(shares)
    verdict = "yes" if median >= 0.9 else "mostly" if median > 0.5 else "no"
    rows.append(["a filter selects essentially one output unit (ours)", verdict, f"share: mean {mean:.3f}, median {median:.3f}; "
                 f"{half:.1%} of the filters above 0.5, {most:.1%} above 0.9", ""])
    by_layer = [[name, *(f"{value:.3f}" for value in selection(part)[:2]), *(f"{value:.1%}" for value in selection(part)[2:])]
                for name, part in shares.groupby(level=0, sort=False)]
    return (markdown(["claim", "holds", "figures", "where not: change from the layer before"], rows) +
            "\nTrends: yes where every step from layer to layer does so, mostly where Spearman's rank correlation with depth is "
            f"{MOSTLY} or beyond (in brackets: over the seeds). Selection: yes where the median share is 0.9 or more, mostly above "
            "0.5 (ours).\n\n" + markdown(["layer", "mean share (ours)", "median", "filters above 0.5", "above 0.9"], by_layer))


def sensitivity_markdown(runs, binary, thresholds):
    """The columns SENSITIVE and the trends at each threshold."""
    tables = {threshold: [layer_table(run, threshold, binary) for run in runs] for threshold in thresholds}
    summaries = {threshold: over_seeds(tables[threshold]) for threshold in thresholds}
    names, text = summaries[thresholds[0]][2], ""
    for title in SENSITIVE:
        column, digits = LAYER_COLUMNS[title]
        rows = [[name, *(number(mean.at[layer, column], spread.at[layer, column], digits)
                         for mean, spread, _ in summaries.values())] for layer, name in names.items()]
        text += markdown([title, *(f"threshold {threshold}" for threshold in thresholds)], rows) + "\n"
    rows = []
    for claim, column, sign in TRENDS[1:]:
        found = [trend(tables[threshold], column, sign) for threshold in thresholds]
        rows.append([claim, *(f"{verdict} ({correlation:.3f})" for verdict, correlation, _, _ in found)])
    return text + markdown(["holds (rank correlation)", *(f"threshold {threshold}" for threshold in thresholds)], rows)


def read_model(path, binary):
    """{arch, epochs, images, sr, seconds} of a model file."""
    call(binary, "check", path)
    with h5py.File(path, "r") as file:
        if file.attrs["format"] != FORMAT.encode():
            raise Failure(f"{path}: not a filterscope model file")
        config, history = dict(file["config"][:].tolist()), file["history"][:]
        return {"arch": file.attrs["arch"].decode(errors="backslashreplace"), "epochs": len(history), "seconds": history["seconds"].sum(),
                "images": config.get(b"train-data", b"?").decode().split()[0],
                "sr": history["test_sr"][-1] if len(history) else np.nan}


def networks(runs):
    """Lists of files that differ in the seed alone."""
    groups = {}
    for run in runs:
        key = tuple((name, value) for name, value in run.config.items() if name != "seed")
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def networks_markdown(groups, models):
    rows = []
    for runs in groups:
        run = runs[0]
        model = models.get(run.arch)
        trained = ([f"{model['epochs']} epochs, {model['images']} images, {model['seconds'] / 60:.0f} min", f"{model['sr']:.4f}"]
                   if model else ["", ""])
        rows.append([run.arch, *trained, PUBLISHED.get(run.arch, ""), run.config["epochs"],
                     ", ".join(str(run.seed) for run in runs), run.threshold])
    return markdown(["network", "training", "test SR", "published SR", "probe epochs", "seeds of probes", "threshold"], rows)


def network_markdown(runs, binary, thresholds):
    tables = [layer_table(run) for run in runs]
    filters = pd.concat(run.filters for run in runs)
    filters = filters[filters["dead"] == 0].sort_values("layer", kind="stable")
    text = f"## {runs[0].arch}\n\n{layers_markdown(tables)}\n{claims_markdown(tables, filters.set_index('name')['share'])}\n"
    text += f"Sensitivity to the clipping threshold (ours):\n\n{sensitivity_markdown(runs, binary, thresholds)}"
    for run, table in zip(runs, tables):
        if len(runs) > 1:
            text += f"\nSeed {run.seed} ({os.path.basename(run.path)}):\n\n{layers_markdown([table])}"
    return text


def report(paths, models, binary, thresholds=THRESHOLDS):
    runs = [fs.open(path) for path in paths]
    models = {model["arch"]: model for model in (read_model(path, binary) for path in models)}
    groups = networks([run for run in runs if run.complete])
    if not groups:
        raise Failure("none of the files is complete yet")
    text = networks_markdown(groups, models)
    left_out = [run.path for run in runs if not run.complete]
    if left_out:
        text += f"\nNot complete, left out: {', '.join(left_out)}.\n"
    text += ("\nN_c (clusters), noise a filter: means over the layer's filters; C_s: mean size of all clusters; share: of the test "
             "images on which a filter selects its most often selected output unit, mean over filters that are not dead.\n")
    return "\n".join([text, *(network_markdown(group, binary, thresholds) for group in groups)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="results files of filterscope sweep")
    parser.add_argument("--models", nargs="*", default=[], help="their model files: for the networks' own test SR")
    parser.add_argument("--filterscope", help="the program ($FILTERSCOPE, the build folder beside this one, or PATH)")
    options = parser.parse_args()
    print(report(options.files, options.models, program(options.filterscope)), end="")


if __name__ == "__main__":
    run_main("reproduce.py", main, Failure)
