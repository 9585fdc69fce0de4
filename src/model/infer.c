/* The network in inference mode. */
#include <stdlib.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/network.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

fs_status fs_workspace_create(const fs_network *net, int images, fs_workspace *space)
{
    size_t map = 0, scratch = 0, prepared = 0, count = (size_t)images;
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        map = larger(map, fs_op_outputs(op));
        if (op->kind == FS_CONV) {
            fs_conv_shape shape = fs_op_conv_shape(op);
            scratch = larger(scratch, fs_conv_scratch(&shape, images));
            prepared += fs_conv_prepared(&shape);
        }
    }
    *space = (fs_workspace){.images = images};
    space->input = fs_alloc(count * fs_op_inputs(net->op), sizeof(float), "the input batch");
    space->map[0] = fs_alloc(count * map, sizeof(float), "activations");
    space->map[1] = fs_alloc(count * map, sizeof(float), "activations");
    space->scratch = fs_alloc(scratch, sizeof(float), "convolutions");
    space->prepared = fs_alloc(prepared, sizeof(float), "prepared weights");
    if (space->input && space->map[0] && space->map[1] && space->scratch && space->prepared) {
        fs_workspace_prepare(net, space);
        return FS_OK;
    }
    fs_workspace_free(space);
    return FS_ERROR;
}

void fs_workspace_prepare(const fs_network *net, fs_workspace *space)
{
    float *prepared = space->prepared;
    for (int i = 0; i < net->ops; i++) {
        if (net->op[i].kind != FS_CONV)
            continue;
        fs_conv_shape shape = fs_op_conv_shape(&net->op[i]);
        fs_conv_prepare(&shape, net->parameter + net->op[i].weight, 0, prepared);
        prepared += fs_conv_prepared(&shape);
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

/* Applies operation `i` to x, with *prepared at its prepared weights or the next; returns how many operations it stood for
 * (batch norm takes a following ReLU along). `out` is where the result may go; *result tells where it went, since some
 * operations work in place. */
static int apply(const fs_network *net, int i, int images, float *x, float *out, const float **prepared, float *scratch,
                 float **result)
{
    const fs_op *op = &net->op[i];
    const float *weight = net->parameter + op->weight, *bias = op->biases ? net->parameter + op->bias : NULL;
    *result = out;
    switch (op->kind) {
    case FS_CONV: {
        fs_conv_shape shape = fs_op_conv_shape(op);
        fs_conv_forward(&shape, images, x, weight, *prepared, bias, out, scratch);
        *prepared += fs_conv_prepared(&shape);
        return 1;
    }
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
    const float *prepared = space->prepared;
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
