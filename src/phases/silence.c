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
#include "phases/progress.h"

enum { IMAGES_AT_ONCE = 8 }; /* that share one reading of the probe's weights */

/* What one layer collects on this rank. */
struct collected {
    double *sum;     /* [pixels][filters]: of the label in work */
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
    float *h;                    /* [IMAGES_AT_ONCE][K][most filters] */
    double *mean_field;          /* [most filters] */
    fs_workspace space;
    int label; /* of the chunk in work */
};

FS_SIMD static void add_map(size_t count, const float *restrict map, double *restrict sum)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += map[i];
}

FS_SIMD static void multiply_add(int filters, const float *restrict map, const float *restrict weight, float *restrict h)
{
    for (int f = 0; f < filters; f++)
        h[f] += map[f] * weight[f];
}

FS_SIMD static void multiply_add_mean(int filters, const double *restrict mean, const float *restrict weight,
                                      double *restrict h)
{
    for (int f = 0; f < filters; f++)
        h[f] += mean[f] * (double)weight[f];
}

/* Step 1 for up to IMAGES_AT_ONCE images: h [images][K][filters]. */
static void fields_of_images(const fs_silence_layer *layer, int labels, int images, const float *maps, float *h)
{
    size_t filters = (size_t)layer->filters, features = filters * layer->pixels;
    memset(h, 0, (size_t)images * labels * filters * sizeof *h);
    for (int k = 0; k < labels; k++)
        for (int pixel = 0; pixel < layer->pixels; pixel++) {
            const float *weight = layer->weight + k * features + pixel * filters;
            for (int n = 0; n < images; n++)
                multiply_add(layer->filters, maps + n * features + pixel * filters, weight, h + (n * labels + k) * filters);
        }
}

/* Step 9 for one image: h [K][filters]. */
static void select_units(int filters, int labels, const float *h, int label, struct collected *c)
{
    for (int f = 0; f < filters; f++) {
        int best = 0;
        for (int k = 1; k < labels; k++)
            if (h[(size_t)k * filters + f] > h[(size_t)best * filters + f])
                best = k;
        c->chosen[(size_t)f * labels + best]++;
        c->right[f] += best == label;
    }
}

static void on_features(void *context, int layer, int images, const float *features)
{
    struct pass *p = context;
    int which = p->of_layer[layer], labels = p->net->labels;
    if (which < 0)
        return;
    const fs_silence_layer *l = &p->layers[which];
    struct collected *c = &p->collected[which];
    size_t count = (size_t)l->pixels * l->filters;
    for (int n = 0; n < images; n += IMAGES_AT_ONCE) {
        int now = images - n < IMAGES_AT_ONCE ? images - n : IMAGES_AT_ONCE;
        const float *maps = features + n * count;
        fields_of_images(l, labels, now, maps, p->h);
        for (int i = 0; i < now; i++) {
            add_map(count, maps + i * count, c->sum);
            select_units(l->filters, labels, p->h + (size_t)i * labels * l->filters, p->label, c);
        }
    }
}

/* Step 2: row `label` of every filter's field, from the summed maps of `images` images. */
static void finish_row(struct pass *p, int which, int own_label, int images)
{
    const fs_silence_layer *l = &p->layers[which];
    struct collected *c = &p->collected[which];
    size_t count = (size_t)l->pixels * l->filters, labels = (size_t)p->net->labels;
    float *row = c->row + (size_t)own_label * l->filters * labels;
    for (size_t i = 0; i < count; i++)
        c->sum[i] /= images;
    for (size_t k = 0; k < labels; k++) {
        memset(p->mean_field, 0, l->filters * sizeof *p->mean_field);
        for (int pixel = 0; pixel < l->pixels; pixel++)
            multiply_add_mean(l->filters, c->sum + (size_t)pixel * l->filters,
                              l->weight + k * count + (size_t)pixel * l->filters, p->mean_field);
        for (int f = 0; f < l->filters; f++)
            row[f * labels + k] = (float)p->mean_field[f];
    }
    memset(c->sum, 0, count * sizeof *c->sum);
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
    for (int which = 0; which < p->count; which++)
        finish_row(p, which, label / p->ranks, all);
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
    size_t labels = (size_t)p->net->labels, most = 1, own_labels = (labels + (size_t)p->ranks - 1) / (size_t)p->ranks;
    p->collected = fs_alloc((size_t)p->count, sizeof *p->collected, "fields");
    p->of_layer = fs_alloc((size_t)p->net->layers + 1, sizeof *p->of_layer, "layers");
    if (!p->collected || !p->of_layer)
        return FS_ERROR;
    memset(p->of_layer, -1, ((size_t)p->net->layers + 1) * sizeof *p->of_layer);
    for (int which = 0; which < p->count; which++) {
        size_t filters = (size_t)p->layers[which].filters;
        struct collected *c = &p->collected[which];
        most = filters > most ? filters : most;
        p->of_layer[p->layers[which].layer] = which;
        c->sum = fs_alloc(filters * p->layers[which].pixels, sizeof *c->sum, "sums of maps");
        c->row = fs_alloc(own_labels * filters * labels, sizeof *c->row, "rows of fields");
        c->right = fs_alloc(filters, sizeof *c->right, "right answers");
        c->chosen = fs_alloc(filters * labels, sizeof *c->chosen, "selected units");
        if (!c->sum || !c->row || !c->right || !c->chosen)
            return FS_ERROR;
    }
    p->h = fs_alloc(IMAGES_AT_ONCE * labels * most, sizeof *p->h, "fields of images");
    p->mean_field = fs_alloc(most, sizeof *p->mean_field, "averaged fields");
    return p->h && p->mean_field ? fs_workspace_create(p->net, batch, FS_FOR_PROBES, &p->space) : FS_ERROR;
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
    free(p->mean_field);
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
