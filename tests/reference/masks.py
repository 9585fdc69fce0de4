#!/usr/bin/env python3
"""A second implementation of pruning by clusters (AFCC), written from its text alone, and literally, for networks that are a chain.

The 3x3 kernel from filter j of layer L to filter i of layer L+1 is kept where the two share a clustered label; from the last
convolution's filter j to output k where k is a clustered label of j.
"""
import measure
import numpy as np


def clustered_labels(field, threshold):
    """The set of labels that are in a cluster of the filter with this field."""
    cluster = measure.measure_filter(field, threshold)["cluster"]
    return {label for label, number in enumerate(cluster) if number > 0}


def mask(inputs, outputs, keep_unclustered=False):
    """bool [outputs, inputs]: which kernels are kept between filters with these sets of labels."""
    kept = np.zeros((len(outputs), len(inputs)), bool)
    for i, own in enumerate(outputs):
        for j, other in enumerate(inputs):
            kept[i, j] = bool(own & other) or (keep_unclustered and not (own and other))
    return kept


def unpack(bits, inputs):
    """bool [outputs, inputs] of /mask/NAME."""
    return np.unpackbits(bits, axis=1, bitorder="little")[:, :inputs].astype(bool)


def grouped_mask(inputs, outputs, groups, keep_unclustered=False):
    """bool [outputs, inputs of a group]: of a grouped convolution, whose outputs read the inputs of their group alone."""
    size, rows = len(inputs) // groups, len(outputs) // groups
    return np.concatenate([mask(inputs[g * size:(g + 1) * size], outputs[g * rows:(g + 1) * rows], keep_unclustered)
                           for g in range(groups)])


def read_printed(text):
    """Of each network that print_masks printed: ({layer: sets of labels}, {name: mask}, whether unclustered filters keep all)."""
    sets, found = {}, {}
    for line in text.splitlines():
        word, name, *rows = line.split()
        if word == "clusters":
            sets[int(name)] = [set() if row == "-" else set(map(int, row.split(","))) for row in rows]
        elif word == "mask":
            found[name] = np.array([[bit == "1" for bit in row] for row in rows])
        else:
            yield sets, found, name == "1"
            sets, found = {}, {}
