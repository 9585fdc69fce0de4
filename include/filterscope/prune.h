/* Pruning by clusters (AFCC: Tzach et al., Phys. Rev. E 111, 065307 (2025)), and its controls (ours).
 *
 * Between two layers the kernel from channel j to channel i is kept where the two share a clustered label, a label that belongs
 * to a cluster of both; from a filter to output k of the network where k is a clustered label of the filter. A filter without
 * clusters keeps nothing. What a channel's labels are on a graph (ours):
 *
 *     a probed map                     those of its filter in the sweep; behind an add the sum has been measured
 *     a convolution before its probe   those of the probed map's channel that goes back to it
 *     an add that is not probed        those of all its channels of that number
 *     a concat, a zeropad, a scale     those of the channel where it comes from; a channel of zeros has none
 *
 * An operation of which one channel's labels are not known stays whole, and says why. */
#ifndef FILTERSCOPE_PRUNE_H
#define FILTERSCOPE_PRUNE_H

#include <stdint.h>

#include "filterscope/mask.h"

typedef enum fs_prune_control {
    FS_PRUNE_CLUSTERS, /* no control: by the clusters */
    FS_PRUNE_RANDOM,   /* random kernels */
    FS_PRUNE_L1,       /* those with the largest sum of |weights| (Li et al., 2017, of kernels) */
    FS_PRUNE_DEALT,    /* by labels dealt at random, near-uniformly, as many to each filter as it has: "Random AFCC" */
    /* Those whose two filters cost most right answers when they are knocked out; to output k, right answers of label k. */
    FS_PRUNE_KNOCKOUT
} fs_prune_control;

/* What the sweep knows of one probed layer; borrowed. */
typedef struct fs_prune_layer {
    const int32_t *cluster; /* [filters][labels], as fs_measure_filter; NULL: the sweep has not this layer */
    const double *drop;     /* [filters][labels]: right answers that are lost without it; NULL: not knocked out */
} fs_prune_layer;

typedef struct fs_prune_settings {
    const fs_prune_layer *layer; /* [net->layers + 1], by the layer's number from 1 */
    const uint8_t *chosen;       /* [net->ops]: operations that may be pruned */
    fs_prune_control control;
    double keep;          /* share of kernels that a control keeps of each operation; NaN: as many as the clusters do */
    int keep_unclustered; /* filters without clusters keep all */
    uint64_t seed;        /* of controls: of random choices, and of those between equals */
} fs_prune_settings;

/* What became of one operation. */
typedef struct fs_pruned {
    int masked; /* else `why` says why it was not, empty where it was not chosen */
    char why[160];
    size_t before;                /* kernels that it had; a network can be pruned again */
    size_t kept;                  /* now */
    int inputs_without, inputs;   /* channels of its input without clusters, of how many ... */
    int outputs_without, outputs; /* ... and of its output */
} fs_pruned;

/* Not collective. Gives masks to the chosen operations of `net` and applies them; kernels that are pruned already stay so.
 *   report  out  [net->ops]
 * A control keeps, operation by operation, as many kernels as the clusters would, those of the highest worth; between equals a
 * random number decides. FS_ERROR: no memory. FS_USAGE: knock-outs are wanted of a layer without any. */
fs_status fs_prune(fs_network *net, const fs_prune_settings *settings, fs_pruned *report);

#endif
