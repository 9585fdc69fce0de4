/* 1x1 convolution: y [pixels][filters] = x [pixels][channels] weight [channels][filters], in blocks of pixels whose rows of x
 * and y stay in the second-level cache. With a stride the pixels that count are gathered first. */
#include "nn/pointwise.h"

#include <math.h>
#include <string.h>

#include "nn/finish.h"
#include "nn/gemm.h"

/* Of a block: floats of x and y together, and pixels, a multiple of the kernels' heights, 14 and 6. */
enum { BLOCK_FLOATS = 1 << 16, ROWS = 84, MOST_ROWS = 12 * ROWS };

int fs_pointwise_fits(const fs_conv_shape *s)
{
    return fs_gemm_panel() && s->kernel.height == 1 && s->kernel.width == 1 && s->groups == 1 && s->pad.height == 0 &&
           s->pad.width == 0 && s->pad_end.height == 0 && s->pad_end.width == 0;
}

static size_t block_rows(const fs_conv_shape *s)
{
    size_t rows = BLOCK_FLOATS / ((size_t)s->channels + s->filters) / ROWS * ROWS;
    return rows < ROWS ? ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
}

static int strides(const fs_conv_shape *s)
{
    return s->stride.height > 1 || s->stride.width > 1;
}

/* The rows that are gathered. */
static size_t gathered(const fs_conv_shape *s)
{
    return strides(s) ? block_rows(s) * s->channels : 0;
}

size_t fs_pointwise_prepared(const fs_conv_shape *s)
{
    size_t forward = fs_gemm_packed(s->filters, s->channels), input = fs_gemm_packed(s->channels, s->filters);
    return forward > input ? forward : input;
}

size_t fs_pointwise_scratch(const fs_conv_shape *s)
{
    return gathered(s) + fs_gemm_packed(s->filters, (int)block_rows(s));
}

void fs_pointwise_prepare(const fs_conv_shape *s, const float *weight, int for_input, int part, int parts, float *prepared)
{
    if (for_input)
        fs_gemm_pack(s->channels, s->filters, weight, 1, (size_t)s->filters, part, parts, prepared);
    else
        fs_gemm_pack(s->filters, s->channels, weight, (size_t)s->filters, 1, part, parts, prepared);
}

static size_t pixels_out(const fs_conv_shape *s, int images)
{
    return (size_t)images * fs_conv_out_height(s) * fs_conv_out_width(s);
}

/* Number of the input's pixel under pixel `pixel` of the output. */
static size_t pixel_under(const fs_conv_shape *s, size_t pixel)
{
    size_t width = (size_t)fs_conv_out_width(s), rows = pixel / width, height = (size_t)fs_conv_out_height(s);
    size_t row = rows / height * s->height + rows % height * s->stride.height;
    return row * s->width + pixel % width * s->stride.width;
}

/* `rows` rows of x from output pixel `first` on: where they are, or gathered into `room`. */
static const float *rows_of(const fs_conv_shape *s, const float *x, size_t first, size_t rows, float *room)
{
    size_t channels = (size_t)s->channels;
    if (!strides(s))
        return x + first * channels;
    for (size_t row = 0; row < rows; row++)
        memcpy(room + row * channels, x + pixel_under(s, first + row) * channels, channels * sizeof *room);
    return room;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void fs_pointwise_forward(const fs_conv_shape *s, int images, const float *x, const float *prepared, const float *bias,
                          const fs_conv_after *after, float *y, float *scratch)
{
    size_t all = pixels_out(s, images), block = block_rows(s), channels = (size_t)s->channels, filters = (size_t)s->filters;
    size_t panel = (size_t)fs_gemm_panel();
    for (size_t first = 0; first < all; first += block) {
        size_t rows = smaller(block, all - first);
        const float *own = rows_of(s, x, first, rows, scratch);
        fs_gemm_end end = {.bias = bias,
                           .addend = after->addend ? after->addend + first * filters : NULL,
                           .floor = after->clips ? after->floor : -INFINITY,
                           .ceiling = after->clips ? after->ceiling : INFINITY};
        fs_gemm_ended((int)rows, s->filters, s->channels, own, channels, 1, prepared, panel, panel * channels,
                      y + first * filters, filters, 0, &end);
        if (after->activation)
            after->activation(rows * filters, after->number, y + first * filters, y + first * filters);
    }
}

/* Each block's sum is added to those before: in one sum over all pixels rounding would grow with their number. */
void fs_pointwise_backward_weight(const fs_conv_shape *s, int images, const float *x, const float *dy, float *dweight,
                                  float *scratch)
{
    size_t all = pixels_out(s, images), block = block_rows(s), channels = (size_t)s->channels, filters = (size_t)s->filters;
    size_t panel = (size_t)fs_gemm_panel();
    float *packed = scratch + gathered(s);
    for (size_t first = 0; first < all; first += block) {
        size_t rows = smaller(block, all - first);
        const float *own = rows_of(s, x, first, rows, scratch);
        fs_gemm_end end = {.addend = first ? dweight : NULL, .floor = -INFINITY, .ceiling = INFINITY};
        fs_gemm_pack(s->filters, (int)rows, dy + first * filters, filters, 1, 0, 1, packed);
        fs_gemm_ended(s->channels, s->filters, (int)rows, own, 1, channels, packed, panel, panel * rows, dweight, filters, 0,
                      &end);
    }
}

void fs_pointwise_backward_input(const fs_conv_shape *s, int images, const float *dy, const float *prepared, float *dx,
                                 float *scratch)
{
    size_t all = pixels_out(s, images), block = block_rows(s), channels = (size_t)s->channels, filters = (size_t)s->filters;
    size_t panel = (size_t)fs_gemm_panel();
    if (strides(s))
        memset(dx, 0, (size_t)images * s->height * s->width * channels * sizeof *dx);
    for (size_t first = 0; first < all; first += block) {
        size_t rows = smaller(block, all - first);
        float *own = strides(s) ? scratch : dx + first * channels;
        fs_gemm((int)rows, s->channels, s->filters, dy + first * filters, filters, 1, prepared, panel, panel * filters, own,
                channels, 0);
        for (size_t row = 0; row < rows && strides(s); row++)
            memcpy(dx + pixel_under(s, first + row) * channels, own + row * channels, channels * sizeof *dx);
    }
}
