/* Which kernels clusters keep, and which the controls do. */
#include "filterscope/prune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "phases/prune_labels.h"

struct job {
    fs_network *net;
    const fs_prune_settings *settings;
    fs_known *known;
};

/* 1 where the labels of the two ends of a kernel have one in common. */
static int ends_share(const struct job *job, const fs_op *op, const fs_channels *c, int o, int i)
{
    const fs_word *in = fs_label_set(job->known, c->in, fs_channels_input(c, op, o, i));
    return fs_label_sets_share(job->known, in, fs_label_set(job->known, c->out, o));
}

static int clusters_keep(const struct job *job, const fs_op *op, const fs_channels *c, int o, int i)
{
    const fs_word *in = fs_label_set(job->known, c->in, fs_channels_input(c, op, o, i)),
                  *out = fs_label_set(job->known, c->out, o);
    if (job->settings->keep_unclustered && (fs_label_set_is_empty(job->known, in) || fs_label_set_is_empty(job->known, out)))
        return 1;
    return ends_share(job, op, c, o, i);
}

static double norm_of(const struct job *job, const fs_op *op, int o, int i)
{
    fs_kernels k;
    double sum = 0;
    op->kind->kernels(op, &k);
    const float *weight = job->net->parameter + op->weight + (size_t)o * k.output + (size_t)i * k.input;
    for (int p = 0; p < k.places; p++)
        sum += fabs((double)weight[(size_t)p * k.place]);
    return sum;
}

/* Right answers that are lost without the filters at its two ends; of an output of the network, its label's without the one. */
static double drop_of(const struct job *job, const fs_op *op, const fs_channels *c, int o, int i)
{
    int labels = job->net->labels;
    double sum = 0;
    const double *drop = c->in_drop + (size_t)fs_channels_input(c, op, o, i) * labels;
    if (c->logit)
        return drop[c->logit[o]];
    for (int label = 0; label < labels; label++)
        sum += drop[label];
    return sum + c->out_drop[o];
}

/* What a kernel is worth to a control. */
static double worth_of(const struct job *job, const fs_op *op, const fs_channels *c, int o, int i)
{
    switch (job->settings->control) {
    case FS_PRUNE_DEALT:
        return ends_share(job, op, c, o, i);
    case FS_PRUNE_L1:
        return norm_of(job, op, o, i);
    case FS_PRUNE_KNOCKOUT:
        return drop_of(job, op, c, o, i);
    default:
        return 0;
    }
}

struct kernel {
    double worth;
    uint64_t drawn;
    int output, input;
};

static int by_worth(const void *left, const void *right)
{
    const struct kernel *a = left, *b = right;
    if (a->worth != b->worth)
        return a->worth > b->worth ? -1 : 1;
    return a->drawn < b->drawn ? -1 : a->drawn > b->drawn;
}

/* Keeps the `keep` kernels of highest worth of those that the mask has. */
static fs_status keep_best(const struct job *job, fs_op *op, const fs_channels *c, size_t keep)
{
    size_t count = 0, number = 0;
    struct kernel *kernel = fs_alloc(fs_mask_kernels(op), sizeof *kernel, "kernels");
    if (!kernel)
        return FS_ERROR;
    for (int o = 0; o < c->outputs; o++)
        for (int i = 0; i < c->group_inputs; i++, number++)
            if (fs_mask_keeps(op, o, i))
                kernel[count++] = (struct kernel){
                    worth_of(job, op, c, o, i),
                    fs_prune_draw(job->settings, FS_RANDOM_KERNELS, (int)(op - job->net->op), (int)(number >> 32), number), o,
                    i};
    qsort(kernel, count, sizeof *kernel, by_worth);
    for (size_t n = keep; n < count; n++)
        fs_mask_drop(op, kernel[n].output, kernel[n].input);
    free(kernel);
    return FS_OK;
}

/* Kernels of the mask that the clusters keep; the others leave it, where `drop` says so. */
static size_t keep_shared(const struct job *job, fs_op *op, const fs_channels *c, int drop)
{
    size_t kept = 0;
    for (int o = 0; o < c->outputs; o++)
        for (int i = 0; i < c->group_inputs; i++) {
            int keeps = fs_mask_keeps(op, o, i) && clusters_keep(job, op, c, o, i);
            kept += (size_t)keeps;
            if (drop && !keeps)
                fs_mask_drop(op, o, i);
        }
    return kept;
}

static fs_status mask_op(const struct job *job, fs_op *op, fs_channels *c, fs_pruned *report)
{
    const fs_prune_settings *s = job->settings;
    if (!fs_channels_find(job->known, op, 0, c, report->why, sizeof report->why))
        return FS_OK;
    fs_status status = fs_mask_create(op);
    if (status)
        return status;
    *report = (fs_pruned){.masked = 1,
                          .before = fs_mask_kept(op),
                          .inputs = c->inputs,
                          .outputs = c->outputs,
                          .inputs_without = fs_label_sets_empty(job->known, c->in, c->inputs),
                          .outputs_without = fs_label_sets_empty(job->known, c->out, c->outputs)};
    size_t keep = keep_shared(job, op, c, s->control == FS_PRUNE_CLUSTERS);
    if (s->control != FS_PRUNE_CLUSTERS) {
        if (!isnan(s->keep))
            keep = (size_t)llround(s->keep * (double)fs_mask_kernels(op));
        if (s->control == FS_PRUNE_DEALT)
            fs_channels_find(job->known, op, 1, c, report->why, sizeof report->why);
        status = keep_best(job, op, c, keep);
    }
    report->kept = fs_mask_kept(op);
    return status;
}

static fs_status prune_op(const struct job *job, fs_op *op, fs_pruned *report)
{
    fs_channels c;
    fs_status status = fs_channels_create(job->known, op, &c);
    if (!status)
        status = mask_op(job, op, &c, report);
    fs_channels_free(&c);
    return status;
}

static fs_status check_drops(const fs_network *net, const fs_prune_settings *s)
{
    for (int l = 1; l <= net->layers && s->control == FS_PRUNE_KNOCKOUT; l++)
        if (s->layer[l].cluster && !s->layer[l].drop)
            return fs_fail(FS_USAGE, "--control knockout: the filters of layer %d were not knocked out (sweep --knockout)", l);
    return FS_OK;
}

fs_status fs_prune(fs_network *net, const fs_prune_settings *settings, fs_pruned *report)
{
    struct job job = {.net = net, .settings = settings};
    memset(report, 0, (size_t)net->ops * sizeof *report);
    fs_status status = check_drops(net, settings);
    if (!status)
        job.known = fs_known_create(net, settings);
    if (!status && !job.known)
        status = FS_ERROR;
    for (int i = 0; i < net->ops && !status; i++)
        if (settings->chosen[i] && net->op[i].kind->kernels)
            status = prune_op(&job, &net->op[i], &report[i]);
    fs_known_free(job.known);
    if (!status)
        fs_network_apply_masks(net);
    return status;
}
