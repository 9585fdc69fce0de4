/* Which kernels clusters keep, and which the controls do. */
#include "filterscope/prune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/random.h"
#include "model/trace.h"

/* Sets of labels, a bit each, in rows of whole words. */
typedef uint64_t word;
enum { WORD_BITS = 64 };

/* Where an operation's output channels are measured: channel[c] of the map of layer `layer`, or of the logits. */
struct view {
    int layer;    /* of the sweep; 0 for none */
    int logits;   /* output k is the network's: its label is k */
    int *channel; /* [output channels]; -1 where it is nowhere */
};

struct job {
    fs_network *net;
    const fs_prune_settings *settings;
    size_t words;      /* of a set */
    word **clustered;  /* [layers + 1]: [filters] sets; NULL as fs_prune_layer.cluster */
    word **dealt;      /* likewise, of the control */
    struct view *view; /* [ops] */
};

/* What is known of the channels of one operation's input and output. */
struct channels {
    int outputs, inputs, group_inputs; /* group_inputs: of a kernel's group */
    int logits;
    word *in, *out;   /* [inputs], [outputs] sets */
    double *in_drop;  /* [inputs][labels] */
    double *out_drop; /* [outputs]: sums over labels */
};

static int has(const word *set, int label)
{
    return set[label / WORD_BITS] >> label % WORD_BITS & 1;
}

static void add(word *set, int label)
{
    set[label / WORD_BITS] |= (word)1 << label % WORD_BITS;
}

static int is_empty(const word *set, size_t words)
{
    word any = 0;
    for (size_t w = 0; w < words; w++)
        any |= set[w];
    return !any;
}

static int share(const word *a, const word *b, size_t words)
{
    word any = 0;
    for (size_t w = 0; w < words; w++)
        any |= a[w] & b[w];
    return any != 0;
}

/* 64 random bits, of which no two draws of a control are likely to be equal. */
static uint64_t draw(const struct job *job, fs_purpose purpose, int a, int b, size_t counter)
{
    uint32_t out[4];
    fs_random4(job->settings->seed, purpose, (uint32_t)a, (uint32_t)b, (uint32_t)counter, out);
    return (uint64_t)out[0] << 32 | out[1];
}

/* The labels that a filter gets: those that were dealt least often so far; at a tie the smaller draw. */
static int next_label(const struct job *job, int layer, int filter, const int *dealt, const word *own)
{
    int best = -1;
    uint64_t least = 0;
    for (int k = 0; k < job->net->labels; k++) {
        if (has(own, k))
            continue;
        uint64_t drawn = draw(job, FS_RANDOM_LABELS, layer, filter, (size_t)k);
        if (best < 0 || dealt[k] < dealt[best] || (dealt[k] == dealt[best] && drawn < least)) {
            best = k;
            least = drawn;
        }
    }
    return best;
}

static int deal_labels(const struct job *job, int layer, int filters, const word *clustered, word *sets)
{
    int labels = job->net->labels, *dealt = fs_alloc((size_t)labels, sizeof *dealt, "labels");
    for (int f = 0; f < filters && dealt; f++)
        for (int k = 0; k < labels; k++) {
            if (!has(clustered + (size_t)f * job->words, k))
                continue; /* as many times as it has labels */
            word *own = sets + (size_t)f * job->words;
            int label = next_label(job, layer, f, dealt, own);
            add(own, label);
            dealt[label]++;
        }
    free(dealt);
    return dealt != NULL;
}

static int take_sets(struct job *job, int layer)
{
    const fs_op *map = fs_network_probed(job->net, layer);
    const int32_t *cluster = job->settings->layer[layer].cluster;
    int labels = job->net->labels, filters = map && cluster ? map->out_channels : 0;
    if (!filters)
        return 1;
    word *sets = job->clustered[layer] = fs_alloc((size_t)filters * job->words, sizeof(word), "labels of filters");
    job->dealt[layer] = fs_alloc((size_t)filters * job->words, sizeof(word), "labels of filters");
    if (!sets || !job->dealt[layer])
        return 0;
    for (int f = 0; f < filters; f++)
        for (int k = 0; k < labels; k++)
            if (cluster[(size_t)f * labels + k])
                add(sets + (size_t)f * job->words, k);
    return job->settings->control != FS_PRUNE_DEALT || deal_labels(job, layer, filters, sets, job->dealt[layer]);
}

/* While looking from a map back to an operation. */
struct search {
    const fs_op *op;
    int channel; /* of op, where it was found; else -1 */
};

static fs_trace_answer look(void *context, const fs_op *map, int channel)
{
    struct search *s = context;
    if (map == s->op)
        s->channel = channel;
    return FS_TRACE_GOES_ON;
}

/* Fills in *view as seen at `map`; 0 where a channel is not found there. */
static int see_from(const fs_op *op, const fs_op *map, struct view *view)
{
    int seen = 0;
    for (int c = 0; c < op->out_channels; c++)
        view->channel[c] = -1;
    for (int c = 0; c < map->out_channels; c++) {
        struct search s = {op, -1};
        fs_trace(map, c, look, &s);
        if (s.channel >= 0 && view->channel[s.channel] < 0) {
            view->channel[s.channel] = c;
            seen++;
        }
    }
    return seen == op->out_channels;
}

static int number_of_convolution(const fs_network *net, const fs_op *op)
{
    int number = 0;
    for (const fs_op *other = net->op; other <= op; other++)
        number += other->kind->counts;
    return op->kind->counts ? number : 0;
}

static int take_view(struct job *job, int i)
{
    const fs_op *op = &job->net->op[i], *last = &job->net->op[job->net->ops - 1];
    struct view *view = &job->view[i];
    int layer = number_of_convolution(job->net, op);
    if (!op->kind->kernels)
        return 1;
    view->channel = fs_alloc((size_t)op->out_channels, sizeof *view->channel, "channels");
    if (!view->channel)
        return 0;
    if (layer && job->clustered[layer] && see_from(op, fs_network_probed(job->net, layer), view))
        view->layer = layer;
    else
        view->logits = see_from(op, last, view);
    return 1;
}

static void free_job(struct job *job)
{
    for (int l = 0; l <= job->net->layers; l++) {
        if (job->clustered)
            free(job->clustered[l]);
        if (job->dealt)
            free(job->dealt[l]);
    }
    for (int i = 0; i < job->net->ops && job->view; i++)
        free(job->view[i].channel);
    free(job->clustered);
    free(job->dealt);
    free(job->view);
}

static int prepare_job(struct job *job)
{
    size_t layers = (size_t)job->net->layers + 1;
    job->clustered = fs_alloc(layers, sizeof *job->clustered, "labels of filters");
    job->dealt = fs_alloc(layers, sizeof *job->dealt, "labels of filters");
    job->view = fs_alloc((size_t)job->net->ops, sizeof *job->view, "channels");
    int done = job->clustered && job->dealt && job->view;
    for (int l = 1; l <= job->net->layers && done; l++)
        done = take_sets(job, l);
    for (int i = 0; i < job->net->ops && done; i++)
        done = take_view(job, i);
    return done;
}

/* What one channel of an input gathers on its way back. */
struct gathering {
    const struct job *job;
    word *const *sets; /* [layers + 1] */
    word *set;
    double *drop;         /* [labels]; NULL: not wanted */
    const fs_op *unknown; /* of which there are no clusters; NULL for the images */
};

static void gather_filter(struct gathering *g, int layer, int filter)
{
    size_t words = g->job->words, labels = (size_t)g->job->net->labels;
    for (size_t w = 0; w < words; w++)
        g->set[w] |= g->sets[layer][(size_t)filter * words + w];
    for (size_t k = 0; k < labels && g->drop; k++)
        g->drop[k] += g->job->settings->layer[layer].drop[(size_t)filter * labels + k];
}

static fs_trace_answer gather(void *context, const fs_op *map, int channel)
{
    struct gathering *g = context;
    if (map && map->probed && g->sets[map->layer]) {
        gather_filter(g, map->layer, channel);
        return FS_TRACE_ENDS;
    }
    if (map && !map->kind->kernels)
        return FS_TRACE_GOES_ON;
    const struct view *view = map ? &g->job->view[map - g->job->net->op] : NULL;
    if (view && view->layer) {
        gather_filter(g, view->layer, view->channel[channel]);
        return FS_TRACE_ENDS;
    }
    g->unknown = map;
    return FS_TRACE_UNKNOWN;
}

/* Labels and drops of the input's channels; 0, and why in report->why, where they are not known. */
static int gather_inputs(const struct job *job, const fs_op *op, word *const *sets, struct channels *c, fs_pruned *report)
{
    int drops = job->settings->control == FS_PRUNE_KNOCKOUT;
    memset(c->in, 0, (size_t)c->inputs * job->words * sizeof(word));
    for (int i = 0; i < c->inputs; i++) {
        struct gathering g = {.job = job, .sets = sets, .set = c->in + (size_t)i * job->words};
        g.drop = drops ? c->in_drop + (size_t)i * job->net->labels : NULL;
        if (fs_trace(op->input[0], i, gather, &g))
            continue;
        char name[FS_OP_NAME_BYTES] = "";
        if (g.unknown)
            fs_op_name(job->net, g.unknown, name);
        if (g.unknown)
            snprintf(report->why, sizeof report->why, "the sweep has no clusters of %s, which it reads", name);
        else
            snprintf(report->why, sizeof report->why, "it reads the images");
        return 0;
    }
    return 1;
}

static int gather_outputs(const struct job *job, const fs_op *op, word *const *sets, struct channels *c, fs_pruned *report)
{
    const struct view *view = &job->view[op - job->net->op];
    c->logits = view->logits;
    if (!view->layer && !view->logits) {
        snprintf(report->why, sizeof report->why, "the sweep has no clusters of its own");
        return 0;
    }
    memset(c->out, 0, (size_t)c->outputs * job->words * sizeof(word));
    for (int o = 0; o < c->outputs; o++) {
        int channel = view->channel[o], labels = job->net->labels;
        word *set = c->out + (size_t)o * job->words;
        if (view->logits) {
            add(set, channel);
            continue;
        }
        memcpy(set, sets[view->layer] + (size_t)channel * job->words, job->words * sizeof(word));
        for (int k = 0; k < labels && job->settings->control == FS_PRUNE_KNOCKOUT; k++)
            c->out_drop[o] += job->settings->layer[view->layer].drop[(size_t)channel * labels + k];
    }
    return 1;
}

/* The channel of the input that input `i` of output `o`'s kernels is. */
static int input_of(const struct channels *c, const fs_op *op, int o, int i)
{
    int groups = op->groups > 1 ? op->groups : 1;
    return o / (c->outputs / groups) * c->group_inputs + i;
}

static int clusters_keep(const struct job *job, const fs_op *op, const struct channels *c, int o, int i)
{
    const word *in = c->in + (size_t)input_of(c, op, o, i) * job->words, *out = c->out + (size_t)o * job->words;
    if (job->settings->keep_unclustered && (is_empty(in, job->words) || is_empty(out, job->words)))
        return 1;
    return share(in, out, job->words);
}

/* What a kernel is worth to a control. */
static double worth_of(const struct job *job, const fs_op *op, const struct channels *c, int o, int i)
{
    fs_kernels k;
    double sum = 0;
    int input = input_of(c, op, o, i), labels = job->net->labels;
    switch (job->settings->control) {
    case FS_PRUNE_DEALT:
        return share(c->in + (size_t)input * job->words, c->out + (size_t)o * job->words, job->words);
    case FS_PRUNE_L1:
        op->kind->kernels(op, &k);
        for (int p = 0; p < k.places; p++)
            sum += fabs(
                (double)job->net->parameter[op->weight + (size_t)o * k.output + (size_t)i * k.input + (size_t)p * k.place]);
        return sum;
    case FS_PRUNE_KNOCKOUT:
        if (c->logits)
            return c->in_drop[(size_t)input * labels + job->view[op - job->net->op].channel[o]];
        for (int label = 0; label < labels; label++)
            sum += c->in_drop[(size_t)input * labels + label];
        return sum + c->out_drop[o];
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
static fs_status keep_best(const struct job *job, fs_op *op, const struct channels *c, size_t keep)
{
    size_t count = 0, number = 0;
    struct kernel *kernel = fs_alloc(fs_mask_kernels(op), sizeof *kernel, "kernels");
    if (!kernel)
        return FS_ERROR;
    for (int o = 0; o < c->outputs; o++)
        for (int i = 0; i < c->group_inputs; i++, number++)
            if (fs_mask_keeps(op, o, i))
                kernel[count++] =
                    (struct kernel){worth_of(job, op, c, o, i),
                                    draw(job, FS_RANDOM_KERNELS, (int)(op - job->net->op), (int)(number >> 32), number), o, i};
    qsort(kernel, count, sizeof *kernel, by_worth);
    for (size_t n = keep; n < count; n++)
        fs_mask_drop(op, kernel[n].output, kernel[n].input);
    free(kernel);
    return FS_OK;
}

/* Kernels of the mask that the clusters keep; the others leave it, where `drop` says so. */
static size_t keep_shared(const struct job *job, fs_op *op, const struct channels *c, int drop)
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

static int count_empty(const struct job *job, const word *sets, int count)
{
    int empty = 0;
    for (int i = 0; i < count; i++)
        empty += is_empty(sets + (size_t)i * job->words, job->words);
    return empty;
}

static fs_status mask_op(const struct job *job, fs_op *op, struct channels *c, fs_pruned *report)
{
    const fs_prune_settings *s = job->settings;
    if (!gather_inputs(job, op, job->clustered, c, report) || !gather_outputs(job, op, job->clustered, c, report))
        return FS_OK;
    fs_status status = fs_mask_create(op);
    if (status)
        return status;
    *report = (fs_pruned){.masked = 1,
                          .before = fs_mask_kept(op),
                          .inputs = c->inputs,
                          .outputs = c->outputs,
                          .inputs_without = count_empty(job, c->in, c->inputs),
                          .outputs_without = count_empty(job, c->out, c->outputs)};
    size_t keep = keep_shared(job, op, c, s->control == FS_PRUNE_CLUSTERS);
    if (s->control != FS_PRUNE_CLUSTERS) {
        if (!isnan(s->keep))
            keep = (size_t)llround(s->keep * (double)fs_mask_kernels(op));
        if (s->control == FS_PRUNE_DEALT) {
            gather_inputs(job, op, job->dealt, c, report);
            gather_outputs(job, op, job->dealt, c, report);
        }
        status = keep_best(job, op, c, keep);
    }
    report->kept = fs_mask_kept(op);
    return status;
}

static fs_status prune_op(const struct job *job, fs_op *op, fs_pruned *report)
{
    fs_kernels k;
    op->kind->kernels(op, &k);
    struct channels c = {.outputs = op->out_channels, .inputs = op->channels, .group_inputs = k.inputs};
    c.in = fs_alloc((size_t)c.inputs * job->words, sizeof(word), "labels of channels");
    c.out = fs_alloc((size_t)c.outputs * job->words, sizeof(word), "labels of channels");
    c.in_drop = fs_alloc((size_t)c.inputs * job->net->labels, sizeof(double), "drops of channels");
    c.out_drop = fs_alloc((size_t)c.outputs, sizeof(double), "drops of channels");
    fs_status status = FS_ERROR;
    if (c.in && c.out && c.in_drop && c.out_drop)
        status = mask_op(job, op, &c, report);
    free(c.in);
    free(c.out);
    free(c.in_drop);
    free(c.out_drop);
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
    struct job job = {.net = net, .settings = settings, .words = ((size_t)net->labels + WORD_BITS - 1) / WORD_BITS};
    memset(report, 0, (size_t)net->ops * sizeof *report);
    fs_status status = check_drops(net, settings);
    if (!status && !prepare_job(&job))
        status = FS_ERROR;
    for (int i = 0; i < net->ops && !status; i++)
        if (settings->chosen[i] && net->op[i].kind->kernels)
            status = prune_op(&job, &net->op[i], &report[i]);
    free_job(&job);
    if (!status)
        fs_network_apply_masks(net);
    return status;
}
