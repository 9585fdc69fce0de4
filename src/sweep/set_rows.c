/* Counts without sets of filters as rows of the tables of groups and curves. */
#include <math.h>
#include <stdio.h>

#include "sweep/internal.h"

/* Sums of what answers are right, over the labels that have images. */
struct sums {
    int images, right;
    double loss;
};

static struct sums sum_baseline(const fs_set_source *s)
{
    struct sums sums = {0};
    for (int k = 0; k < s->labels; k++) {
        sums.images += s->baseline[k].images;
        sums.right += s->baseline[k].right;
        sums.loss += s->baseline[k].loss;
    }
    return sums;
}

static struct sums sum_set(const fs_set_source *s, const fs_knockout *counts, int number)
{
    struct sums sums = {0};
    for (int k = 0; k < s->labels; k++) {
        sums.right += counts->right[number * s->labels + k];
        sums.loss += counts->loss[number * s->labels + k];
    }
    return sums;
}

static double drop_of_label(const fs_set_source *s, const fs_knockout *counts, int number, int label)
{
    const fs_baseline_row *row = &s->baseline[label];
    return (double)(row->right - counts->right[number * s->labels + label]) / row->images; /* 0/0: NaN */
}

/* Mean drop of all labels that have images but `label`. */
static double drop_of_others(const fs_set_source *s, const fs_knockout *counts, int number, int label)
{
    double sum = 0;
    int others = 0;
    for (int k = 0; k < s->labels; k++)
        if (k != label && s->baseline[k].images) {
            sum += drop_of_label(s, counts, number, k);
            others++;
        }
    return sum / others;
}

/* Share of its random groups that lose less, half of those that lose as much; NaN without any. */
static double share_beaten(const fs_group_row *row, int draws)
{
    double beaten = 0, own = row->own < 0 ? row->drop : row->drop_own;
    for (int d = 0; d < draws; d++) {
        double other = row->own < 0 ? row[2 + d].drop : row[2 + d].drop_own;
        beaten += own > other ? 1 : own == other ? 0.5 : 0;
    }
    return isnan(own) ? own : beaten / draws;
}

void fs_group_rows(const fs_set_choice *choice, const fs_set_source *s, const int32_t *member, const fs_knockout *counts,
                   fs_group_row *row)
{
    const fs_layer_row *layer = &s->plan->layer[s->index];
    const struct sums all = sum_baseline(s);
    int each = 2 + choice->draws, sets = fs_groups_of(choice, s->labels, s->index) * each;
    for (int n = 0; n < sets; n++, member += layer->filters) {
        int group = n / each, form = n % each, label = choice->by_label ? group : -1;
        struct sums sums = sum_set(s, counts, n);
        row[n] = (fs_group_row){.layer = layer->layer,
                                .group = choice->by_label ? group : fs_find_group(choice, s->index, group),
                                .own = label,
                                .form = form < 2 ? form : FS_GROUP_RANDOM,
                                .draw = form < 2 ? -1 : form - 2,
                                .right = sums.right,
                                .changed = counts->changed[n],
                                .drop = (double)(all.right - sums.right) / all.images,
                                .loss = (sums.loss - all.loss) / all.images,
                                .drop_own = label < 0 ? (double)NAN : drop_of_label(s, counts, n, label),
                                .drop_others = drop_of_others(s, counts, n, label),
                                .above = (double)NAN};
        for (int f = 0; f < layer->filters; f++)
            row[n].filters += member[f];
    }
    for (int n = 0; n < sets; n += each)
        row[n].above = share_beaten(&row[n], choice->draws);
}

void fs_curve_rows(const fs_set_choice *choice, const fs_set_source *s, const fs_knockout *counts, fs_curve_row *row)
{
    const fs_layer_row *layer = &s->plan->layer[s->index];
    const struct sums all = sum_baseline(s);
    int out[FS_MOST_STEPS], steps = fs_curve_steps(layer->filters, out);
    for (int n = 0; n < (choice->orders + choice->draws) * steps; n++) {
        int order = n / steps, draw = order - choice->orders;
        struct sums sums = sum_set(s, counts, n);
        row[n] = (fs_curve_row){.layer = layer->layer,
                                .draw = draw < 0 ? -1 : draw,
                                .out = out[n % steps],
                                .left = layer->filters - out[n % steps],
                                .right = sums.right,
                                .changed = counts->changed[n],
                                .sr = (double)sums.right / all.images,
                                .drop = (double)(all.right - sums.right) / all.images,
                                .loss = (sums.loss - all.loss) / all.images};
        snprintf(row[n].order, sizeof row[n].order, "%s", draw < 0 ? choice->order[order].name : "random");
    }
}
