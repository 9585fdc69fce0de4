"""All figures and one self-contained HTML report of one or several results files.

    python3 analysis/report.py sweep.h5                     # report.html, *.png and *.pdf in the present folder
    python3 analysis/report.py a.h5 b.h5 --out compared     # networks or seeds beside each other
    python3 analysis/report.py sweep.h5 --figure field --layer 5 --filter 17     # one figure
"""
import argparse
import base64
import html
import os
import sys

import filterscope as fs
import filterscope_figures as figures
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
STYLE = """body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #111 }
h1, h2 { font-weight: 600 } figure { margin: 1.5em 0 } img { max-width: 100% } figcaption { color: #444 }
.table { overflow: auto; max-height: 32em; width: fit-content; max-width: 100%; border: 1px solid #ccc; margin: .5em 0 1.5em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th { position: sticky; top: 0; background: #eee; cursor: pointer; text-align: right; padding: .3em .7em; vertical-align: bottom }
th small { display: block; font-weight: normal; color: #555 } td { padding: .15em .7em; text-align: right; white-space: nowrap }
th.text, td.text { text-align: left } td.long { white-space: normal; overflow-wrap: anywhere }
tr:nth-child(even) td { background: #f7f7f7 }
th[aria-sort=ascending]::after { content: " \\25B2" } th[aria-sort=descending]::after { content: " \\25BC" }"""
SCRIPT = """document.querySelectorAll("th").forEach(function (th) {
  th.addEventListener("click", function () {
    var up = th.getAttribute("aria-sort") !== "ascending", body = th.closest("table").tBodies[0], column = th.cellIndex;
    var text = th.classList.contains("text");
    var key = function (row) { var cell = row.cells[column]; return text ? cell.textContent : parseFloat(cell.dataset.value); };
    th.parentNode.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    Array.from(body.rows).sort(function (a, b) {
      var x = key(a), y = key(b);
      if (!text && (isNaN(x) || isNaN(y))) return isNaN(x) - isNaN(y);
      return (up ? 1 : -1) * (text ? x.localeCompare(y) : x - y);
    }).forEach(function (row) { body.appendChild(row); });
  });
});"""


def escape(text):
    return html.escape(printable(str(text)))


def _cell(value):
    if isinstance(value, str) or not hasattr(value, "__float__"):
        return f'<td class="text long">{escape(value)}</td>'
    if value != value:
        return '<td data-value="NaN"></td>'
    exact = repr(value.item() if hasattr(value, "item") else value)
    shown = exact if float(value).is_integer() and abs(value) < 1e15 and "." not in exact else f"{value:.4g}"
    return f'<td data-value="{exact}">{shown}</td>'


def html_table(table, name=None):
    """A sortable table; `name` is the one in fs.COLUMNS that tells what the columns mean."""
    known = {**fs.RUN, **fs.COLUMNS.get(name, {})}
    head = ""
    for column in table.columns:
        unit, meaning = known.get(column, ("", ""))
        unit = "" if unit == "1" else unit
        kind = "" if table[column].dtype.kind in "iufb" else ' class="text"'
        head += f'<th{kind} title="{escape(meaning)}">{escape(column)}<small>{escape(unit)}</small></th>'
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.itertuples(index=False, name=None))
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def html_figure(path, caption):
    with open(path, "rb") as file:
        png = file.read()
    data, width = base64.b64encode(png).decode(), int.from_bytes(png[16:20], "big") * 96 // 150
    return (f'<figure><img alt="{escape(caption)}" width="{width}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n")


def has_knockout(results):
    return any("knockout" in run.config for run in figures.runs(results))


def html_run(run):
    """What a file was computed from, and how."""
    rows = "".join(f'<tr><td class="text">{escape(key)}</td><td class="text long">{escape(value)}</td></tr>\n'
                   for key, value in run.config.items())
    state = "complete" if run.complete else f"not complete: {int(run.units['done'].sum())} of {len(run.units)} units are done"
    return (f"<h3>{escape(run.path)}: {state}</h3>\n<p>Configuration: what the results depend on.</p>\n"
            f'<div class="table"><table><thead><tr><th class="text">key</th><th class="text">value</th></tr></thead>'
            f"<tbody>\n{rows}</tbody></table></div>\n<p>Provenance: each start of the program.</p>\n{html_table(run.launches)}")


def html_report(results, pictures):
    """The whole report; pictures: (path of a PNG, caption)."""
    archs = ", ".join(dict.fromkeys(run.arch for run in figures.runs(results)))
    parts = [f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>filterscope: {escape(archs)}</title>\n'
             f"<style>{STYLE}</style></head><body>\n<h1>filterscope: {escape(archs)}</h1>\n"]
    parts.append("<h2>Layers</h2>\n<p>A click on a column's head sorts; its tooltip tells what it is. Tables show four digits, the "
                 "files have all. What is marked (ours) is the implementation's own definition, not the paper's.</p>\n")
    parts.append(html_table(results.layers, "layers"))
    parts.append("<h2>Figures</h2>\n")
    parts += [html_figure(path, caption) for path, caption in pictures]
    parts.append("<h2>Tables</h2>\n")
    for name in ("probes", "filters", "history", "cluster_sizes", *(KNOCKOUT if has_knockout(results) else ())):
        table = getattr(results, name)
        if name == "cluster_sizes":
            table = table[table["clusters"] > 0]
        parts.append(f"<h3>{name}: {NUMBERS[name]}</h3>\n{html_table(table, name)}")
    parts.append("<h2>Configuration and provenance</h2>\n")
    parts += [html_run(run) for run in figures.runs(results)]
    parts.append(f"<h2>How to cite</h2>\n<p>{escape(CITE)}</p>\n<script>{SCRIPT}</script>\n</body></html>\n")
    return "".join(parts)


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
        file.write(html_report(results, pictures))
    print(path)
    for table in results.write_parquet(options.out) if options.parquet else ():
        print(table)


def main():
    run_main("report.py", lambda: report(read_options()))
