#!/usr/bin/env python3
"""A second implementation of phase three, steps 3 to 8, written from the method's text and literally, for comparison.

measure.py fields FILE.bin LABELS COUNT [THRESHOLD]   a line a float32 field: clusters covered ones noise noise_internal
                                                      noise_external dead, then each label's cluster
measure.py compare results.h5                         recomputes every table of a results file from its fields
"""
import sys

import numpy as np

COUNTS = ("clusters", "covered", "ones", "noise", "noise_internal", "noise_external", "dead")


def find_clusters(b):
    """Step 5: lists of labels, in the order of their opening."""
    candidates = [k for k in range(len(b)) if b[k, k] == 1]
    assigned, clusters = set(), []
    for first in candidates:
        if first in assigned:
            continue
        cluster = [first]
        for label in candidates:
            if label > first and label not in assigned:
                enlarged = cluster + [label]
                if (b[np.ix_(enlarged, enlarged)] == 1).all():
                    cluster = enlarged
        assigned.update(cluster)
        clusters.append(cluster)
    return clusters


def measure_filter(field, threshold):
    """Steps 3 to 6 for one field [input label, output unit]."""
    field = np.asarray(field, np.float64)
    labels = len(field)
    result = dict.fromkeys(COUNTS, 0)
    result["cluster"] = np.zeros(labels, np.int32)
    result["largest"] = largest = field.max()  # NaN where there is one
    if not np.isfinite(largest) or largest <= 0:
        result["dead"] = 1
        return result
    b = (field / largest > threshold).astype(int)
    clusters = find_clusters(b)
    for number, cluster in enumerate(clusters, 1):
        result["cluster"][cluster] = number
    outside_own_block = 0
    for cluster in clusters:
        others = [row for row in range(labels) if row not in cluster]
        outside_own_block += b[np.ix_(others, cluster)].sum()
    result["clusters"] = len(clusters)
    result["covered"] = sum(map(len, clusters))
    result["ones"] = int(b.sum())
    result["noise"] = int(b.sum()) - sum(len(cluster) ** 2 for cluster in clusters)
    result["noise_internal"] = int(outside_own_block)
    result["noise_external"] = result["noise"] - int(outside_own_block)
    return result


def mean(values):
    return np.mean(values) if len(values) else np.nan


def ratio(above, below):
    with np.errstate(all="ignore"):
        return np.float64(above) / np.float64(below)


def measure_layer(measures, labels):
    """Steps 7 and 8: (columns of the layer table, histogram of cluster sizes)."""
    sizes = [list(np.bincount(m["cluster"])[1:]) if m["clusters"] else [] for m in measures]
    pooled = [size for own in sizes for size in own]
    some = [m for m in measures if m["clusters"] > 0]
    row = {"filters": len(measures), "dead": sum(m["dead"] for m in measures), "clustered": len(some)}
    for name in ("clusters", "covered", "noise"):
        row[name] = mean([m[name] for m in measures])
        row[f"{name}_with"] = mean([m[name] for m in some])
    row["cluster_size"] = mean(pooled)
    row["signal"] = sum(pooled) / labels
    row["noise_internal"] = ratio(sum(int(size) * (int(size) - 1) for size in pooled), labels * (labels - 1))
    row["noise_external"] = ratio(sum(m["noise"] for m in measures), labels * (labels - 1))
    row["snr"] = ratio(row["signal"], row["noise_internal"] + row["noise_external"])
    return row, np.bincount(pooled, minlength=labels + 1) if pooled else np.zeros(labels + 1, int)


def print_fields(path, labels, count, threshold=0.3):
    fields = np.fromfile(path, np.float32).reshape(int(count), int(labels), int(labels))
    for field in fields:
        m = measure_filter(field, float(threshold))
        print(*(m[name] for name in COUNTS), *m["cluster"])


class Comparison:
    def __init__(self):
        self.values, self.differences = 0, []

    def add(self, name, found, expected):
        found, expected = np.atleast_1d(found), np.atleast_1d(expected)
        if np.issubdtype(found.dtype, np.integer):
            same = found == expected
        else:
            same = np.isclose(found, expected, rtol=1e-12, atol=0, equal_nan=True)
        self.values += found.size
        self.differences += [f"{name}: file {f!r}, here {e!r}" for f, e in zip(found[~same], expected[~same])]


def compare(path):
    import h5py

    comparison = Comparison()
    with h5py.File(path) as file:
        threshold = float(dict(file["config"][:])[b"threshold"])
        labels = len(file["labels"])
        filters, layers = file["silence/filters"][:], file["silence/layers"][:]
        for index, layer in enumerate(file["layers"]["layer"]):
            rows = filters[filters["layer"] == layer]
            measures = [measure_filter(field, threshold) for field in file[f"silence/{layer}/field"][:]]
            for number, (row, m) in enumerate(zip(rows, measures, strict=True)):
                for name in (*COUNTS, "largest"):
                    comparison.add(f"layer {layer}, filter {number}, {name}", row[name], m[name])
                comparison.add(f"layer {layer}, filter {number}, clusters of labels",
                               file[f"silence/{layer}/cluster"][number], m["cluster"])
            expected, histogram = measure_layer(measures, labels)
            expected["share"] = mean([row["share"] for row in rows if not row["dead"]])
            for name, value in expected.items():
                comparison.add(f"layer {layer}, {name}", layers[index][name], value)
            comparison.add(f"layer {layer}, cluster sizes", file["silence/cluster_sizes"][index], histogram)
    print(f"{comparison.values} values compared, {len(comparison.differences)} differences")
    print(*comparison.differences[:10], sep="\n", end="")
    return bool(comparison.differences)


if __name__ == "__main__":
    command = {"fields": print_fields, "compare": compare}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if not command:
        sys.exit(__doc__)
    sys.exit(command(*sys.argv[2:]))
