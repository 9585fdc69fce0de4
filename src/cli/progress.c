/* How far a sweep is, from its results file alone: what is done, how fast the present launch is, what that leaves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "filterscope/memory.h"

enum { RECENT = 5 };

struct layer {
    int epochs; /* that are complete */
    int probed;
    int blocks, recorded;
    int running;    /* its probe has been started by the newest launch, and is not done */
    int rank;       /* that started it */
    double seconds; /* of an epoch, mean of the newest RECENT; NaN before the first */
    double test_sr; /* newest; NaN before the first */
};

struct progress {
    fs_results *results;
    const fs_results_plan *plan;
    uint8_t *done;     /* [units] */
    fs_run_row *run;   /* [units] */
    fs_launch launch;  /* newest */
    int number;        /* of that; -1 without one */
    struct layer *all; /* [layers] */
    int complete;
};

static fs_status read_newest(struct progress *p, int index)
{
    struct layer *layer = &p->all[index];
    size_t epochs = (size_t)p->plan->epochs;
    fs_history_row *history = fs_alloc(epochs, sizeof *history, "the history");
    double *seconds = fs_alloc(epochs, sizeof *seconds, "the epochs' times");
    fs_status status = history && seconds ? fs_results_read_history(p->results, index, history) : FS_ERROR;
    if (!status)
        status = fs_results_read_seconds(p->results, index, seconds);
    double sum = 0;
    int timed = 0;
    for (int e = 0; e < layer->epochs && !status; e++) {
        if (e >= layer->epochs - RECENT && !isnan(seconds[e])) {
            sum += seconds[e];
            layer->seconds = sum / ++timed;
        }
        if (!isnan(history[e].test_sr))
            layer->test_sr = history[e].test_sr;
    }
    free(history);
    free(seconds);
    return status;
}

static fs_status read_layer(struct progress *p, int index)
{
    struct layer *layer = &p->all[index];
    *layer = (struct layer){.seconds = (double)NAN, .test_sr = (double)NAN};
    fs_status status = fs_results_read_epochs(p->results, index, &layer->epochs);
    for (int unit = 0; unit < p->plan->units && !status; unit++) {
        const fs_unit *u = &p->plan->unit[unit];
        const fs_run_row *run = &p->run[unit];
        if (u->index != index)
            continue;
        if (u->kind == FS_UNIT_SILENCE) {
            layer->blocks++;
            layer->recorded += p->done[unit];
        }
        if (u->kind != FS_UNIT_PROBE)
            continue;
        layer->probed = p->done[unit];
        layer->rank = run->rank;
        layer->running = !layer->probed && run->attempt > 0 && run->launch == p->number;
        if (layer->probed)
            layer->epochs = p->plan->epochs;
    }
    return status ? status : read_newest(p, index);
}

static fs_status read_progress(fs_results *results, struct progress *p)
{
    const fs_results_plan *plan = fs_results_plan_of(results);
    *p = (struct progress){.results = results, .plan = plan};
    p->done = fs_alloc((size_t)plan->units, 1, "units");
    p->run = fs_alloc((size_t)plan->units, sizeof *p->run, "units");
    p->all = fs_alloc((size_t)plan->layers, sizeof *p->all, "layers");
    fs_status status = p->done && p->run && p->all ? fs_results_read_recorded(results, p->done) : FS_ERROR;
    if (!status)
        status = fs_results_read_complete(results, &p->complete, NULL);
    int knocked_out = 0;
    if (!status)
        status = fs_results_read_knocked_out(results, &knocked_out, NULL);
    p->complete = p->complete && knocked_out;
    if (!status)
        status = fs_results_read_runs(results, p->run);
    if (!status)
        status = fs_results_read_launch(results, &p->launch, &p->number);
    for (int i = 0; i < plan->layers && !status; i++)
        status = read_layer(p, i);
    return status;
}

/* "1:05", "3:20:00", or "-" for what is not known. */
static const char *duration(double seconds, char text[32])
{
    long long whole = (long long)seconds;
    if (!isfinite(seconds) || seconds > 1e9)
        snprintf(text, 32, "-");
    else if (whole >= 3600)
        snprintf(text, 32, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(text, 32, "%lld:%02lld", whole / 60, whole % 60);
    return text;
}

static double layer_left(const struct progress *p, const struct layer *layer)
{
    return layer->seconds * (p->plan->epochs - layer->epochs);
}

static void print_layer(const struct progress *p, int index)
{
    const struct layer *layer = &p->all[index];
    const fs_layer_row *row = &p->plan->layer[index];
    char epochs[32], blocks[32], sr[16] = "-", seconds[16] = "-", left[32] = "";
    const char *state = layer->probed && layer->recorded == layer->blocks ? "done"
                        : layer->probed                                   ? "probed"
                        : layer->running || layer->epochs                 ? "running"
                                                                          : "left";
    snprintf(epochs, sizeof epochs, "%d/%d", layer->epochs, p->plan->epochs);
    snprintf(blocks, sizeof blocks, "%d/%d", layer->recorded, layer->blocks);
    if (!isnan(layer->test_sr))
        snprintf(sr, sizeof sr, "%.4f", layer->test_sr);
    if (!isnan(layer->seconds))
        snprintf(seconds, sizeof seconds, "%.1f", layer->seconds);
    printf("%5d  %-8s %7d  %12s  %7s  %7s  %7s  %13s  %s\n", row->layer, row->name, row->filters, epochs, sr, seconds,
           layer->probed ? "" : duration(layer_left(p, layer), left), blocks, state);
}

/* Images a second of all teams together; layers with one rank are one team, which passes each image once. */
static double probe_rate(const struct progress *p)
{
    const char *data = fs_config_get(p->plan->config, "train-data");
    double images = data ? atof(data) : 0, rate = 0;
    for (int i = 0; i < p->plan->layers; i++) {
        int first = 1;
        for (int j = 0; j < i; j++)
            first = first && !(p->all[j].running && p->all[j].rank == p->all[i].rank);
        if (p->all[i].running && first && p->all[i].seconds > 0)
            rate += images / p->all[i].seconds;
    }
    return rate;
}

/* The team that is busy longest with what it has, then the waiting layers shared out among the teams. */
static double probes_left(const struct progress *p)
{
    double longest = 0, known = 0, seconds = 0, waiting = 0;
    for (int i = 0; i < p->plan->layers; i++) {
        const struct layer *layer = &p->all[i];
        double left = layer_left(p, layer);
        if (layer->running && left > longest)
            longest = left;
        if (!layer->probed && !layer->running)
            waiting += p->plan->epochs - layer->epochs;
        if (!isnan(layer->seconds)) {
            known++;
            seconds += layer->seconds;
        }
    }
    return longest + (waiting > 0 ? waiting * seconds / known / (p->launch.teams > 0 ? p->launch.teams : 1) : 0);
}

static void print_probes(const struct progress *p)
{
    int epochs = 0, all = p->plan->layers * p->plan->epochs;
    char left[32];
    for (int i = 0; i < p->plan->layers; i++)
        epochs += p->all[i].epochs;
    printf("phase two:   %d of %d epochs of %d probes", epochs, all, p->plan->layers);
    double rate = probe_rate(p);
    if (rate > 0)
        printf(", %.0f images/s", rate);
    if (epochs < all)
        printf(", %s left", duration(probes_left(p), left));
    printf("\n");
}

/* Filters in units of a kind that this launch recorded, over the seconds that its ranks took for them: clocks may have been set
 * in between. */
static double filter_rate(const struct progress *p, int kind)
{
    double filters = 0, seconds = 0;
    for (int unit = 0; unit < p->plan->units; unit++) {
        const fs_run_row *run = &p->run[unit];
        if (p->plan->unit[unit].kind != kind || !p->done[unit] || run->launch != p->number)
            continue;
        filters += p->plan->unit[unit].count;
        seconds += run->seconds;
    }
    return seconds > 0 ? filters * p->launch.ranks / seconds : 0;
}

static void count_filters(const struct progress *p, int kind, int *filters, int *recorded)
{
    *filters = *recorded = 0;
    for (int unit = 0; unit < p->plan->units; unit++)
        if (p->plan->unit[unit].kind == kind) {
            *filters += p->plan->unit[unit].count;
            *recorded += p->done[unit] * p->plan->unit[unit].count;
        }
}

static void print_silence(const struct progress *p)
{
    const char *how = fs_config_get(p->plan->config, "silencing");
    int filters, recorded;
    char left[32];
    count_filters(p, FS_UNIT_SILENCE, &filters, &recorded);
    printf("phase three: %d of %d filters, %s", recorded, filters, how ? how : "");
    double rate = filter_rate(p, FS_UNIT_SILENCE);
    if (how && strcmp(how, "literal") == 0 && rate > 0 && recorded < filters) /* one pass ends all at once */
        printf(", %.2f filters/s, %s left", rate, duration((filters - recorded) / rate, left));
    printf("\n");
}

static void print_knockout(const struct progress *p)
{
    const char *how = fs_config_get(p->plan->config, "knockout");
    int filters, recorded;
    char left[32];
    count_filters(p, FS_UNIT_KNOCKOUT, &filters, &recorded);
    if (!filters)
        return;
    double rate = filter_rate(p, FS_UNIT_KNOCKOUT);
    printf("phase four:  %d of %d filters knocked out, %s", recorded, filters, how ? how : "");
    if (rate > 0 && recorded < filters)
        printf(", %.2f filters/s, about %s left", rate, duration((filters - recorded) / rate, left));
    printf("\n");
}

static void print_sets(const struct progress *p, int kind, const char *key, const char *what)
{
    int sets, recorded;
    count_filters(p, kind, &sets, &recorded);
    if (sets)
        printf("phase four:  %d of %d %s knocked out, %s\n", recorded, sets, what, fs_config_get(p->plan->config, key));
}

static void print_launch(const struct progress *p)
{
    char since[32];
    time_t time = (time_t)p->launch.time;
    if (p->number < 0)
        return;
    strftime(since, sizeof since, "%F %T", localtime(&time));
    printf("launch %d:    %d rank%s in %d team%s on %s since %s%s%s\n", p->number + 1, p->launch.ranks,
           p->launch.ranks == 1 ? "" : "s", p->launch.teams, p->launch.teams == 1 ? "" : "s", p->launch.hosts, since,
           p->launch.job[0] ? ", job " : "", p->launch.job);
}

static int count_done(const struct progress *p)
{
    int count = 0;
    for (int unit = 0; unit < p->plan->units; unit++)
        count += p->done[unit];
    return count;
}

fs_status fs_print_progress(fs_results *results, int *complete)
{
    struct progress p;
    fs_status status = read_progress(results, &p);
    if (!status) {
        printf("layer  name     filters  probe epochs  test SR  s/epoch     left  filter blocks  state\n");
        for (int i = 0; i < p.plan->layers; i++)
            print_layer(&p, i);
        print_probes(&p);
        print_silence(&p);
        print_knockout(&p);
        print_sets(&p, FS_UNIT_GROUPS, "groups", "sets of groups");
        print_sets(&p, FS_UNIT_CURVES, "curve", "points of curves");
        print_launch(&p);
        int done = count_done(&p);
        *complete = p.complete && done == p.plan->units;
        printf("%d of %d units done; %s\n", done, p.plan->units, *complete ? "complete" : "the same sweep command goes on");
    }
    free(p.done);
    free(p.run);
    free(p.all);
    return status;
}
