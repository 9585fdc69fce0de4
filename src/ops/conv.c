/* Convolutions. In inference one takes along what follows it, as far as one pass over its output can: a batch norm goes into
 * its weights and bias, an addition, an activation and a 2x2 max pool into the kernel's epilogue. */
#include <stdint.h>

#include "filterscope/layers.h"
#include "ops/ops.h"
#include "ops/words.h"

static fs_status read_groups(fs_words *w, fs_layer *layer)
{
    const char *word = fs_words_take(w), *rest = word ? word : "";
    layer->groups = fs_words_number(&rest, FS_MOST_UNITS);
    return layer->groups >= 1 && !*rest
               ? FS_OK
               : fs_words_fail(w, "'%s' is no number of groups in 1 .. %d", word ? word : "", FS_MOST_UNITS);
}

static fs_status read(fs_words *w, fs_layer *layer)
{
    fs_status status = fs_words_units(w, "filters", &layer->units);
    layer->groups = 1;
    if (!status)
        status = fs_words_size(w, "size", 1, &layer->size);
    while (!status && w->next < w->count) {
        if (fs_words_take_if(w, "stride"))
            status = fs_words_size(w, "stride", 1, &layer->stride);
        else if (fs_words_take_if(w, "pad"))
            status = fs_words_pads(w, layer);
        else if (fs_words_take_if(w, "dilation"))
            status = fs_words_size(w, "dilation", 1, &layer->dilation);
        else if (fs_words_take_if(w, "groups"))
            status = read_groups(w, layer);
        else if (fs_words_take_if(w, "bias"))
            layer->bias = 1;
        else
            break;
    }
    return status;
}

static int conv_shape(const fs_op *op, fs_conv_shape *shape)
{
    *shape = (fs_conv_shape){.height = op->height,
                             .width = op->width,
                             .channels = op->channels,
                             .filters = op->out_channels,
                             .kernel = op->kernel,
                             .stride = op->stride,
                             .pad = op->pad,
                             .pad_end = op->pad_end,
                             .dilation = op->dilation,
                             .groups = op->groups};
    return 1;
}

static fs_status check_window(const fs_place *place, const fs_op *op)
{
    int64_t height = (int64_t)op->dilation.height * (op->kernel.height - 1) + 1;
    int64_t width = (int64_t)op->dilation.width * (op->kernel.width - 1) + 1;
    if (op->channels % op->groups || op->out_channels % op->groups)
        return fs_fail(FS_USAGE, "%d groups do not divide %d channels and %d filters", op->groups, op->channels,
                       op->out_channels);
    if (op->height + op->pad.height + op->pad_end.height < height || op->width + op->pad.width + op->pad_end.width < width)
        return fs_fail(FS_USAGE, "a %dx%d kernel on a %dx%d map (%dx%d images)", (int)height, (int)width, op->height, op->width,
                       place->image_height, place->image_width);
    return FS_OK;
}

static fs_status shape(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    fs_conv_shape shape;
    op->out_channels = fs_units_of(layer, place);
    fs_op_take_window(layer, op);
    op->groups = layer->groups;
    fs_status status = check_window(place, op);
    if (status)
        return status;
    conv_shape(op, &shape);
    op->out_height = fs_conv_out_height(&shape);
    op->out_width = fs_conv_out_width(&shape);
    op->weights = fs_conv_weights(&shape);
    op->biases = layer->bias ? (size_t)op->out_channels : 0;
    status = fs_op_check_size("map", op->out_height, op->out_width, (size_t)op->out_channels);
    return status ? status : fs_op_check_size("window", op->kernel.height, op->kernel.width, (size_t)op->channels);
}

static double macs(const fs_op *op)
{
    return (double)op->weights * op->out_height * op->out_width;
}

static int stands_alone(const fs_op *op)
{
    fs_conv_shape shape;
    conv_shape(op, &shape);
    return fs_conv_stands_alone(&shape);
}

static int axes(const fs_op *op, size_t size[4])
{
    size[0] = (size_t)op->kernel.height;
    size[1] = (size_t)op->kernel.width;
    size[2] = (size_t)(op->channels / op->groups);
    size[3] = (size_t)op->out_channels;
    return 4;
}

static void kernels(const fs_op *op, fs_kernels *k)
{
    size_t filters = (size_t)op->out_channels, channels = (size_t)(op->channels / op->groups);
    *k = (fs_kernels){.outputs = op->out_channels,
                      .inputs = (int)channels,
                      .places = op->kernel.height * op->kernel.width,
                      .output = 1,
                      .input = filters,
                      .place = filters * channels};
}

static void initialise(const fs_op *op, uint64_t seed, int number, float *parameter, float *statistic)
{
    (void)statistic;
    fs_op_initialise(op, seed, number, op->weights / op->out_channels, parameter);
}

/* In training weights are new for every batch: where that is a slot's worth of images, they may be better left as they are. */
static fs_conv_shape shape_of(const fs_step *step)
{
    fs_conv_shape shape;
    conv_shape(step->op, &shape);
    shape.direct = step->slot_images && fs_conv_prefers_direct(&shape, step->slot_images);
    return shape;
}

static int adds(const fs_step *step)
{
    return step->inputs > step->op->inputs;
}

static int acts(const fs_step *step)
{
    return step->after.clips || step->after.activation;
}

static int takes_pool(const fs_step *step, const fs_op *next)
{
    fs_conv_shape shape = shape_of(step);
    return next->kind == &fs_kind_maxpool && next->plain && next->kernel.height == 2 && fs_conv_pools(&shape) && !adds(step) &&
           !step->after.activation && !step->after.pools;
}

/* A batch norm, an addition, what acts on each number alone, a pool: each once, and in this order. */
static int take(fs_step *step, const fs_op *next)
{
    if (step->slot_images) /* training: the backward pass wants all maps */
        return 0;
    if (takes_pool(step, next))
        return step->after.pools = 1;
    if (acts(step) || step->after.pools)
        return 0;
    if (next->kind == &fs_kind_bn && !step->norm && !adds(step)) {
        step->norm = next;
        return 1;
    }
    if (next->kind->follow) {
        next->kind->follow(next, &step->after);
        return 1;
    }
    return next->kind == &fs_kind_add && !adds(step);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t scratch(const fs_step *step, int images)
{
    fs_conv_shape shape = shape_of(step);
    size_t floats = fs_conv_scratch(&shape, images);
    return step->slot_images ? floats : larger(floats, step->op->weights); /* where weights are folded */
}

/* What is made once for inference: the shift [filters], the weights as fs_conv_prepare makes them, and the folded weights where
 * the convolution prepares nothing. */
struct folded {
    float *shift, *prepared, *weight, *end;
};

static struct folded folded_at(const fs_step *step, float *first)
{
    fs_conv_shape shape = shape_of(step);
    size_t filters = ((size_t)shape.filters + 15) / 16 * 16, prepared = fs_conv_prepared(&shape); /* keeps 64-byte lines */
    struct folded f = {first, first + filters, first + filters + prepared, NULL};
    f.end = f.weight + (prepared ? 0 : (step->op->weights + 15) / 16 * 16);
    return f;
}

static size_t folded(const fs_step *step)
{
    return (uintptr_t)folded_at(step, NULL).end / sizeof(float);
}

/* weight [taps x channels][filters] times scale, and bias times scale plus the batch norm's shift. */
static void fold_into(const fs_pass *pass, float *weight, float *shift)
{
    const fs_op *op = pass->step->op, *norm = pass->step->norm;
    const float *own = fs_weight_of(pass), *bias = fs_bias_of(pass);
    size_t filters = (size_t)op->out_channels;
    for (size_t f = 0; f < filters; f++) {
        double scale = fs_conv_scale(pass, f), offset = bias ? bias[f] : 0;
        if (norm)
            offset = (offset - pass->statistic[norm->statistic + f]) * scale + pass->parameter[norm->bias + f];
        shift[f] = (float)offset;
        for (size_t i = f; i < op->weights; i += filters)
            weight[i] = (float)(own[i] * scale);
    }
}

static void fold(const fs_pass *pass)
{
    fs_conv_shape shape = shape_of(pass->step);
    struct folded f = folded_at(pass->step, pass->prepared);
    float *weight = f.end == f.weight ? pass->scratch : f.weight;
    fold_into(pass, weight, f.shift);
    fs_conv_prepare(&shape, weight, 0, 0, 1, f.prepared);
}

static void infer(const fs_pass *pass)
{
    fs_conv_shape shape = shape_of(pass->step);
    struct folded f = folded_at(pass->step, pass->prepared);
    fs_conv_after after = pass->step->after;
    after.addend = adds(pass->step) ? pass->x[pass->step->op->inputs] : NULL;
    fs_conv_forward(&shape, pass->images, pass->x[0], f.weight, f.prepared, f.shift, &after, pass->y, pass->scratch);
}

static size_t prepared(const fs_step *step)
{
    fs_conv_shape shape = shape_of(step);
    return fs_conv_prepared(&shape);
}

static void prepare(const fs_pass *pass, int for_input, int part, int parts)
{
    fs_conv_shape shape = shape_of(pass->step);
    fs_conv_prepare(&shape, fs_weight_of(pass), for_input, part, parts, pass->prepared);
}

static void forward(const fs_pass *pass)
{
    fs_conv_shape shape = shape_of(pass->step);
    fs_conv_forward(&shape, pass->images, pass->x[0], fs_weight_of(pass), pass->prepared, fs_bias_of(pass), NULL, pass->y,
                    pass->scratch);
}

static void backward(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    fs_conv_shape shape = shape_of(pass->step);
    fs_conv_backward_input(&shape, pass->images, dy, fs_weight_of(pass), pass->prepared, dx, pass->scratch);
}

static void gradient(const fs_pass *pass, const float *dy, float *out)
{
    fs_conv_shape shape = shape_of(pass->step);
    const fs_op *op = pass->step->op;
    fs_conv_backward_weight(&shape, pass->images, pass->x[0], dy, out, op->biases ? out + op->weights : NULL, pass->scratch);
}

const fs_kind fs_kind_conv = {
    .word = "conv",
    .read = read,
    .begins = 1,
    .maps_only = 1,
    .counts = 1,
    .by_channel = 1,
    .shape = shape,
    .macs = macs,
    .conv = conv_shape,
    .stands_alone = stands_alone,
    .array = "conv",
    .weight = "weight",
    .bias = "bias",
    .axes = axes,
    .kernels = kernels,
    .initialise = initialise,
    .take = take,
    .scratch = scratch,
    .forward = forward,
    .folded = folded,
    .fold = fold,
    .infer = infer,
    .channel = fs_conv_channel,
    .subtract = fs_conv_subtract,
    .prepared = prepared,
    .prepare = prepare,
    .reads_input = 1,
    .backward = backward,
    .gradient = gradient,
};
