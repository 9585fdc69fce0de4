/* The network in inference mode. */
#include <math.h>
#include <stdlib.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/network.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* In inference a batch norm is a scale and a shift a channel, and so goes into the weights and bias of its convolution. */
static const fs_op *folded_batchnorm(const fs_network *net, int i)
{
    return i + 1 < net->ops && net->op[i + 1].kind == FS_BATCHNORM ? &net->op[i + 1] : NULL;
}

/* What is prepared of one convolution: its shift [filters], its weights as fs_conv_prepare makes them, and its folded weights,
 * which convolutions that prepare nothing take. */
struct folded {
    float *shift, *prepared, *weight, *end;
};

static struct folded folded_at(const fs_op *op, float *first)
{
    fs_conv_shape shape = fs_op_conv_shape(op);
    size_t filters = ((size_t)op->out_channels + 15) / 16 * 16, prepared = fs_conv_prepared(&shape); /* keeps 64-byte lines */
    struct folded f = {first, first + filters, first + filters + prepared, NULL};
    f.end = f.weight + (prepared ? 0 : (op->weights + 15) / 16 * 16);
    return f;
}

fs_status fs_workspace_create(const fs_network *net, int images, fs_workspace *space)
{
    size_t map = 0, scratch = 0, weights = 0, prepared = 0, count = (size_t)images;
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        map = larger(map, fs_op_outputs(op));
        if (op->kind == FS_CONV) {
            fs_conv_shape shape = fs_op_conv_shape(op);
            scratch = larger(scratch, fs_conv_scratch(&shape, images));
            weights = larger(weights, op->weights);
            prepared += (size_t)(folded_at(op, NULL).end - (float *)NULL);
        }
    }
    *space = (fs_workspace){.images = images};
    space->input = fs_alloc(count * fs_op_inputs(net->op), sizeof(float), "the input batch");
    space->map[0] = fs_alloc(count * map, sizeof(float), "activations");
    space->map[1] = fs_alloc(count * map, sizeof(float), "activations");
    space->scratch = fs_alloc(larger(scratch, weights), sizeof(float), "convolutions");
    space->prepared = fs_alloc(prepared, sizeof(float), "prepared weights");
    if (space->input && space->map[0] && space->map[1] && space->scratch && space->prepared) {
        fs_workspace_prepare(net, space);
        return FS_OK;
    }
    fs_workspace_free(space);
    return FS_ERROR;
}

/* weight [taps x channels][filters] times scale, and bias times scale plus the batch norm's shift. */
static void fold(const fs_network *net, const fs_op *op, const fs_op *norm, float *weight, float *shift)
{
    const float *own = net->parameter + op->weight, *bias = net->parameter + op->bias;
    size_t filters = (size_t)op->out_channels;
    for (size_t f = 0; f < filters; f++) {
        double scale = 1, offset = op->biases ? bias[f] : 0;
        if (norm) {
            const float *mean = net->statistic + norm->statistic, *variance = mean + filters;
            scale = net->parameter[norm->weight + f] / sqrt(variance[f] + FS_BATCHNORM_EPSILON);
            offset = (offset - mean[f]) * scale + net->parameter[norm->bias + f];
        }
        shift[f] = (float)offset;
        for (size_t i = f; i < op->weights; i += filters)
            weight[i] = (float)(own[i] * scale);
    }
}

void fs_workspace_prepare(const fs_network *net, fs_workspace *space)
{
    float *next = space->prepared;
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        if (op->kind != FS_CONV)
            continue;
        fs_conv_shape shape = fs_op_conv_shape(op);
        struct folded f = folded_at(op, next);
        float *weight = f.end == f.weight ? space->scratch : f.weight;
        fold(net, op, folded_batchnorm(net, i), weight, f.shift);
        fs_conv_prepare(&shape, weight, 0, 0, 1, f.prepared);
        next = f.end;
    }
}

void fs_workspace_free(fs_workspace *space)
{
    free(space->input);
    free(space->map[0]);
    free(space->map[1]);
    free(space->scratch);
    free(space->prepared);
    *space = (fs_workspace){0};
}

/* A convolution with what follows it, as far as one pass can take it; returns how many operations that are. */
static int convolve(const fs_network *net, int i, int images, const float *x, float *y, float **prepared, float *scratch)
{
    const fs_op *op = &net->op[i];
    fs_conv_shape shape = fs_op_conv_shape(op);
    struct folded f = folded_at(op, *prepared);
    int last = i + (folded_batchnorm(net, i) != NULL), after = FS_CONV_PLAIN;
    if (last + 1 < net->ops && net->op[last + 1].kind == FS_RELU) {
        after = FS_CONV_RELU;
        last++;
    }
    if (last + 1 < net->ops && net->op[last + 1].kind == FS_MAXPOOL && net->op[last + 1].kernel == 2 && fs_conv_pools(&shape)) {
        after |= FS_CONV_POOL;
        last++;
    }
    fs_conv_forward(&shape, images, x, f.weight, f.prepared, f.shift, after, y, scratch);
    *prepared = f.end;
    return last - i + 1;
}

/* Applies operation `i` to x, with *prepared at its prepared weights or the next; returns how many operations it stood for.
 * `out` is where the result may go; *result tells where it went, since some operations work in place. */
static int apply(const fs_network *net, int i, int images, float *x, float *out, float **prepared, float *scratch,
                 float **result)
{
    const fs_op *op = &net->op[i];
    const float *weight = net->parameter + op->weight, *bias = op->biases ? net->parameter + op->bias : NULL;
    *result = out;
    switch (op->kind) {
    case FS_CONV:
        return convolve(net, i, images, x, out, prepared, scratch);
    case FS_BATCHNORM: {
        int relu = i + 1 < net->ops && net->op[i + 1].kind == FS_RELU;
        fs_batchnorm_infer((size_t)images * op->height * op->width, op->channels, x, net->statistic + op->statistic, weight,
                           bias, relu);
        *result = x;
        return 1 + relu;
    }
    case FS_RELU:
        fs_relu_forward((size_t)images * fs_op_inputs(op), x);
        *result = x;
        return 1;
    case FS_MAXPOOL:
        fs_maxpool_forward(images, op->height, op->width, op->channels, op->kernel, x, out, NULL);
        return 1;
    case FS_AVGPOOL:
        fs_avgpool_forward(images, op->height, op->width, op->channels, op->kernel, x, out);
        return 1;
    case FS_MAXWINDOW:
    case FS_AVGWINDOW: {
        fs_window window = fs_op_window(op);
        (op->kind == FS_MAXWINDOW ? fs_maxwindow_forward : fs_avgwindow_forward)(images, &window, x, out);
        return 1;
    }
    case FS_LINEAR:
        fs_linear_forward(images, (int)fs_op_inputs(op), op->out_channels, x, weight, bias, out);
        return 1;
    }
    abort(); /* every kind is above */
}

const float *fs_network_infer(const fs_network *net, int images, const float *x, int until, fs_feature_hook *hook,
                              void *context, fs_workspace *space)
{
    /* The first operation is a convolution, so x itself is never written. */
    float *map = (float *)x;
    float *prepared = space->prepared;
    for (int i = 0; i < net->ops;) {
        float *out = map == space->map[0] ? space->map[1] : space->map[0], *result;
        i += apply(net, i, images, map, out, &prepared, space->scratch, &result);
        map = result;
        const fs_op *last = &net->op[i - 1];
        if (last->probed && hook)
            hook(context, last->layer, images, map);
        if (last->probed && last->layer == until)
            break;
    }
    return map;
}
