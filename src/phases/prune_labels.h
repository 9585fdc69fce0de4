/* Inside src/phases: what a sweep knows of the channels that an operation reads and makes. */
#ifndef FILTERSCOPE_PHASES_PRUNE_LABELS_H
#define FILTERSCOPE_PHASES_PRUNE_LABELS_H

#include "filterscope/prune.h"
#include "filterscope/random.h"

/* Sets of labels, a bit each, in rows of whole words. */
typedef uint64_t fs_word;

typedef struct fs_known fs_known; /* of a whole network */

/* Of one operation. */
typedef struct fs_channels {
    int outputs, inputs, group_inputs; /* group_inputs: of a kernel's group */
    const int *logit;                  /* [outputs]: the label of each, where they are the network's; else NULL */
    fs_word *in, *out;                 /* [inputs], [outputs] sets */
    double *in_drop;                   /* [inputs][labels] */
    double *out_drop;                  /* [outputs]: sums over labels */
} fs_channels;

/* Not collective, like everything here. NULL: no memory. `net` and `settings` are borrowed. */
fs_known *fs_known_create(const fs_network *net, const fs_prune_settings *settings);
void fs_known_free(fs_known *known);

/* Room for the channels of `op`; FS_ERROR: no memory. fs_channels_free in any case. */
fs_status fs_channels_create(const fs_known *known, const fs_op *op, fs_channels *c);
void fs_channels_free(fs_channels *c);

/* Fills in labels and drops; with `dealt` the labels that the control FS_PRUNE_DEALT gave. 0, and why in `why` [bytes], where
 * those of one channel are not known. */
int fs_channels_find(const fs_known *known, const fs_op *op, int dealt, fs_channels *c, char *why, size_t bytes);

/* The channel of the input that input `i` of output `o`'s kernels is. */
int fs_channels_input(const fs_channels *c, const fs_op *op, int o, int i);

int fs_label_sets_share(const fs_known *known, const fs_word *a, const fs_word *b);
int fs_label_set_is_empty(const fs_known *known, const fs_word *set);

/* How many of `count` sets are empty. */
int fs_label_sets_empty(const fs_known *known, const fs_word *sets, int count);

/* Set number `i`. */
fs_word *fs_label_set(const fs_known *known, fs_word *sets, int i);

/* 64 random bits, of which no two draws of a control are likely to be equal. */
uint64_t fs_prune_draw(const fs_prune_settings *settings, fs_purpose purpose, int a, int b, size_t counter);

#endif
