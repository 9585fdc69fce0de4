/* Phase four: the untouched network, then blocks of filters, each filter knocked out by itself. */
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/knockout.h"
#include "filterscope/memory.h"
#include "sweep/experiments.h"

static fs_status run_block(fs_experiments *e, const fs_knockout_input *input, int unit, fs_knockout *counts)
{
    const fs_unit *u = &e->run->input->plan->unit[unit];
    return (e->run->input->settings->literal ? fs_knockout_literal : fs_knockout_filters)(
        input, &e->untouched, fs_experiments_which(e, u->index), u->first, u->count, fs_experiments_poll, e, counts);
}

static fs_status record_block(fs_experiments *e, int unit, const fs_knockout *counts)
{
    const fs_plan *plan = e->run->input->plan;
    const fs_unit *u = &plan->unit[unit];
    fs_status status = fs_results_write_knockout(e->run->results, unit, counts);
    if (status)
        return status;
    printf("knock-out: layer %d  filters %d to %d  spared: %.1f %% with no map, %.1f %% hidden by a ReLU\n",
           plan->layer[u->index].layer, u->first, u->first + u->count - 1,
           fs_experiments_percent(e, counts, u->count, FS_WORK_SAME),
           fs_experiments_percent(e, counts, u->count, FS_WORK_HIDDEN));
    fflush(stdout);
    return FS_OK;
}

/* On rank 0. */
static fs_status record_untouched(const fs_experiments *e, int unit)
{
    const fs_sweep_input *in = e->run->input;
    size_t labels = (size_t)in->net->labels;
    fs_knockout counts = {0};
    fs_baseline_row *row = fs_alloc(labels, sizeof *row, "rows");
    fs_status status = row ? fs_knockout_create(1, in->net->labels, &counts) : FS_ERROR;
    if (!status) {
        fs_knockout_of_untouched(&e->input, &e->untouched, &counts);
        for (int n = 0; n < e->input.images; n++) {
            row[in->test->label[n]].images++;
            row[e->untouched.answer[n]].answered++;
        }
        for (size_t k = 0; k < labels; k++)
            row[k] = (fs_baseline_row){(int32_t)k, row[k].images, counts.right[k], row[k].answered, counts.loss[k]};
        status = fs_results_write_start(e->run->results, unit, e->run->launch, 0);
    }
    if (!status)
        status = fs_results_write_baseline(e->run->results, unit, row, &counts);
    fs_knockout_free(&counts);
    free(row);
    return status;
}

/* The untouched network's unit, where it is not done; else -1. */
static int find_baseline(const fs_sweep_run *run)
{
    const fs_plan *plan = run->input->plan;
    for (int unit = plan->own_units; unit < plan->units; unit++)
        if (plan->unit[unit].kind == FS_UNIT_BASELINE)
            return run->done[unit] ? -1 : unit;
    return -1;
}

static void announce(const fs_experiments *e)
{
    const fs_sweep_settings *s = e->run->input->settings;
    printf("phase four: %.0f filters of %d layer%s knocked out of the trained network, one by one (%s%s), %d test images\n",
           e->sets[FS_UNIT_KNOCKOUT], e->input.layers, e->input.layers == 1 ? "" : "s",
           s->replacement == FS_REPLACE_MEAN ? "mean" : "zero", s->literal ? ", literal" : "", e->input.images);
    fflush(stdout);
}

static fs_status run_phase(fs_experiments *e)
{
    fs_sweep_run *run = e->run;
    int baseline = find_baseline(run);
    if (baseline < 0 && !e->count)
        return FS_OK;
    if (run->rank == 0)
        announce(e);
    fs_status status = fs_experiments_measure(e);
    if (!status && baseline >= 0)
        status = fs_agree(run->world, run->rank == 0 ? record_untouched(e, baseline) : FS_OK);
    return status ? status : fs_experiments_run(e);
}

fs_status fs_sweep_knockout(fs_sweep_run *run)
{
    static const fs_experiments_kind kind = {run_block, record_block};
    fs_experiments e;
    if (run->input->settings->replacement == FS_REPLACE_NONE)
        return FS_OK;
    fs_status status = fs_experiments_open(run, &kind, FS_UNIT_KNOCKOUT, FS_UNIT_KNOCKOUT, &e);
    if (!status)
        status = run_phase(&e);
    fs_experiments_close(&e);
    return status;
}
