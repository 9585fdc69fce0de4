/* A channel's labels: those of its filter's clusters, dealt ones, and on a graph those of the filters where it comes from. */
#include "phases/prune_labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "model/trace.h"

typedef fs_word word;
enum { WORD_BITS = 64 };

/* Where an operation's output channels are measured: channel[c] of the map of layer `layer`, or of the logits. */
struct view {
    int layer;    /* of the sweep; 0 for none */
    int logits;   /* output k is the network's: its label is k */
    int *channel; /* [output channels]; -1 where it is nowhere */
};

struct fs_known {
    const fs_network *net;
    const fs_prune_settings *settings;
    size_t words;      /* of a set */
    word **clustered;  /* [layers + 1]: [filters] sets; NULL as fs_prune_layer.cluster */
    word **dealt;      /* likewise, of the control */
    struct view *view; /* [ops] */
};

static int has(const word *set, int label)
{
    return set[label / WORD_BITS] >> label % WORD_BITS & 1;
}

static void add(word *set, int label)
{
    set[label / WORD_BITS] |= (word)1 << label % WORD_BITS;
}

int fs_label_set_is_empty(const fs_known *known, const word *set)
{
    word any = 0;
    for (size_t w = 0; w < known->words; w++)
        any |= set[w];
    return !any;
}

int fs_label_sets_share(const fs_known *known, const word *a, const word *b)
{
    word any = 0;
    for (size_t w = 0; w < known->words; w++)
        any |= a[w] & b[w];
    return any != 0;
}

int fs_label_sets_empty(const fs_known *known, const word *sets, int count)
{
    int empty = 0;
    for (int i = 0; i < count; i++)
        empty += fs_label_set_is_empty(known, sets + (size_t)i * known->words);
    return empty;
}

word *fs_label_set(const fs_known *known, word *sets, int i)
{
    return sets + (size_t)i * known->words;
}

uint64_t fs_prune_draw(const fs_prune_settings *settings, fs_purpose purpose, int a, int b, size_t counter)
{
    uint32_t out[4];
    fs_random4(settings->seed, purpose, (uint32_t)a, (uint32_t)b, (uint32_t)counter, out);
    return (uint64_t)out[0] << 32 | out[1];
}

/* The labels that a filter gets: those that were dealt least often so far; at a tie the smaller draw. */
static int next_label(const fs_known *known, int layer, int filter, const int *dealt, const word *own)
{
    int best = -1;
    uint64_t least = 0;
    for (int k = 0; k < known->net->labels; k++) {
        if (has(own, k))
            continue;
        uint64_t drawn = fs_prune_draw(known->settings, FS_RANDOM_LABELS, layer, filter, (size_t)k);
        if (best < 0 || dealt[k] < dealt[best] || (dealt[k] == dealt[best] && drawn < least)) {
            best = k;
            least = drawn;
        }
    }
    return best;
}

static int deal_labels(const fs_known *known, int layer, int filters, const word *clustered, word *sets)
{
    int labels = known->net->labels, *dealt = fs_alloc((size_t)labels, sizeof *dealt, "labels");
    for (int f = 0; f < filters && dealt; f++)
        for (int k = 0; k < labels; k++) {
            if (!has(clustered + (size_t)f * known->words, k))
                continue; /* as many times as it has labels */
            word *own = sets + (size_t)f * known->words;
            int label = next_label(known, layer, f, dealt, own);
            add(own, label);
            dealt[label]++;
        }
    free(dealt);
    return dealt != NULL;
}

static int take_sets(fs_known *known, int layer)
{
    const fs_op *map = fs_network_probed(known->net, layer);
    const int32_t *cluster = known->settings->layer[layer].cluster;
    int labels = known->net->labels, filters = map && cluster ? map->out_channels : 0;
    if (!filters)
        return 1;
    word *sets = known->clustered[layer] = fs_alloc((size_t)filters * known->words, sizeof(word), "labels of filters");
    known->dealt[layer] = fs_alloc((size_t)filters * known->words, sizeof(word), "labels of filters");
    if (!sets || !known->dealt[layer])
        return 0;
    for (int f = 0; f < filters; f++)
        for (int k = 0; k < labels; k++)
            if (cluster[(size_t)f * labels + k])
                add(sets + (size_t)f * known->words, k);
    return known->settings->control != FS_PRUNE_DEALT || deal_labels(known, layer, filters, sets, known->dealt[layer]);
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

static int take_view(fs_known *known, int i)
{
    const fs_op *op = &known->net->op[i], *last = &known->net->op[known->net->ops - 1];
    struct view *view = &known->view[i];
    int layer = op->begins ? op->layer : 0;
    if (!op->kind->kernels)
        return 1;
    view->channel = fs_alloc((size_t)op->out_channels, sizeof *view->channel, "channels");
    if (!view->channel)
        return 0;
    if (layer && known->clustered[layer] && see_from(op, fs_network_probed(known->net, layer), view))
        view->layer = layer;
    else
        view->logits = see_from(op, last, view);
    return 1;
}

void fs_known_free(fs_known *known)
{
    for (int l = 0; known && l <= known->net->layers; l++) {
        if (known->clustered)
            free(known->clustered[l]);
        if (known->dealt)
            free(known->dealt[l]);
    }
    for (int i = 0; known && known->view && i < known->net->ops; i++)
        free(known->view[i].channel);
    if (known) {
        free(known->clustered);
        free(known->dealt);
        free(known->view);
    }
    free(known);
}

static int take_all(fs_known *known)
{
    size_t layers = (size_t)known->net->layers + 1;
    known->clustered = fs_alloc(layers, sizeof *known->clustered, "labels of filters");
    known->dealt = fs_alloc(layers, sizeof *known->dealt, "labels of filters");
    known->view = fs_alloc((size_t)known->net->ops, sizeof *known->view, "channels");
    int done = known->clustered && known->dealt && known->view;
    for (int l = 1; l <= known->net->layers && done; l++)
        done = take_sets(known, l);
    for (int i = 0; i < known->net->ops && done; i++)
        done = take_view(known, i);
    return done;
}

fs_known *fs_known_create(const fs_network *net, const fs_prune_settings *settings)
{
    fs_known *known = fs_alloc(1, sizeof *known, "labels of filters");
    if (!known)
        return NULL;
    *known = (fs_known){.net = net, .settings = settings, .words = ((size_t)net->labels + WORD_BITS - 1) / WORD_BITS};
    if (take_all(known))
        return known;
    fs_known_free(known);
    return NULL;
}

/* What one channel of an input gathers on its way back. */
struct gathering {
    const fs_known *known;
    word *const *sets; /* [layers + 1] */
    word *set;
    double *drop;         /* [labels]; NULL: not wanted */
    const fs_op *unknown; /* of which there are no clusters; NULL for the images */
};

static void gather_filter(struct gathering *g, int layer, int filter)
{
    size_t words = g->known->words, labels = (size_t)g->known->net->labels;
    for (size_t w = 0; w < words; w++)
        g->set[w] |= g->sets[layer][(size_t)filter * words + w];
    for (size_t k = 0; k < labels && g->drop; k++)
        g->drop[k] += g->known->settings->layer[layer].drop[(size_t)filter * labels + k];
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
    const struct view *view = map ? &g->known->view[map - g->known->net->op] : NULL;
    if (view && view->layer) {
        gather_filter(g, view->layer, view->channel[channel]);
        return FS_TRACE_ENDS;
    }
    g->unknown = map;
    return FS_TRACE_UNKNOWN;
}

/* 0, and why, where the labels of a channel of the input are not known. */
static int find_inputs(const fs_known *known, const fs_op *op, word *const *sets, fs_channels *c, char *why, size_t bytes)
{
    int drops = known->settings->control == FS_PRUNE_KNOCKOUT;
    memset(c->in, 0, (size_t)c->inputs * known->words * sizeof(word));
    for (int i = 0; i < c->inputs; i++) {
        struct gathering g = {.known = known, .sets = sets, .set = fs_label_set(known, c->in, i)};
        g.drop = drops ? c->in_drop + (size_t)i * known->net->labels : NULL;
        if (fs_trace(op->input[0], i, gather, &g))
            continue;
        char name[FS_OP_NAME_BYTES] = "";
        if (g.unknown)
            fs_op_name(known->net, g.unknown, name);
        if (g.unknown)
            snprintf(why, bytes, "the sweep has no clusters of %s, which it reads", name);
        else
            snprintf(why, bytes, "it reads the images");
        return 0;
    }
    return 1;
}

static int find_outputs(const fs_known *known, const fs_op *op, word *const *sets, fs_channels *c, char *why, size_t bytes)
{
    const struct view *view = &known->view[op - known->net->op];
    c->logit = view->logits ? view->channel : NULL;
    if (!view->layer && !view->logits) {
        snprintf(why, bytes, "the sweep has no clusters of its own");
        return 0;
    }
    memset(c->out, 0, (size_t)c->outputs * known->words * sizeof(word));
    for (int o = 0; o < c->outputs; o++) {
        int channel = view->channel[o], labels = known->net->labels;
        word *set = fs_label_set(known, c->out, o);
        if (view->logits) {
            add(set, channel);
            continue;
        }
        memcpy(set, fs_label_set(known, sets[view->layer], channel), known->words * sizeof(word));
        for (int k = 0; k < labels && known->settings->control == FS_PRUNE_KNOCKOUT; k++)
            c->out_drop[o] += known->settings->layer[view->layer].drop[(size_t)channel * labels + k];
    }
    return 1;
}

int fs_channels_find(const fs_known *known, const fs_op *op, int dealt, fs_channels *c, char *why, size_t bytes)
{
    word *const *sets = dealt ? known->dealt : known->clustered;
    return find_inputs(known, op, sets, c, why, bytes) && find_outputs(known, op, sets, c, why, bytes);
}

fs_status fs_channels_create(const fs_known *known, const fs_op *op, fs_channels *c)
{
    fs_kernels k;
    op->kind->kernels(op, &k);
    *c = (fs_channels){.outputs = op->out_channels, .inputs = op->channels, .group_inputs = k.inputs};
    c->in = fs_alloc((size_t)c->inputs * known->words, sizeof(word), "labels of channels");
    c->out = fs_alloc((size_t)c->outputs * known->words, sizeof(word), "labels of channels");
    c->in_drop = fs_alloc((size_t)c->inputs * known->net->labels, sizeof(double), "drops of channels");
    c->out_drop = fs_alloc((size_t)c->outputs, sizeof(double), "drops of channels");
    return c->in && c->out && c->in_drop && c->out_drop ? FS_OK : FS_ERROR;
}

void fs_channels_free(fs_channels *c)
{
    free(c->in);
    free(c->out);
    free(c->in_drop);
    free(c->out_drop);
}

int fs_channels_input(const fs_channels *c, const fs_op *op, int o, int i)
{
    int groups = op->groups > 1 ? op->groups : 1;
    return o / (c->outputs / groups) * c->group_inputs + i;
}
