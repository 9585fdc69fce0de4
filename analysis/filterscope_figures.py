"""Figures of filterscope's results, as in the papers.

    import filterscope as fs, filterscope_figures as figures
    figures.save(figures.sr(fs.open("sweep.h5")), "figures", "sr")        # figures/sr.png and .pdf

Each function takes what fs.open returns, of one file or several, and returns a matplotlib Figure.
Networks are told apart by colour (Okabe and Ito's palette) and marker; of files that differ in seeds alone the mean is
drawn, with the standard deviation over the files as bars. `field`, `drops` and `curves` are of one file. ValueError where the file has
nothing yet of what is to be drawn.
"""
import math
import os

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from filterscope_output import written

BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito: told apart by the colour-blind
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", BLACK)
MARKERS = "os^Dv*P"
MOST_NAMES = 30  # labels that are named at an axis
MOST_UPRIGHT = 6  # layers whose names stand side by side at an axis


def save(figure, folder, name):
    """Writes folder/name.png (150 dpi) and .pdf; returns both paths."""
    os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, f"{name}.{kind}") for kind in ("png", "pdf")]
    for path in paths:
        with written(path) as part:
            figure.savefig(part, dpi=150, format=path.rpartition(".")[2])
    return paths


def runs(results):
    """The files of `results`, one by one."""
    return getattr(results, "runs", [results])


def best_filter(results, layer):
    """The filter of `layer` whose clusters show best: one of several labels, where there is one; then the least noise; then the
    most labels in clusters. None where no living filter is done."""
    table = results.filters
    table = table[(table["layer"] == layer) & (table["dead"] == 0)]
    if table.empty:
        return None
    table = table.assign(single=table["covered"] <= table["clusters"], few=-table["covered"])
    return int(table.sort_values(["single", "noise", "few", "filter"])["filter"].iloc[0])


def _require(table, what):
    if table.empty:
        raise ValueError(f"{what}: nothing is complete yet")
    return table


def _networks(results):
    """The files as (name, files), those that differ in seeds alone together, in order of appearance."""
    groups = {}
    for run in runs(results):
        key = (run.arch, *((name, value) for name, value in run.config.items() if name not in ("model", "seed")))
        groups.setdefault(key, []).append(run)
    archs = [files[0].arch for files in groups.values()]
    named = []
    for arch, files in zip(archs, groups.values()):
        name = arch if archs.count(arch) == 1 else f"{arch}, {os.path.splitext(os.path.basename(files[0].path))[0]}"
        named.append((f"{name}, {len(files)} seeds" if len(files) > 1 else name, files))
    return named


def _of(results, table):
    """The table's rows of each network, as (name, rows, how many files); no name where there is one file only."""
    if "file" not in table:
        return [(None, table, 1)]
    return [(name, table[table["file"].isin([run.path for run in files])], len(files)) for name, files in _networks(results)]


def _title(figure, results):
    files = runs(results)
    archs = list(dict.fromkeys(run.arch for run in files))
    counts = list(dict.fromkeys(len(run.labels) for run in files))
    figure.suptitle(f"{', '.join(archs)}; K = {', '.join(map(str, counts))}")


def layer_names(table):
    """{layer: its name}, in order, of a table with both columns; of networks that call it differently, as conv6/fc1."""
    return {layer: "/".join(dict.fromkeys(names)) for layer, names in table.groupby("layer")["name"]}


def _layer_ticks(axes, table, places=None):
    names = layer_names(table)
    axes.set_xlabel("layer")
    axes.set_xticks(list(names) if places is None else places, names.values(), rotation=90 if len(names) > MOST_UPRIGHT else 0)


def _layer_axis(axes, table):
    _layer_ticks(axes, table)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


def _lines(axes, results, table, value, label="", colour=None, marker=None, style="-"):
    """`value` by layer, a line a network."""
    for number, (name, rows, files) in enumerate(_of(results, table)):
        by_layer = rows.groupby("layer")[value]
        mean, spread = by_layer.mean(), by_layer.std()
        axes.errorbar(mean.index, mean, yerr=spread if files > 1 else None, capsize=3, linestyle=style,
                      color=colour or COLOURS[number % len(COLOURS)], marker=marker or MARKERS[number % len(MARKERS)],
                      label=", ".join(word for word in (label, name) if word) or None)


def _legend(axes, **options):
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**options)


def sr(results):
    """SR of each layer's probe."""
    table = _require(results.layers, "SR by layer")
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    _lines(axes, results, table, "sr")
    for labels in dict.fromkeys(len(run.labels) for run in runs(results)):
        axes.axhline(1 / labels, color="grey", linestyle=":", label=f"chance, K = {labels}")
    axes.set(ylabel="SR (share of test images)", title="Success rate of each layer's probe", ylim=(0, 1))
    _layer_axis(axes, table)
    axes.legend()
    _title(figure, results)
    return figure


def clusters(results):
    """N_c, C_s, noise and SNR by layer."""
    table = _require(results.layers, "clusters by layer")
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    panels = (("clusters", "$N_c$ (clusters a filter)", "Number of clusters"),
              ("cluster_size", "$C_s$ (labels a cluster)", "Cluster size"),
              ("noise", "noise $n$ (elements a filter)", "Noise outside the clusters"),
              ("snr", "SNR (ours)", "Signal to noise"))
    for axes, (value, label, title) in zip(figure.subplots(2, 2).flat, panels):
        _lines(axes, results, table, value)
        axes.set(ylabel=label, title=title)
        axes.set_ylim(0, 1.03 * axes.get_ylim()[1])
        _layer_axis(axes, table)
        _legend(axes)
    _title(figure, results)
    return figure


def _show_matrix(axes, values, order, names, title, **options):
    image = axes.imshow(values[np.ix_(order, order)], interpolation="nearest", **options)
    ordered = "" if (np.diff(order) == 1).all() else ", by cluster"
    axes.set(xlabel=f"output unit{ordered}", ylabel=f"input label{ordered}", title=title)
    if ordered and len(order) > MOST_NAMES:
        axes.set(xticks=[], yticks=[])
    elif len(order) <= MOST_NAMES:
        axes.set_xticks(range(len(order)), [names[k] for k in order], rotation=90)
        axes.set_yticks(range(len(order)), [names[k] for k in order])
    return image


def _outline(axes, cluster, order):
    """A frame around each diagonal block."""
    position = 0
    for number in range(1, cluster.max() + 1):
        size = int((cluster[order] == number).sum())
        axes.add_patch(Rectangle((position - 0.5, position - 0.5), size, size, fill=False, edgecolor=BLACK, linewidth=1.2))
        position += size


def field(results, layer=None, filter=None):
    """One filter's field: as it is, clipped, and clipped with the labels ordered by cluster. The last layer and its clearest
    filter unless named."""
    results = runs(results)[0]
    layer = layer if layer is not None else int(_require(results.filters, "field")["layer"].iloc[-1])
    filter = filter if filter is not None else best_filter(results, layer)
    if filter is None:
        raise ValueError(f"field: layer {layer} has no living filter that is done")
    values = results.field(layer, filter).to_numpy(float)
    if not values.max() > 0:
        raise ValueError(f"field: filter {filter} of layer {layer} is dead: its largest element is {values.max():g}")
    cluster, names = results.clusters(layer, filter).to_numpy(), results.labels
    normalised = values / values.max()
    clipped = normalised > results.threshold
    member = (cluster[:, None] == cluster[None, :]) & (cluster[:, None] > 0)
    kind = np.where(clipped, np.where(member, 2, 1), 0)
    plain, order = np.arange(len(names)), np.lexsort((np.arange(len(names)), cluster, cluster == 0))
    figure = Figure(figsize=(16, 5.2), layout="constrained")
    figure.get_layout_engine().set(wspace=0.04)
    left, middle, right = figure.subplots(1, 3)
    limit = np.abs(normalised).max()
    image = _show_matrix(left, normalised, plain, names, "averaged field / its largest element", cmap="PuOr_r", vmin=-limit,
                         vmax=limit)
    figure.colorbar(image, ax=left, shrink=0.75, label="field (1 = largest element)")
    classes = {"cmap": ListedColormap(["white", ORANGE, BLUE]), "vmin": 0, "vmax": 2}
    _show_matrix(middle, kind, plain, names, f"clipped at {results.threshold:g}", **classes)
    _show_matrix(right, kind, order, names, "labels ordered by cluster", **classes)
    _outline(right, cluster, order)
    for colour, text in ((BLUE, "cluster"), (ORANGE, "noise")):
        right.scatter([], [], marker="s", color=colour, label=text)
    right.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.suptitle(f"{results.arch}, {results.name(layer)}, filter {filter}: $N_c$ = {cluster.max()}, "
                    f"noise = {int((clipped & ~member).sum())} elements")
    return figure


def _grid(count):
    columns = min(count, 5)
    return math.ceil(count / columns), columns


def sizes(results):
    """Histogram of cluster sizes, a panel a layer."""
    table = _require(results.cluster_sizes, "cluster sizes")
    layers = layer_names(table)
    rows, columns = _grid(len(layers))
    figure = Figure(figsize=(2.9 * columns, 2.6 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    used = table.loc[table["clusters"] > 0, "size"]
    largest = int(used.max()) if len(used) else 1
    networks, least = len(_of(results, table)), 1
    for axes in list(panels.flat)[len(layers):]:
        axes.set_visible(False)
    for axes, layer in zip(panels.flat, layers):
        total = 0
        for number, (name, part, _) in enumerate(_of(results, table)):
            part = part[part["layer"] == layer].groupby("size")["clusters"].sum().loc[:largest]
            total += part.sum()
            part = part[part > 0] / max(part.sum(), 1)
            least = min([least, *part])
            if networks == 1:
                axes.bar(part.index, part, 0.8, color=BLUE)
            else:
                axes.plot(part.index, part, "-", color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
                          markersize=4, label=name)
        axes.set_title(f"{layers[layer]}: {total} clusters", fontsize=10)
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelbottom=True)
    panels[0, 0].set_ylim(least / 2, 1.2)
    figure.supxlabel("cluster size $C_s$ (labels)")
    figure.supylabel("share of the layer's clusters")
    _legend(panels[0, 0])
    _title(figure, results)
    return figure


def _share_boxes(axes, results, table):
    layers = sorted(table["layer"].unique())
    axes.boxplot([table.loc[table["layer"] == layer, "share"] for layer in layers], positions=layers, widths=0.6,
                 flierprops={"marker": ".", "markersize": 3}, medianprops={"color": ORANGE}, manage_ticks=False)
    _lines(axes, results, table, "share", label="mean")
    axes.plot([], [], color=ORANGE, label="median, quartiles, 1.5 interquartile ranges, the rest")
    axes.legend(loc="lower right", fontsize=8)


def _share_units(figure, axes, table, labels):
    counts = table.groupby(["layer", "selected"]).size().unstack(fill_value=0).reindex(columns=range(len(labels)), fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0)
    image = axes.imshow(shares.T, aspect="auto", cmap="cividis", interpolation="nearest", vmin=0)
    figure.colorbar(image, ax=axes, label="share of the layer's filters")
    axes.set(ylabel="selected output unit", title="Which unit the filters select")
    _layer_ticks(axes, table, range(len(shares)))
    if len(labels) <= MOST_NAMES:
        axes.set_yticks(range(len(labels)), labels)


def share(results):
    """Share of the test images on which a filter selects its unit, and, of one file, which unit that is."""
    table = _require(results.filters, "selected-unit share")
    table = table[table["dead"] == 0]
    single = "file" not in table
    figure = Figure(figsize=(12 if single else 6.4, 4.4), layout="constrained")
    axes = figure.subplots(1, 2) if single else [figure.subplots()]
    if single:
        _share_boxes(axes[0], results, table)
        _share_units(figure, axes[1], table, results.labels)
    else:
        _lines(axes[0], results, table.groupby(["file", "layer"], sort=False)["share"].mean().reset_index(), "share")
        axes[0].legend()
    axes[0].set(ylabel="share of the test images (ours)", title="How often a filter selects its unit", ylim=(0, 1.02))
    _layer_axis(axes[0], table)
    _title(figure, results)
    return figure


def history(results):
    """Learning curves of the probes: loss, SR on training and test images. A row a file."""
    files = runs(results)
    for run in files:
        _require(run.history, "learning curves")
    figure = Figure(figsize=(11, 3.8 * len(files) + 0.3), layout="constrained")
    for run, (left, right) in zip(files, figure.subplots(len(files), 2, squeeze=False)):
        table = run.history
        shades = matplotlib.cm.ScalarMappable(Normalize(table["layer"].min(), table["layer"].max()), "viridis_r")
        for layer, rows in table.groupby("layer"):
            colour = shades.to_rgba(layer)
            tested = rows[rows["test_sr"].notna()]
            left.plot(rows["epoch"], rows["train_loss"], ".-", color=colour)
            right.plot(rows["epoch"], rows["train_sr"], "--", marker=".", color=colour)
            right.plot(tested["epoch"], tested["test_sr"], "o-", color=colour, markeredgecolor="white", zorder=3)
        for axes in (left, right):
            axes.set(xlabel="epoch", xlim=(0.5, table["epoch"].max() + 0.5))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(color="0.9")
        left.set(ylabel="cross-entropy (nats an image)", title=f"{run.arch}: training loss, images augmented")
        right.set(ylabel="SR (share of images)", title=f"{run.arch}: success rate", ylim=(0, 1))
        for style, text in (("o-", "test"), (".--", "training, augmented")):
            right.plot([], [], style, color="0.3", label=text)
        right.legend()
        names = layer_names(table)
        bar = figure.colorbar(shades, ax=[left, right], label="layer", ticks=list(names))
        bar.set_ticklabels(list(names.values()))
        bar.ax.invert_yaxis()
    _title(figure, results)
    return figure


def knockout(results):
    """What is lost without a filter: of labels in its clusters and of others; and whether clusters tell which (AUC)."""
    table = _require(results.knockout_layers, "knock-out")
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for value, label, colour, style in (("drop_clustered", "labels in the filter's clusters", BLUE, "-"),
                                        ("drop_others", "other labels", ORANGE, "--")):
        _lines(left, results, table, value, label, colour, style=style)
    left.axhline(0, color="grey", linestyle=":")
    left.set(ylabel="drop of the SR (share of images)", title="Without a filter, mean over filters (ours)")
    for number, (name, rows, _) in enumerate(_of(results, table)):
        spans = np.abs([rows["auc"] - rows["auc_low"], rows["auc_high"] - rows["auc"]])
        right.errorbar(rows["layer"], rows["auc"], yerr=spans, capsize=3, linestyle="none", color=COLOURS[number % len(COLOURS)],
                       marker=MARKERS[number % len(MARKERS)], label=name)
    right.axhline(0.5, color="grey", linestyle=":", label="clusters tell nothing")
    right.set(ylabel="AUC, 95 % interval over filters", title="Do clusters tell which labels lose? (ours)", ylim=(0, 1))
    for axes in (left, right):
        _layer_axis(axes, table)
        axes.legend(fontsize=8)
    _title(figure, results)
    return figure


def _knocked_layers(results):
    """Layers of one file whose filters were knocked out, and silenced."""
    table = _require(results.knockout_layers, "drops")
    return sorted(table["layer"].unique())


def largest_drop(results, layer):
    """The filter of `layer` without which the SR falls most, of those that have some labels in clusters and some not; of all where
    there is none."""
    table = results.knockout_filters
    table = table[table["layer"] == layer]
    compared = table[table["auc"].notna()]
    return int((compared if len(compared) else table).sort_values(["drop", "filter"], ascending=[False, True])["filter"].iloc[0])


def _draw_map(figure, axes, values, names, title, label, **options):
    image = axes.imshow(values, aspect="auto", interpolation="nearest", **options)
    axes.set(xlabel="label", title=title)
    if len(names) <= MOST_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90)
    if label:
        figure.colorbar(image, ax=axes, label=label)


def _draw_filter(axes, drop, cluster, names, title):
    """Drops of one filter's labels, those of a cluster together."""
    order = np.lexsort((-drop, cluster, cluster == 0))
    place = np.arange(len(order))
    for covered, colour, text in ((True, BLUE, "in a cluster"), (False, ORANGE, "in none")):
        own = (cluster[order] > 0) == covered
        axes.bar(place[own], drop[order][own], 0.8, color=colour, label=text, hatch=None if covered else "//", edgecolor="white")
    for edge in np.flatnonzero(np.diff(cluster[order])):
        axes.axvline(edge + 0.5, color="0.6", linewidth=0.8)
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.set(ylabel="drop of the SR (share of the label's images)", title=title, xlabel="label, by cluster", xlim=(-0.6, len(order) - 0.4))
    shown = len(names) <= MOST_NAMES
    axes.set_xticks(place if shown else [], [names[k] for k in order] if shown else [], rotation=90)
    axes.legend(title="label")


def drops(results, layer=None, filter=None):
    """Drops of labels without each filter of a layer beside its clusters, filters ordered by cluster, and those of one filter. The
    last layer, and the filter whose loss costs most, unless named."""
    results = runs(results)[0]
    layers = _knocked_layers(results)
    layer = layer if layer is not None else layers[-1]
    drop = results.drops(layer)
    cluster = np.stack([results.clusters(layer, number) for number in drop.index])
    filter = filter if filter is not None else largest_drop(results, layer)
    if filter not in drop.index:
        raise ValueError(f"{results.path}: layer {layer} has no filter {filter}, only 0 to {len(drop) - 1}")
    order = np.lexsort((*(cluster.T[::-1] == 0), (cluster > 0).argmax(1), (cluster == 0).all(1)))
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(4, 5, 6))
    _draw_map(figure, left, cluster[order] > 0, results.labels, "label in a cluster of the filter", None,
              cmap=ListedColormap(["white", BLUE]), vmin=0, vmax=1)
    left.set_ylabel("filter, ordered by cluster")
    values = drop.to_numpy()
    limit = max(np.nanpercentile(np.abs(values), 99), 1e-9)
    _draw_map(figure, middle, values[order], results.labels, "drop of the label's SR without it (ours)",
              "drop (share of the label's images)", cmap="PuOr_r", vmin=-limit, vmax=limit)
    table = results.knockout_filters
    row = table[(table["layer"] == layer) & (table["filter"] == filter)].iloc[0]
    told = "undefined" if np.isnan(row["auc"]) else f"{row['auc']:.2f}"
    _draw_filter(right, values[filter], cluster[filter], results.labels, f"without filter {filter}: drop {row['drop']:.4f}, AUC {told}")
    figure.suptitle(f"{results.arch}, {results.name(layer)}: do labels in a filter's clusters lose without it? (ours)")
    return figure


def _draw_listed(figure, table):
    """Groups of a file: no label is theirs."""
    axes = figure.subplots()
    own = table[table["form"] == 0]
    for form, colour, marker, label in ((2, "0.6", "_", "random groups of its size"), (1, GREEN, "^", "the group alone is left"),
                                        (0, BLUE, "o", "without the group")):
        rows = table[table["form"] == form]
        axes.scatter(rows["group"], rows["drop"], color=colour, marker=marker, label=label, zorder=2 if form == 2 else 3)
    axes.set_xticks(own["group"], [f"{group}\n{name}" for group, name in zip(own["group"], own["name"])])
    axes.set(xlabel="group of the file", ylabel="drop of the SR (share of images)", title="Groups of filters knocked out together (ours)")
    axes.legend()


def groups(results):
    """What the filters of a label's clusters, knocked out together, cost it and the others, beside random groups of the same size."""
    table = _require(results.knockout_groups, "groups")
    listed = (table["own"] < 0).all()
    figure = Figure(figsize=(7 if listed else 15, 4.6), layout="constrained")
    _title(figure, results)
    if listed:
        _draw_listed(figure, table)
        return figure
    labelled = table[table["own"] >= 0]
    without, alone, above = figure.subplots(1, 3)
    for axes, form, title in ((without, 0, "Without the filters that have the label in a cluster"), (alone, 1, "These filters alone are left")):
        rows = labelled[labelled["form"] == form]
        _lines(axes, results, rows, "drop_own", "the label", BLUE)
        _lines(axes, results, rows, "drop_others", "other labels", ORANGE, "s", style="--")
        axes.set(ylabel="drop of the SR, mean over labels", title=title)
    random = labelled[labelled["form"] == 2]
    if len(random):
        _lines(without, results, random, "drop_own", "the label, random filters", "0.4", "x", style=":")
        by_draw = random.groupby(["layer", "draw"])["drop_own"].mean().groupby("layer")
        without.fill_between(by_draw.min().index, by_draw.min(), by_draw.max(), color="0.85", label="range of their draws")
    group = labelled[labelled["form"] == 0]
    if group["above"].notna().any():
        _lines(above, results, group, "above")
    above.axhline(0.5, color="grey", linestyle=":", label="as random ones")
    above.set(ylabel="share of random groups that cost the label less", title="Clusters against chance (ours)", ylim=(-0.02, 1.02))
    for axes in (without, alone, above):
        _layer_axis(axes, labelled)
        axes.legend(fontsize=8)
    return figure


def _draw_curves(axes, table, filters, untouched):
    random = table[table["order"] == "random"]
    if len(random):
        by_step = random.groupby("out")["sr"]
        place = np.concatenate([[0], by_step.mean().index]) / filters
        low, high, mean = (np.concatenate([[untouched], values]) for values in (by_step.min(), by_step.max(), by_step.mean()))
        axes.fill_between(place, low, high, color="0.85")
        axes.plot(place, mean, ":", color="0.4", marker="x", markersize=4, label=f"random: mean, range of {random['draw'].nunique()}")
    for number, (order, rows) in enumerate(table[table["order"] != "random"].groupby("order", sort=False)):
        axes.plot(np.concatenate([[0], rows["out"]]) / filters, np.concatenate([[untouched], rows["sr"]]), "-", markersize=4,
                  color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)],
                  label=f"smallest {order[1:]} first" if order.startswith("-") else f"largest {order} first")


def curves(results):
    """SR while filters of a layer are knocked out one after the other, in some order or at random; a panel a layer."""
    results = runs(results)[0]
    table = _require(results.knockout_curves, "curves")
    layers, baseline = layer_names(table), results.baseline
    rows, columns = _grid(len(layers))
    figure = Figure(figsize=(max(3.1 * columns, 6) + 2.4, 2.9 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in list(panels.flat)[len(layers):]:
        axes.set_visible(False)
    for axes, (layer, part) in zip(panels.flat, table.groupby("layer")):
        filters = int(part["out"].max())
        _draw_curves(axes, part, filters, baseline["right"].sum() / baseline["images"].sum())
        axes.axhline(1 / len(results.labels), color="grey", linestyle=":", linewidth=0.8)
        axes.set_title(f"{layers[layer]}: {filters} filters", fontsize=10)
        axes.tick_params(labelbottom=True)
        axes.grid(color="0.9")
    panels[0, 0].set(xlim=(0, 1), ylim=(0, 1))
    figure.supxlabel("share of the layer's filters that are out")
    figure.supylabel("SR (share of test images; dotted: chance)")
    panels[0, columns - 1].legend(*panels[0, 0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    figure.suptitle(f"{results.arch}: filters knocked out one after the other (ours)")
    return figure


FIGURES = {"sr": sr, "clusters": clusters, "field": field, "sizes": sizes, "share": share, "history": history, "knockout": knockout,
           "drops": drops, "groups": groups, "curves": curves}
PARTS = {"knockout": "knockout", "drops": "knockout", "groups": "groups", "curves": "curve"}  # what these need in the configuration
