/* Pools. A plain one is square, with a stride of its size, and divides its map; all others take the kernels of any window:
 * overlapping, padded, leaving a rest out or taking it, or global over a map that is not square. */
#include <stdio.h>

#include "filterscope/layers.h"
#include "ops/ops.h"
#include "ops/words.h"

static fs_status read(fs_words *w, fs_layer *layer)
{
    fs_status status = fs_words_size(w, "size", 1, &layer->size);
    layer->stride = layer->size;
    while (!status && w->next < w->count) {
        if (fs_words_take_if(w, "stride"))
            status = fs_words_size(w, "stride", 1, &layer->stride);
        else if (fs_words_take_if(w, "pad"))
            status = fs_words_size(w, "pad", 0, &layer->pad);
        else if (fs_words_take_if(w, "floor"))
            layer->floor = 1;
        else if (fs_words_take_if(w, "ceil"))
            layer->ceil = 1;
        else
            break;
    }
    if (!status && layer->floor && layer->ceil)
        return fs_words_fail(w, "both 'floor' and 'ceil'");
    if (!status && (layer->pad.height > layer->size.height / 2 || layer->pad.width > layer->size.width / 2))
        return fs_words_fail(w, "pad %dx%d of a %dx%d pool: at most half its size", layer->pad.height, layer->pad.width,
                             layer->size.height, layer->size.width);
    return status;
}

/* Size of the output along an axis; 0 where the window is larger than the padded map. */
static int steps(int size, int kernel, int stride, int pad)
{
    return size + 2 * pad < kernel ? 0 : (size + 2 * pad - kernel) / stride + 1;
}

/* 1 where a further window begins inside the map or the padding before it: what "ceil" takes and "floor" leaves out. */
static int leaves_rest(int size, int kernel, int stride, int pad)
{
    return (size + 2 * pad - kernel) % stride && steps(size, kernel, stride, pad) * stride < size + pad;
}

static fs_status fail_rest(const fs_layer *l, const fs_place *place, const fs_op *op)
{
    char stride[40] = "";
    if (l->stride.height != l->size.height || l->stride.width != l->size.width)
        snprintf(stride, sizeof stride, " of stride %dx%d", l->stride.height, l->stride.width);
    return fs_fail(FS_USAGE,
                   "a %dx%d pool%s does not divide the %dx%d map after convolution %d (%dx%d images); 'floor' leaves the rest "
                   "out, 'ceil' gives it a window",
                   l->size.height, l->size.width, stride, op->height, op->width, place->convolutions, place->image_height,
                   place->image_width);
}

static int is_plain(const fs_op *op)
{
    enum { MOST_PLAIN = 16 }; /* see fs_maxpool_forward */
    int size = op->kernel.height, square = op->kernel.width == size && op->stride.height == size && op->stride.width == size;
    return square && size <= MOST_PLAIN && !op->pad.height && !op->pad.width && op->height % size == 0 && op->width % size == 0;
}

static fs_status shape(const fs_layer *l, const fs_place *place, fs_op *op)
{
    op->kernel = l->size;
    op->stride = l->stride;
    op->pad = l->pad;
    op->out_height = steps(op->height, l->size.height, l->stride.height, l->pad.height);
    op->out_width = steps(op->width, l->size.width, l->stride.width, l->pad.width);
    if (!op->out_height || !op->out_width)
        return fs_fail(FS_USAGE, "a %dx%d pool on a %dx%d map (%dx%d images)", l->size.height, l->size.width, op->height,
                       op->width, place->image_height, place->image_width);
    int rows_left = leaves_rest(op->height, l->size.height, l->stride.height, l->pad.height);
    int columns_left = leaves_rest(op->width, l->size.width, l->stride.width, l->pad.width);
    if ((rows_left || columns_left) && !l->floor && !l->ceil && !place->silent_floor)
        return fail_rest(l, place, op);
    op->out_height += l->ceil && rows_left;
    op->out_width += l->ceil && columns_left;
    op->plain = is_plain(op);
    return FS_OK;
}

static fs_status shape_global(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    fs_layer whole = *layer;
    whole.size = whole.stride = (fs_size){op->height, op->width};
    return shape(&whole, place, op);
}

static fs_window window_of(const fs_op *op)
{
    return (fs_window){op->height,       op->width,         op->channels,     op->out_height, op->out_width, op->kernel.height,
                       op->kernel.width, op->stride.height, op->stride.width, op->pad.height, op->pad.width};
}

/* The place of each maximum in its window. */
static size_t kept_max(const fs_op *op)
{
    return op->plain ? fs_op_outputs(op) : 0;
}

static void forward_max(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    fs_window window = window_of(op);
    if (op->plain)
        fs_maxpool_forward(pass->images, op->height, op->width, op->channels, op->kernel.height, pass->x[0], pass->y,
                           pass->kept);
    else
        fs_maxwindow_forward(pass->images, &window, pass->x[0], pass->y);
}

static void backward_max(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    const fs_op *op = pass->step->op;
    fs_window window = window_of(op);
    if (op->plain)
        fs_maxpool_backward(pass->images, op->height, op->width, op->channels, op->kernel.height, dy, pass->kept, dx);
    else
        fs_maxwindow_backward(pass->images, &window, pass->x[0], dy, dx);
}

static void forward_average(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    fs_window window = window_of(op);
    if (op->plain)
        fs_avgpool_forward(pass->images, op->height, op->width, op->channels, op->kernel.height, pass->x[0], pass->y);
    else
        fs_avgwindow_forward(pass->images, &window, pass->x[0], pass->y);
}

static void backward_average(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    const fs_op *op = pass->step->op;
    fs_window window = window_of(op);
    if (op->plain)
        fs_avgpool_backward(pass->images, op->height, op->width, op->channels, op->kernel.height, dy, dx);
    else
        fs_avgwindow_backward(pass->images, &window, dy, dx);
}

#define POOL .maps_only = 1, .pools = 1
#define MAXIMUM .kept = kept_max, .reads_input = 1, .forward = forward_max, .backward = backward_max
#define AVERAGE .forward = forward_average, .backward = backward_average

const fs_kind fs_kind_maxpool = {.word = "maxpool", POOL, .read = read, .shape = shape, MAXIMUM};
const fs_kind fs_kind_avgpool = {.word = "avgpool", POOL, .read = read, .shape = shape, AVERAGE};
const fs_kind fs_kind_globalmax = {.word = "globalmax", POOL, .shape = shape_global, MAXIMUM};
const fs_kind fs_kind_globalavg = {.word = "globalavg", POOL, .shape = shape_global, AVERAGE};
