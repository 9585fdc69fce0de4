"""All figures and one self-contained HTML report of one or several results files.

    python3 analysis/report.py sweep.h5                     # report.html, *.png and *.pdf in the present folder
    python3 analysis/report.py a.h5 b.h5 --out compared     # networks or seeds beside each other
    python3 analysis/report.py sweep.h5 --figure field --layer 5 --filter 17     # one figure
    python3 analysis/report.py sweep.h5 --pruned pruned     # with what jobs/prune.sh found
"""
import argparse
import os
import sys

import filterscope as fs
import filterscope_figures as figures
import filterscope_page as page
import filterscope_pruning as pruning
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
    "drops": "Labels in each filter's clusters, and the drop of their SR without the filter (ours), filters in the same order: were clusters "
             "what a filter does, the two would look alike. To the right, the filter whose loss costs most.",
    "groups": "All filters that have a label in a cluster knocked out together (ours), and all others but these: what it costs the label "
              "and the other labels, beside as many random filters of the layer; and how many of these random groups cost the label less.",
    "pruning": "SR against the kept share of the parameters, means over seeds with the standard deviation; dotted: before pruning.",
    "curves": "Filters of a layer knocked out one after the other (ours), by a column of their table and at random.",
}
NUMBERS = {"layers": "a row a layer", "probes": "a row a probe, after its last complete epoch", "filters": "a row a filter",
           "history": "a row a probe and epoch", "cluster_sizes": "a row a layer and size", "knockout_layers": "a row a layer",
           "knockout_filters": "a row a filter that was knocked out", "knockout_groups": "a row a group, its complement and each random one",
           "knockout_curves": "a row a point of a curve"}
KNOCKOUT = {"knockout_layers": "knockout", "knockout_filters": "knockout", "knockout_groups": "groups", "knockout_curves": "curve"}


def has_part(results, part):
    """Whether some file was made with this part of the knock-out, an entry of its configuration."""
    return any(part in run.config for run in figures.runs(results))


def run_section(run):
    """What a file was computed from, and how."""
    done = "complete" if run.complete else f"not complete: {int(run.units['done'].sum())} of {len(run.units)} units are done"
    return (f"{page.heading(3, f'{run.path}: {done}')}<p>Configuration: what the results depend on.</p>\n{page.pairs(run.config)}"
            f"<p>Provenance: each start of the program.</p>\n{page.table(run.launches)}")


def pruning_section(folder, out):
    """What pruning by clusters made of a network beside its controls, from OUT of jobs/prune.sh; draws its figure, too."""
    table = pruning.read(folder)
    png, pdf = figures.save(pruning.figure(table), out, "pruning")
    print(f"{png} (and .pdf)")
    return (f"{page.heading(2, 'Pruning by clusters')}<p>{page.escape(os.path.join(folder, 'pruning.csv'))}: by clusters (AFCC), and by "
            "controls (ours) that keep as many kernels of each layer.</p>\n"
            f"{page.heading(3, 'SR before, after pruning and after retraining')}{page.table(pruning.means(table), columns=pruning.COLUMNS)}"
            f"{page.figures([(png, CAPTIONS['pruning'])])}"
            f"{page.heading(3, 'Kept share of the kernels of each layer')}{page.table(pruning.kept(table), columns=pruning.COLUMNS)}")


def report_page(results, pictures, more=""):
    """The whole report; pictures: (path of a PNG, caption); more: a section of its own."""
    archs = ", ".join(dict.fromkeys(run.arch for run in figures.runs(results)))
    parts = [page.heading(2, "Layers"),
             "<p>A click on a column's head sorts; its tooltip tells what it is. Tables show four digits, the files have all. What is "
             "marked (ours) is the implementation's own definition, not the paper's.</p>\n", page.table(results.layers, "layers"),
             page.heading(2, "Figures"), page.figures(pictures), page.heading(2, "Tables")]
    for name in ("probes", "filters", "history", "cluster_sizes", *(name for name, part in KNOCKOUT.items() if has_part(results, part))):
        table = getattr(results, name)
        if name == "cluster_sizes":
            table = table[table["clusters"] > 0]
        parts += [page.heading(3, f"{name}: {NUMBERS[name]}"), page.table(table, name)]
    parts += [more, page.heading(2, "Configuration and provenance")]
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
            caption = f"{CAPTIONS['field']} {run.path}, {run.name(layer)}, filter {filter}."
            drawn.append((name, figures.field(run, layer, filter), caption))
    return drawn


def draw_drops(results, options):
    """Each layer whose filters were knocked out, or the one that was asked for."""
    drawn = []
    for number, run in enumerate(figures.runs(results)):
        layers = run.knockout_layers["layer"].unique()
        if not len(layers) and not hasattr(results, "runs"):
            raise ValueError("drops: nothing is complete yet")
        for layer in [options.layer] if options.layer is not None else layers:
            name = f"drops-{layer}" + (f"-{number + 1}" if hasattr(results, "runs") else "")
            drawn.append((name, figures.drops(run, layer, options.filter), f"{CAPTIONS['drops']} {run.path}, {run.name(layer)}."))
    return drawn


def draw_curves(results, options):
    """A figure a file that has some."""
    drawn = []
    for number, run in enumerate(figures.runs(results)):
        if hasattr(results, "runs") and "curve" not in run.config:
            continue
        name = "curves" + (f"-{number + 1}" if hasattr(results, "runs") else "")
        drawn.append((name, figures.curves(run), f"{CAPTIONS['curves']} {run.path}."))
    return drawn


SEVERAL = {"field": draw_fields, "drops": draw_drops, "curves": draw_curves}  # figures a file or layer


def draw(results, options):
    """Draws what was asked for; what the file does not have yet is named on standard error."""
    pictures = []
    for name, function in figures.FIGURES.items():
        if options.figure not in (None, name) or (not options.figure and not has_part(results, figures.PARTS.get(name, "model"))):
            continue
        try:
            drawn = SEVERAL[name](results, options) if name in SEVERAL else [(name, function(results), CAPTIONS[name])]
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
    parser.add_argument("--layer", type=int, help="layer of the filter whose field or drops are drawn (all layers)")
    parser.add_argument("--filter", type=int, help="its number, from 0 (that with the clearest clusters; that whose loss costs most)")
    parser.add_argument("--pruned", metavar="FOLDER", help="OUT of jobs/prune.sh: a section on pruning by clusters")
    parser.add_argument("--parquet", action="store_true", help="write all tables as Parquet files, too")
    return parser.parse_args()


def report(options):
    results = fs.open(*options.results)
    os.makedirs(options.out, exist_ok=True)
    if options.figure:
        return draw(results, options)
    print_layers(results)
    pictures = draw(results, options)
    more = pruning_section(options.pruned, options.out) if options.pruned else ""
    path = os.path.join(options.out, "report.html")
    with written(path) as part, open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(report_page(results, pictures, more))
    print(path)
    for table in results.write_parquet(options.out) if options.parquet else ():
        print(table)


def main():
    run_main("report.py", lambda: report(read_options()))
