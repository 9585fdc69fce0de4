/* Phase four's second part: sets of filters that are knocked out together, in blocks, each on one rank. */
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
    int layer[FS_MOST_LAYERS]; /* numbers of the layers that have sets */
    int which[FS_MOST_LAYERS]; /* of the plan's layers: place among these */
    fs_knockout_input input;
    fs_untouched untouched;
    fs_knockout_room room;
    fs_job *jobs;
    int count;
    double groups, points; /* of all jobs */
    fs_progress progress;
};

/* What of the file the sets of a layer are made of. */
struct source {
    int32_t *cluster;
    fs_filter_row *row;
    fs_knockout single; /* right alone */
};

static int is_set(const fs_unit *u)
{
    return u->kind == FS_UNIT_GROUPS || u->kind == FS_UNIT_CURVES;
}

static int poll(void *context)
{
    struct work *work = context;
    if (work->run->desk && work->run->rank == 0) {
        double images = (work->groups + work->points) * work->input.images;
        double share = fs_sweep_share(work->run, work->jobs, work->count);
        fs_progress_batch(&work->progress, images * share, images, (double)NAN, 0);
    }
    return fs_sweep_poll(work->run);
}

static fs_status read_source(fs_sweep_run *run, int index, struct source *s)
{
    size_t filters = (size_t)run->input->plan->layer[index].filters, labels = (size_t)run->input->net->labels;
    *s = (struct source){.cluster = fs_alloc(filters * labels, sizeof *s->cluster, "clusters"),
                         .row = fs_alloc(filters, sizeof *s->row, "rows"),
                         .single.right = fs_alloc(filters * labels, sizeof *s->single.right, "right answers")};
    if (!s->cluster || !s->row || !s->single.right)
        return FS_ERROR;
    fs_status status = fs_results_read_filters(run->results, index, 0, (int)filters, NULL, s->cluster, s->row);
    return status ? status : fs_results_read_knockout(run->results, index, 0, (int)filters, &s->single);
}

static void free_source(struct source *s)
{
    free(s->cluster);
    free(s->row);
    free(s->single.right);
}

/* Which filters the unit's sets have, member [count][filters], and their numbers: set [count], list [count x filters]. */
static fs_status make_sets(fs_sweep_run *run, const fs_unit *u, int32_t *member, fs_filter_set *set, int *list)
{
    const fs_plan *plan = run->input->plan;
    int filters = plan->layer[u->index].filters;
    struct source s;
    fs_status status = read_source(run, u->index, &s);
    const fs_set_source source = {.plan = plan,
                                  .index = u->index,
                                  .labels = run->input->net->labels,
                                  .cluster = s.cluster,
                                  .row = s.row,
                                  .right = s.single.right};
    for (int n = 0; n < u->count && !status; n++, member += filters) {
        status = fs_set_members(&run->input->settings->sets, &source, (fs_unit_kind)u->kind, u->first + n, member);
        set[n] = (fs_filter_set){list, 0};
        for (int f = 0; f < filters && !status; f++)
            if (member[f])
                list[set[n].count++] = f;
        list += set[n].count;
    }
    free_source(&s);
    return status;
}

static void tell(const struct work *work, const fs_unit *u, const fs_knockout *counts)
{
    double same = 0;
    for (int n = 0; n < u->count; n++)
        same += counts->work[n][FS_WORK_SAME];
    printf("knock-out: layer %d  %s %d to %d  spared: %.1f %% with no map\n", work->layer[work->which[u->index]],
           u->kind == FS_UNIT_GROUPS ? "groups, sets" : "curves, points", u->first, u->first + u->count - 1,
           100 * same / ((double)u->count * work->input.images));
    fflush(stdout);
}

static fs_status run_sets(struct work *work, int unit, int32_t *member, fs_filter_set *set, int *list, fs_knockout *counts)
{
    fs_sweep_run *run = work->run;
    const fs_unit *u = &run->input->plan->unit[unit];
    fs_status status = make_sets(run, u, member, set, list);
    if (!status)
        status = fs_results_write_start(run->results, unit, run->launch, run->rank);
    if (!status)
        status = (run->input->settings->literal ? fs_knockout_literal_sets : fs_knockout_sets)(
            &work->input, &work->untouched, work->which[u->index], set, u->count, poll, work, counts);
    if (!status)
        status = fs_results_write_sets(run->results, unit, member, counts);
    if (!status)
        tell(work, u, counts);
    return status;
}

static fs_status run_block(void *context, int unit)
{
    struct work *work = context;
    const fs_unit *u = &work->run->input->plan->unit[unit];
    size_t count = (size_t)u->count, filters = (size_t)work->run->input->plan->layer[u->index].filters;
    int32_t *member = fs_alloc(count * filters, sizeof *member, "sets of filters");
    fs_filter_set *set = fs_alloc(count, sizeof *set, "sets of filters");
    int *list = fs_alloc(count * filters, sizeof *list, "sets of filters");
    fs_knockout counts = {0};
    fs_status status = member && set && list ? fs_knockout_create(u->count, work->run->input->net->labels, &counts) : FS_ERROR;
    if (!status)
        status = run_sets(work, unit, member, set, list, &counts);
    fs_knockout_free(&counts);
    free(member);
    free(set);
    free(list);
    return status;
}

/* The same on every rank. */
static void list_work(struct work *work)
{
    const fs_sweep_run *run = work->run;
    const fs_plan *plan = run->input->plan;
    for (int i = 0; i < plan->layers; i++)
        if (fs_plan_has_knockout(plan, i)) {
            work->which[i] = work->input.layers;
            work->layer[work->input.layers++] = plan->layer[i].layer;
        }
    for (int unit = plan->own_units; unit < plan->units; unit++) {
        const fs_unit *u = &plan->unit[unit];
        if (!is_set(u) || run->done[unit])
            continue;
        work->jobs[work->count++] = (fs_job){unit, fs_plan_knockout_cost(plan, unit)};
        *(u->kind == FS_UNIT_GROUPS ? &work->groups : &work->points) += u->count;
    }
}

static fs_status run_work(struct work *work)
{
    fs_sweep_run *run = work->run;
    fs_slots own;
    list_work(work);
    if (!work->count)
        return FS_OK;
    if (run->rank == 0) {
        printf(
            "phase four: filters knocked out together: %.0f groups, complements and random groups, %.0f points of curves, %d "
            "test images\n",
            work->groups, work->points, work->input.images);
        fflush(stdout);
    }
    fs_slots_create(run->world, run->input->settings->slots, &own);
    fs_status status = fs_untouched_measure(&own, &work->input, poll, work, &work->untouched);
    fs_progress_start(&work->progress, "knock-out", run->rank == 0, 0, 0);
    return status ? status : fs_sweep_hand_out(run, work->jobs, work->count, run_block, work);
}

fs_status fs_sweep_sets(fs_sweep_run *run)
{
    if (run->input->settings->replacement == FS_REPLACE_NONE)
        return FS_OK;
    struct work work = {.run = run, .jobs = fs_alloc((size_t)run->input->plan->units, sizeof *work.jobs, "jobs")};
    work.input = fs_sweep_knockout_input(run, work.layer, &work.room);
    fs_status status = fs_agree(run->world, work.jobs ? FS_OK : FS_ERROR);
    if (!status)
        status = run_work(&work);
    fs_untouched_free(&work.untouched);
    fs_knockout_room_free(&work.room);
    free(work.jobs);
    return status;
}

/* The rows of one layer. */
static fs_status summarise_layer(fs_sweep_run *run, fs_unit_kind kind, int index, const fs_baseline_row *baseline, void *row)
{
    int labels = run->input->net->labels, sets = fs_results_sets(fs_results_plan_of(run->results), kind, index);
    size_t n = (size_t)sets, k = (size_t)labels, filters = (size_t)run->input->plan->layer[index].filters;
    int32_t *member = fs_alloc(n * filters, sizeof *member, "sets of filters");
    fs_knockout counts = {.right = fs_alloc(n * k, sizeof *counts.right, "right answers"),
                          .changed = fs_alloc(n, sizeof *counts.changed, "changed answers"),
                          .loss = fs_alloc(n * k, sizeof *counts.loss, "losses")};
    const fs_set_source source = {.plan = run->input->plan, .index = index, .labels = labels, .baseline = baseline};
    fs_status status = member && counts.right && counts.changed && counts.loss ? FS_OK : FS_ERROR;
    if (!status)
        status = fs_results_read_sets(run->results, kind, index, 0, sets, member, &counts);
    if (!status && kind == FS_UNIT_GROUPS)
        fs_group_rows(&run->input->settings->sets, &source, member, &counts, row);
    else if (!status)
        fs_curve_rows(&run->input->settings->sets, &source, &counts, row);
    free(counts.right);
    free(counts.changed);
    free(counts.loss);
    free(member);
    return status;
}

/* On rank 0. */
static fs_status summarise(fs_sweep_run *run, fs_unit_kind kind)
{
    const fs_results_plan *plan = fs_results_plan_of(run->results);
    size_t sets = 0, bytes = kind == FS_UNIT_GROUPS ? sizeof(fs_group_row) : sizeof(fs_curve_row);
    for (int i = 0; i < plan->layers; i++)
        sets += (size_t)fs_results_sets(plan, kind, i);
    if (!sets)
        return FS_OK;
    fs_baseline_row *baseline = fs_alloc((size_t)plan->labels, sizeof *baseline, "rows");
    char *row = fs_alloc(sets, bytes, "rows");
    fs_status status = baseline && row ? fs_results_read_baseline(run->results, baseline) : FS_ERROR;
    sets = 0;
    for (int i = 0; i < plan->layers && !status; i++)
        if (fs_results_sets(plan, kind, i)) {
            status = summarise_layer(run, kind, i, baseline, row + sets * bytes);
            sets += (size_t)fs_results_sets(plan, kind, i);
        }
    if (!status && kind == FS_UNIT_GROUPS)
        status = fs_results_write_groups(run->results, (const fs_group_row *)(void *)row);
    else if (!status)
        status = fs_results_write_curves(run->results, (const fs_curve_row *)(void *)row);
    free(baseline);
    free(row);
    return status;
}

fs_status fs_sweep_summarise_sets(fs_sweep_run *run)
{
    fs_status status = FS_OK;
    for (fs_unit_kind kind = FS_UNIT_GROUPS; kind <= FS_UNIT_CURVES && !status && run->rank == 0; kind++)
        status = summarise(run, kind);
    return fs_agree(run->world, status);
}
