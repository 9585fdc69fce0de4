/* Phase three: fields of all filters, their measures, and the layer tables. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/clusters.h"
#include "filterscope/memory.h"
#include "filterscope/silence.h"
#include "filterscope/slots.h"
#include "sweep/internal.h"

/* The layers with unfinished blocks, and their probes' weights. */
struct work {
    fs_sweep_run *run;
    int count;
    int first; /* layer of the pass in work */
    int index[FS_MOST_LAYERS];
    fs_silence_layer layer[FS_MOST_LAYERS];
    float *weight[FS_MOST_LAYERS];
};

static int poll(void *context)
{
    return fs_sweep_poll(((struct work *)context)->run);
}

/* What is measured of one filter, as a row of the table. */
static fs_status measure_filter(const struct work *work, int index, int filter, const float *field, int32_t right,
                                const int32_t *chosen, int32_t *cluster, fs_filter_row *row)
{
    const fs_sweep_input *in = work->run->input;
    int labels = in->net->labels, selected = 0;
    for (int k = 1; k < labels; k++)
        if (chosen[k] > chosen[selected])
            selected = k;
    *row = (fs_filter_row){.layer = in->plan->layer[index].layer,
                           .filter = filter,
                           .selected = selected,
                           .share = (double)chosen[selected] / in->test->images,
                           .sr = (double)right / in->test->images};
    return fs_measure_filter_row(labels, field, in->settings->threshold, cluster, row);
}

/* Measures and records one unit; `fields` begins at the unit's first filter. */
static fs_status record_unit(const struct work *work, int unit, const fs_fields *fields)
{
    const fs_sweep_input *in = work->run->input;
    const fs_unit *u = &in->plan->unit[unit];
    size_t labels = (size_t)in->net->labels, count = (size_t)u->count;
    int32_t *cluster = fs_alloc(count * labels, sizeof *cluster, "clusters");
    fs_filter_row *row = fs_alloc(count, sizeof *row, "rows");
    fs_status status = cluster && row ? FS_OK : FS_ERROR;
    for (size_t f = 0; f < count && !status; f++)
        status = measure_filter(work, u->index, u->first + (int)f, fields->field + f * labels * labels, fields->right[f],
                                fields->chosen + f * labels, cluster + f * labels, &row[f]);
    if (!status)
        status = fs_results_write_silence(work->run->results, unit, fields->field, cluster, row);
    free(cluster);
    free(row);
    return status;
}

/* One pass: all filters of its layer `which` have come; records the blocks that are not done. On rank 0. */
static fs_status on_fields(void *context, int which, const fs_fields *fields)
{
    struct work *work = context;
    const fs_plan *plan = work->run->input->plan;
    size_t labels = (size_t)work->run->input->net->labels;
    for (int unit = 0; unit < plan->units; unit++) {
        const fs_unit *u = &plan->unit[unit];
        if (u->kind != FS_UNIT_SILENCE || u->index != work->index[work->first + which] || work->run->done[unit])
            continue;
        size_t first = (size_t)u->first;
        fs_fields block = {fields->field + first * labels * labels, fields->right + first, fields->chosen + first * labels};
        fs_status status = fs_results_write_start(work->run->results, unit, work->run->launch, 0);
        if (!status)
            status = record_unit(work, unit, &block);
        if (status)
            return status;
    }
    return FS_OK;
}

static int which_of(const struct work *work, int index)
{
    int which = 0;
    while (work->index[which] != index)
        which++;
    return which;
}

static fs_status run_literal_unit(void *context, int unit)
{
    struct work *work = context;
    const fs_sweep_input *in = work->run->input;
    const fs_unit *u = &in->plan->unit[unit];
    fs_fields fields = {0};
    fs_status status = fs_fields_create(u->count, in->net->labels, &fields);
    if (!status)
        status = fs_results_write_start(work->run->results, unit, work->run->launch, work->run->rank);
    if (!status)
        status = fs_silence_literal(in->net, in->test, in->settings->probe.batch, &work->layer[which_of(work, u->index)],
                                    u->first, u->count, poll, work, &fields);
    if (!status)
        status = record_unit(work, unit, &fields);
    if (!status) {
        printf("silence: layer %d  filters %d to %d\n", in->plan->layer[u->index].layer, u->first, u->first + u->count - 1);
        fflush(stdout);
    }
    fs_fields_free(&fields);
    return status;
}

/* The literal form: every rank is a team of its own and takes unit after unit. */
static fs_status run_literal(struct work *work)
{
    fs_sweep_run *run = work->run;
    const fs_sweep_input *in = run->input;
    int count = 0;
    fs_job *jobs = fs_alloc((size_t)in->plan->units, sizeof *jobs, "jobs");
    fs_status status = fs_agree(run->world, jobs ? FS_OK : FS_ERROR);
    for (int unit = 0; unit < in->plan->units && !status; unit++) {
        const fs_unit *u = &in->plan->unit[unit];
        if (u->kind == FS_UNIT_SILENCE && !run->done[unit])
            jobs[count++] = (fs_job){unit, u->count * fs_plan_trunk_cost(in->net, in->plan, u->index)};
    }
    if (!status)
        status = fs_sweep_hand_out(run, jobs, count, run_literal_unit, work);
    free(jobs);
    return status;
}

/* Tells of the filters of `now` layers from work->first on. On rank 0. */
static void announce(const struct work *work, int now, const char *how)
{
    if (work->run->rank > 0)
        return;
    if (now < work->count)
        printf("phase three: the filters of %d of %d layers, %s: fields of more would take too much memory (--field-memory)\n",
               now, work->count, how);
    else
        printf("phase three: the filters of %d layer%s, %s\n", now, now == 1 ? "" : "s", how);
    fflush(stdout);
}

/* In one pass over the test set, or in several where not all fields fit the memory. */
static fs_status run_passes(struct work *work)
{
    const fs_sweep_run *run = work->run;
    const fs_sweep_input *in = run->input;
    fs_status status = FS_OK;
    for (int now; work->first < work->count && !status; work->first += now) {
        const fs_silence_layer *layers = work->layer + work->first;
        now = fs_silence_fitting(run->world, in->net->labels, in->settings->field_memory, layers, work->count - work->first);
        announce(work, now, "in one pass");
        status = fs_silence(run->world, in->net, in->test, in->settings->probe.batch, layers, now, poll, on_fields, work,
                            run->rank == 0);
    }
    return status;
}

/* The probes' weights from the file on rank 0 to every rank. */
static fs_status load_weights(struct work *work)
{
    const fs_sweep_input *in = work->run->input;
    for (int i = 0; i < work->count; i++) {
        const fs_layer_row *row = &in->plan->layer[work->index[i]];
        size_t weights = fs_plan_features(in->plan, work->index[i]) * (size_t)in->net->labels;
        work->weight[i] = fs_alloc(weights, sizeof(float), "a probe's weights");
        fs_status status = work->weight[i] ? FS_OK : FS_ERROR;
        if (!status && work->run->rank == 0)
            status = fs_results_read_weight(work->run->results, work->index[i], work->weight[i]);
        status = fs_agree(work->run->world, status);
        if (status)
            return status;
        fs_share_bytes(work->run->world, 0, work->weight[i], weights * sizeof(float));
        work->layer[i] = (fs_silence_layer){row->layer, row->filters, row->height * row->width, work->weight[i]};
    }
    return FS_OK;
}

static void find_layers(struct work *work)
{
    const fs_plan *plan = work->run->input->plan;
    int pending[FS_MOST_LAYERS] = {0};
    for (int unit = 0; unit < plan->units; unit++)
        if (plan->unit[unit].kind == FS_UNIT_SILENCE && !work->run->done[unit])
            pending[plan->unit[unit].index] = 1;
    for (int i = 0; i < plan->layers; i++)
        if (pending[i])
            work->index[work->count++] = i;
}

static fs_status summarise_layer(fs_sweep_run *run, int index, fs_silence_layer_row *out, int32_t *sizes)
{
    const fs_sweep_input *in = run->input;
    int filters = in->plan->layer[index].filters, labels = in->net->labels, epochs = in->settings->probe.epochs;
    size_t count = (size_t)filters;
    fs_filter_row *row = fs_alloc(count, sizeof *row, "rows");
    int32_t *cluster = fs_alloc(count * (size_t)labels, sizeof *cluster, "clusters");
    fs_history_row *history = fs_alloc((size_t)epochs, sizeof *history, "the history");
    fs_status status = row && cluster && history ? FS_OK : FS_ERROR;
    if (!status)
        status = fs_results_read_filters(run->results, index, 0, filters, NULL, cluster, row);
    if (!status)
        status = fs_results_read_history(run->results, index, history);
    if (!status)
        status = fs_measure_layer_row(labels, filters, row, cluster, history[epochs - 1].test_sr, out, sizes);
    free(row);
    free(cluster);
    free(history);
    return status;
}

/* The layer tables, from the filter tables in the file. On rank 0. */
static fs_status summarise(fs_sweep_run *run)
{
    const fs_plan *plan = run->input->plan;
    size_t width = (size_t)run->input->net->labels + 1;
    fs_silence_layer_row *row = fs_alloc((size_t)plan->layers, sizeof *row, "layer rows");
    int32_t *sizes = fs_alloc((size_t)plan->layers * width, sizeof *sizes, "cluster sizes");
    fs_status status = row && sizes ? FS_OK : FS_ERROR;
    for (int i = 0; i < plan->layers && !status; i++)
        status = summarise_layer(run, i, &row[i], sizes + (size_t)i * width);
    if (!status)
        status = fs_results_write_layers(run->results, row, sizes);
    free(row);
    free(sizes);
    return status;
}

fs_status fs_sweep_silence(fs_sweep_run *run)
{
    const fs_sweep_input *in = run->input;
    struct work work = {.run = run};
    find_layers(&work);
    fs_status status = FS_OK;
    if (work.count)
        status = load_weights(&work);
    if (!status && work.count && in->settings->literal) {
        announce(&work, work.count, "one by one (literal)");
        status = run_literal(&work);
    } else if (!status) {
        status = run_passes(&work);
    }
    for (int i = 0; i < work.count; i++)
        free(work.weight[i]);
    return status;
}

fs_status fs_sweep_summarise(fs_sweep_run *run)
{
    return fs_agree(run->world, run->rank == 0 ? summarise(run) : FS_OK);
}
