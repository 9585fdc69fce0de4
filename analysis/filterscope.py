"""Results of filterscope as pandas tables.

    import filterscope as fs
    results = fs.open("sweep.h5")            # also while the sweep is writing: what is complete is there
    results.layers, results.filters          # DataFrames; .probes, .history, .cluster_sizes too
    results.knockout_filters                 # what is lost without a filter, and .knockout_layers: where sweep had --knockout
    results.knockout_groups                  # and without a group of filters, and .knockout_curves: where it had --groups, --curve
    results.field(5, 17)                     # filter 17 of layer 5: input label x output unit
    results.clusters(5, 17)                  # number of each label's cluster, 0 for none
    results.drops(5)                         # of the SR without a filter: filter x label
    results.name(6)                          # fc1, say
    fs.open("a.h5", "b.h5").layers           # several files, told apart by the columns file, arch, model and seed

The tables are those of `filterscope export`, column by column. `fs.COLUMNS[table][column]` is (unit, meaning); each table has
its units in `.attrs["units"]`. Every access reads the file anew and leaves it closed. Errors are ValueError, naming file and cause.
"""
import contextlib
import math
import os

os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")  # read while another program writes

import h5py  # noqa: E402 (the setting comes first)
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from filterscope_output import written  # noqa: E402

__version__ = "0.1.0"
FORMAT, FORMAT_VERSIONS = "filterscope-results", (2, 3)  # 2: launches tell neither kinds nor the build
PROBE, SILENCE, BASELINE, KNOCKOUT, GROUPS, CURVES = range(1, 7)  # kinds of units
RUN = {"file": ("", "results file"), "arch": ("", "architecture"), "model": ("", "CRC of the trained network"),
       "seed": ("", "seed of the probes")}

_LAYER = {"layer": ("", "number of the convolution, from 1, or of the hidden fully connected layer, behind those"), "name": ("", "its name")}
_TRAINING = {"train_loss": ("nats an image", "mean cross-entropy on the epoch's augmented images"),
             "train_sr": ("share of images", "right answers among those images"),
             "test_sr": ("share of images", "SR on the test set after the epoch; NaN where it was not measured")}
COLUMNS = {
    "layers": {
        **_LAYER,
        "filters": ("filters", "filters of the layer"),
        "dead": ("filters", "whose largest field element is not positive"),
        "clustered": ("filters", "with at least one cluster"),
        "sr": ("share of images", "test SR of the layer's probe"),
        "clusters": ("clusters a filter", "N_c, mean over all filters"),
        "covered": ("labels a filter", "labels in clusters, mean over all filters"),
        "noise": ("elements a filter", "ones outside the clusters, mean over all filters"),
        "clusters_with": ("clusters a filter", "N_c, mean over the filters with a cluster"),
        "covered_with": ("labels a filter", "labels in clusters, mean over the filters with a cluster"),
        "noise_with": ("elements a filter", "ones outside the clusters, mean over the filters with a cluster"),
        "cluster_size": ("labels", "C_s, mean over all clusters"),
        "signal": ("per label", "sum of cluster sizes / K (ours)"),
        "noise_internal": ("per label pair", "sum of |c|(|c| - 1) / (K(K - 1)) (ours)"),
        "noise_external": ("per label pair", "sum of noise / (K(K - 1)) (ours)"),
        "snr": ("1", "signal / (noise_internal + noise_external) (ours)"),
        "share": ("share of images", "mean of the filters' shares, dead ones left out (ours)"),
    },
    "filters": {
        **_LAYER,
        "filter": ("", "number of the filter, from 0"),
        "clusters": ("clusters", "N_c"),
        "covered": ("labels", "labels in clusters"),
        "ones": ("elements", "of the clipped field"),
        "noise": ("elements", "ones outside the clusters"),
        "noise_internal": ("elements", "noise in columns of clustered labels"),
        "noise_external": ("elements", "the other noise"),
        "dead": ("0 or 1", "1 where the largest field element is not positive"),
        "selected": ("", "output unit that it selects most often, from 0 (ours)"),
        "selected_label": ("", "that unit's label"),
        "share": ("share of images", "test images on which it selects that unit (ours)"),
        "sr": ("share of images", "SR with this filter's field alone (ours)"),
        "largest": ("logits", "largest element of the averaged field"),
    },
    "probes": {
        **_LAYER,
        "filters": ("filters", "filters of the layer"),
        "height": ("pixels", "of the probed map"),
        "width": ("pixels", "of the probed map"),
        "pooled": ("0 or 1", "1 where a pool follows the convolution"),
        "epochs": ("epochs", "that are complete; the next three are of the last"),
        **_TRAINING,
    },
    "history": {
        **_LAYER,
        "epoch": ("epochs", "from 1"),
        "lr": ("1", "learning rate"),
        **_TRAINING,
    },
    "cluster_sizes": {
        **_LAYER,
        "size": ("labels", "C_s"),
        "clusters": ("clusters", "of that size in the layer"),
    },
    "knockout_filters": {
        **_LAYER,
        "filter": ("", "number of the filter, from 0; this and all that follows: ours"),
        "right": ("images", "that the network answers right without it"),
        "changed": ("images", "whose answer is another without it"),
        "run": ("images", "for which the network was run without it"),
        "same": ("images", "on which its map was 0 (or the mean) already"),
        "hidden": ("images", "on which nothing differed behind the next ReLU"),
        "worst": ("", "label with the largest drop of the SR, from 0"),
        "worst_label": ("", "that label"),
        "drop": ("share of images", "by which the SR falls"),
        "loss": ("nats an image", "by which the mean cross-entropy rises"),
        "worst_drop": ("share of images", "drop of the label with the largest"),
        "drop_clustered": ("share of images", "mean drop of the labels in the filter's clusters"),
        "drop_others": ("share of images", "mean drop of the other labels"),
        "auc": ("1", "of being in a cluster, as a predictor of a label's drop"),
        "correlation": ("1", "rank correlation of the field's diagonal with the drops"),
    },
    "knockout_layers": {
        **_LAYER,
        "filters": ("filters", "of the layer; all that follows: ours"),
        "harmless": ("filters", "without which no answer is another"),
        "compared": ("filters", "that have an AUC: some labels in clusters, and some not"),
        "drop": ("share of images", "by which the SR falls without a filter, mean over filters"),
        "worst_drop": ("share of images", "of the label with the largest, mean over filters"),
        "drop_clustered": ("share of images", "of labels in clusters, mean over the filters that have any"),
        "drop_others": ("share of images", "of labels in no cluster, mean over the filters that have any"),
        "correlation": ("1", "mean over filters"),
        "auc": ("1", "of all pairs of filter and label"),
        "auc_low": ("1", "lower end of its 95 % bootstrap interval over filters"),
        "auc_high": ("1", "upper end"),
        "r_clusters": ("1", "rank correlation of the filters' drop with their number of clusters"),
        "r_covered": ("1", "with their labels in clusters"),
        "r_noise": ("1", "with their noise"),
        "r_share": ("1", "with the share of their selected unit"),
        "r_sr": ("1", "with the SR of their field alone"),
        "run": ("share of experiments", "for which the network was run"),
        "same": ("share of experiments", "spared: the map was 0 (or the mean) already"),
        "hidden": ("share of experiments", "spared: nothing differed behind the next ReLU"),
    },
    "knockout_groups": {
        **_LAYER,
        "group": ("", "number: the label's, or the line's of a file, from 0; this and all that follows: ours"),
        "own": ("", "label whose filters these are, from 0; -1: of a file"),
        "own_label": ("", "that label"),
        "form": ("", "0 the group, 1 its complement (the group alone is left), 2 a random group of its size"),
        "draw": ("", "number of the random group, from 0; else -1"),
        "filters": ("filters", "that are out"),
        "right": ("images", "that the network answers right without them"),
        "changed": ("images", "whose answer is another without them"),
        "drop": ("share of images", "by which the SR falls"),
        "loss": ("nats an image", "by which the mean cross-entropy rises"),
        "drop_own": ("share of images", "drop of the group's label"),
        "drop_others": ("share of images", "mean drop of the other labels"),
        "above": ("share of draws", "of a group: random ones that lose less of its label (of a file: in all), ties half"),
    },
    "knockout_curves": {
        **_LAYER,
        "order": ("", "column whose largest filters are out first; after a -, the smallest; or random (ours, as is all that follows)"),
        "draw": ("", "number of the random order, from 0; else -1"),
        "out": ("filters", "that are out"),
        "left": ("filters", "that are left"),
        "right": ("images", "that the network answers right without them"),
        "changed": ("images", "whose answer is another without them"),
        "sr": ("share of images", "SR without them"),
        "drop": ("share of images", "by which the SR falls"),
        "loss": ("nats an image", "by which the mean cross-entropy rises"),
    },
}


def _text(value):
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _table(rows):
    """A structured array as a DataFrame with texts for bytes."""
    table = pd.DataFrame({name: rows[name] for name in rows.dtype.names})
    for name in rows.dtype.names:
        if rows.dtype[name].kind == "S":
            table[name] = [_text(value) for value in rows[name]]
    return table


def _check_contained(group, depth=0):
    """ValueError where something in the file leads elsewhere, or a dataset is not in one piece of it, as all of ours are."""
    for name in group:
        where = f"{group.name.rstrip('/')}/{name}"
        node = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if isinstance(node, h5py.Dataset):
            made = node.id.get_create_plist()
            typed = node.id.get_type()
            plain = made.get_layout() == h5py.h5d.CONTIGUOUS and not made.get_external_count()
            if not plain or typed.committed() or node.dtype.hasobject:  # references, texts of varying length
                raise ValueError(f"{where} is not in this file, in one piece and as it is")
            place, size = node.id.get_offset(), math.prod(node.shape) * node.dtype.itemsize
            if size and (place is None or place + size > os.path.getsize(node.file.filename)):
                raise ValueError(f"{where}, {' x '.join(map(str, node.shape))}, is larger than the file")
        elif isinstance(node, h5py.Group) and depth < 3:
            _check_contained(node, depth + 1)
        else:
            raise ValueError(f"{where} is neither a dataset nor a group of this file, reached by a hard link")


def _finish(table, name, columns=()):
    """The table's columns in their order, with units."""
    known = {**RUN, **COLUMNS[name]}
    order = [*columns, *COLUMNS[name]]
    table = table[order].reset_index(drop=True)
    table.attrs["units"] = {column: known[column][0] for column in order}
    return table


class _Tables:
    def tables(self):
        """{name: DataFrame} of all tables."""
        return {name: getattr(self, name) for name in COLUMNS}

    def write_parquet(self, folder):
        """Writes each table to folder/TABLE.parquet and returns the paths. ImportError without a pyarrow or fastparquet that this
        pandas can use."""
        os.makedirs(folder, exist_ok=True)
        paths = []
        for name, table in self.tables().items():
            paths.append(os.path.join(folder, f"{name}.parquet"))
            try:
                with written(paths[-1]) as part:
                    table.to_parquet(part, index=False)
            except (ImportError, AttributeError, KeyError) as error:  # the last two of releases that don't fit each other
                raise ImportError("Parquet needs pyarrow or fastparquet: pip install 'pyarrow<16' beside NumPy 1, 'pyarrow<19' beside "
                                  f"pandas 2.2 (this is {pd.__version__}: {str(error).partition(chr(10))[0]}); CSV needs nothing: "
                                  "filterscope export RESULTS.h5 --table TABLE") from None
        return paths


class Results(_Tables):
    """One results file.

    path     as given
    config   {key: value}, texts: what the results depend on
    arch, model, seed, threshold   of these: architecture, CRC of the network, seed of the probes, clipping threshold
    labels   names of the K labels, in their order
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        with self._file() as file:
            if _text(file.attrs.get("format", "")) != FORMAT:
                raise ValueError(f"{self.path}: not a filterscope results file")
            version = int(file.attrs["format_version"])
            if version not in FORMAT_VERSIONS:
                raise ValueError(f"{self.path}: format version {version}, this module reads {' and '.join(map(str, FORMAT_VERSIONS))}")
            try:
                _check_contained(file)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from None
            self.config = {_text(key): _text(value) for key, value in file["config"][:]}
            self.labels = [_text(name) for name in file["labels"][:]]
            self._layers = _table(file["layers"][:])
        self.arch, _, self.model = self.config["model"].partition(", CRC ")
        self.seed = int(self.config["seed"])
        self.threshold = float(self.config["threshold"])

    def name(self, layer):
        """What layer `layer` is called, as conv5 or fc1."""
        return dict(zip(self._layers["layer"], self._layers["name"])).get(layer, f"layer {layer}")

    def __repr__(self):
        return f"<filterscope results {self.path}: {self.arch}, {len(self._layers)} layers, K = {len(self.labels)}>"

    @contextlib.contextmanager
    def _file(self):
        if not os.path.exists(self.path):
            raise ValueError(f"{self.path}: no such file")
        try:
            with h5py.File(self.path, "r") as file:
                yield file
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be read as HDF5: {error}") from None
        except MemoryError as error:
            raise ValueError(f"{self.path}: too large for the memory: {error}") from None

    def _with_names(self, table):
        table["name"] = table["layer"].map(dict(zip(self._layers["layer"], self._layers["name"])))
        return table

    def _silenced(self, file):
        """Layers whose rows of the layer tables hold. To be called before those are read."""
        if file["state"]["complete"][0] != 1:
            return []
        units = self._units(file)
        units = units[units["kind"] <= SILENCE]
        return [layer for layer, done in units["done"].groupby(units["layer"]).all().items() if done]

    def _epochs(self, file, units):
        """{layer: epochs of its probe that are complete}, from the newer of the layer's two slots."""
        slots = file["resume/slots"][:].reshape(-1, 2)
        newest = np.where(slots["sequence"][:, 1] > slots["sequence"][:, 0], slots["epoch"][:, 1], slots["epoch"][:, 0])
        probed = units.loc[(units["kind"] == PROBE) & units["done"], "layer"].to_numpy()
        every = int(self.config["epochs"])
        return {layer: every if layer in probed else int(epoch) for layer, epoch in zip(self._layers["layer"], newest)}

    @staticmethod
    def _units(file):
        units = _table(file["units"][:])
        units["done"] = units["state"] == 1
        return units

    @property
    def units(self):
        """A row a unit of work: kind (probe, silence, baseline, knockout, groups or curves), layer, first, count (filters, of the
        last two sets), done."""
        with self._file() as file:
            units = self._units(file)
        units["kind"] = units["kind"].map({PROBE: "probe", SILENCE: "silence", BASELINE: "baseline", KNOCKOUT: "knockout",
                                            GROUPS: "groups", CURVES: "curves"})
        return units[["kind", "layer", "first", "count", "done"]]

    @property
    def complete(self):
        with self._file() as file:
            names = ("state", "knockout/state", "knockout/groups_state", "knockout/curves_state")
            states = [file[name]["complete"][0] == 1 for name in names if name in file]
            return bool(all(states) and self._units(file)["done"].all())

    @property
    def launches(self):
        """A row a start of the program, newest last; time is UTC."""
        with self._file() as file:
            launches = _table(file["provenance/launches"][:])
        launches = launches[launches["time"] > 0].drop(columns="crc")
        launches["time"] = pd.to_datetime(launches["time"], unit="s", utc=True).dt.floor("s")
        return launches

    @property
    def layers(self):
        """A row a layer, once the sweep is complete."""
        with self._file() as file:
            silenced = self._silenced(file)
            table = _table(file["silence/layers"][:])
        table = table[table["layer"].isin(silenced)]
        return _finish(self._with_names(table.copy()), "layers")

    @property
    def filters(self):
        """A row a filter whose block is done."""
        with self._file() as file:
            units = self._units(file)
            table = _table(file["silence/filters"][:])
        blocks = units[(units["kind"] == SILENCE) & units["done"]]
        done = {(u.layer, f) for u in blocks.itertuples() for f in range(u.first, u.first + u.count)}
        table = table[[key in done for key in zip(table["layer"], table["filter"])]].copy()
        table["selected_label"] = [self.labels[k] for k in table["selected"]]
        return _finish(self._with_names(table), "filters")

    @property
    def history(self):
        """A row a layer and epoch that is complete."""
        with self._file() as file:
            epochs = self._epochs(file, self._units(file))
            table = _table(file["probe/history"][:])
        table = table[table["epoch"] <= table["layer"].map(epochs)]
        return _finish(self._with_names(table.copy()), "history")

    @property
    def probes(self):
        """A row a layer's probe, as it is after its last complete epoch."""
        with self._file() as file:
            epochs = self._epochs(file, self._units(file))
        table = self._layers.assign(epochs=self._layers["layer"].map(epochs))
        last = self.history.rename(columns={"epoch": "epochs"}).drop(columns="name")
        return _finish(table.merge(last, on=["layer", "epochs"], how="left"), "probes")

    @property
    def cluster_sizes(self):
        """A row a layer and size from 1 to K, once the sweep is complete."""
        with self._file() as file:
            silenced = self._silenced(file)
            sizes = file["silence/cluster_sizes"][:, 1:]
        count = sizes.shape[1]
        table = pd.DataFrame({"layer": np.repeat(self._layers["layer"].to_numpy(), count),
                              "size": np.tile(np.arange(1, count + 1, dtype=np.int32), len(sizes)), "clusters": sizes.ravel()})
        table = table[table["layer"].isin(silenced)]
        return _finish(self._with_names(table.copy()), "cluster_sizes")

    def _knocked_out(self, name, state="state"):
        """A table of /knockout once it is complete; without rows before, and where there is none."""
        with self._file() as file:
            complete = f"knockout/{state}" in file and file[f"knockout/{state}"]["complete"][0] == 1
            table = _table(file[f"knockout/{name}"][:]) if complete else pd.DataFrame(columns=list(COLUMNS[f"knockout_{name}"]))
        for column in ("worst", "own"):
            if complete and column in table:
                table[f"{column}_label"] = [self.labels[k] if k >= 0 else "" for k in table[column]]
        return _finish(self._with_names(table), f"knockout_{name}")

    @property
    def knockout_filters(self):
        """A row a filter that was knocked out, once all are."""
        return self._knocked_out("filters")

    @property
    def knockout_layers(self):
        """A row a layer whose filters were knocked out, once all are."""
        return self._knocked_out("layers")

    @property
    def knockout_groups(self):
        """A row a group of filters, its complement and each of its random groups, once all were knocked out."""
        return self._knocked_out("groups", "groups_state")

    @property
    def knockout_curves(self):
        """A row a point of each curve, once all are there."""
        return self._knocked_out("curves", "curves_state")

    @property
    def baseline(self):
        """What the untouched network answers, a row a label: images, right, answered, loss, sr. ValueError without --knockout."""
        with self._file() as file:
            if "knockout/baseline" not in file:
                raise ValueError(f"{self.path}: no filter was knocked out")
            table = _table(file["knockout/baseline"][:])
        table.index = pd.Index(self.labels, name="label")
        return table.assign(sr=table["right"] / table["images"]).drop(columns="label")

    def drops(self, layer):
        """Drop of each label's SR without each filter of the layer (ours): float64, rows filters, columns labels; NaN where a label has
        no image. ValueError where they were not all knocked out."""
        images = self.baseline
        with self._file() as file:
            units = self._units(file)
            units = units[(units["kind"] == BASELINE) | (units["kind"] == KNOCKOUT) & (units["layer"] == layer)]
            if f"knockout/{layer}" not in file or not units["done"].all():
                raise ValueError(f"{self.path}: the filters of layer {layer} were not all knocked out")
            right = file[f"knockout/{layer}/right"][:]
        with np.errstate(invalid="ignore"):
            drops = (images["right"].to_numpy() - right) / images["images"].to_numpy()
        return pd.DataFrame(drops, index=pd.RangeIndex(len(drops), name="filter"), columns=pd.Index(self.labels, name="label"))

    def _row(self, kind, layer, number):
        """One filter's part of /silence/<layer>/<kind>."""
        with self._file() as file:
            units = self._units(file)
            if layer not in self._layers["layer"].to_numpy():
                raise ValueError(f"{self.path}: layer {layer} was not probed; {list(self._layers['layer'])} were")
            filters = int(self._layers.loc[self._layers["layer"] == layer, "filters"].iloc[0])
            if not 0 <= number < filters:
                raise ValueError(f"{self.path}: layer {layer} has no filter {number}, only 0 to {filters - 1}")
            block = units[(units["kind"] == SILENCE) & (units["layer"] == layer) & (units["first"] <= number)].iloc[-1]
            if not block["done"]:
                raise ValueError(f"{self.path}: filter {number} of layer {layer} is not done yet")
            return file[f"silence/{layer}/{kind}"][number]

    def field(self, layer, filter):
        """Averaged field of a filter: float32, rows input labels, columns output units, before normalisation."""
        return pd.DataFrame(self._row("field", layer, filter), index=pd.Index(self.labels, name="input label"),
                            columns=pd.Index(self.labels, name="output unit"))

    def clusters(self, layer, filter):
        """Number of each label's cluster, from 1; 0 for none. A Series by label."""
        return pd.Series(self._row("cluster", layer, filter), index=pd.Index(self.labels, name="label"), name="cluster")


class ResultsSet(_Tables):
    """Several results files: seeds, architectures. Tables begin with the columns of RUN."""

    def __init__(self, paths):
        self.runs = [Results(path) for path in paths]

    def __repr__(self):
        return f"<filterscope results of {len(self.runs)} files>"

    def _join(self, name):
        parts = [getattr(run, name).assign(file=run.path, arch=run.arch, model=run.model, seed=run.seed) for run in self.runs]
        filled = [part for part in parts if len(part)]  # an empty one may have no types
        return _finish(pd.concat(filled or parts), name, RUN)

    layers = property(lambda self: self._join("layers"))
    filters = property(lambda self: self._join("filters"))
    probes = property(lambda self: self._join("probes"))
    history = property(lambda self: self._join("history"))
    cluster_sizes = property(lambda self: self._join("cluster_sizes"))
    knockout_filters = property(lambda self: self._join("knockout_filters"))
    knockout_layers = property(lambda self: self._join("knockout_layers"))
    knockout_groups = property(lambda self: self._join("knockout_groups"))
    knockout_curves = property(lambda self: self._join("knockout_curves"))
    complete = property(lambda self: all(run.complete for run in self.runs))


def open(*paths):
    """Results of one file, or a ResultsSet of several. ValueError where a file is missing, foreign or of another format."""
    if not paths:
        raise ValueError("no results file was named")
    return Results(paths[0]) if len(paths) == 1 else ResultsSet(paths)
