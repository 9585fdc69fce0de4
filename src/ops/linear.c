/* Fully connected layers. */
#include "filterscope/layers.h"
#include "ops/ops.h"
#include "ops/words.h"

static fs_status read(fs_words *w, fs_layer *layer)
{
    fs_status status = fs_words_units(w, "units", &layer->units);
    if (!status)
        layer->bias = fs_words_take_if(w, "bias");
    return status;
}

static fs_status shape(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    op->out_height = op->out_width = 1;
    op->out_channels = fs_units_of(layer, place);
    op->weights = fs_op_inputs(op) * (size_t)op->out_channels;
    op->biases = layer->bias ? (size_t)op->out_channels : 0;
    return fs_op_check_size("map", op->height, op->width, (size_t)op->channels);
}

static double macs(const fs_op *op)
{
    return (double)op->weights;
}

static int axes(const fs_op *op, size_t size[4])
{
    size[0] = (size_t)op->out_channels;
    size[1] = fs_op_inputs(op);
    return 2;
}

static void kernels(const fs_op *op, fs_kernels *k)
{
    *k = (fs_kernels){.outputs = op->out_channels,
                      .inputs = op->channels,
                      .places = op->height * op->width,
                      .output = fs_op_inputs(op),
                      .input = 1,
                      .place = (size_t)op->channels};
}

static void initialise(const fs_op *op, uint64_t seed, int number, float *parameter, float *statistic)
{
    (void)statistic;
    fs_op_initialise(op, seed, number, fs_op_inputs(op), parameter);
}

static void forward(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    fs_linear_forward(pass->images, (int)fs_op_inputs(op), op->out_channels, pass->x[0], fs_weight_of(pass), fs_bias_of(pass),
                      pass->y);
}

static void backward(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    const fs_op *op = pass->step->op;
    fs_linear_backward_input(pass->images, (int)fs_op_inputs(op), op->out_channels, dy, fs_weight_of(pass), dx);
}

static void gradient(const fs_pass *pass, const float *dy, float *out)
{
    const fs_op *op = pass->step->op;
    fs_linear_backward_weight(pass->images, (int)fs_op_inputs(op), op->out_channels, pass->x[0], dy, out,
                              op->biases ? out + op->weights : NULL);
}

const fs_kind fs_kind_fc = {
    .word = "fc",
    .read = read,
    .flattens = 1,
    .dense = 1,
    .shape = shape,
    .macs = macs,
    .array = "fc",
    .weight = "weight",
    .bias = "bias",
    .axes = axes,
    .kernels = kernels,
    .initialise = initialise,
    .forward = forward,
    .channel = fs_linear_channel,
    .subtract = fs_linear_subtract,
    .reads_input = 1,
    .backward = backward,
    .gradient = gradient,
};
