/* Where branches begin and meet. The gradient of a map that several lines read is their sum, in the order of the lines. */
#include <string.h>

#include "filterscope/layers.h"
#include "ops/ops.h"
#include "ops/words.h"

static fs_status read_names(fs_words *w, fs_layer *layer, int least)
{
    for (const char *word; (word = fs_words_take(w));) {
        if (layer->sources == FS_MOST_INPUTS)
            return fs_words_fail(w, "more than %d maps", FS_MOST_INPUTS);
        if (strlen(word) >= FS_NAME_BYTES)
            return fs_words_fail(w, "'%s' is longer than a name", word);
        strcpy(layer->source[layer->sources++], word);
    }
    return layer->sources >= least ? FS_OK : fs_words_fail(w, "'%s' wants the name of a map", w->word[0]);
}

static fs_status read_from(fs_words *w, fs_layer *layer)
{
    fs_status status = read_names(w, layer, 1);
    return status || layer->sources == 1 ? status
                                         : fs_words_fail(w, "unexpected '%s' after '%s'", layer->source[1], layer->source[0]);
}

static fs_status read_concat(fs_words *w, fs_layer *layer)
{
    return read_names(w, layer, 2);
}

/* The current map, and then those that are named. */
static fs_status read_add(fs_words *w, fs_layer *layer)
{
    strcpy(layer->source[layer->sources++], FS_HERE);
    return read_names(w, layer, 2);
}

static fs_status read_scale(fs_words *w, fs_layer *layer)
{
    fs_status status = read_add(w, layer);
    return status || layer->sources == 2 ? status
                                         : fs_words_fail(w, "unexpected '%s' after '%s'", layer->source[2], layer->source[1]);
}

/* The shape of one input. */
struct map {
    int height, width, channels;
};

static struct map map_of(const fs_op *op, const fs_place *place, int input)
{
    const fs_op *from = op->input[input];
    struct map images = {place->image_height, place->image_width, place->image_channels};
    return from ? (struct map){from->out_height, from->out_width, from->out_channels} : images;
}

static fs_status fail_shapes(const fs_layer *layer, int input, struct map map, struct map wanted)
{
    return fs_fail(FS_USAGE, "'%s' is %dx%dx%d, '%s' is %dx%dx%d", layer->source[input], map.height, map.width, map.channels,
                   layer->source[0], wanted.height, wanted.width, wanted.channels);
}

static fs_status shape_add(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    struct map first = map_of(op, place, 0);
    for (int k = 1; k < op->inputs; k++) {
        struct map map = map_of(op, place, k);
        if (map.height != first.height || map.width != first.width || map.channels != first.channels)
            return fail_shapes(layer, k, map, first);
    }
    return FS_OK;
}

static fs_status shape_concat(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    struct map first = map_of(op, place, 0);
    double channels = first.channels;
    for (int k = 1; k < op->inputs; k++) {
        struct map map = map_of(op, place, k);
        if (map.height != first.height || map.width != first.width)
            return fail_shapes(layer, k, map, first);
        channels += map.channels;
    }
    fs_status status = fs_op_check_size("map", op->height, op->width, (size_t)channels);
    if (!status)
        op->out_channels = (int)channels;
    return status;
}

static fs_status shape_scale(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    struct map factor = map_of(op, place, 0), map = map_of(op, place, 1);
    int one = factor.height == 1 && factor.width == 1, same = factor.height == map.height && factor.width == map.width;
    if (factor.channels != map.channels || !(one || same))
        return fail_shapes(layer, 1, map, factor);
    op->out_height = map.height;
    op->out_width = map.width;
    return FS_OK;
}

static void forward_add(const fs_pass *pass)
{
    size_t count = pass->images * fs_op_outputs(pass->step->op);
    if (pass->y != pass->x[0])
        memcpy(pass->y, pass->x[0], count * sizeof *pass->y);
    for (int k = 1; k < pass->step->op->inputs; k++)
        fs_add(count, pass->y, pass->x[k]);
}

static void backward_add(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    if (dx != dy)
        memcpy(dx, dy, pass->images * fs_op_outputs(pass->step->op) * sizeof *dx);
}

/* Channels of one input of a concat, and of those before it. */
static size_t channels_of(const fs_op *op, int input, size_t *before)
{
    size_t pixels = (size_t)op->out_height * op->out_width, channels = 0;
    *before = 0;
    for (int k = 0; k <= input; k++) {
        *before += channels;
        channels = (op->input[k] ? fs_op_outputs(op->input[k]) : fs_op_inputs(op)) / pixels; /* the images come once */
    }
    return channels;
}

static void forward_concat(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    size_t all = (size_t)op->out_channels, before;
    for (int k = 0; k < op->inputs; k++) {
        size_t channels = channels_of(op, k, &before);
        for (size_t row = 0; row < fs_rows_of(op, pass->images); row++)
            memcpy(pass->y + row * all + before, pass->x[k] + row * channels, channels * sizeof *pass->y);
    }
}

static void backward_concat(const fs_pass *pass, int input, float *dy, float *dx)
{
    const fs_op *op = pass->step->op;
    size_t all = (size_t)op->out_channels, before, channels = channels_of(op, input, &before);
    for (size_t row = 0; row < fs_rows_of(op, pass->images); row++)
        memcpy(dx + row * channels, dy + row * all + before, channels * sizeof *dx);
}

/* Pixels of the output that one of the factor's scales: 1, or the map's. */
static size_t pixels_a_factor(const fs_op *op)
{
    return (size_t)op->out_height * op->out_width / ((size_t)op->height * op->width);
}

static int origin_concat(const fs_op *op, int input, int channel)
{
    size_t before, channels = channels_of(op, input, &before);
    return (size_t)channel >= before && (size_t)channel < before + channels ? channel - (int)before : -1;
}

/* A channel stays that of the map, whatever its factor is. */
static int origin_scale(const fs_op *op, int input, int channel)
{
    (void)op;
    return input == 1 ? channel : -1;
}

static void forward_scale(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    size_t channels = (size_t)op->channels, share = pixels_a_factor(op), rows = fs_rows_of(op, pass->images) * share;
    for (size_t row = 0; row < rows; row++) {
        const float *factor = pass->x[0] + row / share * channels, *x = pass->x[1] + row * channels;
        for (size_t c = 0; c < channels; c++)
            pass->y[row * channels + c] = factor[c] * x[c];
    }
}

static void backward_scale(const fs_pass *pass, int input, float *dy, float *dx)
{
    const fs_op *op = pass->step->op;
    size_t channels = (size_t)op->channels, share = pixels_a_factor(op), rows = fs_rows_of(op, pass->images) * share;
    if (input == 0)
        memset(dx, 0, rows / share * channels * sizeof *dx);
    for (size_t row = 0; row < rows; row++) {
        size_t of_factor = row / share * channels, of_map = row * channels;
        for (size_t c = 0; c < channels; c++)
            if (input == 0)
                dx[of_factor + c] += dy[of_map + c] * pass->x[1][of_map + c];
            else
                dx[of_map + c] = dy[of_map + c] * pass->x[0][of_factor + c];
    }
}

const fs_kind fs_kind_from = {.word = "from", .names = 1, .branches = 1, .read = read_from};
const fs_kind fs_kind_add = {.word = "add",
                             .names = 1,
                             .joins = 1,
                             .read = read_add,
                             .shape = shape_add,
                             .in_place = 1,
                             .forward = forward_add,
                             .backward = backward_add};
const fs_kind fs_kind_concat = {.word = "concat",
                                .names = 1,
                                .joins = 1,
                                .read = read_concat,
                                .shape = shape_concat,
                                .origin = origin_concat,
                                .forward = forward_concat,
                                .backward = backward_concat};
const fs_kind fs_kind_scale = {.word = "scale",
                               .names = 1,
                               .joins = 1,
                               .read = read_scale,
                               .shape = shape_scale,
                               .origin = origin_scale,
                               .forward = forward_scale,
                               .reads_input = 1,
                               .backward = backward_scale};
