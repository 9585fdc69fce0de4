/* Pools. A plain one is square, with a stride of its size, and divides its map; all others take the kernels of any window:
 * overlapping, padded, leaving a rest out or taking it, or global over a map that is not square. */
#include <stdio.h>

#include "filterscope/layers.h"
#include "ops/ops.h"
#include "ops/words.h"

static fs_status check_words(const fs_words *w, const fs_layer *l)
{
    if (l->floor && l->ceil)
        return fs_words_fail(w, "both 'floor' and 'ceil'");
    if (l->pad.height < l->size.height && l->pad_end.height < l->size.height && l->pad.width < l->size.width &&
        l->pad_end.width < l->size.width)
        return FS_OK;
    return fs_words_fail(w, "pad %dx%dx%dx%d of a %dx%d pool: less than its size", l->pad.height, l->pad_end.height,
                         l->pad.width, l->pad_end.width, l->size.height, l->size.width);
}

static fs_status read(fs_words *w, fs_layer *layer, int average)
{
    fs_status status = fs_words_size(w, "size", 1, &layer->size);
    layer->stride = layer->size;
    while (!status && w->next < w->count) {
        if (fs_words_take_if(w, "stride"))
            status = fs_words_size(w, "stride", 1, &layer->stride);
        else if (fs_words_take_if(w, "pad"))
            status = fs_words_pads(w, layer);
        else if (fs_words_take_if(w, "floor"))
            layer->floor = 1;
        else if (fs_words_take_if(w, "ceil"))
            layer->ceil = 1;
        else if (average && fs_words_take_if(w, "inside"))
            layer->inside = 1;
        else
            break;
    }
    return status ? status : check_words(w, layer);
}

static fs_status read_max(fs_words *w, fs_layer *layer)
{
    return read(w, layer, 0);
}

static fs_status read_average(fs_words *w, fs_layer *layer)
{
    fs_status status = read(w, layer, 1);
    layer->inside |= layer->same; /* TensorFlow's */
    return status;
}

/* Along an axis. */
struct axis {
    int size, kernel, stride, pad, pad_end;
};

static struct axis rows_of(const fs_op *op)
{
    return (struct axis){op->height, op->kernel.height, op->stride.height, op->pad.height, op->pad_end.height};
}

static struct axis columns_of(const fs_op *op)
{
    return (struct axis){op->width, op->kernel.width, op->stride.width, op->pad.width, op->pad_end.width};
}

/* How far the last window may begin from the first; below 0 where the window is larger than the padded map. */
static int room(struct axis a)
{
    return a.size + a.pad + a.pad_end - a.kernel;
}

/* Size of the output; 0 where there is no room. */
static int steps(struct axis a)
{
    return room(a) < 0 ? 0 : room(a) / a.stride + 1;
}

/* 1 where a further window begins inside the map or the padding before it: what "ceil" takes and "floor" leaves out. */
static int leaves_rest(struct axis a)
{
    return room(a) % a.stride && steps(a) * a.stride < a.size + a.pad;
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
    int pads = op->pad.height | op->pad.width | op->pad_end.height | op->pad_end.width;
    int size = op->kernel.height, square = op->kernel.width == size && op->stride.height == size && op->stride.width == size;
    return square && size <= MOST_PLAIN && !pads && op->height % size == 0 && op->width % size == 0;
}

static fs_status shape(const fs_layer *l, const fs_place *place, fs_op *op)
{
    fs_op_take_window(l, op);
    op->inside = l->inside;
    struct axis rows = rows_of(op), columns = columns_of(op);
    op->out_height = steps(rows);
    op->out_width = steps(columns);
    if (!op->out_height || !op->out_width)
        return fs_fail(FS_USAGE, "a %dx%d pool on a %dx%d map (%dx%d images)", l->size.height, l->size.width, op->height,
                       op->width, place->image_height, place->image_width);
    int rows_left = leaves_rest(rows), columns_left = leaves_rest(columns);
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
    return (fs_window){.height = op->height,
                       .width = op->width,
                       .channels = op->channels,
                       .out_height = op->out_height,
                       .out_width = op->out_width,
                       .kernel = op->kernel,
                       .stride = op->stride,
                       .pad = op->pad,
                       .pad_end = op->pad_end,
                       .inside = op->inside};
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

#define POOL .maps_only = 1, .pools = 1, .keeps_zero = 1
#define MAXIMUM .kept = kept_max, .reads_input = 1, .forward = forward_max, .backward = backward_max
#define AVERAGE .forward = forward_average, .backward = backward_average

const fs_kind fs_kind_maxpool = {.word = "maxpool", POOL, .read = read_max, .shape = shape, MAXIMUM};
const fs_kind fs_kind_avgpool = {.word = "avgpool", POOL, .read = read_average, .shape = shape, AVERAGE};
const fs_kind fs_kind_globalmax = {.word = "globalmax", POOL, .shape = shape_global, MAXIMUM};
const fs_kind fs_kind_globalavg = {.word = "globalavg", POOL, .shape = shape_global, AVERAGE};
