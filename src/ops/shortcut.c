/* The shortcut without parameters of the CIFAR ResNets (He et al., 2016, option A): every so many pixels of a map, and channels
 * of zeros around its own. */
#include <string.h>

#include "ops/ops.h"
#include "ops/words.h"

static fs_status read_subsample(fs_words *w, fs_layer *layer)
{
    return fs_words_size(w, "stride", 1, &layer->stride);
}

static fs_status shape_subsample(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    (void)place;
    op->stride = layer->stride;
    op->out_height = (op->height - 1) / op->stride.height + 1;
    op->out_width = (op->width - 1) / op->stride.width + 1;
    return FS_OK;
}

/* The pixel of the input that output pixel `row` of all images is. */
static size_t source_of(const fs_op *op, size_t row)
{
    size_t x = row % op->out_width, y = row / op->out_width % op->out_height, image = row / op->out_width / op->out_height;
    return (image * op->height + y * op->stride.height) * op->width + x * op->stride.width;
}

static size_t rows_out(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    return (size_t)pass->images * op->out_height * op->out_width;
}

static void forward_subsample(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    size_t channels = (size_t)op->channels;
    for (size_t row = 0; row < rows_out(pass); row++)
        memcpy(pass->y + row * channels, pass->x[0] + source_of(op, row) * channels, channels * sizeof *pass->y);
}

static void backward_subsample(const fs_pass *pass, int input, float *dy, float *dx)
{
    const fs_op *op = pass->step->op;
    size_t channels = (size_t)op->channels;
    (void)input;
    memset(dx, 0, pass->images * fs_op_inputs(op) * sizeof *dx);
    for (size_t row = 0; row < rows_out(pass); row++)
        memcpy(dx + source_of(op, row) * channels, dy + row * channels, channels * sizeof *dx);
}

static fs_status read_zeropad(fs_words *w, fs_layer *layer)
{
    if (!fs_words_take_if(w, "channels"))
        return fs_words_fail(w, "'zeropad' wants 'channels', and how many before and behind");
    int *const number[] = {&layer->before, &layer->behind};
    for (int i = 0; i < 2; i++) {
        const char *text = fs_words_take(w), *rest = text ? text : "";
        *number[i] = fs_words_number(&rest, FS_MOST_UNITS);
        if (*number[i] < 0 || *rest)
            return fs_words_fail(w, "'%s' is no number of channels in 0 .. %d", text ? text : "", FS_MOST_UNITS);
    }
    return FS_OK;
}

static fs_status shape_zeropad(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    size_t channels = (size_t)layer->before + (size_t)op->channels + (size_t)layer->behind;
    fs_status status = fs_op_check_size("map", op->height, op->width, channels);
    (void)place;
    op->before = layer->before;
    op->out_channels = status ? op->channels : (int)channels;
    return status;
}

static int origin_zeropad(const fs_op *op, int input, int channel)
{
    (void)input;
    return channel >= op->before && channel < op->before + op->channels ? channel - op->before : -1;
}

static void forward_zeropad(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    size_t channels = (size_t)op->channels, all = (size_t)op->out_channels, rows = rows_out(pass);
    memset(pass->y, 0, rows * all * sizeof *pass->y);
    for (size_t row = 0; row < rows; row++)
        memcpy(pass->y + row * all + op->before, pass->x[0] + row * channels, channels * sizeof *pass->y);
}

static void backward_zeropad(const fs_pass *pass, int input, float *dy, float *dx)
{
    const fs_op *op = pass->step->op;
    size_t channels = (size_t)op->channels, all = (size_t)op->out_channels;
    (void)input;
    for (size_t row = 0; row < rows_out(pass); row++)
        memcpy(dx + row * channels, dy + row * all + op->before, channels * sizeof *dx);
}

const fs_kind fs_kind_subsample = {.word = "subsample",
                                   .maps_only = 1,
                                   .read = read_subsample,
                                   .shape = shape_subsample,
                                   .forward = forward_subsample,
                                   .backward = backward_subsample};
const fs_kind fs_kind_zeropad = {.word = "zeropad",
                                 .maps_only = 1,
                                 .read = read_zeropad,
                                 .shape = shape_zeropad,
                                 .origin = origin_zeropad,
                                 .forward = forward_zeropad,
                                 .backward = backward_zeropad};
