/* Which sets of filters there are, and which filters each has. */
#define _GNU_SOURCE /* qsort_r */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/random.h"
#include "sweep/internal.h"

/* What a curve may go by. */
static const struct column {
    const char *name;
    int whole; /* int32, not double */
    size_t offset;
} columns[] = {
#define WHOLE(member)                                                                                                          \
    {                                                                                                                          \
#member, 1, offsetof(fs_filter_row, member)                                                                            \
    }
#define REAL(member)                                                                                                           \
    {                                                                                                                          \
#member, 0, offsetof(fs_filter_row, member)                                                                            \
    }
    WHOLE(clusters),       WHOLE(covered), WHOLE(ones), WHOLE(noise),  WHOLE(noise_internal),
    WHOLE(noise_external), REAL(share),    REAL(sr),    REAL(largest),
#undef WHOLE
#undef REAL
    {"drop", 1, 0}, /* of the SR without the filter: not in that table, and the last here */
};
enum { COLUMNS = sizeof columns / sizeof *columns, DROP = COLUMNS - 1 };

static fs_status read_order(const char *word, size_t length, fs_set_choice *choice)
{
    char known[160] = "";
    fs_order *order = &choice->order[choice->orders];
    int rising = length > 1 && *word == '-';
    if (length == strlen("random") && memcmp(word, "random", length) == 0)
        return FS_OK;
    for (int c = 0; c < COLUMNS; c++) {
        size_t used = strlen(known);
        if (strlen(columns[c].name) == length - (size_t)rising &&
            memcmp(columns[c].name, word + rising, length - (size_t)rising) == 0) {
            if (choice->orders == FS_MOST_ORDERS)
                return fs_fail(FS_USAGE, "--curve: more than %d columns", FS_MOST_ORDERS);
            *order = (fs_order){.column = c, .rising = rising};
            memcpy(order->name, word, length);
            choice->orders++;
            return FS_OK;
        }
        snprintf(known + used, sizeof known - used, " %s", columns[c].name);
    }
    return fs_fail(FS_USAGE, "--curve: '%.*s' is no column to go by; there are:%s random, and each but random after a '-'",
                   (int)(length < 40 ? length : 40), word, known);
}

fs_status fs_orders_read(const char *list, fs_set_choice *choice)
{
    const char *word = list;
    fs_status status = FS_OK;
    choice->curves = 1;
    choice->orders = 0;
    do {
        size_t length = strcspn(word, ",");
        status = read_order(word, length, choice);
        word += length + (word[length] != 0);
    } while (!status && *word);
    for (int o = 1; o < choice->orders && !status; o++)
        for (int before = 0; before < o && !status; before++)
            if (strcmp(choice->order[before].name, choice->order[o].name) == 0)
                status = fs_fail(FS_USAGE, "--curve: %s twice", choice->order[o].name);
    return status;
}

int fs_curve_steps(int filters, int *out)
{
    int step[FS_MOST_STEPS], steps = 0;
    for (int taken = 1; 2 * taken <= filters; taken *= 2)
        step[steps++] = taken;
    int left = steps ? step[steps - 1] : 1;
    if (steps && 2 * left == filters)
        left /= 2;
    if (steps)
        for (; left >= 1; left /= 2)
            step[steps++] = filters - left;
    step[steps++] = filters;
    if (out)
        memcpy(out, step, (size_t)steps * sizeof *out);
    return steps;
}

int fs_groups_of(const fs_set_choice *choice, int labels, int index)
{
    int groups = choice->by_label ? labels : 0;
    for (int g = 0; g < choice->list.groups; g++)
        groups += choice->list.group[g].index == index;
    return groups;
}

long fs_sets_count(const fs_set_choice *choice, const fs_plan *plan, int labels, fs_unit_kind kind, int index)
{
    if (kind == FS_UNIT_GROUPS)
        return (long)fs_groups_of(choice, labels, index) * (2 + choice->draws);
    return choice->curves ? (choice->orders + choice->draws) * fs_curve_steps(plan->layer[index].filters, NULL) : 0;
}

int fs_find_group(const fs_set_choice *choice, int index, int number)
{
    int group = 0;
    for (;; group++)
        if (choice->list.group[group].index == index && number-- == 0)
            return group;
}

/* What sorts filters. */
struct ranking {
    const double *value;
    int rising;
};

/* NaN is smaller than any number. Equal ones by number. */
static int before(const void *left, const void *right, void *context)
{
    const struct ranking *ranking = context;
    int a = *(const int *)left, b = *(const int *)right;
    double x = ranking->value[a], y = ranking->value[b];
    x = isnan(x) ? -INFINITY : x;
    y = isnan(y) ? -INFINITY : y;
    int larger = (x > y) - (x < y);
    return larger ? (ranking->rising ? larger : -larger) : a - b;
}

static double value_of(const fs_set_source *s, const struct column *column, int filter)
{
    const char *cell = (const char *)&s->row[filter] + column->offset;
    double real;
    int32_t whole, right = 0;
    if (column == &columns[DROP]) {
        for (int k = 0; k < s->labels; k++)
            right += s->right[filter * s->labels + k];
        return -right; /* the drop, but for what all filters have in common */
    }
    if (column->whole)
        return memcpy(&whole, cell, sizeof whole), whole;
    return memcpy(&real, cell, sizeof real), real;
}

static fs_status sort_filters(const fs_set_source *s, const fs_order *order, int *sorted)
{
    int filters = s->plan->layer[s->index].filters;
    double *value = fs_alloc((size_t)filters, sizeof *value, "a column");
    for (int f = 0; value && f < filters; f++) {
        value[f] = value_of(s, &columns[order->column], f);
        sorted[f] = f;
    }
    struct ranking ranking = {value, order->rising};
    if (value)
        qsort_r(sorted, (size_t)filters, sizeof *sorted, before, &ranking);
    free(value);
    return value ? FS_OK : FS_ERROR;
}

static void take_first(const int *order, int count, int32_t *member)
{
    for (int i = 0; i < count; i++)
        member[order[i]] = 1;
}

/* The group itself; returns its size. */
static int take_group(const fs_set_choice *choice, const fs_set_source *s, int group, int32_t *member)
{
    int filters = s->plan->layer[s->index].filters, count = 0;
    if (choice->by_label) {
        for (int f = 0; f < filters; f++)
            count += member[f] = s->cluster[f * s->labels + group] > 0;
        return count;
    }
    const fs_group *listed = &choice->list.group[fs_find_group(choice, s->index, group)];
    take_first(listed->filter, listed->count, member);
    return listed->count;
}

static void group_members(const fs_set_choice *choice, const fs_set_source *s, int number, int *order, int32_t *member)
{
    const fs_layer_row *layer = &s->plan->layer[s->index];
    int group = number / (2 + choice->draws), form = number % (2 + choice->draws);
    int count = take_group(choice, s, group, member);
    if (form == 1)
        for (int f = 0; f < layer->filters; f++)
            member[f] = !member[f];
    if (form < 2)
        return;
    memset(member, 0, (size_t)layer->filters * sizeof *member);
    fs_random_permutation(choice->seed, FS_RANDOM_GROUPS, (uint32_t)layer->layer, (uint32_t)(group * FS_MOST_DRAWS + form - 2),
                          order, layer->filters);
    take_first(order, count, member);
}

static fs_status curve_members(const fs_set_choice *choice, const fs_set_source *s, int number, int *order, int32_t *member)
{
    const fs_layer_row *layer = &s->plan->layer[s->index];
    int out[FS_MOST_STEPS], steps = fs_curve_steps(layer->filters, out), which = number / steps;
    fs_status status = FS_OK;
    if (which < choice->orders)
        status = sort_filters(s, &choice->order[which], order);
    else
        fs_random_permutation(choice->seed, FS_RANDOM_CURVES, (uint32_t)layer->layer, (uint32_t)(which - choice->orders), order,
                              layer->filters);
    if (!status)
        take_first(order, out[number % steps], member);
    return status;
}

fs_status fs_set_members(const fs_set_choice *choice, const fs_set_source *s, fs_unit_kind kind, int number, int32_t *member)
{
    size_t filters = (size_t)s->plan->layer[s->index].filters;
    int *order = fs_alloc(filters, sizeof *order, "an order of filters");
    fs_status status = order ? FS_OK : FS_ERROR;
    memset(member, 0, filters * sizeof *member);
    if (!status && kind == FS_UNIT_GROUPS)
        group_members(choice, s, number, order, member);
    else if (!status)
        status = curve_members(choice, s, number, order, member);
    free(order);
    return status;
}
