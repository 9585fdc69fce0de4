"""The tables of reproduce.py, in Markdown, from analysis/claims.py's networks."""
import os

import numpy as np

import claims

PUBLISHED = {"avgg6": 0.936, "avgg8": 0.940, "avgg16": 0.955, "vgg6": 0.925, "vgg16": 0.935, "vgg16-fc1": 0.935}  # CIFAR-10, about
LAYER_COLUMNS = {"SR": ("sr", 4), "N_f": ("filters", 0), "N_c": ("clusters", 2), "C_s": ("cluster_size", 2),
                 "noise a filter": ("noise", 2), "signal (ours)": ("signal", 1), "noise (ours)": ("layer_noise", 1),
                 "SNR (ours)": ("snr", 3), "share (ours)": ("share", 3), "dead": ("dead", 0)}
BY_DEPTH = ("SR", "SNR (ours)", "noise a filter")
CONTROLS = {"none": "AFCC", "random": "random kernels", "l1": "L1 norm", "clusters": "random clusters", "knockout": "knock-out"}
RULES = f"""Holds (ours):

- trends with depth: yes where every step from layer to layer of the mean does so, mostly where Spearman's rank correlation with depth is
  {claims.MOSTLY} or beyond
- selection: yes where the median share of the selected unit is 0.9 or more, mostly above 0.5
- one small cluster: yes where a filter of the last layer has 0.9 to 1.1 clusters of at most K/4 labels, mostly 0.75 to 1.5 of at most K/2
- knock-out: yes where the 95 % interval of the AUC is above 0.5 in every layer, mostly in more than half of them
- AFCC: yes where its SR after retraining is above each control's at every threshold, mostly in more than half of these pairs
- published SR: yes where the mean reaches it, mostly within 0.01
- power law: yes where the 95 % interval of the exponent is below 0, mostly where the exponent alone is
- nearly the same for all K: yes where the largest difference is at most {claims.NEARLY:.0%} of the mean, mostly {2.5 * claims.NEARLY:.0%}
"""


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def number(mean, spread, digits):
    """With ± the deviation, unless that is NaN, or nothing but rounding."""
    return f"{mean:.{digits}f}" + (f" ± {spread:.{max(digits, 1)}f}" if spread > 1e-12 else "")


def deviation(values, digits):
    """Mean ± standard deviation of numbers, one of which has none."""
    values = np.asarray(values, float)
    return number(values.mean(), values.std(ddof=1) if len(values) > 1 else 0, digits)


def layers_markdown(tables):
    mean, spread, names = claims.over_seeds(tables)
    rows = [[names[layer], *(number(mean.at[layer, column], spread.at[layer, column], digits)
                             for column, digits in LAYER_COLUMNS.values())] for layer in mean.index]
    return markdown(["layer", *LAYER_COLUMNS], rows)


def name_of(network):
    known = network.models[0].set_labels if network.models else network.labels
    chosen = f"K = {network.labels} of {known}" if known != network.labels else f"K = {network.labels}" if network.labels != 10 else ""
    return ", ".join(filter(None, [network.arch, chosen, "probed before the last pool" if network.unpooled else ""]))


def published(network):
    """Of CIFAR-10, as far as files tell: of a set of 10 labels and 50,000 images; else None."""
    model = network.models[0] if network.models else None
    whole = model and model.set_labels == 10 and model.config.get("train-data", "").startswith("50000 images")
    return PUBLISHED.get(network.arch) if whole else None


def networks_markdown(found):
    rows = []
    for network in found:
        run, trained = network.runs[0], [model.sr for model in network.models if model.sr == model.sr]
        rows.append([name_of(network), network.schedule, ", ".join(network.trainings), deviation(trained, 4) if trained else "",
                     f"about {published(network)}" if published(network) else "",
                     run.config["epochs"], run.config["train-data"].split()[0], ", ".join(sorted({str(run.seed) for run in network.runs})),
                     run.threshold])
    return markdown(["network", "training", "its seeds", "test SR", "published SR", "probe epochs", "images", "seeds of probes",
                     "threshold"], rows)


def depth_markdown(found):
    """A table each of BY_DEPTH: the values of all layers, a row a training and sweep, and the mean of each network."""
    text = ""
    for title in BY_DEPTH:
        column, digits = LAYER_COLUMNS[title]
        rows = []
        for network in found:
            for (seed, probes), table in network.by_run.items():
                rows.append([name_of(network), network.schedule, seed, probes, ", ".join(f"{value:.{digits}f}" for value in table[column])])
            if len(network.by_run) > 1:
                mean, spread, _ = claims.over_seeds(network.tables)
                cells = [number(*pair, digits) for pair in zip(mean[column], spread[column])]
                rows.append([name_of(network), network.schedule, "mean", f"± over {network.over}", ", ".join(cells)])
        text += markdown(["network", "training", "its seed", "seed of probes", f"{title}, layer by layer"], rows) + "\n"
    return text


def last_markdown(found):
    rows = []
    for network in found:
        columns = {title: network.last(LAYER_COLUMNS[title][0]) for title in ("N_f", "N_c", "C_s", "noise a filter", "SNR (ours)")}
        rows.append([name_of(network), network.schedule, network.tables[0].sort_values("layer")["name"].iloc[-1],
                     *(deviation(values, LAYER_COLUMNS[title][1]) for title, values in columns.items()),
                     deviation(network.median_shares, 3), network.over])
    return markdown(["network", "training", "last layer", "N_f", "N_c", "C_s", "noise a filter", "SNR (ours)",
                     "median share of all layers (ours)", "deviation over"], rows)


def knockout_markdown(found):
    rows = []
    for network in found:
        for (kind, images), tables in network.knockouts.items():
            mean, spread, names = claims.over_seeds(tables)
            for layer in mean.index:
                row = mean.loc[layer]
                rows.append([name_of(network), network.schedule, kind, images, names[layer], number(row["auc"], spread.at[layer, "auc"], 3),
                             f"{row['auc_low']:.3f} to {row['auc_high']:.3f}", f"{row['drop_clustered']:.4f}", f"{row['drop_others']:.4f}"])
    return rows and markdown(["network", "training", "taken out by", "images", "layer", "AUC", "95 %", "SR drop of labels in clusters",
                              "of others"], rows)


def title_of(network, options, models):
    """What was pruned, of a name such as "vgg6, CRC 01234567", and the training's schedule, where its model file was named."""
    model = next((model for model in models if model.network == network), None)
    return f"{network.partition(', CRC ')[0]} {options}".rstrip(), model.schedule if model else ""


def pruning_markdown(folders, models):
    rows = []
    for network, options, table in folders:
        for (threshold, control), part in table.groupby(["threshold", "control"]):
            retrained = part["sr_retrained"].dropna()
            rows.append([*title_of(network, options, models), f"{threshold:g}", f"{part['kept'].mean():.3f}", CONTROLS.get(control, control),
                         deviation(part["sr_pruned"], 4), deviation(retrained, 4) if len(retrained) else "", len(part)])
    return rows and markdown(["network", "training", "threshold", "kept", "kept by", "SR pruned", "SR retrained", "seeds"], rows)


def width_points(family, layer):
    """[(filters, noise a filter)] of a layer: one a network and training."""
    points = []
    for network in family:
        for table in network.by_training:
            row = table.set_index("name").loc[layer]
            points.append((row["filters"], row["noise"]))
    return points


def exponents(family):
    """{layer: (exponent, lower, upper end, points)}; a layer without noise has none."""
    found = {}
    for layer in family[0].by_training[0]["name"]:
        points = width_points(family, layer)
        try:
            found[layer] = (*claims.power_law(*zip(*points)), points)
        except ValueError:
            continue
    return found


def points_of(points):
    """"64: 3.10 ± 0.20, 128: 2.90": noise a filter by number of filters."""
    by_filters = {filters: [noise for other, noise in points if other == filters] for filters, _ in points}
    return ", ".join(f"{int(filters)}: {deviation(noise, 2)}" for filters, noise in by_filters.items())


def interval(exponent, low, high):
    return f"{exponent:.3f}" + (f" ({low:.3f} to {high:.3f})" if low == low else "")


def widths_markdown(families):
    rows = []
    for family in families:
        for layer, (exponent, low, high, points) in exponents(family).items():
            rows.append([family[0].schedule, layer, points_of(points), interval(exponent, low, high)])
    return rows and markdown(["training", "layer", "filters: noise a filter ± over trainings", "exponent (95 %)"], rows)


def compared_markdown(families, head, value):
    """A row a network of each family: what differs, then the last two layers."""
    rows = []
    for family in families:
        for network in family:
            mean = claims.over_seeds(network.tables)[0].iloc[-2:]
            srs = [model.sr for model in network.models if model.sr == model.sr]
            rows.append([name_of(network), network.schedule, value(network), deviation(srs, 4) if srs else "",
                         *(", ".join(f"{number:.{LAYER_COLUMNS[title][1]}f}" for number in mean[LAYER_COLUMNS[title][0]])
                           for title in ("SR", "N_c", "C_s", "noise a filter", "SNR (ours)"))])
    return rows and markdown(["network", "training", head, "test SR", "SR of the last two", "N_c", "C_s", "noise a filter", "SNR (ours)"],
                             rows)


def held_markdown(models):
    """SR on what was held back, by epoch, of each model that has it; what its settings have beyond those that all of them share."""
    held = [model for model in models if "held-back" in model.config and len(model.history)]
    shared = set.intersection(*(set(model.config.items()) for model in held)) if held else set()
    head = ["options", "seed", *(str(epoch + 1) for epoch in range(max((model.epochs for model in held), default=0))), "test SR"]
    rows = []
    for model in sorted(held, key=lambda model: (model.schedule, model.seed)):
        own = {key: value for key, value in model.config.items() if (key, value) not in shared and key != "seed"}
        values = [f"{value:.4f}" for value in model.history["held_sr"]]
        rows.append([", ".join(f"{key} {value}" for key, value in own.items()) or "none", model.seed, *values,
                     *[""] * (len(head) - 3 - len(values)), f"{model.sr:.4f}"])
    return rows and markdown(head, rows)


def runs_markdown(found, models):
    rows = []
    for model in models:
        seconds = f"{model.history['seconds'].sum():.0f} s" if len(model.history) else ""
        rows.append([os.path.basename(model.path), "training", model.schedule, seconds, "", memory(model.peak)])
    for network in found:
        for run in network.runs:
            seconds, ranks, peak = claims.wall(run)
            what = ", ".join(["sweep", *([f"knock-out by {run.config['knockout']}"] if "knockout" in run.config else [])])
            swept = f"{run.config['epochs']} probe epochs, {run.config['train-data'].split()[0]} images"
            rows.append([os.path.basename(run.path), what, swept, f"{seconds:.0f} s", ranks, memory(peak)])
    foot = "" if all(row[-1] for row in rows) else (
        "\nAt most a rank: from the log beside a file (vgg6.log of vgg6.h5). Empty: there is none, or its program did not say.\n")
    return markdown(["file", "what", "settings", "wall time", "ranks", "at most a rank"], rows) + foot


def memory(peak):
    return f"{peak:.0f} MiB" if peak else ""


def claim_rows(network):
    """(claim, value, verdict) of one network."""
    for claim, column, sign in claims.TRENDS if len(network.tables[0]) > 2 else ():
        verdict, _, each, wrong = claims.trend(network.tables, column, sign)
        not_at = ", ".join(f"{name} {change:+.3g}" for name, change in wrong)
        yield claim, f"rank correlation {deviation(each, 3)}" + (f"; not at {not_at}" if wrong else ""), verdict
    shares = network.shares
    median = shares.median()
    yield ("a filter selects essentially one output unit (ours)",
           f"median share {deviation(network.median_shares, 3)}; above 0.9: {(shares > 0.9).mean():.1%} of the filters",
           claims.selection_verdict(median))
    clusters, size = np.mean(network.last("clusters")), np.mean(network.last("cluster_size"))
    small = ("yes" if 0.9 <= clusters <= 1.1 and size <= network.labels / 4 else
             "mostly" if 0.75 <= clusters <= 1.5 and size <= network.labels / 2 else "no")
    yield ("a filter of the last layer has one small cluster",
           f"N_c {deviation(network.last('clusters'), 2)}, C_s {deviation(network.last('cluster_size'), 2)}", small)
    for (kind, _), tables in network.knockouts.items():
        mean, spread, _ = claims.over_seeds(tables)
        above = (mean["auc_low"] > 0.5).sum()
        values = ", ".join(number(*pair, 3) for pair in zip(mean["auc"], spread["auc"]))
        yield (f"clusters tell which labels suffer without a filter, by {kind} (ours)", f"AUC {values}; interval above 0.5 in {above} of "
               f"{len(mean)} layers", "yes" if above == len(mean) else "mostly" if above > len(mean) / 2 else "no")
    srs = [model.sr for model in network.models if model.sr == model.sr]
    if srs and published(network):
        behind = published(network) - np.mean(srs)
        yield ("the published test SR is reached", f"{deviation(srs, 4)}; published: about {published(network)}",
               "yes" if behind <= 0 else "mostly" if behind <= 0.01 else "no")


def claims_table(found, models, folders, widths, labels):
    rows = [[claim, name_of(network), network.schedule, value, network.over, verdict]
            for network in found for claim, value, verdict in claim_rows(network)]
    for network, options, table in folders:
        verdict, gains = claims.pruning_verdict(table)
        worst = {control: min(gain for _, own, gain in gains if own == control) for _, control, _ in gains}
        rows.append(["AFCC keeps more than its controls (ours)", *title_of(network, options, models), "least gain of SR over " + ", ".join(
            f"{CONTROLS.get(control, control)} {gain:+.4f}" for control, gain in worst.items()),
                     f"seeds of retraining: {table['seed'].nunique()}", verdict])
    for family in widths:
        found = list(exponents(family).items())
        if found:
            layer, (exponent, low, high, points) = found[-1]
            names = f"{name_of(family[0])} to {name_of(family[-1])}"
            rows.append(["noise a filter falls as a power of the number of filters", names, family[0].schedule,
                         f"{layer}: exponent {interval(exponent, low, high)}", f"trainings: {len(points)}",
                         "yes" if high < 0 else "mostly" if exponent < 0 else "no"])
    for family in labels:
        for title in ("N_c", "C_s"):
            column = LAYER_COLUMNS[title][0]
            means = [np.mean(network.last(column)) for network in family]
            verdict, difference = claims.nearly_same(means)
            rows.append([f"{title} of the last layer is nearly the same for all K", family[0].arch,
                         family[0].schedule.split(" images")[0].rpartition(", ")[0],
                         ", ".join(f"K = {network.labels}: {deviation(network.last(column), 2)}" for network in family) +
                         f"; differ by {difference:.0%}", f"trainings: {sum(len(network.trainings) for network in family)}",
                         verdict])
    order = list(dict.fromkeys(row[0] for row in rows))
    rows.sort(key=lambda row: order.index(row[0]))  # all networks of a claim together
    return markdown(["claim", "network", "training", "value", "deviation over", "holds"], rows) + "\n" + RULES
