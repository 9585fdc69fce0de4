"""Models and sweeps that differ in seeds alone, joined, and what they say of the paper's claims. Verdicts and fits are ours."""
import collections
import functools
import glob
import os
import re

import h5py
import numpy as np
import pandas as pd

import model_file
from model_file import FORMAT, Failure

MOSTLY = 0.9  # rank correlation from which a claim holds "mostly"
NEARLY = 0.1  # of the mean: values that differ by no more are nearly the same; by 2.5 times that, mostly
TRENDS = (("SR rises with depth", "sr", 1), ("SNR (ours) rises with depth", "snr", 1), ("noise a filter falls with depth", "noise", -1))
PAPER = {"lr": 0.011, "momentum": 0.98, "weight-decay": 1.15e-3, "fc-lr": 0.007, "fc-momentum": 0.982, "fc-weight-decay": 1.35e-3}
SHORT = {"momentum": 0.9, "weight-decay": 5e-4, "fc-momentum": 0.9, "fc-weight-decay": 5e-4}
EXTRAS = {"label-smoothing": "smoothing {}", "flips": "{} flips", "first-weights": "{} first weights",
          "norm-bias-lr": "batch norm's biases x {}", "ema": "average {}", "held-back": "a part held back"}
# What sweeps of one network may differ in: knock-outs are beside what is silenced
SWEPT_APART = ("seed", "model", "slots", "knockout", "knockout-layers", "knockout-images", "groups", "curve")
UNPOOLED = "probed-before-last-pool"
# Student's t, two-sided 95 %, by degrees of freedom from 1; beyond them the last, which is a little wide
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
       2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def layer_table(run):
    """`results.layers` with the layer's noise as one number."""
    table = run.layers
    return table.assign(layer_noise=table["noise_internal"] + table["noise_external"])


def over_seeds(tables):
    """Mean and standard deviation by layer (NaN of one table), and the layers' names."""
    by_layer = pd.concat(tables).drop(columns="name").groupby("layer")
    return by_layer.mean(), by_layer.std(), tables[0].set_index("layer")["name"]


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


def selection_verdict(median):
    return "yes" if median >= 0.9 else "mostly" if median > 0.5 else "no"


def power_law(x, y):
    """Least squares of log y = log a + b log x: (b, lower, upper end of its 95 % interval by Student's t; NaN of two points).
    ValueError of fewer than two different x, or of values that are not positive."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(np.unique(x)) < 2 or min(x.min(), y.min()) <= 0:
        raise ValueError("a power law needs two different sizes and positive values")
    x, y = np.log(x), np.log(y)
    spread = ((x - x.mean()) ** 2).sum()
    exponent = ((x - x.mean()) * y).sum() / spread
    rest, free = y - y.mean() - exponent * (x - x.mean()), len(x) - 2
    half = T95[min(free, len(T95)) - 1] * np.sqrt((rest ** 2).sum() / free / spread) if free else np.nan
    return exponent, exponent - half, exponent + half


def nearly_same(values):
    """(verdict, largest difference as a share of the mean)."""
    values = np.asarray(values, float)
    difference = (values.max() - values.min()) / values.mean()
    return "yes" if difference <= NEARLY else "mostly" if difference <= 2.5 * NEARLY else "no", difference


class Model:
    """One model file.
    arch, text      its architecture
    labels          K; set_labels: of the data set, of which these were kept
    config          {key: value}, texts
    seed            of training, a text
    history         a row an epoch, as /history
    network         what a sweep of it has as its config["model"]
    """

    def __init__(self, path, binary):
        model_file.call(binary, "check", path)
        with h5py.File(path, "r") as file:
            if file.attrs["format"] != FORMAT.encode():
                raise Failure(f"{path}: not a filterscope model file")
            self.path, self.config = path, {key.decode(): value.decode() for key, value in file["config"][:].tolist()}
            self.arch = file.attrs["arch"].decode(errors="backslashreplace")
            self.text = file["architecture"][0].decode(errors="backslashreplace")
            self.labels, self.epochs = int(file.attrs["labels"]), int(file.attrs["epochs"])
            self.history = pd.DataFrame(np.asarray(file["history"][:]))
            self.network = f"{self.arch}, CRC {model_file.network_crc(binary, path, file):08x}"
        self.seed = self.config.get("seed", "?")
        chosen = re.match(r"\d+ of the set's (\d+)", self.config.get("labels", ""))
        self.set_labels = int(chosen[1]) if chosen else self.labels  # of the data set; K may be fewer: --keep-labels

    @property
    def sr(self):
        return self.history["test_sr"].iloc[-1] if len(self.history) else np.nan

    @property
    def peak(self):
        """MiB that a rank had at the most, as logs beside the file tell; 0 where none does."""
        return most_memory("train", [f"{self.path[:-3]}.log", *glob.glob(f"{glob.escape(self.path[:-3])}-sweep-*.log")])

    @property
    def schedule(self):
        return schedule(self.config, len(self.history) or self.config.get("epochs", "?"))


def is_recipe(config, recipe):
    return all(float(config.get(key, "nan")) == value for key, value in recipe.items())


def schedule(config, epochs):
    """A training's settings in words: paper or short (jobs/reproduce.sh), else its learning rate; epochs, images, and what more it had."""
    if "schedule" in config:
        name = "short" if is_recipe(config, SHORT) and float(config["lr"]) == 0.1 else f"{config['schedule']}, lr {config.get('lr', '?')}"
    else:
        name = "paper" if is_recipe(config, PAPER) else f"lr {config.get('lr', '?')}"
    done = "" if str(epochs) == config.get("epochs", str(epochs)) else f" of {config['epochs']}"
    words = [name, f"{epochs}{done} epochs", f"{config.get('train-data', '?').split()[0]} images"]
    words += [form.format(config[key]) for key, form in EXTRAS.items() if key in config]
    return ", ".join(words)


class Network:
    """Sweeps that differ in the seeds of training and of probes alone.
    runs        [Results]
    models      [Model], one a training seed; none where their files were not named
    """

    def __init__(self, runs, models):
        self.runs = runs
        self.models = models
        self.arch, self.labels = runs[0].arch, len(runs[0].labels)

    @property
    def schedule(self):
        return self.models[0].schedule if self.models else ""

    @property
    def unpooled(self):
        return bool(self.models) and UNPOOLED in self.models[0].config

    @functools.cached_property
    def trainings(self):
        """{training seed: {seed of the probes: Results}}; of several sweeps with the same seeds (knock-outs) the first."""
        seeds, found = {model.network: model.seed for model in self.models}, {}
        for run in self.runs:
            found.setdefault(seeds.get(run.config["model"], "?"), {}).setdefault(run.seed, run)
        return dict(sorted(found.items()))

    @functools.cached_property
    def by_run(self):
        """{(training seed, seed of the probes): table of layers}"""
        return {(seed, probes): layer_table(run) for seed, runs in self.trainings.items() for probes, run in runs.items()}

    def join(self, by_run):
        """Of {(training seed, seed of the probes): table}: [table of each training: its mean over the seeds of the probes]"""
        tables = []
        for seed, runs in self.trainings.items():
            mean, _, names = over_seeds([by_run[seed, probes] for probes in runs])
            tables.append(mean.reset_index().assign(name=names.to_numpy()))
        return tables

    @functools.cached_property
    def by_training(self):
        return self.join(self.by_run)

    @property
    def tables(self):
        return self.tables_of(self.by_run)

    def tables_of(self, by_run):
        """One a training seed; where there is but one training, one a seed of the probes."""
        return self.join(by_run) if len(self.trainings) > 1 else list(by_run.values())

    @property
    def over(self):
        """What deviations are over."""
        count, kind = (len(self.trainings), "trainings") if len(self.trainings) > 1 else (len(self.by_run), "seeds of probes")
        return f"{count} {kind}" if count > 1 else "one training, one seed of probes"

    @functools.cached_property
    def shares(self):
        """Of the selected unit, of all filters of all runs that are not dead: a Series by layer's name."""
        return self._shares(run for runs in self.trainings.values() for run in runs.values())

    @staticmethod
    def _shares(runs):
        filters = pd.concat(run.filters for run in runs)
        filters = filters[filters["dead"] == 0].sort_values("layer", kind="stable")
        return filters.set_index("name")["share"]

    @functools.cached_property
    def median_shares(self):
        """One a training, or, of one training, one a seed of the probes."""
        groups = [list(runs.values()) for runs in self.trainings.values()]
        groups = groups if len(groups) > 1 else [[run] for run in groups[0]]
        return [self._shares(runs).median() for runs in groups]

    def last(self, column):
        """Of the last layer: one number a table."""
        return [table.sort_values("layer")[column].iloc[-1] for table in self.tables]

    @functools.cached_property
    def knockouts(self):
        """{(kind, images): [knockout_layers of each model and seed of the probes that has them]}"""
        found = {}
        for run in self.runs:
            table = run.knockout_layers
            if len(table):
                key = run.config.get("knockout", "?"), run.config.get("knockout-images", "all")
                found.setdefault(key, {}).setdefault((run.model, run.seed), table)
        return {key: list(tables.values()) for key, tables in found.items()}


def networks(runs, models):
    """The runs as Networks, in the order in which they came. A sweep without its model file stands for itself."""
    by_network = {model.network: model for model in models}
    groups = collections.OrderedDict()
    for run in runs:
        model = by_network.get(run.config["model"])
        trained = settings(model.config, "seed", "init", "slots") if model else run.config["model"]
        swept = settings(run.config, *SWEPT_APART)
        groups.setdefault((trained, swept), []).append(run)
    return [Network(group, [model for model in models if model.network in {run.config["model"] for run in group}])
            for group in groups.values()]


def settings(config, *left_out):
    return tuple(sorted((key, value) for key, value in config.items() if key not in left_out))


def without_widths(text):
    """An architecture's text with the numbers of its convolutions' filters left out, and them: (text, (64, 128 ...))."""
    filters = re.findall(r"^conv (\d+)", text, re.M)
    return re.sub(r"^conv \d+", "conv #", text, flags=re.M), tuple(map(int, filters))


def without_probes(text):
    return re.sub(r"[ \t]+probe$", "", text, flags=re.M)


def families(found, key, differ):
    """Lists of networks with the same key(network), not None, that have two or more values of differ(network), by these."""
    groups = collections.OrderedDict()
    for network in found:
        value = key(network) if network.models else None
        if value is not None:
            groups.setdefault(value, []).append(network)
    return [sorted(group, key=differ) for group in groups.values() if len({differ(network) for network in group}) > 1]


def swept_alike(network, *left_out):
    return settings(network.runs[0].config, "architecture", *SWEPT_APART, *left_out)


def trained_alike(network, *left_out):
    return settings(network.models[0].config, "seed", "init", "slots", *left_out)


def width_families(found):
    """Networks that differ in the numbers of their convolutions' filters alone, narrow ones first."""
    def key(network):
        return without_widths(network.models[0].text)[0], trained_alike(network, "arch", "architecture"), swept_alike(network)
    return families(found, key, lambda network: without_widths(network.models[0].text)[1])


def label_families(found):
    """Networks that differ in the number of labels, and so in the data, alone."""
    data = ("train-data", "test-data", "labels")

    def key(network):
        return network.models[0].text, network.models[0].set_labels, trained_alike(network, *data), swept_alike(network, *data)
    return families(found, key, lambda network: network.labels)


def smoothing_families(found):
    """Networks that differ in label smoothing alone."""
    return families(found, lambda network: (trained_alike(network, "label-smoothing"), swept_alike(network)),
                    lambda network: float(network.models[0].config.get("label-smoothing", 0)))


def pool_families(found):
    """Networks that differ in where they were probed alone."""
    def key(network):
        return without_probes(network.models[0].text), trained_alike(network, "arch", "architecture", UNPOOLED), swept_alike(network)
    return families(found, key, lambda network: network.unpooled)


def most_memory(command, logs):
    """Largest number of MiB that a line "COMMAND: at most N MiB a rank" of files that may not be there has; 0 without any."""
    most = 0
    for path in filter(os.path.exists, logs):
        with open(path, errors="replace") as file:
            most = max([most, *(int(found) for found in re.findall(rf"^{command}: at most (\d+) MiB a rank$", file.read(), re.M))])
    return most


def wall(run):
    """(seconds, most ranks of a launch, MiB that a rank had at the most: 0 where no log beside the file tells) of a sweep. Seconds: of
    each launch from its start to the end of its last unit."""
    with h5py.File(run.path, "r") as file:
        launches, units = file["provenance/launches"][:], file["provenance/units"][:]
    units = units[units["attempt"] > 0]
    own = launches[np.unique(units["launch"])]
    ends = [units["finished"][units["launch"] == number].max() for number in np.unique(units["launch"])]
    return np.maximum(0, ends - own["time"]).sum(), int(own["ranks"].max()), most_memory("sweep", [f"{run.path.removesuffix('.h5')}.log"])


def pruned(folder):
    """(network, options of pruning, table of pruning.csv) of a folder of jobs/prune.sh; ValueError where analysis/pruning.py has not
    been."""
    path = os.path.join(folder, "pruning.csv")
    if not os.path.exists(path):
        raise ValueError(f"{path}: not there: python3 analysis/pruning.py {folder} writes it")
    network = "?"
    for name in sorted(glob.glob(os.path.join(glob.escape(folder), "*-none-*[0-9].h5")))[:1]:
        with h5py.File(name, "r") as file:
            network = dict(file["config"][:].tolist()).get(b"pruned-model", b"?").decode()
    origin = os.path.join(folder, "origin")
    options = ""
    if os.path.exists(origin):
        with open(origin) as file:
            options = file.read().split("\n")[1]
    return network, options, pd.read_csv(path)


def pruning_verdict(table):
    """(verdict, [(threshold, control, SR of AFCC - SR of the control)]) of the means over seeds after retraining."""
    means = table.groupby(["threshold", "control"])["sr_retrained"].mean()
    gains = [(threshold, control, means[threshold, "none"] - value) for (threshold, control), value in means.items()
             if control != "none" and (threshold, "none") in means.index and value == value]
    better = [gain > 0 for _, _, gain in gains]
    return "yes" if better and all(better) else "mostly" if sum(better) > len(better) / 2 else "no", gains
