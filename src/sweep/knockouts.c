/* Phase four: the untouched network on all ranks together, then blocks of filters, each on one rank. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/knockout.h"
#include "filterscope/memory.h"
#include "filterscope/slots.h"
#include "phases/progress.h"
#include "sweep/internal.h"

struct work {
    fs_sweep_run *run;
    int index[FS_MOST_LAYERS]; /* of the plan, of the layers whose filters are knocked out */
    int layer[FS_MOST_LAYERS]; /* their numbers */
    fs_knockout_input input;
    fs_untouched untouched;
    fs_job *jobs;
    int count;
    double experiments_of_an_image; /* in all jobs */
    fs_progress progress;
};

/* The cost of all jobs, and of those that are through: of the newest, one a rank, half. */
static void estimate(const struct work *work, double *all, double *done)
{
    int next = work->run->desk->next;
    *all = *done = 0;
    for (int job = 0; job < work->count; job++) {
        double cost = work->jobs[job].cost;
        *all += cost;
        *done += job >= next ? 0 : job < next - work->run->ranks ? cost : cost / 2;
    }
}

static int poll(void *context)
{
    struct work *work = context;
    if (work->run->desk && work->run->rank == 0) {
        double all, done, images;
        estimate(work, &all, &done);
        images = (double)work->input.images * work->experiments_of_an_image;
        fs_progress_batch(&work->progress, images * done / all, images, (double)NAN, 0);
    }
    return fs_sweep_poll(work->run);
}

static int which_of(const struct work *work, int index)
{
    int which = 0;
    while (work->index[which] != index)
        which++;
    return which;
}

/* How much of a block's work was spared. */
static void tell(const struct work *work, const fs_unit *u, const fs_knockout *knockout)
{
    double sum[FS_WORK_COLUMNS] = {0}, all = (double)u->count * work->input.images;
    for (int f = 0; f < u->count; f++)
        for (int column = 0; column < FS_WORK_COLUMNS; column++)
            sum[column] += knockout->work[f][column];
    printf("knock-out: layer %d  filters %d to %d  spared: %.1f %% with no map, %.1f %% hidden by a ReLU\n",
           work->layer[which_of(work, u->index)], u->first, u->first + u->count - 1, 100 * sum[FS_WORK_SAME] / all,
           100 * sum[FS_WORK_HIDDEN] / all);
    fflush(stdout);
}

static fs_status run_block(void *context, int unit)
{
    struct work *work = context;
    const fs_sweep_input *in = work->run->input;
    const fs_unit *u = &in->plan->unit[unit];
    fs_knockout knockout = {0};
    fs_status status = fs_knockout_create(u->count, in->net->labels, &knockout);
    if (!status)
        status = fs_results_write_start(work->run->results, unit, work->run->launch, work->run->rank);
    if (!status)
        status = (in->settings->literal ? fs_knockout_literal : fs_knockout_filters)(
            &work->input, &work->untouched, which_of(work, u->index), u->first, u->count, poll, work, &knockout);
    if (!status)
        status = fs_results_write_knockout(work->run->results, unit, &knockout);
    if (!status)
        tell(work, u, &knockout);
    fs_knockout_free(&knockout);
    return status;
}

/* On rank 0. */
static fs_status record_untouched(struct work *work, int unit)
{
    const fs_sweep_input *in = work->run->input;
    size_t labels = (size_t)in->net->labels;
    fs_knockout counts = {0};
    fs_baseline_row *row = fs_alloc(labels, sizeof *row, "rows");
    fs_status status = row ? fs_knockout_create(1, in->net->labels, &counts) : FS_ERROR;
    if (!status) {
        fs_knockout_of_untouched(&work->input, &work->untouched, &counts);
        for (int n = 0; n < work->input.images; n++) {
            row[in->test->label[n]].images++;
            row[work->untouched.answer[n]].answered++;
        }
        for (size_t k = 0; k < labels; k++)
            row[k] = (fs_baseline_row){(int32_t)k, row[k].images, counts.right[k], row[k].answered, counts.loss[k]};
        status = fs_results_write_start(work->run->results, unit, work->run->launch, 0);
    }
    if (!status)
        status = fs_results_write_baseline(work->run->results, unit, row, &counts);
    fs_knockout_free(&counts);
    free(row);
    return status;
}

/* What is to be done, the same on every rank; *baseline: the untouched network's unit where it is not done, else -1. */
static void list_work(struct work *work, int *baseline)
{
    const fs_sweep_run *run = work->run;
    const fs_plan *plan = run->input->plan;
    *baseline = -1;
    for (int unit = plan->own_units; unit < plan->units; unit++) {
        const fs_unit *u = &plan->unit[unit];
        if (u->kind == FS_UNIT_BASELINE) {
            *baseline = run->done[unit] ? -1 : unit;
            continue;
        }
        if (!work->input.layers || work->index[work->input.layers - 1] != u->index) {
            work->index[work->input.layers] = u->index;
            work->layer[work->input.layers++] = plan->layer[u->index].layer;
        }
        if (run->done[unit])
            continue;
        work->jobs[work->count++] = (fs_job){unit, fs_plan_knockout_cost(plan, unit)};
        work->experiments_of_an_image += u->count;
    }
}

static void announce(const struct work *work)
{
    const fs_sweep_settings *s = work->run->input->settings;
    printf("phase four: %.0f filters of %d layer%s knocked out of the trained network, one by one (%s%s), %d test images\n",
           work->experiments_of_an_image, work->input.layers, work->input.layers == 1 ? "" : "s",
           s->replacement == FS_REPLACE_MEAN ? "mean" : "zero", s->literal ? ", literal" : "", work->input.images);
    fflush(stdout);
}

static fs_status run_phase(struct work *work)
{
    fs_sweep_run *run = work->run;
    fs_slots own;
    int baseline;
    list_work(work, &baseline);
    if (baseline < 0 && !work->count)
        return FS_OK;
    if (run->rank == 0)
        announce(work);
    fs_slots_create(run->world, run->input->settings->slots, &own);
    fs_status status = fs_untouched_measure(&own, &work->input, poll, work, &work->untouched);
    if (!status && baseline >= 0)
        status = fs_agree(run->world, run->rank == 0 ? record_untouched(work, baseline) : FS_OK);
    fs_progress_start(&work->progress, "knock-out", run->rank == 0, 0, 0);
    return status ? status : fs_sweep_hand_out(run, work->jobs, work->count, run_block, work);
}

fs_status fs_sweep_knockout(fs_sweep_run *run)
{
    const fs_sweep_input *in = run->input;
    if (in->settings->replacement == FS_REPLACE_NONE)
        return FS_OK;
    struct work work = {.run = run, .jobs = fs_alloc((size_t)in->plan->units, sizeof *work.jobs, "jobs")};
    work.input = (fs_knockout_input){.net = in->net,
                                     .test = in->test,
                                     .images = in->settings->knockout_images,
                                     .batch = in->settings->probe.batch,
                                     .replacement = in->settings->replacement,
                                     .layer = work.layer};
    fs_status status = fs_agree(run->world, work.jobs ? FS_OK : FS_ERROR);
    if (!status)
        status = run_phase(&work);
    fs_untouched_free(&work.untouched);
    free(work.jobs);
    return status;
}
