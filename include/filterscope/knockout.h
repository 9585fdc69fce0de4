/* Phase four (ours): what is lost when a filter is taken out of the trained network.
 *
 * The network is frozen and whole. For each image of the test set the filter's map, where the filter's probe sees it, becomes
 * 0 or the filter's mean map over these images; nothing else changes. An experiment is one image with one filter out. */
#ifndef FILTERSCOPE_KNOCKOUT_H
#define FILTERSCOPE_KNOCKOUT_H

#include <stdint.h>

#include "filterscope/cut.h"
#include "filterscope/dataset.h"
#include "filterscope/knockout_counts.h"
#include "filterscope/network.h"
#include "filterscope/silence.h" /* fs_poll */
#include "filterscope/slots.h"

typedef enum fs_replacement { FS_REPLACE_NONE, FS_REPLACE_ZERO, FS_REPLACE_MEAN } fs_replacement;

/* What takes time to make and is kept from one call to the next: the cut of one layer. Zeroed before the first one. */
typedef struct fs_knockout_room {
    fs_cut cut;
    int layer; /* its number; 0: there is none */
    fs_cut_form form;
} fs_knockout_room;

/* Not collective. */
void fs_knockout_room_free(fs_knockout_room *room);

/* What the experiments of all filters have in common; borrowed by what follows. */
typedef struct fs_knockout_input {
    const fs_network *net;
    const fs_dataset *test;
    int images; /* the first so many of `test` */
    int batch;  /* images or experiments at a time; last bits depend on it */
    fs_replacement replacement;
    int layers;             /* whose filters are knocked out */
    const int *layer;       /* [layers], ascending: numbers of probed layers */
    int begin;              /* filters are knocked out on images begin .. images-1 only; a multiple of `batch` */
    fs_knockout_room *room; /* NULL: each call makes its own */
} fs_knockout_input;

/* The network as it is. */
typedef struct fs_untouched {
    int32_t *answer; /* [images]: the largest logit, the lowest at a tie */
    double *loss;    /* [images]: cross-entropy in nats */
    float **mean;    /* [layers]: [filters][pixels], each filter's mean map, with FS_REPLACE_MEAN; else NULL */
    int layers;
} fs_untouched;

/* Collective on own->comm. Each slot's images are summed alone, in order: the same bits on any number of ranks. FS_OK;
 * FS_STOPPED (poll, on some rank); FS_ERROR (no memory): the same on every rank. Zeroed after a failure; else release with
 * fs_untouched_free. */
fs_status fs_untouched_measure(const fs_slots *own, const fs_knockout_input *in, fs_poll *poll, void *context,
                               fs_untouched *untouched);
void fs_untouched_free(fs_untouched *untouched);

/* Filters of one layer that are knocked out together. */
typedef struct fs_filter_set {
    const int *filter; /* [count], from 0; each once */
    int count;         /* 0: the untouched network */
} fs_filter_set;

/* Not collective. The network as it is, as if it were one filter's. */
void fs_knockout_of_untouched(const fs_knockout_input *in, const fs_untouched *untouched, fs_knockout *knockout);

/* Not collective. Filters first .. first+count-1 of layer in->layer[which] into `knockout`, which has room for `count`. What
 * lies before the map is computed once for all of them (filterscope/cut.h), the rest for each image on which that makes a
 * difference. FS_OK; FS_STOPPED (poll); FS_ERROR (no memory). */
fs_status fs_knockout_filters(const fs_knockout_input *in, const fs_untouched *untouched, int which, int first, int count,
                              fs_poll *poll, void *context, fs_knockout *knockout);

/* Not collective. Likewise set [count] of filters of that layer, each set in place of a filter; what reads their map is run
 * whole (FS_CUT_WHOLE). */
fs_status fs_knockout_sets(const fs_knockout_input *in, const fs_untouched *untouched, int which, const fs_filter_set *set,
                           int count, fs_poll *poll, void *context, fs_knockout *knockout);

/* Not collective. The same by definition: the whole network over all images for each filter, or each set. Where ReLUs and pools
 * alone lie between the map and a convolution with or without batch normalisation, FS_REPLACE_ZERO sets the filters' gamma and
 * beta, else their weights and biases, to 0; else the map is overwritten on the way. Slow, and kept as the oracle. */
fs_status fs_knockout_literal_sets(const fs_knockout_input *in, const fs_untouched *untouched, int which,
                                   const fs_filter_set *set, int count, fs_poll *poll, void *context, fs_knockout *knockout);
fs_status fs_knockout_literal(const fs_knockout_input *in, const fs_untouched *untouched, int which, int first, int count,
                              fs_poll *poll, void *context, fs_knockout *knockout);

#endif
