"""All figures and one self-contained HTML report of one or several results files.

    python3 analysis/report.py sweep.h5                     # report.html, *.png and *.pdf in the present folder
    python3 analysis/report.py a.h5 b.h5 --out compared     # networks or seeds beside each other
    python3 analysis/report.py sweep.h5 --figure field --layer 5 --filter 17     # one figure
"""
import argparse
import os
import sys

import filterscope as fs
import filterscope_figures as figures
import filterscope_page as page
from filterscope_output import printable, run_main, written

CITE = """Y. Tzach et al., "The mechanism underlying successful deep learning", arXiv:2305.18078 (2023), for the method; the
filterscope repository, with its version, for the implementation."""
CAPTIONS = {
    "sr": "SR (success rate: test accuracy) of each layer's probe, a fully connected layer on the frozen trunk.",
    "clusters": "Means over the layer's filters of the number of clusters and of the noise, the mean size of all clusters, and "
                "the layer's signal to noise ratio (ours).",
    "field": "One filter: the averaged field, the same clipped, and with the labels ordered by cluster.",
    "sizes": "Clusters of each size; a logarithmic scale.",
    "share": "The output unit that a filter, all others being silenced, selects most often (ours): on what share of the test "
             "images, and which unit.",
    "history": "The probes while they learned.",
    "knockout": "Each filter taken out of the trained network (ours): by how much the SR of labels falls that are in its clusters, and "
                "of the others; and the area under the ROC curve of \"is in a cluster of the filter\" as a predictor of a label's drop.",
}
NUMBERS = {"layers": "a row a layer", "probes": "a row a probe, after its last complete epoch", "filters": "a row a filter",
           "history": "a row a probe and epoch", "cluster_sizes": "a row a layer and size", "knockout_layers": "a row a layer",
           "knockout_filters": "a row a filter that was knocked out"}
KNOCKOUT = ("knockout_layers", "knockout_filters")


def has_knockout(results):
    return any("knockout" in run.config for run in figures.runs(results))


def run_section(run):
    """What a file was computed from, and how."""
    done = "complete" if run.complete else f"not complete: {int(run.units['done'].sum())} of {len(run.units)} units are done"
    return (f"{page.heading(3, f'{run.path}: {done}')}<p>Configuration: what the results depend on.</p>\n{page.pairs(run.config)}"
            f"<p>Provenance: each start of the program.</p>\n{page.table(run.launches)}")


def report_page(results, pictures):
    """The whole report; pictures: (path of a PNG, caption)."""
    archs = ", ".join(dict.fromkeys(run.arch for run in figures.runs(results)))
    parts = [page.heading(2, "Layers"),
             "<p>A click on a column's head sorts; its tooltip tells what it is. Tables show four digits, the files have all. What is "
             "marked (ours) is the implementation's own definition, not the paper's.</p>\n", page.table(results.layers, "layers"),
             page.heading(2, "Figures"), page.figures(pictures), page.heading(2, "Tables")]
    for name in ("probes", "filters", "history", "cluster_sizes", *(KNOCKOUT if has_knockout(results) else ())):
        table = getattr(results, name)
        if name == "cluster_sizes":
            table = table[table["clusters"] > 0]
        parts += [page.heading(3, f"{name}: {NUMBERS[name]}"), page.table(table, name)]
    parts.append(page.heading(2, "Configuration and provenance"))
    parts += [run_section(run) for run in figures.runs(results)]
    parts += [page.heading(2, "How to cite"), f"<p>{page.escape(CITE)}</p>\n"]
    return page.document(f"filterscope: {archs}", "".join(parts))


def print_layers(results):
    """The layer table for a terminal."""
    for run in figures.runs(results):
        print(f"{run.path}: {run.arch}")
        print("layer  name     filters  dead      SR    N_c  labels    C_s   noise   signal  noise  SNR (ours)")
        for row in run.layers.itertuples():
            print(f"{row.layer:5d}  {row.name:8s} {row.filters:7d} {row.dead:5d}  {row.sr:.4f}  {row.clusters:5.2f}"
                  f"  {row.covered:6.2f}  {row.cluster_size:5.2f}  {row.noise:6.2f}  {row.signal:7.1f}"
                  f"  {row.noise_internal + row.noise_external:5.1f}  {row.snr:.3f}")
    print("N_c, labels, noise: means over the layer's filters; C_s: mean size of all clusters; layer signal and noise: sums (ours)")


def draw_fields(results, options):
    """The clearest filter of every layer, or those that were asked for: (name, figure, caption)."""
    drawn = []
    for number, run in enumerate(figures.runs(results)):
        done = run.filters["layer"].unique()
        for layer in [options.layer] if options.layer is not None else done:
            filter = options.filter if options.filter is not None else figures.best_filter(run, layer)
            if filter is None:
                continue
            name = f"field-{layer}-{filter}" + (f"-{number + 1}" if hasattr(results, "runs") else "")
            caption = f"{CAPTIONS['field']} {run.path}, layer {layer}, filter {filter}."
            drawn.append((name, figures.field(run, layer, filter), caption))
    return drawn


def draw(results, options):
    """Draws what was asked for; what the file does not have yet is named on standard error."""
    pictures = []
    for name, function in figures.FIGURES.items():
        if options.figure not in (None, name) or (name == "knockout" and not options.figure and not has_knockout(results)):
            continue
        try:
            drawn = draw_fields(results, options) if name == "field" else [(name, function(results), CAPTIONS[name])]
        except ValueError as error:
            if options.figure:
                raise
            print(f"report.py: {printable(str(error))}", file=sys.stderr)
            continue
        for stem, figure, caption in drawn:
            png, pdf = figures.save(figure, options.out, stem)
            print(f"{png} (and .pdf)")
            pictures.append((png, caption))
    return pictures


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="results files of filterscope sweep, complete or not")
    parser.add_argument("--out", default=".", help="folder of what is written (.)")
    parser.add_argument("--figure", choices=figures.FIGURES, help="this figure alone, and no report")
    parser.add_argument("--layer", type=int, help="layer of the filter whose field is drawn (all layers)")
    parser.add_argument("--filter", type=int, help="number of that filter, from 0 (the one with the clearest clusters)")
    parser.add_argument("--parquet", action="store_true", help="write all tables as Parquet files, too")
    return parser.parse_args()


def report(options):
    results = fs.open(*options.results)
    os.makedirs(options.out, exist_ok=True)
    if options.figure:
        return draw(results, options)
    print_layers(results)
    pictures = draw(results, options)
    path = os.path.join(options.out, "report.html")
    with written(path) as part, open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(report_page(results, pictures))
    print(path)
    for table in results.write_parquet(options.out) if options.parquet else ():
        print(table)


def main():
    run_main("report.py", lambda: report(read_options()))
