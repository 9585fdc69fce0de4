/* What is measured of averaged fields as rows of the tables: as a sweep records it, and at another threshold. */
#include <stdlib.h>

#include "filterscope/memory.h"
#include "store/store.h"

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

/* Layer `index`: field [K][K], cluster [filters][K] and history [epochs] are scratch. */
static fs_status measure_layer(fs_results *results, int index, double threshold, float *field, int32_t *cluster,
                               fs_history_row *history, fs_measures *m)
{
    const fs_results_plan *plan = &results->plan;
    size_t labels = (size_t)plan->labels;
    int filters = plan->layer[index].filters;
    fs_filter_row *row = m->filter + fs_store_filter(results, index, 0);
    fs_status status = fs_results_read_history(results, index, history);
    for (int f = 0; f < filters && !status; f++) {
        status = fs_results_read_filters(results, index, f, 1, field, NULL, &row[f]);
        if (!status)
            status = fs_measure_filter_row(plan->labels, field, threshold, cluster + (size_t)f * labels, &row[f]);
    }
    return status ? status
                  : fs_measure_layer_row(plan->labels, filters, row, cluster, history[plan->epochs - 1].test_sr,
                                         &m->layer[index], m->sizes + (size_t)index * (labels + 1));
}

fs_status fs_measures_at(fs_results *results, double threshold, fs_measures *m)
{
    const fs_results_plan *plan = &results->plan;
    size_t labels = (size_t)plan->labels, layers = (size_t)plan->layers, filters = 0, most = 0;
    for (int i = 0; i < plan->layers; i++) {
        size_t own = (size_t)plan->layer[i].filters;
        filters += own;
        most = own > most ? own : most;
    }
    float *field = fs_alloc(labels * labels, sizeof *field, "a field");
    int32_t *cluster = fs_alloc(most * labels, sizeof *cluster, "clusters");
    fs_history_row *history = fs_alloc((size_t)plan->epochs, sizeof *history, "the history");
    *m = (fs_measures){fs_alloc(filters, sizeof *m->filter, "rows"), fs_alloc(layers, sizeof *m->layer, "layer rows"),
                       fs_alloc(layers * (labels + 1), sizeof *m->sizes, "cluster sizes")};
    fs_status status = field && cluster && history && m->filter && m->layer && m->sizes ? FS_OK : FS_ERROR;
    for (int i = 0; i < plan->layers && !status; i++)
        status = measure_layer(results, i, threshold, field, cluster, history, m);
    free(field);
    free(cluster);
    free(history);
    return status;
}

void fs_measures_free(fs_measures *m)
{
    free(m->filter);
    free(m->layer);
    free(m->sizes);
}
