/* Phase four: the untouched network on all ranks together, then blocks of filters, each on one rank or, where they are few for
 * the ranks, cut by images. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/knockout.h"
#include "filterscope/memory.h"
#include "filterscope/slots.h"
#include "phases/progress.h"
#include "sweep/pieces.h"

/* Jobs of a rank, about, that units are cut into: at the end ranks wait for one job, at most such a share of their time. */
enum { JOBS_OF_A_RANK = 64 };

/* Images of a unit: a job. */
struct part {
    int unit;
    int begin, end;
};

struct work {
    fs_sweep_run *run;
    int index[FS_MOST_LAYERS]; /* of the plan, of the layers whose filters are knocked out */
    int layer[FS_MOST_LAYERS]; /* their numbers */
    fs_knockout_input input;
    fs_untouched untouched;
    fs_knockout_room room;
    struct part *part; /* [count] */
    fs_job *jobs;      /* [count]: numbers of parts */
    int count;
    fs_pieces pieces;
    double experiments_of_an_image; /* in all jobs */
    fs_progress progress;
};

static int poll(void *context)
{
    struct work *work = context;
    if (work->run->desk && work->run->rank == 0) {
        double images = (double)work->input.images * work->experiments_of_an_image;
        double share = fs_sweep_share(work->run, work->jobs, work->count);
        fs_progress_batch(&work->progress, images * share, images, (double)NAN, 0);
    }
    if (work->pieces.sum)
        fs_pieces_serve(&work->pieces);
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

static fs_status record_block(void *context, int unit, const fs_knockout *knockout)
{
    struct work *work = context;
    fs_status status = fs_results_write_knockout(work->run->results, unit, knockout);
    if (!status)
        tell(work, &work->run->input->plan->unit[unit], knockout);
    return status;
}

static fs_status run_part(void *context, int number)
{
    struct work *work = context;
    const fs_sweep_input *in = work->run->input;
    const struct part *part = &work->part[number];
    const fs_unit *u = &in->plan->unit[part->unit];
    int whole = part->begin == 0 && part->end == in->settings->knockout_images;
    fs_knockout knockout = {0};
    fs_knockout_input input = work->input;
    input.begin = part->begin;
    input.images = part->end;
    fs_status status = fs_knockout_create(u->count, in->net->labels, &knockout);
    if (!status && whole)
        status = fs_results_write_start(work->run->results, part->unit, work->run->launch, work->run->rank);
    if (!status)
        status = (in->settings->literal ? fs_knockout_literal : fs_knockout_filters)(
            &input, &work->untouched, which_of(work, u->index), u->first, u->count, poll, work, &knockout);
    if (!status)
        status = whole ? record_block(work, part->unit, &knockout) : fs_pieces_give(&work->pieces, part->unit, &knockout);
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

/* Parts of a unit of so much of the phase's cost. A part has whole chunks of images, so that bits do not depend on it. */
static int count_parts(const struct work *work, double share)
{
    int chunks = (work->input.images + work->input.batch - 1) / work->input.batch;
    double parts = ceil(share * work->run->ranks * JOBS_OF_A_RANK);
    return work->run->ranks == 1 || work->count > FS_MOST_CUT_UNITS || parts <= 1 ? 1 : parts < chunks ? (int)parts : chunks;
}

static int begin_of_part(const struct work *work, int number, int parts)
{
    int chunks = (work->input.images + work->input.batch - 1) / work->input.batch;
    return number == parts ? work->input.images : (int)((long)chunks * number / parts) * work->input.batch;
}

/* From jobs [count], which are units, to those that are parts of them. */
static fs_status cut_units(struct work *work)
{
    double all = 0;
    int units = work->count, count = 0;
    for (int job = 0; job < units; job++)
        all += work->jobs[job].cost;
    for (int job = 0; job < units; job++)
        count += count_parts(work, work->jobs[job].cost / all);
    fs_job *jobs = fs_alloc((size_t)count, sizeof *jobs, "jobs");
    work->part = fs_alloc((size_t)count, sizeof *work->part, "jobs");
    count = 0;
    for (int job = 0; job < units && jobs && work->part; job++) {
        const fs_job *unit = &work->jobs[job];
        int parts = count_parts(work, unit->cost / all);
        for (int p = 0; p < parts; p++, count++) {
            work->part[count] = (struct part){unit->unit, begin_of_part(work, p, parts), begin_of_part(work, p + 1, parts)};
            jobs[count] = (fs_job){count, unit->cost / parts};
        }
    }
    if (!jobs || !work->part)
        return free(jobs), FS_ERROR;
    free(work->jobs);
    work->jobs = jobs;
    work->count = count;
    return FS_OK;
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
        if (u->kind != FS_UNIT_KNOCKOUT)
            continue;
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

static fs_status run_parts(struct work *work)
{
    fs_sweep_run *run = work->run;
    int units = work->count;
    fs_status status = fs_agree(run->world, cut_units(work));
    if (!status && run->rank == 0 && work->count > units) {
        printf("phase four: %d blocks of filters, cut by images into %d jobs for %d ranks\n", units, work->count, run->ranks);
        fflush(stdout);
    }
    if (!status)
        status = fs_pieces_open(run, work->input.images, record_block, work, &work->pieces);
    if (status)
        return status;
    status = fs_sweep_hand_out(run, work->jobs, work->count, run_part, work);
    fs_pieces_close(&work->pieces);
    return status;
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
    return status ? status : run_parts(work);
}

fs_status fs_sweep_knockout(fs_sweep_run *run)
{
    if (run->input->settings->replacement == FS_REPLACE_NONE)
        return FS_OK;
    struct work work = {.run = run, .jobs = fs_alloc((size_t)run->input->plan->units, sizeof *work.jobs, "jobs")};
    work.input = fs_sweep_knockout_input(run, work.layer, &work.room);
    fs_status status = fs_agree(run->world, work.jobs ? FS_OK : FS_ERROR);
    if (!status)
        status = run_phase(&work);
    fs_untouched_free(&work.untouched);
    fs_knockout_room_free(&work.room);
    free(work.part);
    free(work.jobs);
    return status;
}
