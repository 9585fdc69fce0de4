#!/usr/bin/env python3
"""The paper's tables and claims from results and model files, as Markdown: reproduce.py FOLDER, or vgg6-sweep-*.h5 --models vgg6.h5

A folder stands for the results and model files in it, and for what jobs/prune.sh wrote there or in a folder below. Sweeps that differ in
the seeds of training and of probes alone belong together: means, with ± the standard deviation over the trainings, or, of one training,
over the seeds of the probes. Files that are not complete are named and left out. What is marked (ours) is this project's own definition,
the verdicts on the claims too. --into also writes the tables, without those of each network by itself, between two lines of a Markdown file.
"""
import argparse
import glob
import io
import os

import h5py
import pandas as pd

import claims
import claims_tables as tables
import filterscope as fs
from claims import MOSTLY, TRENDS, over_seeds, selection, selection_verdict, trend
from claims_tables import LAYER_COLUMNS, layers_markdown, markdown, number
from filterscope_output import run_main, written
from model_file import FORMAT, Failure, call, program

THRESHOLDS = (0.2, 0.3, 0.4, 0.5)
SENSITIVE = ("N_c", "C_s", "noise a filter", "SNR (ours)")
BEGIN, END = "<!-- from here on made by reproduce.py --into -->", "<!-- up to here -->"


def at_threshold(run, threshold, binary):
    """`results.layers` at another threshold, by `filterscope export`."""
    text = call(binary, "export", run.path, "--table", "layers", "--threshold", threshold)
    return pd.read_csv(io.StringIO(text), float_precision="round_trip")


def describe_trend(tables, column, sign):
    verdict, correlation, each, wrong = trend(tables, column, sign)
    figures = f"rank correlation {correlation:.3f}" + (f" ({min(each):.3f} to {max(each):.3f})" if len(each) > 1 else "")
    return verdict, figures, ", ".join(f"{name} {change:+.3g}" for name, change in wrong)


def claims_markdown(tables, shares):
    """tables: of layers, one a seed; shares: of all filters of all seeds that are not dead, a Series by layer's name."""
    rows = [[claim, *describe_trend(tables, column, sign)] for claim, column, sign in TRENDS]
    mean, median, half, most = selection(shares)
    rows.append(["a filter selects essentially one output unit (ours)", selection_verdict(median),
                 f"share: mean {mean:.3f}, median {median:.3f}; "
                 f"{half:.1%} of the filters above 0.5, {most:.1%} above 0.9", ""])
    by_layer = [[name, *(f"{value:.3f}" for value in selection(part)[:2]), *(f"{value:.1%}" for value in selection(part)[2:])]
                for name, part in shares.groupby(level=0, sort=False)]
    return (markdown(["claim", "holds", "figures", "where not: change from the layer before"], rows) +
            "\nTrends: yes where every step from layer to layer does so, mostly where Spearman's rank correlation with depth is "
            f"{MOSTLY} or beyond (in brackets: over the seeds). Selection: yes where the median share is 0.9 or more, mostly above "
            "0.5 (ours).\n\n" + markdown(["layer", "mean share (ours)", "median", "filters above 0.5", "above 0.9"], by_layer))


def sensitivity_markdown(network, binary, thresholds):
    """The columns SENSITIVE and the trends at each threshold."""
    found = {threshold: network.tables_of({(seed, probes): at_threshold(run, threshold, binary) for seed, runs in network.trainings.items()
                                           for probes, run in runs.items()}) for threshold in thresholds}
    summaries = {threshold: over_seeds(found[threshold]) for threshold in thresholds}
    names, text = summaries[thresholds[0]][2], ""
    for title in SENSITIVE:
        column, digits = LAYER_COLUMNS[title]
        rows = [[name, *(number(mean.at[layer, column], spread.at[layer, column], digits)
                         for mean, spread, _ in summaries.values())] for layer, name in names.items()]
        text += markdown([title, *(f"threshold {threshold}" for threshold in thresholds)], rows) + "\n"
    rows = []
    for claim, column, sign in TRENDS[1:]:
        trends = [trend(found[threshold], column, sign) for threshold in thresholds]
        rows.append([claim, *(f"{verdict} ({correlation:.3f})" for verdict, correlation, _, _ in trends)])
    return text + markdown(["holds (rank correlation)", *(f"threshold {threshold}" for threshold in thresholds)], rows)


def network_markdown(network, binary, thresholds):
    text = f"## {tables.name_of(network)}\n\n{network.schedule}\n\n" if network.schedule else f"## {tables.name_of(network)}\n\n"
    text += f"{layers_markdown(network.tables)}\n{claims_markdown(network.tables, network.shares)}\n"
    text += f"Sensitivity to the clipping threshold (ours):\n\n{sensitivity_markdown(network, binary, thresholds)}"
    for (seed, probes), table in network.by_run.items():
        if len(network.by_run) > 1:
            run = network.trainings[seed][probes]
            text += f"\nSeed {probes} ({os.path.basename(run.path)}):\n\n{layers_markdown([table])}"
    return text


def gather(paths):
    """(results files, model files, folders of jobs/prune.sh) of files and folders."""
    results, models, pruned = [], [], []
    for path in paths:
        inside = os.path.isdir(path)
        if inside:
            tested = [os.path.join(glob.escape(path), where, "before.csv") for where in ("", "*")]
            pruned += [os.path.dirname(name) for pattern in tested for name in sorted(glob.glob(pattern))]
        if inside and path.rstrip("/") in [folder.rstrip("/") for folder in pruned]:
            continue
        for name in sorted(glob.glob(os.path.join(glob.escape(path), "*.h5"))) if inside else [path]:
            kind = format_of(name)
            if kind == FORMAT:
                models.append(name)
            elif kind == fs.FORMAT or not inside:  # of others fs.open says what they are
                results.append(name)
    return results, models, pruned


def format_of(path):
    try:
        with h5py.File(path, "r") as file:
            kind = file.attrs.get("format", b"")
            return kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    except OSError:
        return ""


def section(title, text):
    """Nothing where there is no table."""
    return [f"### {title}\n\n{text}"] if text else []


def summary(found, models, folders):
    """The tables of all networks together, and the claims."""
    widths, labels = claims.width_families(found), claims.label_families(found)
    return "\n".join([
        *section("Networks", tables.networks_markdown(found)),
        *section("Claims", tables.claims_table(found, models, folders, widths, labels)),
        *section("By depth", tables.depth_markdown(found).rstrip("\n") + "\n"),
        *section("The last layer", tables.last_markdown(found)),
        *section("Filters taken out (ours)", tables.knockout_markdown(found)),
        *section("Pruning by clusters", tables.pruning_markdown(folders, models)),
        *section("Width", tables.widths_markdown(widths)),
        *section("Number of labels", tables.compared_markdown(labels, "K", lambda network: network.labels)),
        *section("Label smoothing", tables.compared_markdown(claims.smoothing_families(found), "smoothing", lambda network:
                                                             network.models[0].config.get("label-smoothing", "0"))),
        *section("Probed before and after the last pool", tables.compared_markdown(claims.pool_families(found), "probed", lambda network:
                                                                                   "before" if network.unpooled else "after")),
        *section("Options of training: SR on the images held back, by epoch", tables.held_markdown(models)),
        *section("Time and memory", tables.runs_markdown(found, models))])


def report(paths, models, binary, thresholds=THRESHOLDS):
    """(the tables of all networks together, a function that gives them with those of each network behind them)"""
    results, own, pruned = gather(paths)
    runs = [fs.open(path) for path in results]
    models = [claims.Model(path, binary) for path in dict.fromkeys([*own, *models])]
    models = list({model.network: model for model in models}.values())  # copies of one are one
    found = claims.networks([run for run in runs if run.complete], models)
    if not found:
        raise Failure("none of the files is complete yet")
    left_out = [run.path for run in runs if not run.complete]
    said = f"\nNot complete, left out: {', '.join(left_out)}.\n" if left_out else ""
    said += ("\nN_c (clusters), noise a filter: means over the layer's filters; C_s: mean size of all clusters; share: of the test "
             "images on which a filter selects its most often selected output unit, mean over filters that are not dead.\n")
    together = summary(found, models, [claims.pruned(folder) for folder in pruned])
    return together + said, lambda: "\n".join([together + said, *(network_markdown(network, binary, thresholds) for network in found)])


def put_into(path, text):
    """Replaces what stands between the lines BEGIN and END of a file."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        raise Failure(f"{path}: has not one line '{BEGIN}' and after it one '{END}'")
    lines[lines.index(BEGIN) + 1:lines.index(END)] = ["", *text.rstrip("\n").split("\n"), ""]
    with written(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="results files of filterscope sweep, model files, folders of both")
    parser.add_argument("--models", nargs="*", default=[], help="more model files: for the networks' training and own test SR")
    parser.add_argument("--into", metavar="FILE", help=f"Markdown file with a line '{BEGIN}' and one '{END}'")
    parser.add_argument("--filterscope", help="the program ($FILTERSCOPE, the build folder beside this one, or PATH)")
    options = parser.parse_args()
    together, whole = report(options.files, options.models, program(options.filterscope))
    if options.into:
        put_into(options.into, together)
    print(whole(), end="")


if __name__ == "__main__":
    run_main("reproduce.py", main, Failure)
