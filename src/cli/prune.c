/* filterscope prune: masks from the clusters of a sweep, or from a control. */
#include "filterscope/prune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/layers.h"
#include "filterscope/compact.h"
#include "filterscope/memory.h"
#include "filterscope/slots.h"

static const char usage[] = "prune --model MODEL.h5 --sweep RESULTS.h5|--compact --out PRUNED.h5 [options]";

struct arguments {
    const char *model, *sweep, *out, *layers, *control;
    double threshold; /* NaN: the sweep's */
    int compact;
    fs_prune_settings settings;
};

struct job {
    struct arguments a;
    fs_model model;
    fs_results *results;
    fs_prune_layer *layer; /* [net.layers + 1] */
    uint8_t *chosen;       /* [net.ops] */
    fs_pruned *report;     /* [net.ops] */
};

static fs_status read_control(struct arguments *a)
{
    static const char *const names[] = {"none", "random", "l1", "clusters", "knockout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(a->control, names[i]) == 0) {
            a->settings.control = (fs_prune_control)i;
            return i || isnan(a->settings.keep) ? FS_OK : fs_fail(FS_USAGE, "--keep belongs to a --control");
        }
    return fs_fail(FS_USAGE, "--control: '%s' is none of random, l1, clusters, knockout, none", a->control);
}

static fs_status read_arguments(int argc, char **argv, struct arguments *a)
{
    fs_prune_settings *s = &a->settings;
    *a = (struct arguments){.layers = "all", .control = "none", .threshold = (double)NAN};
    *s = (fs_prune_settings){.keep = (double)NAN, .seed = 1};
    const fs_option options[] = {
        {"model", FS_OPTION_TEXT, &a->model, 0, 0, "model file"},
        {"sweep", FS_OPTION_TEXT, &a->sweep, 0, 0, "complete results file of that model"},
        {"out", FS_OPTION_TEXT, &a->out, 0, 0, "model file with masks, which must not exist"},
        {"layers", FS_OPTION_TEXT, &a->layers, 0, 0,
         "pairs of layers, all or as 7-8,conv10-fc1: from a layer on to another (all)"},
        {"threshold", FS_OPTION_NUMBER, &a->threshold, 0, 1, "clipping threshold of the clusters (the sweep's)"},
        {"keep-unclustered", FS_OPTION_FLAG, &s->keep_unclustered, 0, 0, "filters without clusters keep all kernels, not none"},
        {"control", FS_OPTION_TEXT, &a->control, 0, 0,
         "random, l1, clusters (dealt at random) or knockout: as many kernels, chosen so (none)"},
        {"keep", FS_OPTION_NUMBER, &s->keep, 0, 1, "share of each layer's kernels that a control keeps (the clusters')"},
        {"seed", FS_OPTION_SEED, &s->seed, 0, 0, "of the controls (1)"},
        {"compact", FS_OPTION_FLAG, &a->compact, 0, 0, "take out filters and units that have lost all inputs or outputs"},
        {NULL},
    };
    fs_status status = fs_options_read(argc, argv, usage, options, NULL);
    if (!status && (!a->model || !(a->sweep || a->compact) || !a->out))
        status = fs_fail(FS_USAGE, "usage: filterscope %s", usage);
    if (!status && strlen(a->layers) >= FS_CONFIG_VALUE_BYTES)
        status =
            fs_fail(FS_USAGE, "--layers: a list of %zu characters: at most %d", strlen(a->layers), FS_CONFIG_VALUE_BYTES - 1);
    return status ? status : read_control(a);
}

/* The sweep must be of this model, whole and complete. */
static fs_status check_sweep(struct job *job)
{
    const fs_results_plan *plan = fs_results_plan_of(job->results);
    const fs_network *net = &job->model.net;
    const char *found = fs_config_get(plan->config, "model");
    char wanted[FS_CONFIG_VALUE_BYTES];
    uint8_t *done = fs_alloc((size_t)plan->units, 1, "units");
    int complete = 0, bad = -1;
    fs_status status = done ? fs_results_read_complete(job->results, &complete, NULL) : FS_ERROR;
    snprintf(wanted, sizeof wanted, "%s, CRC %08x", net->arch, fs_network_crc(net));
    if (!status && (!found || strcmp(found, wanted) != 0))
        status = fs_fail(FS_MISMATCH, "%s: is a sweep of %s; %s is %s", job->a.sweep, found ? found : "another model",
                         job->a.model, wanted);
    if (!status && !complete)
        status = fs_fail(FS_MISMATCH, "%s: the sweep is not complete (filterscope status tells what is left)", job->a.sweep);
    if (!status)
        status = fs_results_read_done(job->results, done, NULL);
    for (int unit = 0; unit < plan->units && !status && bad < 0; unit++)
        bad = done[unit] || plan->unit[unit].kind > FS_UNIT_SILENCE ? -1 : unit; /* of phase four: read_drops */
    if (bad >= 0)
        status = fs_fail(FS_MISMATCH, "%s: unit %d is damaged (filterscope check tells more)", job->a.sweep, bad);
    free(done);
    return status;
}

/* Clusters of layer `index` at the threshold, from its fields. */
static fs_status read_clusters(struct job *job, int index, double threshold)
{
    const fs_results_plan *plan = fs_results_plan_of(job->results);
    size_t labels = (size_t)plan->labels, filters = (size_t)plan->layer[index].filters;
    int32_t *cluster = fs_alloc(filters * labels, sizeof *cluster, "clusters");
    float *field = fs_alloc(labels * labels, sizeof *field, "a field");
    fs_filter_measure measure;
    fs_status status = cluster && field ? FS_OK : FS_ERROR;
    job->layer[plan->layer[index].layer].cluster = cluster;
    for (size_t f = 0; f < filters && !status; f++) {
        status = fs_results_read_filters(job->results, index, (int)f, 1, field, NULL, NULL);
        if (!status)
            status = fs_measure_filter(plan->labels, field, threshold, cluster + f * labels, &measure);
    }
    free(field);
    return status;
}

/* 1 where all filters of layer `index` were knocked out. */
static int is_knocked_out(const fs_results_plan *plan, int index)
{
    int filters = 0;
    for (int unit = 0; unit < plan->units; unit++)
        if (plan->unit[unit].kind == FS_UNIT_KNOCKOUT && plan->unit[unit].index == index)
            filters += plan->unit[unit].count;
    return filters == plan->layer[index].filters;
}

/* Right answers that are lost without each filter, where it was knocked out. */
static fs_status read_drops(struct job *job, int index, const fs_baseline_row *baseline)
{
    const fs_results_plan *plan = fs_results_plan_of(job->results);
    size_t labels = (size_t)plan->labels, filters = (size_t)plan->layer[index].filters;
    fs_knockout counts;
    if (!is_knocked_out(plan, index))
        return FS_OK;
    double *drop = fs_alloc(filters * labels, sizeof *drop, "drops");
    fs_status status = drop ? fs_knockout_create((int)filters, (int)labels, &counts) : FS_ERROR;
    if (status)
        return status;
    status = fs_results_read_knockout(job->results, index, 0, (int)filters, &counts);
    for (size_t i = 0; i < filters * labels; i++)
        drop[i] = baseline[i % labels].right - counts.right[i];
    fs_knockout_free(&counts);
    job->layer[plan->layer[index].layer].drop = drop;
    return status;
}

static fs_status read_all_drops(struct job *job)
{
    const fs_results_plan *plan = fs_results_plan_of(job->results);
    fs_baseline_row *baseline = fs_alloc((size_t)plan->labels, sizeof *baseline, "the untouched network");
    int complete = 0, some = 0;
    fs_status status = baseline ? fs_results_read_knocked_out(job->results, &complete, NULL) : FS_ERROR;
    for (int i = 0; i < plan->layers; i++)
        some |= is_knocked_out(plan, i);
    if (!status && !(complete && some))
        status =
            fs_fail(FS_USAGE, "--control knockout: %s has no filters that were knocked out (sweep --knockout)", job->a.sweep);
    if (!status)
        status = fs_results_read_baseline(job->results, baseline);
    for (int i = 0; i < plan->layers && !status; i++)
        status = read_drops(job, i, baseline);
    free(baseline);
    return status;
}

static fs_status read_sweep(struct job *job)
{
    const fs_network *net = &job->model.net;
    struct arguments *a = &job->a;
    job->layer = fs_alloc((size_t)net->layers + 1, sizeof *job->layer, "layers");
    fs_status status = job->layer ? check_sweep(job) : FS_ERROR;
    const fs_results_plan *plan = status ? NULL : fs_results_plan_of(job->results);
    const char *own = status ? NULL : fs_config_get(plan->config, "threshold");
    if (!status && isnan(a->threshold))
        a->threshold = own ? strtod(own, NULL) : 0.3;
    for (int i = 0; !status && i < plan->layers; i++)
        status = read_clusters(job, i, a->threshold);
    if (!status && a->settings.control == FS_PRUNE_KNOCKOUT)
        status = read_all_drops(job);
    return status;
}

/* What the masks depend on. */
static void describe(const struct job *job, fs_config *config)
{
    const struct arguments *a = &job->a;
    const fs_network *net = &job->model.net;
    fs_config_set(config, "pruned-model", "%s, CRC %08x", net->arch, fs_network_crc(net));
    fs_config_set(config, "prune-layers", "%s", a->layers);
    fs_config_set(config, "prune-threshold", "%.15g", a->threshold);
    fs_config_set(config, "prune-unclustered", "%s", a->settings.keep_unclustered ? "kept" : "pruned");
    fs_config_set(config, "prune-control", "%s", a->control);
    if (a->settings.control == FS_PRUNE_CLUSTERS)
        return;
    if (!isnan(a->settings.keep))
        fs_config_set(config, "prune-keep", "%.15g", a->settings.keep);
    fs_config_set(config, "prune-seed", "%llu", (unsigned long long)a->settings.seed);
}

static void print_row(const fs_network *net, const fs_op *op, const fs_pruned *row)
{
    char name[FS_OP_NAME_BYTES], without[64];
    fs_op_name(net, op, name);
    if (!row->masked) {
        printf("%-8s %10zu %10zu         whole: %s\n", name, fs_mask_kernels(op), fs_mask_kept(op), row->why);
        return;
    }
    snprintf(without, sizeof without, "%d of %d, %d of %d", row->inputs_without, row->inputs, row->outputs_without,
             row->outputs);
    printf("%-8s %10zu %10zu  %6.4f  %s\n", name, fs_mask_kernels(op), row->kept,
           (double)row->kept / (double)fs_mask_kernels(op), without);
}

static void print_report(const struct job *job)
{
    const fs_network *net = &job->model.net;
    size_t pruned = fs_network_pruned(net), filters = 0;
    printf("layer       kernels       kept   share  without clusters: inputs, outputs\n");
    for (int i = 0; i < net->ops; i++)
        if (job->report[i].masked || *job->report[i].why) {
            print_row(net, &net->op[i], &job->report[i]);
            filters += (size_t)job->report[i].outputs_without;
        }
    printf("prune: %zu of %zu parameters are kept (%.4f)\n", net->parameters - pruned, net->parameters,
           1 - (double)pruned / (double)net->parameters);
    if (filters)
        printf("prune: %zu filters have no cluster and %s\n", filters,
               job->a.settings.keep_unclustered ? "keep all" : "keep nothing (--keep-unclustered keeps them whole)");
}

/* The first layer that was chosen and cannot be pruned says why; FS_OK where some other was. */
static fs_status check_some(const struct job *job)
{
    const char *why = "it has no layer that reads another";
    for (int i = 0; i < job->model.net.ops; i++) {
        if (job->report[i].masked)
            return FS_OK;
        if (*job->report[i].why)
            why = job->report[i].why;
    }
    return fs_fail(FS_USAGE, "%s: nothing to prune (--layers %s): %s", job->a.model, job->a.layers, why);
}

static void print_compacted(const fs_network *net, const fs_network *smaller, const fs_compacted *report)
{
    printf("layer    filters  taken out: unread, silent  left: constant, shared\n");
    for (int i = 0; i < net->ops; i++) {
        char name[FS_OP_NAME_BYTES];
        const fs_compacted *row = &report[i];
        if (!row->filters)
            continue;
        fs_op_name(net, &net->op[i], name);
        printf("%-8s %7d  %17d, %6d  %14d, %6d\n", name, row->filters, row->unread, row->silent, row->constant, row->shared);
    }
    printf("prune: %zu parameters become %zu, %.0f multiply-adds an image %.0f\n", net->parameters, smaller->parameters,
           fs_network_macs(net, 0), fs_network_macs(smaller, 0));
}

/* Takes out whole filters; the model's configuration says how many. */
static fs_status compact(fs_model *model)
{
    fs_network smaller;
    fs_compacted *report = fs_alloc((size_t)model->net.ops, sizeof *report, "layers");
    fs_status status = report ? fs_network_compact(&model->net, &smaller, report) : FS_ERROR;
    if (!status) {
        print_compacted(&model->net, &smaller, report);
        fs_config_set(&model->config, "compacted", "%zu of %zu parameters", smaller.parameters, model->net.parameters);
        fs_network_free(&model->net);
        model->net = smaller;
    }
    free(report);
    return status;
}

static fs_status prune(struct job *job)
{
    fs_config config = job->model.config;
    fs_network *net = &job->model.net;
    job->chosen = fs_alloc((size_t)net->ops, 1, "layers");
    job->report = fs_alloc((size_t)net->ops, sizeof *job->report, "layers");
    fs_status status = job->chosen && job->report ? fs_choose_pairs("--layers", job->a.layers, net, job->chosen) : FS_ERROR;
    if (!status)
        status = read_sweep(job);
    if (status)
        return status;
    describe(job, &config);
    job->a.settings.layer = job->layer;
    job->a.settings.chosen = job->chosen;
    status = fs_prune(net, &job->a.settings, job->report);
    if (!status)
        status = check_some(job);
    if (status)
        return status;
    job->model.config = config;
    fs_print_config("filterscope " FS_VERSION " prune", &config);
    print_report(job);
    return FS_OK;
}

static fs_status run(struct job *job, fs_target *target)
{
    fs_status status = fs_target_hold(target, 0);
    if (!status && target->held >= 0)
        status = fs_fail(FS_ERROR, "%s: exists", job->a.out);
    if (!status)
        status = fs_model_load(job->a.model, &job->model);
    fs_model_drop_last(&job->model);
    if (!status && job->a.sweep)
        status = fs_results_open(job->a.sweep, MPI_COMM_NULL, &job->results);
    if (!status && job->a.sweep)
        status = prune(job);
    if (!status && job->a.compact)
        status = compact(&job->model);
    return status ? status : fs_model_save(target->path, &job->model);
}

static void release(struct job *job)
{
    for (int l = 0; job->layer && l <= job->model.net.layers; l++) {
        free((void *)job->layer[l].cluster);
        free((void *)job->layer[l].drop);
    }
    free(job->layer);
    free(job->chosen);
    free(job->report);
    fs_results_close(job->results);
    fs_model_free(&job->model);
}

fs_status fs_cli_prune(int argc, char **argv)
{
    struct job job = {0};
    fs_target target = {.held = -1};
    fs_lock *lock = NULL;
    int rank;
    fs_status status = read_arguments(argc, argv, &job.a);
    if (status)
        return status == FS_STOPPED ? FS_OK : status; /* --help */
    const fs_input inputs[] = {{"model", job.a.model}, {"sweep", job.a.sweep}, {NULL}};
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    status = fs_lock_output(job.a.out, inputs, &target, &lock);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, rank == 0 ? run(&job, &target) : FS_OK);
    release(&job);
    fs_target_drop(&target);
    fs_lock_release(lock);
    return status;
}
