#include "sweep/experiments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/slots.h"

/* Jobs of a rank, about, that units are cut into: at the end ranks wait for one job, at most such a share of their time. */
enum { JOBS_OF_A_RANK = 64 };

/* Images of a unit: a job. */
struct fs_unit_part {
    int unit;
    int begin, end;
};

int fs_experiments_poll(void *context)
{
    fs_experiments *e = context;
    if (e->run->desk && e->run->rank == 0) {
        double images = 0, share = fs_sweep_share(e->run, e->jobs, e->count);
        for (int kind = 0; kind <= FS_UNIT_CURVES; kind++)
            images += e->sets[kind] * e->input.images;
        fs_progress_batch(&e->progress, images * share, images, (double)NAN, 0);
    }
    if (e->pieces.sum)
        fs_pieces_serve(&e->pieces);
    return fs_sweep_poll(e->run);
}

int fs_experiments_which(const fs_experiments *e, int index)
{
    int which = 0;
    while (e->index[which] != index)
        which++;
    return which;
}

double fs_experiments_percent(const fs_experiments *e, const fs_knockout *counts, int count, int column)
{
    double sum = 0;
    for (int n = 0; n < count; n++)
        sum += counts->work[n][column];
    return 100 * sum / ((double)count * e->input.images);
}

/* What is to be done, the same on every rank. */
static void list_jobs(fs_experiments *e, fs_unit_kind first, fs_unit_kind last)
{
    const fs_plan *plan = e->run->input->plan;
    for (int i = 0; i < plan->layers; i++)
        if (fs_plan_has_knockout(plan, i)) {
            e->index[e->input.layers] = i;
            e->layer[e->input.layers++] = plan->layer[i].layer;
        }
    for (int unit = plan->own_units; unit < plan->units; unit++) {
        const fs_unit *u = &plan->unit[unit];
        if (u->kind < (int)first || u->kind > (int)last || e->run->done[unit])
            continue;
        e->jobs[e->count++] = (fs_job){unit, fs_plan_knockout_cost(plan, unit)};
        e->sets[u->kind] += u->count;
    }
}

fs_status fs_experiments_open(fs_sweep_run *run, const fs_experiments_kind *kind, fs_unit_kind first, fs_unit_kind last,
                              fs_experiments *e)
{
    const fs_sweep_input *in = run->input;
    *e = (fs_experiments){.run = run, .kind = kind, .jobs = fs_alloc((size_t)in->plan->units, sizeof *e->jobs, "jobs")};
    e->input = (fs_knockout_input){.net = in->net,
                                   .test = in->test,
                                   .images = in->settings->knockout_images,
                                   .batch = in->settings->probe.batch,
                                   .replacement = in->settings->replacement,
                                   .layer = e->layer,
                                   .room = &e->room};
    fs_status status = fs_agree(run->world, e->jobs ? FS_OK : FS_ERROR);
    if (!status)
        list_jobs(e, first, last);
    return status;
}

fs_status fs_experiments_measure(fs_experiments *e)
{
    fs_slots own;
    fs_slots_create(e->run->world, e->run->input->settings->slots, &own);
    return fs_untouched_measure(&own, &e->input, fs_experiments_poll, e, &e->untouched);
}

void fs_experiments_close(fs_experiments *e)
{
    fs_untouched_free(&e->untouched);
    fs_knockout_room_free(&e->room);
    free(e->part);
    free(e->jobs);
}

static fs_status record(void *context, int unit, const fs_knockout *counts)
{
    fs_experiments *e = context;
    return e->kind->record(e, unit, counts);
}

static fs_status run_part(void *context, int number)
{
    fs_experiments *e = context;
    const struct fs_unit_part *part = &e->part[number];
    int whole = part->begin == 0 && part->end == e->input.images;
    fs_knockout counts = {0};
    fs_knockout_input input = e->input;
    input.begin = part->begin;
    input.images = part->end;
    fs_status status = fs_knockout_create(e->run->input->plan->unit[part->unit].count, input.net->labels, &counts);
    if (!status && whole)
        status = fs_results_write_start(e->run->results, part->unit, e->run->launch, e->run->rank);
    if (!status)
        status = e->kind->run(e, &input, part->unit, &counts);
    if (!status)
        status = whole ? record(e, part->unit, &counts) : fs_pieces_give(&e->pieces, part->unit, &counts);
    fs_knockout_free(&counts);
    return status;
}

/* Parts of a unit of so much of all cost. A part has whole chunks of images, so that bits do not depend on it. */
static int count_parts(const fs_experiments *e, double share)
{
    int chunks = (e->input.images + e->input.batch - 1) / e->input.batch;
    double parts = ceil(share * e->run->ranks * JOBS_OF_A_RANK);
    return e->run->ranks == 1 || e->count > FS_MOST_CUT_UNITS || parts <= 1 ? 1 : parts < chunks ? (int)parts : chunks;
}

static int begin_of_part(const fs_experiments *e, int number, int parts)
{
    int chunks = (e->input.images + e->input.batch - 1) / e->input.batch;
    return number == parts ? e->input.images : (int)((long)chunks * number / parts) * e->input.batch;
}

/* From jobs [count], which are units, to those that are parts of them. */
static fs_status cut_units(fs_experiments *e)
{
    double all = 0;
    int units = e->count, count = 0;
    for (int job = 0; job < units; job++)
        all += e->jobs[job].cost;
    for (int job = 0; job < units; job++)
        count += count_parts(e, e->jobs[job].cost / all);
    fs_job *jobs = fs_alloc((size_t)count, sizeof *jobs, "jobs");
    e->part = fs_alloc((size_t)count, sizeof *e->part, "jobs");
    if (!jobs || !e->part)
        return free(jobs), FS_ERROR;
    count = 0;
    for (int job = 0; job < units; job++) {
        const fs_job *unit = &e->jobs[job];
        int parts = count_parts(e, unit->cost / all);
        for (int p = 0; p < parts; p++, count++) {
            e->part[count] = (struct fs_unit_part){unit->unit, begin_of_part(e, p, parts), begin_of_part(e, p + 1, parts)};
            jobs[count] = (fs_job){count, unit->cost / parts};
        }
    }
    free(e->jobs);
    e->jobs = jobs;
    e->count = count;
    return FS_OK;
}

fs_status fs_experiments_run(fs_experiments *e)
{
    fs_sweep_run *run = e->run;
    int units = e->count;
    fs_progress_start(&e->progress, "knock-out", run->rank == 0, 0, 0);
    fs_status status = fs_agree(run->world, cut_units(e));
    if (!status && run->rank == 0 && e->count > units) {
        printf("phase four: %d blocks, cut by images into %d jobs for %d ranks\n", units, e->count, run->ranks);
        fflush(stdout);
    }
    if (!status)
        status = fs_pieces_open(run, e->input.images, record, e, &e->pieces);
    if (status)
        return status;
    status = fs_sweep_hand_out(run, e->jobs, e->count, run_part, e);
    fs_pieces_close(&e->pieces);
    return status;
}
