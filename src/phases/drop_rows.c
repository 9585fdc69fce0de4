/* Counts without filters as rows of the tables of what is lost. */
#include "filterscope/drops.h"

#include <math.h>
#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/rows.h"

enum { SAMPLES = 1000 }; /* of the bootstrap: its ends of 95 % are then some hundredths of its width exact */

/* One layer; `width` labels have images. */
struct layer {
    int labels, filters, width;
    const fs_baseline_row *baseline;
    const float *diagonal;
    const int32_t *cluster;
    const fs_filter_row *silenced;
    const fs_knockout *counts;
    double *drop;      /* [filters][width] */
    double *field;     /* [filters][width]: diagonals of the averaged fields */
    uint8_t *covered;  /* [filters][width]: the label is in a cluster */
    double *room;      /* [4 of the larger of filters, width] */
    int *order;        /* [filters x width] */
    int images, right; /* of the untouched network */
    double loss;
};

static int count_width(const struct layer *l)
{
    int width = 0;
    for (int k = 0; k < l->labels; k++)
        width += l->baseline[k].images > 0;
    return width;
}

/* The drops of filter `f`, its field and whether labels are covered, of the labels that have images. */
static void fill_filter(struct layer *l, int f)
{
    size_t place = (size_t)f * (size_t)l->width, first = (size_t)f * (size_t)l->labels;
    for (size_t k = 0; k < (size_t)l->labels; k++) {
        const fs_baseline_row *row = &l->baseline[k];
        if (row->images == 0)
            continue;
        l->drop[place] = (double)(row->right - l->counts->right[first + k]) / row->images;
        l->field[place] = l->diagonal[first + k];
        l->covered[place++] = l->cluster[first + k] > 0;
    }
}

/* Of the labels that are covered, or of the others. */
static double mean_drop(const struct layer *l, int f, int covered)
{
    double sum = 0;
    int count = 0;
    for (int i = f * l->width; i < (f + 1) * l->width; i++)
        if (l->covered[i] == covered) {
            sum += l->drop[i];
            count++;
        }
    return sum / count; /* 0/0 is the NaN that is promised */
}

static void find_worst(const struct layer *l, int f, fs_drop_row *row)
{
    const int32_t *right = l->counts->right + (size_t)f * (size_t)l->labels;
    row->worst_drop = -INFINITY;
    for (int k = 0; k < l->labels; k++) {
        double drop = l->baseline[k].images ? (double)(l->baseline[k].right - right[k]) / l->baseline[k].images : -INFINITY;
        if (drop > row->worst_drop) {
            row->worst_drop = drop;
            row->worst = k;
        }
    }
}

static void measure_filter(struct layer *l, int f, fs_drop_row *row)
{
    size_t place = (size_t)f * (size_t)l->width, first = (size_t)f * (size_t)l->labels;
    const int32_t *work = l->counts->work[f];
    double loss = 0;
    *row = (fs_drop_row){.layer = l->silenced[f].layer,
                         .filter = f,
                         .changed = l->counts->changed[f],
                         .run = work[FS_WORK_RUN],
                         .same = work[FS_WORK_SAME],
                         .hidden = work[FS_WORK_HIDDEN],
                         .drop_clustered = mean_drop(l, f, 1),
                         .drop_others = mean_drop(l, f, 0)};
    for (int k = 0; k < l->labels; k++) {
        row->right += l->counts->right[first + (size_t)k];
        loss += l->counts->loss[first + (size_t)k];
    }
    row->drop = (double)(l->right - row->right) / l->images;
    row->loss = (loss - l->loss) / l->images;
    find_worst(l, f, row);
    fs_order(l->width, l->drop + place, l->order);
    row->auc = fs_auc(l->width, l->width, l->order, l->drop + place, l->covered + place, NULL);
    row->correlation = fs_rank_correlation(l->width, l->field + place, l->drop + place, l->room, l->order);
}

/* Adds a value to a mean over what is no NaN. */
static void add(double value, double *sum, int *count)
{
    if (isnan(value))
        return;
    *sum += value;
    ++*count;
}

static void average(const struct layer *l, const fs_drop_row *row, fs_drop_layer_row *out)
{
    int clustered = 0, others = 0, correlated = 0;
    double experiments = (double)l->images * l->filters;
    for (int f = 0; f < l->filters; f++, row++) {
        out->harmless += row->changed == 0;
        out->compared += !isnan(row->auc);
        out->drop += row->drop / l->filters;
        out->worst_drop += row->worst_drop / l->filters;
        add(row->drop_clustered, &out->drop_clustered, &clustered);
        add(row->drop_others, &out->drop_others, &others);
        add(row->correlation, &out->correlation, &correlated);
        out->run += row->run / experiments;
        out->same += row->same / experiments;
        out->hidden += row->hidden / experiments;
    }
    out->drop_clustered /= clustered; /* 0/0: NaN */
    out->drop_others /= others;
    out->correlation /= correlated;
}

/* Of the filters' drop with what phase three measured of them. */
static void correlate(const struct layer *l, const fs_drop_row *row, fs_drop_layer_row *out)
{
    double *const columns[] = {&out->r_clusters, &out->r_covered, &out->r_noise, &out->r_share, &out->r_sr};
    double *drop = l->room, *other = drop + l->filters, *room = other + l->filters;
    for (int f = 0; f < l->filters; f++)
        drop[f] = row[f].drop;
    for (int c = 0; c < 5; c++) {
        for (int f = 0; f < l->filters; f++) {
            const fs_filter_row *s = &l->silenced[f];
            const double values[] = {s->clusters, s->covered, s->noise, s->share, s->sr};
            other[f] = values[c];
        }
        *columns[c] = fs_rank_correlation(l->filters, drop, other, room, l->order);
    }
}

static fs_status measure_layer(const struct layer *l, const fs_drop_row *row, fs_drop_layer_row *out)
{
    int pairs = l->filters * l->width;
    *out = (fs_drop_layer_row){.layer = row->layer, .filters = l->filters};
    average(l, row, out);
    correlate(l, row, out);
    fs_order(pairs, l->drop, l->order);
    out->auc = fs_auc(pairs, l->width, l->order, l->drop, l->covered, NULL);
    return fs_auc_interval(pairs, l->width, l->order, l->drop, l->covered, (uint32_t)row->layer, SAMPLES, &out->auc_low,
                           &out->auc_high);
}

static int allocate(struct layer *l)
{
    size_t filters = (size_t)l->filters, pairs = filters * (size_t)l->width;
    l->drop = fs_alloc(pairs, sizeof *l->drop, "drops");
    l->field = fs_alloc(pairs, sizeof *l->field, "fields");
    l->covered = fs_alloc(pairs, 1, "labels in clusters");
    l->room = fs_alloc(4 * (filters > (size_t)l->width ? filters : (size_t)l->width), sizeof *l->room, "ranks");
    l->order = fs_alloc(pairs, sizeof *l->order, "ranks");
    return l->drop && l->field && l->covered && l->room && l->order;
}

fs_status fs_drop_rows(int labels, const fs_baseline_row *baseline, int filters, const float *diagonal, const int32_t *cluster,
                       const fs_filter_row *silenced, const fs_knockout *counts, fs_drop_row *row, fs_drop_layer_row *layer)
{
    struct layer l = {.labels = labels,
                      .filters = filters,
                      .baseline = baseline,
                      .diagonal = diagonal,
                      .cluster = cluster,
                      .silenced = silenced,
                      .counts = counts};
    l.width = count_width(&l);
    for (int k = 0; k < labels; k++) {
        l.images += baseline[k].images;
        l.right += baseline[k].right;
        l.loss += baseline[k].loss;
    }
    fs_status status = allocate(&l) ? FS_OK : FS_ERROR;
    for (int f = 0; f < filters && !status; f++) {
        fill_filter(&l, f);
        measure_filter(&l, f, &row[f]);
    }
    if (!status)
        status = measure_layer(&l, row, layer);
    free(l.drop);
    free(l.field);
    free(l.covered);
    free(l.room);
    free(l.order);
    return status;
}
