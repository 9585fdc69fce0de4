/* Phase three as the paper describes it: silence the weights, run the test set, once a filter. Slow, and kept as the oracle
 * of the one-pass form. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/silence.h"
#include "filterscope/stop.h"

struct experiment {
    const fs_dataset *test;
    const fs_silence_layer *layer;
    int labels;
    float *silenced; /* [K][pixels][filters]: the probe's weights, all 0 but one filter's */
    float *h;        /* [batch][K] */
    double *sum;     /* [K][K]: input label, output unit */
    int32_t *images; /* [K]: test images of each label */
    fs_workspace space;
    int first; /* test image of the batch in work */
    int32_t *right, *chosen;
};

static void on_features(void *context, int layer, int images, const float *features)
{
    struct experiment *e = context;
    if (layer != e->layer->layer)
        return;
    int labels = e->labels;
    fs_linear_forward(images, e->layer->pixels * e->layer->filters, labels, features, e->silenced, NULL, e->h);
    for (int n = 0; n < images; n++) {
        const float *h = e->h + (size_t)n * labels;
        int label = e->test->label[e->first + n], best = fs_argmax(labels, h);
        for (int k = 0; k < labels; k++)
            e->sum[(size_t)label * labels + k] += h[k];
        *e->right += best == label;
        e->chosen[best]++;
    }
}

static void silence_all_but(struct experiment *e, int filter)
{
    size_t filters = (size_t)e->layer->filters, places = (size_t)e->labels * e->layer->pixels;
    memset(e->silenced, 0, places * filters * sizeof *e->silenced);
    for (size_t place = 0; place < places; place++)
        e->silenced[place * filters + filter] = e->layer->weight[place * filters + filter];
}

/* Runs the test set; 1 where poll wants to stop. */
static int run_test_set(struct experiment *e, const fs_network *net, fs_poll *poll, void *context)
{
    int batch = e->space.images;
    for (e->first = 0; e->first < e->test->images; e->first += batch) {
        int images = e->test->images - e->first < batch ? e->test->images - e->first : batch;
        for (int n = 0; n < images; n++)
            fs_dataset_scale(e->test, e->first + n, e->space.input + n * fs_op_inputs(net->op));
        fs_network_infer(net, images, e->space.input, e->layer->layer, on_features, e, &e->space);
        if (poll(context))
            return 1;
    }
    return 0;
}

static fs_status run_filters(struct experiment *e, const fs_network *net, int first, int count, fs_poll *poll, void *context,
                             fs_fields *fields)
{
    size_t labels = (size_t)e->labels, elements = labels * labels;
    for (int f = 0; f < count; f++) {
        e->right = fields->right + f;
        e->chosen = fields->chosen + f * labels;
        *e->right = 0;
        memset(e->chosen, 0, labels * sizeof *e->chosen);
        memset(e->sum, 0, elements * sizeof *e->sum);
        silence_all_but(e, first + f);
        if (run_test_set(e, net, poll, context))
            return fs_stop_fail("phase three");
        for (size_t i = 0; i < elements; i++)
            fields->field[f * elements + i] = (float)(e->sum[i] / e->images[i / labels]);
    }
    return FS_OK;
}

fs_status fs_silence_literal(const fs_network *net, const fs_dataset *test, int batch, const fs_silence_layer *layer, int first,
                             int count, fs_poll *poll, void *context, fs_fields *fields)
{
    struct experiment e = {.test = test, .layer = layer, .labels = net->labels};
    size_t labels = (size_t)net->labels, features = (size_t)layer->pixels * layer->filters;
    e.silenced = fs_alloc(labels * features, sizeof *e.silenced, "silenced weights");
    e.h = fs_alloc(batch * labels, sizeof *e.h, "fields of images");
    e.sum = fs_alloc(labels * labels, sizeof *e.sum, "a summed field");
    e.images = fs_alloc(labels, sizeof *e.images, "images of each label");
    fs_status status = FS_ERROR;
    if (e.silenced && e.h && e.sum && e.images)
        status = fs_workspace_create(net, batch, FS_FOR_PROBES, &e.space);
    for (int n = 0; n < test->images && !status; n++)
        e.images[test->label[n]]++;
    if (!status)
        status = run_filters(&e, net, first, count, poll, context, fields);
    fs_workspace_free(&e.space);
    free(e.silenced);
    free(e.h);
    free(e.sum);
    free(e.images);
    return status;
}
