/* The tables of phase four, from what is counted, and from the clusters of phase three. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/slots.h"
#include "sweep/internal.h"

/* What is read of one layer. */
struct layer {
    int index, filters;
    float *field;    /* [K][K]: of one filter */
    float *diagonal; /* [filters][K] */
    int32_t *cluster;
    fs_filter_row *silenced;
    fs_knockout counts;
};

static fs_status read_fields(fs_sweep_run *run, struct layer *l)
{
    size_t labels = (size_t)run->input->net->labels;
    fs_status status = fs_results_read_filters(run->results, l->index, 0, l->filters, NULL, l->cluster, l->silenced);
    for (int f = 0; f < l->filters && !status; f++) {
        status = fs_results_read_filters(run->results, l->index, f, 1, l->field, NULL, NULL);
        for (size_t k = 0; k < labels && !status; k++)
            l->diagonal[(size_t)f * labels + k] = l->field[k * labels + k];
    }
    return status;
}

static fs_status summarise_layer(fs_sweep_run *run, int index, const fs_baseline_row *baseline, fs_drop_row *row,
                                 fs_drop_layer_row *out)
{
    int labels = run->input->net->labels, filters = run->input->plan->layer[index].filters;
    size_t k = (size_t)labels, n = (size_t)filters;
    struct layer l = {.index = index,
                      .filters = filters,
                      .field = fs_alloc(k * k, sizeof *l.field, "a field"),
                      .diagonal = fs_alloc(n * k, sizeof *l.diagonal, "diagonals"),
                      .cluster = fs_alloc(n * k, sizeof *l.cluster, "clusters"),
                      .silenced = fs_alloc(n, sizeof *l.silenced, "rows")};
    fs_status status = l.field && l.diagonal && l.cluster && l.silenced ? FS_OK : FS_ERROR;
    if (!status)
        status = fs_knockout_create(filters, labels, &l.counts);
    if (!status)
        status = read_fields(run, &l);
    if (!status)
        status = fs_results_read_knockout(run->results, index, 0, filters, &l.counts);
    if (!status)
        status = fs_drop_rows(labels, baseline, filters, l.diagonal, l.cluster, l.silenced, &l.counts, row, out);
    fs_knockout_free(&l.counts);
    free(l.field);
    free(l.diagonal);
    free(l.cluster);
    free(l.silenced);
    return status;
}

/* On rank 0. */
static fs_status summarise(fs_sweep_run *run)
{
    const fs_plan *plan = run->input->plan;
    size_t filters = 0, layers = 0;
    for (int i = 0; i < plan->layers; i++)
        filters += (size_t)plan->layer[i].filters;
    fs_baseline_row *baseline = fs_alloc((size_t)run->input->net->labels, sizeof *baseline, "rows");
    fs_drop_row *row = fs_alloc(filters, sizeof *row, "rows");
    fs_drop_layer_row *out = fs_alloc((size_t)plan->layers, sizeof *out, "rows");
    fs_status status = baseline && row && out ? fs_results_read_baseline(run->results, baseline) : FS_ERROR;
    filters = 0;
    for (int i = 0; i < plan->layers && !status; i++)
        if (fs_plan_has_knockout(plan, i)) {
            status = summarise_layer(run, i, baseline, row + filters, &out[layers++]);
            filters += (size_t)plan->layer[i].filters;
        }
    if (!status)
        status = fs_results_write_drops(run->results, row, out);
    free(baseline);
    free(row);
    free(out);
    return status;
}

fs_status fs_sweep_summarise_drops(fs_sweep_run *run)
{
    if (run->input->settings->replacement == FS_REPLACE_NONE)
        return FS_OK;
    return fs_agree(run->world, run->rank == 0 ? summarise(run) : FS_OK);
}
