/* Phase four's second part: blocks of sets of filters that are knocked out together. */
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/knockout.h"
#include "filterscope/memory.h"
#include "sweep/experiments.h"

/* What of the file the sets of a layer are made of. */
struct source {
    int32_t *cluster;
    fs_filter_row *row;
    fs_knockout single; /* right alone */
};

/* The sets of a unit. */
struct block {
    int32_t *member;    /* [count][filters]: which filters they have */
    fs_filter_set *set; /* [count] */
    int *list;          /* [count x filters]: their numbers */
};

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

static void free_block(struct block *b)
{
    free(b->member);
    free(b->set);
    free(b->list);
}

static fs_status fill_block(fs_sweep_run *run, const fs_unit *u, const struct source *s, struct block *b)
{
    const fs_plan *plan = run->input->plan;
    int filters = plan->layer[u->index].filters, *list = b->list;
    int32_t *member = b->member;
    const fs_set_source source = {.plan = plan,
                                  .index = u->index,
                                  .labels = run->input->net->labels,
                                  .cluster = s->cluster,
                                  .row = s->row,
                                  .right = s->single.right};
    fs_status status = FS_OK;
    for (int n = 0; n < u->count && !status; n++, member += filters) {
        status = fs_set_members(&run->input->settings->sets, &source, (fs_unit_kind)u->kind, u->first + n, member);
        b->set[n] = (fs_filter_set){list, 0};
        for (int f = 0; f < filters && !status; f++)
            if (member[f])
                list[b->set[n].count++] = f;
        list += b->set[n].count;
    }
    return status;
}

/* To be released in any case. */
static fs_status make_block(fs_sweep_run *run, const fs_unit *u, struct block *b)
{
    size_t count = (size_t)u->count, filters = (size_t)run->input->plan->layer[u->index].filters;
    struct source s = {0};
    *b = (struct block){.member = fs_alloc(count * filters, sizeof *b->member, "sets of filters"),
                        .set = fs_alloc(count, sizeof *b->set, "sets of filters"),
                        .list = fs_alloc(count * filters, sizeof *b->list, "sets of filters")};
    fs_status status = b->member && b->set && b->list ? read_source(run, u->index, &s) : FS_ERROR;
    if (!status)
        status = fill_block(run, u, &s, b);
    free_source(&s);
    return status;
}

static fs_status run_block(fs_experiments *e, const fs_knockout_input *input, int unit, fs_knockout *counts)
{
    const fs_unit *u = &e->run->input->plan->unit[unit];
    struct block b;
    fs_status status = make_block(e->run, u, &b);
    if (!status)
        status = (e->run->input->settings->literal ? fs_knockout_literal_sets : fs_knockout_sets)(
            input, &e->untouched, fs_experiments_which(e, u->index), b.set, u->count, fs_experiments_poll, e, counts);
    free_block(&b);
    return status;
}

static fs_status record_block(fs_experiments *e, int unit, const fs_knockout *counts)
{
    const fs_plan *plan = e->run->input->plan;
    const fs_unit *u = &plan->unit[unit];
    struct block b;
    fs_status status = make_block(e->run, u, &b);
    if (!status)
        status = fs_results_write_sets(e->run->results, unit, b.member, counts);
    free_block(&b);
    if (status)
        return status;
    printf("knock-out: layer %d  %s %d to %d  spared: %.1f %% with no map\n", plan->layer[u->index].layer,
           u->kind == FS_UNIT_GROUPS ? "groups, sets" : "curves, points", u->first, u->first + u->count - 1,
           fs_experiments_percent(e, counts, u->count, FS_WORK_SAME));
    fflush(stdout);
    return FS_OK;
}

static fs_status run_sets(fs_experiments *e)
{
    if (!e->count)
        return FS_OK;
    if (e->run->rank == 0) {
        printf(
            "phase four: filters knocked out together: %.0f groups, complements and random groups, %.0f points of curves, %d "
            "test images\n",
            e->sets[FS_UNIT_GROUPS], e->sets[FS_UNIT_CURVES], e->input.images);
        fflush(stdout);
    }
    fs_status status = fs_experiments_measure(e);
    return status ? status : fs_experiments_run(e);
}

fs_status fs_sweep_sets(fs_sweep_run *run)
{
    static const fs_experiments_kind kind = {run_block, record_block};
    fs_experiments e;
    if (run->input->settings->replacement == FS_REPLACE_NONE)
        return FS_OK;
    fs_status status = fs_experiments_open(run, &kind, FS_UNIT_GROUPS, FS_UNIT_CURVES, &e);
    if (!status)
        status = run_sets(&e);
    fs_experiments_close(&e);
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
