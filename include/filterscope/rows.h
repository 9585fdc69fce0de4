/* What phases two to four find, as rows of the tables of the results file, and the state that a probe goes on from. */
#ifndef FILTERSCOPE_ROWS_H
#define FILTERSCOPE_ROWS_H

#include <stdint.h>

#include "filterscope/clusters.h"
#include "filterscope/knockout_counts.h"
#include "filterscope/status.h"

typedef struct fs_history_row {
    int32_t layer;
    int32_t epoch;     /* from 1 */
    double lr;         /* learning rate of that epoch */
    double train_loss; /* mean cross-entropy over the epoch's augmented images, before each step */
    double train_sr;   /* share of those images that were right */
    double test_sr;    /* SR on the test set after the epoch; NaN where it was not measured */
} fs_history_row;

typedef struct fs_filter_row {
    int32_t layer;
    int32_t filter;   /* from 0 */
    int32_t clusters; /* this and the next six: fs_filter_measure */
    int32_t covered;
    int32_t ones;
    int32_t noise;
    int32_t noise_internal;
    int32_t noise_external;
    int32_t dead;
    int32_t selected; /* output unit that is argmax_k h_fk on most test images; the lowest at a tie  (ours, step 9) */
    double share;     /* share of the test images on which it is                                     (ours, step 9) */
    double sr;        /* SR with only this filter's field                                            (ours, step 9) */
    double largest;   /* largest element of the averaged field */
} fs_filter_row;

typedef struct fs_silence_layer_row {
    int32_t layer;
    int32_t filters;
    int32_t dead;
    int32_t clustered; /* filters with at least one cluster */
    double sr;         /* test SR of the layer's probe after its last epoch */
    double clusters;   /* means over all filters ... */
    double covered;
    double noise;
    double clusters_with; /* ... and over those with at least one cluster */
    double covered_with;
    double noise_with;
    double cluster_size; /* mean C_s, all clusters pooled */
    double signal;       /* (ours, step 8), as are the next three */
    double noise_internal;
    double noise_external;
    double snr;
    double share; /* mean share of the selected unit over the filters that are not dead (ours) */
} fs_silence_layer_row;

/* What the untouched network answers to the images of a label (ours). */
typedef struct fs_baseline_row {
    int32_t label;
    int32_t images;   /* of the label, of those that phase four takes */
    int32_t right;    /* that are answered right */
    int32_t answered; /* images of any label that are answered with this one */
    double loss;      /* cross-entropy in nats, summed over the label's images */
} fs_baseline_row;

/* What is lost without a filter (ours). The SR drop of a label is (right of the untouched network - right without the filter) /
 * images of the label; labels without images do not count. */
typedef struct fs_drop_row {
    int32_t layer;
    int32_t filter;
    int32_t right;         /* images of all labels that are answered right without it */
    int32_t changed;       /* images whose answer is another */
    int32_t run;           /* images for which the network was run; this and the next two: FS_WORK_RUN ... */
    int32_t same;          /* on which the map was 0 (or the mean) already */
    int32_t hidden;        /* on which nothing differed behind the next ReLU */
    int32_t worst;         /* label with the largest drop, the lowest at a tie */
    double drop;           /* of the SR over all images */
    double loss;           /* rise of the mean cross-entropy, nats an image */
    double worst_drop;     /* of that label */
    double drop_clustered; /* mean over the labels in the filter's clusters; NaN without any */
    double drop_others;    /* mean over the others */
    double auc;            /* of "is in a cluster" as a predictor of a label's drop (fs_auc) */
    double correlation;    /* rank correlation of the field's diagonal with the drops */
} fs_drop_row;

typedef struct fs_drop_layer_row {
    int32_t layer;
    int32_t filters;
    int32_t harmless; /* filters without which no answer is another */
    int32_t compared; /* filters with an AUC: some labels in clusters, and some not */
    double drop;      /* means over filters; of the next four, over those that have one */
    double worst_drop;
    double drop_clustered;
    double drop_others;
    double correlation;
    double auc;     /* of all pairs of filter and label of the layer ... */
    double auc_low; /* ... and the middle 95 % of it in samples of filters (fs_auc_interval) */
    double auc_high;
    double r_clusters; /* rank correlation of the filters' drop with this column of /silence/filters, and so on */
    double r_covered;
    double r_noise;
    double r_share;
    double r_sr;
    double run; /* share of experiments that were run, and that were spared */
    double same;
    double hidden;
} fs_drop_layer_row;

/* What is lost without a set of filters: a group, its complement or a random one of its size (ours; filterscope/sets.h). */
enum { FS_GROUP_ITSELF, FS_GROUP_COMPLEMENT, FS_GROUP_RANDOM };
typedef struct fs_group_row {
    int32_t layer;
    int32_t group;      /* number: the label's, or the line's of a file, from 0 */
    int32_t own;        /* label whose filters these are; -1: of a file */
    int32_t form;       /* FS_GROUP_ITSELF ... */
    int32_t draw;       /* of the random group, from 0; else -1 */
    int32_t filters;    /* that are out */
    int32_t right;      /* images of all labels that are answered right */
    int32_t changed;    /* images whose answer is another */
    double drop;        /* of the SR over all images */
    double loss;        /* rise of the mean cross-entropy, nats an image */
    double drop_own;    /* of that label; NaN without one */
    double drop_others; /* mean over the other labels */
    double above;       /* of a group: share of its random ones whose drop_own (without a label: drop) is smaller, ties half;
                           else NaN */
} fs_group_row;

/* A point of a curve: filters of a layer that are out, the first ones in some order (ours). */
enum { FS_ORDER_BYTES = 16 };
typedef struct fs_curve_row {
    int32_t layer;
    char order[FS_ORDER_BYTES]; /* column of which the largest are out first; after a '-', the smallest; or "random" */
    int32_t draw;               /* of the random order, from 0; else -1 */
    int32_t out;                /* filters that are out, and that are left */
    int32_t left;
    int32_t right; /* as of a group, down to loss */
    int32_t changed;
    double sr; /* over all images */
    double drop;
    double loss;
} fs_curve_row;

/* State of a probe in training: what a resume needs to go on with the same bits. */
typedef struct fs_probe_state {
    int epoch;       /* epochs that are complete */
    int batch;       /* batches done of the next one */
    int64_t right;   /* right answers in those batches */
    double loss;     /* summed loss of those batches */
    float *weight;   /* [K][height x width x filters], feature order (y, x, filter); owned by the caller */
    float *momentum; /* the same shape */
} fs_probe_state;

/* Not collective, and without a file: the two by which all rows of /silence/filters and /silence/layers are made.
 * fs_measure_filter into the columns of *row that it tells; layer, filter, selected, share and sr stay as they are. */
fs_status fs_measure_filter_row(int labels, const float *field, double threshold, int32_t *cluster, fs_filter_row *row);

/* fs_measure_layer over row [filters] and cluster [filters][labels] of one layer, whose probe has the SR `sr`, into *out and
 * sizes [labels + 1]. FS_ERROR: no memory. */
fs_status fs_measure_layer_row(int labels, int filters, const fs_filter_row *row, const int32_t *cluster, double sr,
                               fs_silence_layer_row *out, int32_t *sizes);

/* Not collective, and without a file: the rows of one layer whose filters are knocked out.
 *   baseline  in   [labels]
 *   diagonal  in   [filters][labels]: of each filter's averaged field
 *   cluster   in   [filters][labels]
 *   silenced  in   [filters]: of /silence/filters
 *   row       out  [filters]
 * FS_ERROR: no memory. */
fs_status fs_drop_rows(int labels, const fs_baseline_row *baseline, int filters, const float *diagonal, const int32_t *cluster,
                       const fs_filter_row *silenced, const fs_knockout *counts, fs_drop_row *row, fs_drop_layer_row *layer);

#endif
