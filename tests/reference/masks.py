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
