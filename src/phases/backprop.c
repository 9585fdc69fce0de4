/* Forward and backward pass of a batch in slots. For each operation all local slots are computed, then, where batch
 * normalisation needs it, sums are taken over all slots of all ranks; then comes the next operation. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/node.h"
#include "filterscope/train.h"

enum { DEPTH = 13 }; /* log2(FS_MOST_SLOTS) + 1 */

struct fs_backprop {
    const fs_network *net;
    const fs_slots *own;
    int images;             /* of the batch in work, over all ranks */
    int most_images;        /* of a slot */
    float *input;           /* [local images][inputs] */
    uint16_t *label;        /* [local images] */
    float **output;         /* [ops]: [local images][outputs]; ReLU's is its input's, in place */
    uint8_t **winner;       /* [ops]: of max pools */
    float **moments;        /* [ops]: of batch norm, mean [channels] and inverse [channels] */
    double **totals;        /* [ops]: of batch norm, dbeta [channels] and dgamma [channels] */
    float *delta[2];        /* [local images][largest map]: gradients of the maps, in turn */
    float *scratch;         /* of the convolutions */
    fs_shared prepared;     /* weights of all convolutions: of the forward pass, then of the backward pass */
    size_t *prepared_place; /* [ops]: where there those of a convolution begin */
    double *slot_sums;      /* [local slots][2 x most channels] */
    float *gradient;        /* [parameters] */
    float *partial[DEPTH];  /* gradient of one operation, for each level of the tree over local slots */
};

/* Images of local slot `slot`: offset from this rank's first image, and number. */
static int slot_images(const fs_backprop *b, int slot, int *offset)
{
    int origin, begin, end;
    fs_slots_share(b->own, b->images, &origin, &end);
    fs_slots_range(b->own, slot, b->images, &begin, &end);
    *offset = begin - origin;
    return end - begin;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The weights are new for every batch. `images` is what a slot has at the most. */
static fs_conv_shape conv_shape(const fs_op *op, int images)
{
    fs_conv_shape shape = fs_op_conv_shape(op);
    shape.direct = fs_conv_prefers_direct(&shape, images);
    return shape;
}

struct sizes {
    size_t map, scratch, channels, parameters;
};

static struct sizes largest(const fs_network *net, int images)
{
    struct sizes most = {.map = fs_op_inputs(net->op), .channels = 2};
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        most.map = larger(most.map, fs_op_outputs(op));
        most.channels = larger(most.channels, (size_t)op->channels);
        if (op->kind != FS_BATCHNORM)
            most.parameters = larger(most.parameters, op->weights + op->biases);
        if (op->kind == FS_CONV) {
            fs_conv_shape shape = conv_shape(op, images);
            most.scratch = larger(most.scratch, fs_conv_scratch(&shape, images));
        }
    }
    return most;
}

static int allocate_ops(fs_backprop *b, size_t local)
{
    const fs_network *net = b->net;
    b->output = fs_alloc((size_t)net->ops, sizeof *b->output, "activations");
    b->winner = fs_alloc((size_t)net->ops, sizeof *b->winner, "pools");
    b->moments = fs_alloc((size_t)net->ops, sizeof *b->moments, "batch statistics");
    b->totals = fs_alloc((size_t)net->ops, sizeof *b->totals, "batch statistics");
    b->prepared_place = fs_alloc((size_t)net->ops, sizeof *b->prepared_place, "prepared weights");
    if (!b->output || !b->winner || !b->moments || !b->totals || !b->prepared_place)
        return 0;
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        size_t count = local * fs_op_outputs(op);
        if (op->kind == FS_RELU)
            b->output[i] = b->output[i - 1];
        else if (!(b->output[i] = fs_alloc(count, sizeof(float), "activations")))
            return 0;
        if (op->kind == FS_MAXPOOL && !(b->winner[i] = fs_alloc(count, 1, "pools")))
            return 0;
        if (op->kind == FS_BATCHNORM && (!(b->moments[i] = fs_alloc(2 * op->weights, sizeof(float), "batch statistics")) ||
                                         !(b->totals[i] = fs_alloc(2 * op->weights, sizeof(double), "batch statistics"))))
            return 0;
    }
    return 1;
}

static int allocate(fs_backprop *b, int batch)
{
    const fs_network *net = b->net;
    const fs_slots *own = b->own;
    int begin, end;
    fs_slots_share(own, batch, &begin, &end);
    size_t local = (size_t)(end - begin), slots = (size_t)(own->count ? own->count : 1);
    struct sizes most = largest(net, b->most_images);
    b->input = fs_alloc(local * fs_op_inputs(net->op), sizeof(float), "the input batch");
    b->label = fs_alloc(local, sizeof *b->label, "labels");
    b->delta[0] = fs_alloc(local * most.map, sizeof(float), "gradients");
    b->delta[1] = fs_alloc(local * most.map, sizeof(float), "gradients");
    b->scratch = fs_alloc(most.scratch, sizeof(float), "convolutions");
    b->slot_sums = fs_alloc(slots * 2 * most.channels, sizeof(double), "batch statistics");
    b->gradient = fs_alloc(net->parameters, sizeof(float), "gradients");
    int done = b->input && b->label && b->delta[0] && b->delta[1] && b->scratch && b->slot_sums && b->gradient;
    for (int level = 1; done && (1 << level) <= own->count; level++)
        done = (b->partial[level] = fs_alloc(most.parameters, sizeof(float), "gradients")) != NULL;
    return done && allocate_ops(b, local);
}

/* Gives each convolution its place among the prepared weights; returns the floats of all. */
static size_t place_prepared(fs_backprop *b)
{
    size_t count = 0;
    for (int i = 0; i < b->net->ops; i++) {
        if (b->net->op[i].kind != FS_CONV)
            continue;
        fs_conv_shape shape = conv_shape(&b->net->op[i], b->most_images);
        b->prepared_place[i] = count;
        count += (fs_conv_prepared(&shape) + 15) / 16 * 16; /* whole cache lines */
    }
    return count;
}

fs_backprop *fs_backprop_create(const fs_network *net, const fs_slots *own, int batch)
{
    fs_backprop *b = fs_alloc(1, sizeof *b, "training");
    if (b)
        *b = (fs_backprop){.net = net, .own = own, .most_images = (batch + own->slots - 1) / own->slots};
    fs_status status = fs_agree(own->comm, b && allocate(b, batch) ? FS_OK : FS_ERROR);
    if (!status)
        status = fs_shared_create(own->comm, place_prepared(b), "prepared weights", &b->prepared);
    if (!status)
        return b;
    fs_backprop_free(b);
    return NULL;
}

void fs_backprop_free(fs_backprop *b)
{
    if (!b)
        return;
    for (int i = 0; i < b->net->ops; i++) {
        if (b->output && b->net->op[i].kind != FS_RELU)
            free(b->output[i]);
        if (b->winner)
            free(b->winner[i]);
        if (b->moments)
            free(b->moments[i]);
        if (b->totals)
            free(b->totals[i]);
    }
    for (int level = 0; level < DEPTH; level++)
        free(b->partial[level]);
    free(b->output);
    free(b->winner);
    free(b->moments);
    free(b->totals);
    free(b->input);
    free(b->label);
    free(b->delta[0]);
    free(b->delta[1]);
    free(b->scratch);
    free(b->prepared_place);
    fs_shared_free(&b->prepared);
    free(b->slot_sums);
    free(b->gradient);
    free(b);
}

float *fs_backprop_input(fs_backprop *b)
{
    return b->input;
}

uint16_t *fs_backprop_label(fs_backprop *b)
{
    return b->label;
}

const float *fs_backprop_gradient(const fs_backprop *b)
{
    return b->gradient;
}

static const float *weight_of(const fs_backprop *b, const fs_op *op)
{
    return b->net->parameter + op->weight;
}

static const float *bias_of(const fs_backprop *b, const fs_op *op)
{
    return op->biases ? b->net->parameter + op->bias : NULL;
}

static float *prepared_of(const fs_backprop *b, int i)
{
    return b->prepared.data + b->prepared_place[i];
}

static size_t rows_of(const fs_op *op, int images)
{
    return (size_t)images * op->height * op->width;
}

/* Batch statistics of operation `i` over all slots of all ranks, from its input x. */
static void normalise_statistics(fs_backprop *b, int i, const float *x)
{
    const fs_op *op = &b->net->op[i];
    size_t width = 2 * (size_t)op->channels;
    for (int s = 0; s < b->own->count; s++) {
        int offset, images = slot_images(b, b->own->first + s, &offset);
        fs_batchnorm_sums(rows_of(op, images), op->channels, x + offset * fs_op_inputs(op), b->slot_sums + s * width);
    }
    fs_slots_fold(b->own, b->slot_sums, width);
    fs_slots_sum(b->own, b->slot_sums, width);
    fs_batchnorm_statistics((double)rows_of(op, b->images), op->channels, b->slot_sums, b->moments[i],
                            b->moments[i] + op->channels, b->net->statistic + op->statistic);
}

/* A ReLU behind a batch norm is done in the same pass, forward and backward. */
static int relu_follows(const fs_backprop *b, int i)
{
    return i + 1 < b->net->ops && b->net->op[i + 1].kind == FS_RELU;
}

static int norm_before(const fs_backprop *b, int i)
{
    return i > 0 && b->net->op[i - 1].kind == FS_BATCHNORM;
}

/* Operation `i` on one slot: x and y are the slot's. */
static void forward_slot(fs_backprop *b, int i, int images, int offset, const float *x, float *y)
{
    const fs_op *op = &b->net->op[i];
    const float *weight = weight_of(b, op), *bias = bias_of(b, op);
    switch (op->kind) {
    case FS_CONV: {
        fs_conv_shape shape = conv_shape(op, b->most_images);
        fs_conv_forward(&shape, images, x, weight, prepared_of(b, i), bias, FS_CONV_PLAIN, y, b->scratch);
        break;
    }
    case FS_BATCHNORM:
        fs_batchnorm_forward(rows_of(op, images), op->channels, x, b->moments[i], b->moments[i] + op->channels, weight, bias,
                             relu_follows(b, i), y);
        break;
    case FS_RELU:
        if (!norm_before(b, i))
            fs_relu_forward(images * fs_op_outputs(op), y);
        break;
    case FS_MAXPOOL:
        fs_maxpool_forward(images, op->height, op->width, op->channels, op->kernel, x, y,
                           b->winner[i] + offset * fs_op_outputs(op));
        break;
    case FS_AVGPOOL:
        fs_avgpool_forward(images, op->height, op->width, op->channels, op->kernel, x, y);
        break;
    case FS_MAXWINDOW:
    case FS_AVGWINDOW: {
        fs_window window = fs_op_window(op);
        (op->kind == FS_MAXWINDOW ? fs_maxwindow_forward : fs_avgwindow_forward)(images, &window, x, y);
        break;
    }
    case FS_LINEAR:
        fs_linear_forward(images, (int)fs_op_inputs(op), op->out_channels, x, weight, bias, y);
        break;
    }
}

/* Weights of all convolutions for one direction, over those of the other: each rank of the node makes a part. Before, the sums
 * over all ranks at the end of either pass have told that nobody needs those of the other any more. */
static void prepare(fs_backprop *b, int for_input)
{
    for (int i = for_input; i < b->net->ops; i++) { /* of the images there is no gradient */
        const fs_op *op = &b->net->op[i];
        if (op->kind != FS_CONV)
            continue;
        fs_conv_shape shape = conv_shape(op, b->most_images);
        fs_conv_prepare(&shape, weight_of(b, op), for_input, b->prepared.rank, b->prepared.ranks, prepared_of(b, i));
    }
    fs_shared_meet(&b->prepared);
}

static const float *input_of(const fs_backprop *b, int i)
{
    return i ? b->output[i - 1] : b->input;
}

static void forward(fs_backprop *b)
{
    for (int i = 0; i < b->net->ops; i++) {
        const fs_op *op = &b->net->op[i];
        const float *x = input_of(b, i);
        if (op->kind == FS_BATCHNORM)
            normalise_statistics(b, i, x);
        for (int s = 0; s < b->own->count; s++) {
            int offset, images = slot_images(b, b->own->first + s, &offset);
            if (images)
                forward_slot(b, i, images, offset, x + offset * fs_op_inputs(op), b->output[i] + offset * fs_op_outputs(op));
        }
    }
}

/* Loss of all slots; its gradient into delta[0]. */
static void loss(fs_backprop *b, double smoothing, fs_batch_sums *sums)
{
    enum { SUMS = 3 };
    int labels = b->net->labels;
    const float *logits = b->output[b->net->ops - 1];
    for (int s = 0; s < b->own->count; s++) {
        int offset, right, images = slot_images(b, b->own->first + s, &offset);
        double *own = b->slot_sums + s * SUMS;
        own[0] = fs_softmax_loss(images, labels, logits + (size_t)offset * labels, b->label + offset, smoothing,
                                 1.0 / b->images, b->delta[0] + (size_t)offset * labels, &right);
        own[1] = right;
        own[2] = 0;
    }
    fs_slots_fold(b->own, b->slot_sums, SUMS);
    fs_slots_sum(b->own, b->slot_sums, SUMS);
    *sums = (fs_batch_sums){b->slot_sums[0], b->slot_sums[1]};
}

/* Gradient of operation `i`'s weights and bias over one slot, into `out` [weights + biases]. */
static void gradient_slot(fs_backprop *b, int i, int slot, const float *dy, float *out)
{
    const fs_op *op = &b->net->op[i];
    int offset, images = slot_images(b, slot, &offset);
    if (images == 0) {
        memset(out, 0, (op->weights + op->biases) * sizeof *out);
        return;
    }
    const float *x = input_of(b, i) + offset * fs_op_inputs(op), *slot_dy = dy + offset * fs_op_outputs(op);
    float *dbias = op->biases ? out + op->weights : NULL;
    if (op->kind == FS_CONV) {
        fs_conv_shape shape = conv_shape(op, b->most_images);
        fs_conv_backward_weight(&shape, images, x, slot_dy, out, dbias, b->scratch);
    } else {
        fs_linear_backward_weight(images, (int)fs_op_inputs(op), op->out_channels, x, slot_dy, out, dbias);
    }
}

/* The tree over local slots first .. first+count-1, into `out`; level `level` of `partial` holds the right halves. */
static void gradient_tree(fs_backprop *b, int i, int first, int count, int level, const float *dy, float *out)
{
    if (count == 1) {
        gradient_slot(b, i, first, dy, out);
        return;
    }
    const fs_op *op = &b->net->op[i];
    gradient_tree(b, i, first, count / 2, level + 1, dy, out);
    gradient_tree(b, i, first + count / 2, count / 2, level + 1, dy, b->partial[level]);
    fs_add(op->weights + op->biases, out, b->partial[level]);
}

/* Sums of batch norm's backward pass over all slots; they are also the gradients of beta and gamma. */
static void backward_statistics(fs_backprop *b, int i, float *dy)
{
    const fs_op *op = &b->net->op[i];
    size_t width = 2 * (size_t)op->channels;
    for (int s = 0; s < b->own->count; s++) {
        int offset, images = slot_images(b, b->own->first + s, &offset);
        size_t at = offset * fs_op_inputs(op);
        fs_batchnorm_backward_sums(rows_of(op, images), op->channels, input_of(b, i) + at,
                                   relu_follows(b, i) ? b->output[i] + at : NULL, dy + offset * fs_op_inputs(op), b->moments[i],
                                   b->moments[i] + op->channels, b->slot_sums + s * width);
    }
    fs_slots_fold(b->own, b->slot_sums, width);
    fs_slots_sum(b->own, b->slot_sums, width);
    memcpy(b->totals[i], b->slot_sums, width * sizeof(double));
}

/* Gradient of operation `i`'s input over one slot: from dy into dx, or in place on dy. */
static void backward_slot(fs_backprop *b, int i, int images, int offset, float *dy, float *dx)
{
    const fs_op *op = &b->net->op[i];
    size_t at = offset * fs_op_outputs(op);
    switch (op->kind) {
    case FS_CONV: {
        fs_conv_shape shape = conv_shape(op, b->most_images);
        fs_conv_backward_input(&shape, images, dy, weight_of(b, op), prepared_of(b, i), dx, b->scratch);
        break;
    }
    case FS_BATCHNORM:
        fs_batchnorm_backward(rows_of(op, images), op->channels, input_of(b, i) + at, dy, b->moments[i],
                              b->moments[i] + op->channels, weight_of(b, op), b->totals[i], (double)rows_of(op, b->images), dy);
        break;
    case FS_RELU:
        if (!norm_before(b, i))
            fs_relu_backward(images * fs_op_outputs(op), b->output[i] + at, dy);
        break;
    case FS_MAXPOOL:
        fs_maxpool_backward(images, op->height, op->width, op->channels, op->kernel, dy, b->winner[i] + at, dx);
        break;
    case FS_AVGPOOL:
        fs_avgpool_backward(images, op->height, op->width, op->channels, op->kernel, dy, dx);
        break;
    case FS_MAXWINDOW: {
        fs_window window = fs_op_window(op);
        fs_maxwindow_backward(images, &window, input_of(b, i) + offset * fs_op_inputs(op), dy, dx);
        break;
    }
    case FS_AVGWINDOW: {
        fs_window window = fs_op_window(op);
        fs_avgwindow_backward(images, &window, dy, dx);
        break;
    }
    case FS_LINEAR:
        fs_linear_backward_input(images, (int)fs_op_inputs(op), op->out_channels, dy, weight_of(b, op), dx);
        break;
    }
}

static void backward(fs_backprop *b)
{
    float *dy = b->delta[0], *dx = b->delta[1];
    for (int i = b->net->ops - 1; i >= 0; i--) {
        const fs_op *op = &b->net->op[i];
        if (op->kind == FS_BATCHNORM)
            backward_statistics(b, i, dy);
        else if (op->weights && b->own->count)
            gradient_tree(b, i, b->own->first, b->own->count, 1, dy, b->gradient + op->weight);
        if (i == 0)
            break; /* nobody asks for the gradient of the images */
        for (int s = 0; s < b->own->count; s++) {
            int offset, images = slot_images(b, b->own->first + s, &offset);
            if (images)
                backward_slot(b, i, images, offset, dy + offset * fs_op_outputs(op), dx + offset * fs_op_inputs(op));
        }
        if (op->kind != FS_BATCHNORM && op->kind != FS_RELU) { /* those two work in place */
            float *swap = dy;
            dy = dx;
            dx = swap;
        }
    }
}

/* Batch norm's gradients are totals already: they go into the gradient after the sum over ranks. */
static void place_totals(fs_backprop *b)
{
    for (int i = 0; i < b->net->ops; i++) {
        const fs_op *op = &b->net->op[i];
        if (op->kind != FS_BATCHNORM)
            continue;
        for (size_t c = 0; c < op->weights; c++) {
            b->gradient[op->bias + c] = (float)b->totals[i][c];
            b->gradient[op->weight + c] = (float)b->totals[i][op->weights + c];
        }
    }
}

void fs_backprop_run(fs_backprop *b, int images, double smoothing, fs_batch_sums *sums)
{
    b->images = images;
    prepare(b, 0);
    forward(b);
    loss(b, smoothing, sums);
    prepare(b, 1);
    backward(b);
    fs_slots_sum_float(b->own, b->gradient, b->net->parameters);
    place_totals(b);
}
