/* Clusters, noise and SNR as rows of the tables of phase three. */
#include "filterscope/rows.h"

#include <stdlib.h>

#include "filterscope/memory.h"

fs_status fs_measure_filter_row(int labels, const float *field, double threshold, int32_t *cluster, fs_filter_row *row)
{
    fs_filter_measure m = {0};
    fs_status status = fs_measure_filter(labels, field, threshold, cluster, &m);
    row->clusters = m.clusters;
    row->covered = m.covered;
    row->ones = m.ones;
    row->noise = m.noise;
    row->noise_internal = m.internal;
    row->noise_external = m.external;
    row->dead = m.dead;
    row->largest = m.largest;
    return status;
}

/* Mean share of the selected unit over the filters that are not dead. */
static double mean_share(int filters, const fs_filter_row *row)
{
    double sum = 0;
    int alive = 0;
    for (int f = 0; f < filters; f++)
        if (!row[f].dead) {
            sum += row[f].share;
            alive++;
        }
    return sum / alive;
}

fs_status fs_measure_layer_row(int labels, int filters, const fs_filter_row *row, const int32_t *cluster, double sr,
                               fs_silence_layer_row *out, int32_t *sizes)
{
    fs_layer_measure m;
    fs_filter_measure *measure = fs_alloc((size_t)filters, sizeof *measure, "measures");
    if (!measure)
        return FS_ERROR;
    for (int f = 0; f < filters; f++)
        measure[f] = (fs_filter_measure){
            .clusters = row[f].clusters, .covered = row[f].covered, .noise = row[f].noise, .dead = row[f].dead};
    fs_measure_layer(labels, filters, measure, cluster, sizes, &m);
    *out = (fs_silence_layer_row){.layer = row->layer,
                                  .filters = filters,
                                  .dead = m.dead,
                                  .clustered = m.clustered,
                                  .sr = sr,
                                  .clusters = m.all.clusters,
                                  .covered = m.all.covered,
                                  .noise = m.all.noise,
                                  .clusters_with = m.with.clusters,
                                  .covered_with = m.with.covered,
                                  .noise_with = m.with.noise,
                                  .cluster_size = m.cluster_size,
                                  .signal = m.signal,
                                  .noise_internal = m.noise_internal,
                                  .noise_external = m.noise_external,
                                  .snr = m.snr,
                                  .share = mean_share(filters, row)};
    free(measure);
    return FS_OK;
}
