/* Batch normalisation, with the ReLU or ReLU6 that follows it in the same pass. */
#include <math.h>
#include <string.h>

#include "filterscope/layers.h"
#include "ops/ops.h"

static fs_status shape(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    (void)layer;
    if (place->flat && (op->height > 1 || op->width > 1))
        return fs_fail(FS_USAGE, "normalises channels: it belongs before the flatten of a %dx%d map", op->height, op->width);
    op->weights = op->biases = (size_t)op->channels;
    op->statistics = 2 * op->weights;
    return FS_OK;
}

static void initialise(const fs_op *op, uint64_t seed, int number, float *parameter, float *statistic)
{
    (void)seed;
    (void)number;
    for (size_t c = 0; c < op->weights; c++)
        parameter[c] = statistic[op->weights + c] = 1.0f;
}

static int take(fs_step *step, const fs_op *next)
{
    fs_conv_after after = {0};
    if (next->kind->follow)
        next->kind->follow(next, &after);
    if (!after.clips || step->after.clips)
        return 0;
    step->after = after;
    return 1;
}

/* Of the clip that follows; 0 for none. */
static float ceiling_of(const fs_pass *pass)
{
    return pass->step->after.clips ? pass->step->after.ceiling : 0;
}

static void infer(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    if (pass->y != pass->x[0])
        memcpy(pass->y, pass->x[0], pass->images * fs_op_inputs(op) * sizeof *pass->y);
    fs_batchnorm_infer(fs_rows_of(op, pass->images), op->channels, pass->y, pass->statistic + op->statistic, fs_weight_of(pass),
                       fs_bias_of(pass), ceiling_of(pass));
}

static size_t sums(const fs_op *op)
{
    return 2 * (size_t)op->channels;
}

static void forward_sums(const fs_pass *pass, double *sums)
{
    const fs_op *op = pass->step->op;
    fs_batchnorm_sums(fs_rows_of(op, pass->images), op->channels, pass->x[0], sums);
}

static void statistics(const fs_pass *pass, const double *totals, float *running)
{
    const fs_op *op = pass->step->op;
    fs_batchnorm_statistics((double)fs_rows_of(op, pass->batch_images), op->channels, totals, pass->moments,
                            pass->moments + op->channels, running);
}

static void frozen(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    const float *running = pass->statistic + op->statistic;
    for (int c = 0; c < op->channels; c++) {
        pass->moments[c] = running[c];
        pass->moments[op->channels + c] = (float)(1.0 / sqrt(running[op->channels + c] + FS_BATCHNORM_EPSILON));
    }
}

static void forward(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    fs_batchnorm_forward(fs_rows_of(op, pass->images), op->channels, pass->x[0], pass->moments, pass->moments + op->channels,
                         fs_weight_of(pass), fs_bias_of(pass), ceiling_of(pass), pass->y);
}

static void backward_sums(const fs_pass *pass, float *dy, double *sums)
{
    const fs_op *op = pass->step->op;
    fs_batchnorm_backward_sums(fs_rows_of(op, pass->images), op->channels, pass->x[0], ceiling_of(pass) > 0 ? pass->y : NULL,
                               ceiling_of(pass), dy, pass->moments, pass->moments + op->channels, sums);
}

static void backward(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    const fs_op *op = pass->step->op;
    fs_batchnorm_backward(fs_rows_of(op, pass->images), op->channels, pass->x[0], dy, pass->moments,
                          pass->moments + op->channels, fs_weight_of(pass), pass->totals,
                          (double)fs_rows_of(op, pass->batch_images), dx);
}

/* The sums of the backward pass are the gradients of beta and gamma. */
static void gradient_of_totals(const fs_op *op, const double *totals, float *out)
{
    for (size_t c = 0; c < op->weights; c++) {
        out[op->weights + c] = (float)totals[c];
        out[c] = (float)totals[op->weights + c];
    }
}

double fs_conv_scale(const fs_pass *pass, size_t filter)
{
    const fs_op *norm = pass->step->norm;
    if (!norm)
        return 1;
    const float *variance = pass->statistic + norm->statistic + pass->step->op->out_channels;
    return pass->parameter[norm->weight + filter] / sqrt(variance[filter] + FS_BATCHNORM_EPSILON);
}

const fs_kind fs_kind_bn = {
    .word = "bn",
    .by_channel = 1,
    .shape = shape,
    .array = "bn",
    .weight = "gamma",
    .bias = "beta",
    .initialise = initialise,
    .in_place = 1,
    .take = take,
    .forward = forward,
    .infer = infer,
    .reads_input = 1,
    .reads_output = 1,
    .backward = backward,
    .sums = sums,
    .forward_sums = forward_sums,
    .statistics = statistics,
    .frozen = frozen,
    .backward_sums = backward_sums,
    .gradient_of_totals = gradient_of_totals,
};
