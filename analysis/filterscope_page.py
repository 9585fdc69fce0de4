"""The HTML of reports: one document that needs nothing else, with a contents list, tables that sort, and figures."""
import base64
import html
import re

import filterscope as fs
from filterscope_output import printable

STYLE = """:root { color-scheme: light dark; --ink: #111; --quiet: #555; --paper: #fff; --head: #eee; --stripe: #f7f7f7; --line: #ccc }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --quiet: #a5a5a5; --paper: #161616; --head: #2b2b2b; --stripe: #1e1e1e; --line: #444 }
  img { filter: invert(1) hue-rotate(180deg) }
}
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 84em; padding: 0 1em; color: var(--ink); background: var(--paper) }
h1, h2, h3 { font-weight: 600; overflow-wrap: anywhere } nav ul { columns: 18em; margin: 0; padding-left: 1.2em } nav ul ul { columns: auto }
a { color: inherit } nav > ul > li { break-inside: avoid }
.figures { display: flex; flex-wrap: wrap; gap: 1.5em 1em; align-items: start } figure { margin: 0; min-width: 0; overflow-x: auto }
img { max-width: 100%; height: auto; display: block } figcaption { color: var(--quiet); contain: inline-size }
@media (max-width: 700px) { .wide img { max-width: 760px } }
.table { overflow: auto; max-height: 32em; width: fit-content; max-width: 100%; border: 1px solid var(--line); margin: .5em 0 1.5em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px } .same { color: var(--quiet); margin-bottom: 0 }
th { position: sticky; top: 0; background: var(--head); cursor: pointer; text-align: right; padding: .3em .5em; vertical-align: bottom }
th small { display: block; font-weight: normal; color: var(--quiet) } td { padding: .15em .5em; text-align: right; white-space: nowrap }
th.text, td.text { text-align: left } td.long { white-space: normal; overflow-wrap: anywhere }
tr:nth-child(even) td { background: var(--stripe) }
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
WIDE = 700  # pixels of a figure that a small screen scrolls rather than shrinks
LONG = 24  # characters of a cell that may be broken into lines


def escape(text):
    return html.escape(printable(str(text)))


def _anchor(title):
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def heading(level, title):
    """One that the contents list of document() leads to."""
    return f'<h{level} id="{_anchor(title)}">{escape(title)}</h{level}>\n'


def _shown(value):
    exact = repr(value.item() if hasattr(value, "item") else value)
    return exact if float(value).is_integer() and abs(value) < 1e15 and "." not in exact else f"{value:.4g}"


def _cell(value):
    if isinstance(value, str) or not hasattr(value, "__float__"):
        return f'<td class="text{" long" if len(str(value)) > LONG else ""}">{escape(value)}</td>'
    if value != value:
        return '<td data-value="NaN"></td>'
    return f'<td data-value="{value.item() if hasattr(value, "item") else value!r}">{_shown(value)}</td>'


def _repeated(frame):
    """{column: what it says in every row}: those with one value in several rows, and those that repeat one before them."""
    repeated = {}
    for number, column in enumerate(frame.columns if len(frame) > 1 else ()):
        values = frame[column]
        twin = next((other for other in frame.columns[:number] if other not in repeated and frame[other].equals(values)), None)
        if values.nunique(dropna=False) == 1:
            value = values.iloc[0]
            repeated[column] = value if isinstance(value, str) else "none" if value != value else _shown(value)
        elif twin:
            repeated[column] = f"as {twin}"
    return repeated


def table(frame, name=None, columns=None):
    """A sortable table; `name` is the one in fs.COLUMNS that tells what the columns mean, or `columns` is as one of these. Columns
    that repeat are told above it."""
    known = {**fs.RUN, **(columns or fs.COLUMNS.get(name, {}))}
    repeated = _repeated(frame)
    frame = frame[[column for column in frame.columns if column not in repeated]]
    head = ""
    for column in frame.columns:
        unit, meaning = known.get(column, ("", ""))
        unit = "" if unit == "1" else unit
        kind = "" if frame[column].dtype.kind in "iufb" else ' class="text"'
        shown = escape(column).replace("_", "_<wbr>")
        head += f'<th{kind} title="{escape(meaning)}">{shown}<small>{escape(unit)}</small></th>'
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in frame.itertuples(index=False, name=None))
    told = "; ".join(f'<span title="{escape(known.get(column, ("", ""))[1])}">{escape(column)}</span> {escape(value)}'
                     for column, value in repeated.items())
    return ((f'<p class="same">In every row: {told}.</p>\n' if told else "") +
            f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n')


def pairs(values):
    """A table of keys and values."""
    rows = "".join(f'<tr><td class="text">{escape(key)}</td><td class="text long">{escape(value)}</td></tr>\n'
                   for key, value in values.items())
    return (f'<div class="table"><table><thead><tr><th class="text">key</th><th class="text">value</th></tr></thead>'
            f"<tbody>\n{rows}</tbody></table></div>\n")


def _figure(path, caption):
    with open(path, "rb") as file:
        png = file.read()
    data, width = base64.b64encode(png).decode(), int.from_bytes(png[16:20], "big") * 96 // 150
    wide = ' class="wide"' if width > WIDE else ""
    return (f'<figure{wide}><img alt="{escape(caption)}" width="{width}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>\n")


def figures(pictures):
    """Beside each other where they fit; pictures: (path of a PNG of 150 dots an inch, caption)."""
    return f'<div class="figures">\n{"".join(_figure(path, caption) for path, caption in pictures)}</div>\n'


def _contents(body):
    items = ""
    for level, anchor, title in re.findall(r'<h([23]) id="([^"]*)">(.*?)</h', body):
        item = f'<a href="#{anchor}">{title}</a>'
        items += f"</ul></li>\n<li>{item}<ul>" if level == "2" else f"<li>{item}</li>"
    return f"<nav><ul>{items.removeprefix('</ul></li>')}</ul></li></ul></nav>\n".replace("<ul></ul>", "")


def document(title, body):
    """The whole page around `body`."""
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n{_contents(body)}{body}"
            f"<script>{SCRIPT}</script>\n</body></html>\n")
