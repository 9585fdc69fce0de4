/* The tables of phase three as a sweep at another threshold has them. */
#include <stdlib.h>

#include "filterscope/memory.h"
#include "store/store.h"

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
