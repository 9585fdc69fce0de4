#include "filterscope/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/mask.h"
#include "filterscope/memory.h"
#include "filterscope/sets.h"

static int has_pool(const fs_network *net, int number)
{
    int has = 0;
    for (const fs_op *op = net->op; op < net->op + net->ops; op++)
        has |= op->layer == number && op->kind->pools && op <= fs_network_probed(net, number);
    return has;
}

static void add_layer(const fs_network *net, int number, fs_plan *plan)
{
    const fs_op *op = fs_network_probed(net, number);
    fs_layer_row *row = &plan->layer[plan->layers++];
    *row = (fs_layer_row){.layer = number,
                          .filters = op->out_channels,
                          .height = op->out_height,
                          .width = op->out_width,
                          .pooled = has_pool(net, number)};
    fs_op_name(net, fs_network_layer(net, number), row->name);
}

/* The layer that a word of so many characters names, by its number or as conv7 or fc1; 0 for none. */
static int find_layer(const fs_network *net, const char *word, size_t length)
{
    for (int number = 1; number <= net->layers && length; number++) {
        char digits[16], name[FS_OP_NAME_BYTES];
        snprintf(digits, sizeof digits, "%d", number);
        fs_op_name(net, fs_network_layer(net, number), name);
        if ((strlen(digits) == length && memcmp(digits, word, length) == 0) ||
            (strlen(name) == length && memcmp(name, word, length) == 0))
            return number;
    }
    return 0;
}

static fs_status read_layer(const fs_network *net, const char *option, const char *word, size_t length, int *number)
{
    *number = find_layer(net, word, length);
    if (*number)
        return FS_OK;
    return fs_fail(FS_USAGE, "%s: '%.*s' is no layer of %s, which has layers 1 to %d", option, (int)length, word, net->arch,
                   net->layers);
}

/* wanted[number] becomes 1 for the layer, or those that are probed from one to another, as in 4-7. */
static fs_status read_word(const fs_network *net, const char *option, const char *word, size_t length,
                           char wanted[FS_ARCH_MOST_LAYERS + 1])
{
    size_t before = strcspn(word, "-,");
    int first, last;
    fs_status status = read_layer(net, option, word, before, &first);
    last = first;
    if (!status && before < length)
        status = read_layer(net, option, word + before + 1, length - before - 1, &last);
    if (!status && first > last)
        status = fs_fail(FS_USAGE, "%s: '%.*s' goes backwards", option, (int)length, word);
    if (!status && first == last && !fs_network_probed(net, first))
        status = fs_fail(FS_USAGE, "%s: %s %d of %s is not probed (filterscope arch tells which are)", option,
                         first > net->convolutions ? "fully connected layer" : "convolution",
                         first > net->convolutions ? first - net->convolutions : first, net->arch);
    for (int number = first; !status && number <= last; number++)
        wanted[number] = fs_network_probed(net, number) != NULL;
    return status;
}

/* A comma at the end of the list is harmless. */
static fs_status read_layers(const fs_network *net, const char *option, const char *list, char wanted[FS_ARCH_MOST_LAYERS + 1])
{
    const char *word = list;
    do {
        size_t length = strcspn(word, ",");
        fs_status status = read_word(net, option, word, length, wanted);
        if (status)
            return status;
        word += length + (word[length] != 0);
    } while (*word);
    return FS_OK;
}

static fs_status choose_layers(const fs_network *net, const char *layers, fs_plan *plan)
{
    char wanted[FS_ARCH_MOST_LAYERS + 1] = {0};
    fs_status status = FS_OK;
    if (strcmp(layers, "all") == 0)
        memset(wanted, 1, sizeof wanted);
    else
        status = read_layers(net, "--layers", layers, wanted);
    if (status)
        return status;
    for (int number = 1; number <= net->layers; number++) {
        if (!wanted[number] || !fs_network_probed(net, number))
            continue;
        if (plan->layers == FS_MOST_LAYERS)
            return fs_fail(FS_USAGE, "more than %d layers of %s are to be probed: --layers chooses", FS_MOST_LAYERS, net->arch);
        add_layer(net, number, plan);
    }
    return FS_OK;
}

fs_status fs_plan_create(const fs_network *net, const char *layers, int filters_per_unit, fs_plan *plan)
{
    *plan = (fs_plan){0};
    fs_status status = choose_layers(net, layers, plan);
    if (status)
        return status;
    int blocks = 0;
    for (int i = 0; i < plan->layers; i++)
        blocks += (plan->layer[i].filters + filters_per_unit - 1) / filters_per_unit;
    plan->unit = fs_alloc((size_t)plan->layers + (size_t)blocks, sizeof *plan->unit, "units");
    if (!plan->unit)
        return FS_ERROR;
    for (int i = 0; i < plan->layers; i++)
        plan->unit[plan->units++] = (fs_unit){FS_UNIT_PROBE, i, 0, plan->layer[i].filters};
    for (int i = 0; i < plan->layers; i++)
        for (int first = 0; first < plan->layer[i].filters; first += filters_per_unit) {
            int left = plan->layer[i].filters - first;
            plan->unit[plan->units++] = (fs_unit){FS_UNIT_SILENCE, i, first, left < filters_per_unit ? left : filters_per_unit};
        }
    plan->own_units = plan->units;
    return FS_OK;
}

/* What an experiment costs beside multiply-adds: a map is copied, an answer read. */
enum { MACS_OF_AN_EXPERIMENT = 20000 };

/* Experiments of a block, of `all` of a layer, that cost so much each; *blocks: of the layer. */
static int size_block(const fs_network *net, const fs_cut_cost *cost, int all, int *blocks)
{
    double room = FS_KNOCKOUT_PASSES * fs_network_macs(net, 0) - cost->before, most = ceil(room / cost->behind);
    int count = most < 1 ? 1 : most > all ? all : (int)most;
    *blocks = (all + count - 1) / count;
    return (all + *blocks - 1) / *blocks; /* all about as large */
}

/* wanted[index] for the layers of the plan. */
static fs_status choose_knockout(const fs_network *net, const char *layers, const fs_plan *plan, char wanted[FS_MOST_LAYERS])
{
    static const char option[] = "--knockout-layers";
    char number[FS_ARCH_MOST_LAYERS + 1] = {0};
    int all = strcmp(layers, "all") == 0;
    fs_status status = all ? FS_OK : read_layers(net, option, layers, number);
    for (int i = 0; i < plan->layers && !status; i++) {
        wanted[i] = all || number[plan->layer[i].layer];
        number[plan->layer[i].layer] = 0;
    }
    for (int layer = 1; layer <= net->layers && !status; layer++)
        if (number[layer])
            status = fs_fail(FS_USAGE, "%s: layer %d is not among the --layers", option, layer);
    return status;
}

static void add_blocks(const fs_network *net, fs_unit_kind kind, int index, int all, const fs_cut_cost *cost, fs_plan *plan)
{
    int blocks, count = size_block(net, cost, all, &blocks);
    for (int first = 0; first < all; first += count)
        plan->unit[plan->units++] = (fs_unit){(int32_t)kind, index, first, all - first < count ? all - first : count};
}

/* Room for so many units in all. */
static fs_status grow(int units, fs_plan *plan)
{
    fs_unit *unit = fs_alloc((size_t)units, sizeof *unit, "units");
    if (!unit)
        return FS_ERROR;
    memcpy(unit, plan->unit, (size_t)plan->units * sizeof *unit);
    free(plan->unit);
    plan->unit = unit;
    return FS_OK;
}

fs_status fs_plan_add_knockout(const fs_network *net, const char *layers, fs_plan *plan)
{
    char wanted[FS_MOST_LAYERS] = {0};
    int units = plan->units + 1, index = -1, blocks = 0;
    fs_status status = choose_knockout(net, layers, plan, wanted);
    for (int i = plan->layers - 1; i >= 0 && !status; i--)
        if (wanted[i]) {
            status = fs_cut_find_cost(net, plan->layer[i].layer, FS_CUT_LINEAR, &plan->cut[i]);
            plan->cut[i].behind += MACS_OF_AN_EXPERIMENT;
            size_block(net, &plan->cut[i], plan->layer[i].filters, &blocks);
            units += blocks;
            index = i;
        }
    if (!status)
        status = grow(units, plan);
    if (status)
        return status;
    plan->unit[plan->units++] = (fs_unit){FS_UNIT_BASELINE, index, 0, plan->layer[index].filters};
    for (int i = 0; i < plan->layers; i++)
        if (wanted[i])
            add_blocks(net, FS_UNIT_KNOCKOUT, i, plan->layer[i].filters, &plan->cut[i], plan);
    return FS_OK;
}

int fs_plan_has_knockout(const fs_plan *plan, int index)
{
    for (int unit = plan->own_units; unit < plan->units; unit++)
        if (plan->unit[unit].kind == FS_UNIT_KNOCKOUT && plan->unit[unit].index == index)
            return 1;
    return 0;
}

static long count_sets(const fs_network *net, const fs_set_choice *choice, const fs_plan *plan, fs_unit_kind kind, int index)
{
    return fs_plan_has_knockout(plan, index) ? fs_sets_count(choice, plan, net->labels, kind, index) : 0;
}

fs_status fs_plan_add_sets(const fs_network *net, const fs_set_choice *choice, fs_plan *plan)
{
    long units = plan->units;
    fs_status status = FS_OK;
    for (int i = 0; i < plan->layers && !status; i++) {
        long groups = count_sets(net, choice, plan, FS_UNIT_GROUPS, i),
             curves = count_sets(net, choice, plan, FS_UNIT_CURVES, i);
        if (groups > FS_MOST_SETS || curves > FS_MOST_SETS)
            return fs_fail(FS_USAGE, "--draws: layer %d has %ld groups and %ld points of curves with them: at most %d",
                           plan->layer[i].layer, groups, curves, FS_MOST_SETS);
        units += groups + curves;
        if (groups || curves)
            status = fs_cut_find_cost(net, plan->layer[i].layer, FS_CUT_WHOLE, &plan->whole[i]);
        plan->whole[i].behind += MACS_OF_AN_EXPERIMENT;
    }
    if (!status)
        status = grow((int)units, plan);
    for (fs_unit_kind kind = FS_UNIT_GROUPS; kind <= FS_UNIT_CURVES && !status; kind++)
        for (int i = 0; i < plan->layers; i++) {
            int sets = (int)count_sets(net, choice, plan, kind, i);
            if (sets)
                add_blocks(net, kind, i, sets, &plan->whole[i], plan);
        }
    return status;
}

double fs_plan_knockout_cost(const fs_plan *plan, int unit)
{
    const fs_unit *u = &plan->unit[unit];
    const fs_cut_cost *cost = &(u->kind == FS_UNIT_KNOCKOUT ? plan->cut : plan->whole)[u->index];
    return cost->before + u->count * cost->behind;
}

void fs_plan_free(fs_plan *plan)
{
    free(plan->unit);
    *plan = (fs_plan){0};
}

size_t fs_plan_features(const fs_plan *plan, int index)
{
    const fs_layer_row *row = &plan->layer[index];
    return (size_t)row->height * row->width * row->filters;
}

int fs_plan_most_filters(const fs_plan *plan)
{
    int most = 0;
    for (int i = 0; i < plan->layers; i++)
        most = plan->layer[i].filters > most ? plan->layer[i].filters : most;
    return most;
}

double fs_plan_trunk_cost(const fs_network *net, const fs_plan *plan, int index)
{
    return fs_network_macs(net, plan->layer[index].layer);
}

double fs_plan_probe_cost(const fs_network *net, const fs_plan *plan, int index)
{
    return 2.0 * net->labels * (double)fs_plan_features(plan, index); /* logits and gradient */
}

/* trunk[i]: up to layer i of `index`; probes[i]: of the layers before it. */
static void list_costs(const fs_network *net, const fs_plan *plan, const int *index, int count, double *trunk, double *probes)
{
    probes[0] = 0;
    for (int i = 0; i < count; i++) {
        trunk[i] = fs_plan_trunk_cost(net, plan, index[i]);
        probes[i + 1] = probes[i] + fs_plan_probe_cost(net, plan, index[i]);
    }
}

int fs_plan_bundles(const fs_network *net, const fs_plan *plan, const int *index, int count, int teams, int *bundle)
{
    /* best[b][i]: cost of the most expensive of b bundles that hold layers 0 .. i-1; cut[b][i]: where the last one begins */
    static double best[FS_MOST_LAYERS + 1][FS_MOST_LAYERS + 1];
    static int cut[FS_MOST_LAYERS + 1][FS_MOST_LAYERS + 1];
    double trunk[FS_MOST_LAYERS], probes[FS_MOST_LAYERS + 1];
    int most = teams < count ? teams : count, bundles = 1;
    list_costs(net, plan, index, count, trunk, probes);
    for (int b = 0; b <= most; b++)
        for (int i = 0; i <= count; i++)
            best[b][i] = b == 0 && i == 0 ? 0 : (double)INFINITY;
    for (int b = 1; b <= most; b++)
        for (int i = 1; i <= count; i++)
            for (int from = 0; from < i; from++) {
                double own = trunk[i - 1] + probes[i] - probes[from], before = best[b - 1][from];
                double cost = own > before ? own : before;
                if (cost < best[b][i]) {
                    best[b][i] = cost;
                    cut[b][i] = from;
                }
            }
    for (int b = 2; b <= most; b++) /* no more bundles than help: each pays for a trunk */
        if (best[b][count] < best[bundles][count])
            bundles = b;
    for (int b = bundles, end = count; b > 0; end = cut[b][end], b--)
        for (int i = cut[b][end]; i < end; i++)
            bundle[i] = bundles - b;
    return bundles;
}
