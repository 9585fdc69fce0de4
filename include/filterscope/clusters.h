/* Phase three, steps 3 to 8: from a filter's K x K field matrix to clusters, noise and SNR. */
#ifndef FILTERSCOPE_CLUSTERS_H
#define FILTERSCOPE_CLUSTERS_H

#include <stdint.h>

#include "filterscope/status.h"

/* What one filter's matrix shows. */
typedef struct fs_filter_measure {
    int clusters;   /* N_c; this and the counts below are 0 for a dead filter */
    int covered;    /* labels that belong to a cluster: sum of the cluster sizes |c| */
    int ones;       /* ones of B */
    int noise;      /* n = ones - sum |c|^2 */
    int internal;   /* ones in the columns of covered labels outside their own block */
    int external;   /* noise - internal */
    int dead;       /* 1 where the largest element is <= 0 or not finite (a NaN anywhere makes it so), else 0 */
    double largest; /* the largest element, as stored */
} fs_filter_measure;

/* Not collective. Measures one averaged field.
 *   labels     in   K >= 1
 *   field      in   float32 [K][K], row = input label, column = output unit
 *   threshold  in   B = 1 where (double)element / (double)largest > threshold, strictly (step 4; 0.3 in the paper)
 *   cluster    out  int32 [K]: number of the label's cluster from 1 in order of opening, 0 for none
 *   measure    out
 * Greedy clusters as in step 5. O(K^2). Returns FS_OK, or FS_ERROR without memory. */
fs_status fs_measure_filter(int labels, const float *field, double threshold, int32_t *cluster, fs_filter_measure *measure);

/* Means of one layer, twice: over all its filters, and over those with at least one cluster. Means over no filter are NaN. */
typedef struct fs_layer_means {
    double clusters; /* mean N_c */
    double covered;  /* mean covered labels */
    double noise;    /* mean n */
} fs_layer_means;

typedef struct fs_layer_measure {
    int filters;
    int dead;
    int clustered;         /* filters with at least one cluster */
    fs_layer_means all;    /* over all filters */
    fs_layer_means with;   /* over the filters with at least one cluster */
    double cluster_size;   /* mean C_s over all clusters of the layer pooled; NaN without clusters */
    double signal;         /* sum_f sum_c |c| / K                      (ours, step 8) */
    double noise_internal; /* sum_f sum_c |c|(|c|-1) / (K(K-1))        (ours, step 8) */
    double noise_external; /* sum_f n_f / (K(K-1))                     (ours, step 8) */
    double snr;            /* signal / (noise_internal + noise_external); inf or NaN where that divides by 0 */
} fs_layer_measure;

/* Not collective. Step 7 and 8 over one layer.
 *   measure    in   [filters]
 *   cluster    in   int32 [filters][labels], as fs_measure_filter wrote it
 *   histogram  out  int32 [labels + 1]: clusters of each size; [0] is 0 */
void fs_measure_layer(int labels, int filters, const fs_filter_measure *measure, const int32_t *cluster, int32_t *histogram,
                      fs_layer_measure *layer);

#endif
