/* Phase three in one forward pass. The averaged field is linear in the filter's map, so label means of the maps serve every
 * filter of every layer; only the selected unit needs each image's field. */
#include "filterscope/silence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/stop.h"
#include "phases/products.h"
#include "phases/progress.h"

enum {
    MOST_LABELS = 16,   /* that share one reading of the probe's weights, ... */
    MOST_SUMS = 1 << 23 /* ... or as many as have no more sums than these, 64 MiB */
};

/* What one layer collects on this rank. */
struct collected {
    double *sum;     /* [labels at once][pixels][filters] */
    float *row;      /* [own labels][filters][K]: finished rows of the fields */
    int32_t *right;  /* [filters] */
    int32_t *chosen; /* [filters][K] */
};

struct pass {
    MPI_Comm comm;
    int rank, ranks;
    const fs_network *net;
    const fs_dataset *test;
    const fs_silence_layer *layers;
    int count;
    struct collected *collected; /* [count] */
    int *of_layer;               /* [layers + 1]: which of layers[], -1 for none */
    float *h;                    /* see products.h */
    double *mean_h;              /* the same */
    fs_workspace space;
    int at_once; /* labels whose sums there is room for */
    int label;   /* of the chunk in work */
    int sums;    /* of the labels before it that wait for their rows */
};

FS_SIMD static void add_map(size_t count, const float *restrict map, double *restrict sum)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += map[i];
}

/* Filters that are computed together. */
static int lanes_of(const fs_silence_layer *layer)
{
    return layer->filters < FS_PRODUCTS_LANES ? layer->filters : FS_PRODUCTS_LANES;
}

/* The first of those that `filter` is computed with: the last of a layer with some before them, once more. */
static int first_lane(const fs_silence_layer *layer, int filter)
{
    int last = layer->filters - lanes_of(layer);
    return filter < last ? filter : last;
}

/* The larger of each lane's field so far and of `units` more, and which unit it is; `h` of one image. */
static void take_larger(const fs_products *p, int unit, const float *h, float *best, int *selected)
{
    enum { LANES = FS_PRODUCTS_LANES };
    for (int u = 0; u < p->units; u++, h += (size_t)FS_PRODUCTS_ROWS * LANES)
        for (int lane = 0; lane < LANES; lane++)
            if (unit + u == 0 || h[lane] > best[lane]) {
                best[lane] = h[lane];
                selected[lane] = unit + u;
            }
}

/* Steps 1 and 9 for p->rows images and LANES filters, of which the first `known` have been counted before. */
static void select_units(struct pass *pass, const fs_silence_layer *layer, struct collected *c, fs_products *p, int known,
                         const float *maps)
{
    enum { LANES = FS_PRODUCTS_LANES };
    int labels = pass->net->labels, lanes = lanes_of(layer), selected[FS_PRODUCTS_ROWS][LANES];
    float best[FS_PRODUCTS_ROWS][LANES];
    for (int unit = 0; unit < labels; unit += FS_PRODUCTS_UNITS) {
        p->units = labels - unit < FS_PRODUCTS_UNITS ? labels - unit : FS_PRODUCTS_UNITS;
        fs_products_of_images(p, maps, layer->weight + (size_t)unit * layer->pixels * layer->filters, pass->h);
        for (int row = 0; row < p->rows; row++)
            take_larger(p, unit, pass->h + (size_t)row * LANES, best[row], selected[row]);
    }
    for (int row = 0; row < p->rows; row++)
        for (int lane = known; lane < lanes; lane++) {
            c->chosen[(size_t)(p->first + lane) * labels + selected[row][lane]]++;
            c->right[p->first + lane] += selected[row][lane] == pass->label;
        }
}

static void on_features(void *context, int layer, int images, const float *features)
{
    struct pass *p = context;
    int which = p->of_layer[layer];
    if (which < 0)
        return;
    const fs_silence_layer *l = &p->layers[which];
    struct collected *c = &p->collected[which];
    size_t count = (size_t)l->pixels * l->filters;
    for (int n = 0; n < images; n += FS_PRODUCTS_ROWS) {
        fs_products products = {l->filters, l->pixels, 0, images - n < FS_PRODUCTS_ROWS ? images - n : FS_PRODUCTS_ROWS, 0};
        for (int filter = 0; filter < l->filters; filter += FS_PRODUCTS_LANES) {
            products.first = first_lane(l, filter);
            select_units(p, l, c, &products, filter - products.first, features + n * count);
        }
    }
    for (int n = 0; n < images; n++)
        add_map(count, features + n * count, c->sum + p->sums * count);
}

/* Step 2: the rows of every filter's field that wait, from their mean maps; the first is that of own label `own_label`. */
static void finish_rows(struct pass *p, int which, int own_label)
{
    enum { LANES = FS_PRODUCTS_LANES };
    const fs_silence_layer *l = &p->layers[which];
    struct collected *c = &p->collected[which];
    size_t count = (size_t)l->pixels * l->filters, labels = (size_t)p->net->labels;
    fs_products products = {l->filters, l->pixels, 0, p->sums, 0};
    for (int filter = 0; filter < l->filters; filter += LANES)
        for (size_t unit = 0; unit < labels; unit += FS_PRODUCTS_UNITS) {
            products.first = first_lane(l, filter);
            products.units = labels - unit < FS_PRODUCTS_UNITS ? (int)(labels - unit) : FS_PRODUCTS_UNITS;
            fs_products_of_means(&products, c->sum, l->weight + unit * count, p->mean_h);
            for (int label = 0; label < p->sums; label++)
                for (int lane = filter - products.first; lane < lanes_of(l); lane++) {
                    float *row = c->row + ((size_t)(own_label + label) * l->filters + products.first + lane) * labels + unit;
                    for (int u = 0; u < products.units; u++)
                        row[u] = (float)p->mean_h[((size_t)u * FS_PRODUCTS_ROWS + label) * LANES + lane];
                }
        }
    memset(c->sum, 0, p->sums * count * sizeof *c->sum);
}

static void finish_all_rows(struct pass *p, int own_label)
{
    for (int which = 0; which < p->count && p->sums > 0; which++)
        finish_rows(p, which, own_label);
    p->sums = 0;
}

/* The sums of the label in work are its mean maps from now on. */
static void finish_sums(struct pass *p, int images)
{
    for (int which = 0; which < p->count; which++) {
        size_t count = (size_t)p->layers[which].pixels * p->layers[which].filters;
        double *sum = p->collected[which].sum + p->sums * count;
        for (size_t i = 0; i < count; i++)
            sum[i] /= images;
    }
    p->sums++;
}

/* Labels that this rank has rows for. */
static int own_labels(const struct pass *p)
{
    return (p->net->labels - p->rank + p->ranks - 1) / p->ranks;
}

/* The next up to space.images images of p->label from *image on, into the input; returns how many. */
static int load_chunk(struct pass *p, int *image)
{
    int images = 0;
    for (; *image < p->test->images && images < p->space.images; ++*image)
        if (p->test->label[*image] == p->label)
            fs_dataset_scale(p->test, *image, p->space.input + (size_t)images++ * fs_op_inputs(p->net->op));
    return images;
}

/* All images of one label; returns 1 where poll wants to stop. */
static int run_label(struct pass *p, int label, fs_poll *poll, void *context, fs_progress *progress, int *done)
{
    int image = 0, images, all = 0, deepest = p->layers[p->count - 1].layer;
    p->label = label;
    while ((images = load_chunk(p, &image)) > 0) {
        fs_network_infer(p->net, images, p->space.input, deepest, on_features, p, &p->space);
        all += images;
        *done += images;
        fs_progress_batch(progress, (double)*done * p->ranks, p->test->images, (double)NAN, 0);
        if (poll(context))
            return 1;
    }
    finish_sums(p, all);
    if (p->sums == p->at_once)
        finish_all_rows(p, label / p->ranks + 1 - p->sums);
    return 0;
}

static fs_status run_labels(struct pass *p, fs_poll *poll, void *context, int speaks)
{
    int stop = 0, done = 0;
    fs_progress progress;
    fs_progress_start(&progress, "silence: all filters", speaks, 0, 0);
    for (int first = 0; first < p->net->labels && !stop; first += p->ranks) {
        if (first + p->rank < p->net->labels)
            stop = run_label(p, first + p->rank, poll, context, &progress, &done);
        stop = fs_any(p->comm, stop);
    }
    if (!stop)
        finish_all_rows(p, own_labels(p) - p->sums);
    return stop ? fs_stop_fail("phase three") : FS_OK;
}

/* Rows of layers[which] from the ranks that have them into fields->field on rank 0. `row` has room for one. */
static void gather_rows(struct pass *p, int which, fs_fields *fields, float *row)
{
    int filters = p->layers[which].filters, labels = p->net->labels;
    size_t count = (size_t)filters * labels;
    for (int label = 0; label < labels; label++) {
        int owner = label % p->ranks;
        const float *own = p->collected[which].row + (size_t)(label / p->ranks) * count;
        if (owner == p->rank && p->rank > 0)
            MPI_Send(own, (int)count, MPI_FLOAT, 0, label, p->comm);
        if (p->rank > 0)
            continue;
        if (owner > 0) {
            MPI_Recv(row, (int)count, MPI_FLOAT, owner, label, p->comm, MPI_STATUS_IGNORE);
            own = row;
        }
        for (int f = 0; f < filters; f++)
            memcpy(fields->field + ((size_t)f * labels + label) * labels, own + (size_t)f * labels, labels * sizeof *own);
    }
}

static fs_status gather(struct pass *p, fs_fields_sink *sink, void *context)
{
    fs_status status = FS_OK;
    for (int which = 0; which < p->count && !status; which++) {
        int filters = p->layers[which].filters, labels = p->net->labels;
        struct collected *c = &p->collected[which];
        fs_fields fields = {0};
        float *row = NULL;
        if (p->rank == 0) {
            row = fs_alloc((size_t)filters * labels, sizeof *row, "a row of all fields");
            status = row ? fs_fields_create(filters, labels, &fields) : FS_ERROR;
        }
        status = fs_agree(p->comm, status);
        if (!status) {
            gather_rows(p, which, &fields, row);
            MPI_Reduce(c->right, fields.right, filters, MPI_INT32_T, MPI_SUM, 0, p->comm);
            MPI_Reduce(c->chosen, fields.chosen, filters * labels, MPI_INT32_T, MPI_SUM, 0, p->comm);
            status = fs_agree(p->comm, p->rank == 0 ? sink(context, which, &fields) : FS_OK);
        }
        fs_fields_free(&fields);
        free(row);
    }
    return status;
}

static fs_status allocate(struct pass *p, int batch)
{
    size_t labels = (size_t)p->net->labels, rows = (size_t)own_labels(p), features = 0;
    for (int which = 0; which < p->count; which++)
        features += (size_t)p->layers[which].pixels * p->layers[which].filters;
    p->at_once = features * MOST_LABELS <= MOST_SUMS ? MOST_LABELS : features <= MOST_SUMS ? (int)(MOST_SUMS / features) : 1;
    p->collected = fs_alloc((size_t)p->count, sizeof *p->collected, "fields");
    p->of_layer = fs_alloc((size_t)p->net->layers + 1, sizeof *p->of_layer, "layers");
    if (!p->collected || !p->of_layer)
        return FS_ERROR;
    memset(p->of_layer, -1, ((size_t)p->net->layers + 1) * sizeof *p->of_layer);
    for (int which = 0; which < p->count; which++) {
        size_t filters = (size_t)p->layers[which].filters;
        struct collected *c = &p->collected[which];
        p->of_layer[p->layers[which].layer] = which;
        c->sum = fs_alloc(p->at_once * filters * p->layers[which].pixels, sizeof *c->sum, "sums of maps");
        c->row = fs_alloc(rows * filters * labels, sizeof *c->row, "rows of fields");
        c->right = fs_alloc(filters, sizeof *c->right, "right answers");
        c->chosen = fs_alloc(filters * labels, sizeof *c->chosen, "selected units");
        if (!c->sum || !c->row || !c->right || !c->chosen)
            return FS_ERROR;
    }
    p->h = fs_alloc(FS_PRODUCTS_H, sizeof *p->h, "fields of images");
    p->mean_h = fs_alloc(FS_PRODUCTS_H, sizeof *p->mean_h, "averaged fields");
    return p->h && p->mean_h ? fs_workspace_create(p->net, batch, FS_FOR_PROBES, &p->space) : FS_ERROR;
}

static void release(struct pass *p)
{
    for (int which = 0; p->collected && which < p->count; which++) {
        free(p->collected[which].sum);
        free(p->collected[which].row);
        free(p->collected[which].right);
        free(p->collected[which].chosen);
    }
    free(p->collected);
    free(p->of_layer);
    free(p->h);
    free(p->mean_h);
    fs_workspace_free(&p->space);
}

fs_status fs_silence(MPI_Comm comm, const fs_network *net, const fs_dataset *test, int batch, const fs_silence_layer *layers,
                     int count, fs_poll *poll, fs_fields_sink *sink, void *context, int speaks)
{
    struct pass p = {.comm = comm, .net = net, .test = test, .layers = layers, .count = count};
    MPI_Comm_rank(comm, &p.rank);
    MPI_Comm_size(comm, &p.ranks);
    fs_status status = fs_agree(comm, allocate(&p, batch));
    if (!status)
        status = run_labels(&p, poll, context, speaks);
    if (!status)
        status = gather(&p, sink, context);
    release(&p);
    return status;
}
