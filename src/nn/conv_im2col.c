/* Convolution as a matrix product: each output pixel's window is laid out as a row ("im2col"), in blocks of rows. */
#include <cblas.h>
#include <string.h>

#include "filterscope/conv.h"
#include "filterscope/layers.h"
#include "nn/finish.h"
#include "nn/gemm.h"
#include "nn/im2col.h"

/* A block is about this many floats, so that it stays in the second-level cache, ... */
enum { BLOCK_FLOATS = 1 << 16 };
/* ... but where BLAS repacks the weights at every call, at least so many rows, so that that is paid for. */
enum { LEAST_ROWS = 1024 };

static size_t row_floats(const fs_conv_shape *shape)
{
    return (size_t)shape->kernel.height * shape->kernel.width * (shape->channels / shape->groups);
}

static size_t pixels_out(const fs_conv_shape *shape, int images)
{
    return (size_t)images * fs_conv_out_height(shape) * fs_conv_out_width(shape);
}

int fs_conv_im2col_takes_own_gemm(const fs_conv_shape *shape)
{
    int panel = fs_gemm_panel();
    return panel && shape->groups == 1 && shape->filters % panel == 0 && row_floats(shape) < 512;
}

static size_t block_rows(const fs_conv_shape *shape, int images)
{
    size_t rows = BLOCK_FLOATS / row_floats(shape), all = pixels_out(shape, images);
    if (rows < LEAST_ROWS && !fs_conv_im2col_takes_own_gemm(shape))
        rows = LEAST_ROWS;
    return rows < all ? rows : all;
}

size_t fs_conv_im2col_scratch(const fs_conv_shape *shape, int images)
{
    size_t packed = fs_conv_im2col_takes_own_gemm(shape) ? row_floats(shape) * shape->filters : 0;
    return packed + block_rows(shape, images) * row_floats(shape);
}

/* Where a window lies: its image, its first input pixel (which may be in the padding), and the columns inside the map. */
struct window {
    size_t image;
    int y, x;
    int first, last; /* kernel columns first .. last-1 are inside */
};

/* The window of output pixel (oy, ox). */
static struct window window_at(const fs_conv_shape *s, size_t image, int oy, int ox)
{
    int step = s->dilation.width;
    struct window w = {.image = image, .y = oy * s->stride.height - s->pad.height, .x = ox * s->stride.width - s->pad.width};
    w.first = w.x < 0 ? (-w.x + step - 1) / step : 0;
    w.last = w.x + step * (s->kernel.width - 1) >= s->width ? (s->width - w.x + step - 1) / step : s->kernel.width;
    return w;
}

/* The output pixel of a row, and the next one. */
struct pixel {
    size_t image;
    int y, x, height, width;
};

static struct pixel pixel_of(const fs_conv_shape *shape, size_t row)
{
    struct pixel p = {.height = fs_conv_out_height(shape), .width = fs_conv_out_width(shape)};
    size_t rest = row % ((size_t)p.height * p.width);
    p.image = row / ((size_t)p.height * p.width);
    p.y = (int)(rest / p.width);
    p.x = (int)(rest % p.width);
    return p;
}

static void next_pixel(struct pixel *p)
{
    if (++p->x < p->width)
        return;
    p->x = 0;
    if (++p->y < p->height)
        return;
    p->y = 0;
    p->image++;
}

/* Floats before kernel row `ky`, column `kx` of the window in the input; only for places inside the map. */
static size_t offset_of(const fs_conv_shape *s, const struct window *w, int ky, int kx)
{
    int y = w->y + ky * s->dilation.height, x = w->x + kx * s->dilation.width;
    return ((w->image * s->height + (size_t)y) * s->width + (size_t)x) * s->channels;
}

static int row_inside(const fs_conv_shape *s, const struct window *w, int ky)
{
    int y = w->y + ky * s->dilation.height;
    return y >= 0 && y < s->height && w->first < w->last;
}

/* A window's row lies in one piece in the map: its taps are side by side, each with all channels. */
static int rows_are_whole(const fs_conv_shape *s)
{
    return s->dilation.width == 1 && s->groups == 1;
}

/* A whole window inside the map: short lines are copied in place, since a call would cost more than the copy. */
static void gather_inside(const fs_conv_shape *shape, const float *x, size_t line, float *restrict column)
{
    enum { SHORT = 32 };
    const float *restrict from = x;
    size_t row = (size_t)shape->dilation.height * shape->width * shape->channels;
    for (int ky = 0; ky < shape->kernel.height; ky++, column += line, from += row)
        if (line <= SHORT)
            for (size_t i = 0; i < line; i++)
                column[i] = from[i];
        else
            memcpy(column, from, line * sizeof *column);
}

static int is_inside(const fs_conv_shape *s, const struct window *w)
{
    return rows_are_whole(s) && w->y >= 0 && w->y + s->dilation.height * (s->kernel.height - 1) < s->height && w->first == 0 &&
           w->last == s->kernel.width;
}

/* Row `ky` of a window, of the channels of one group. */
static void gather_line(const fs_conv_shape *s, const struct window *w, int ky, int group, const float *x, float *column)
{
    size_t channels = (size_t)(s->channels / s->groups), line = channels * s->kernel.width;
    if (!row_inside(s, w, ky)) {
        memset(column, 0, line * sizeof *column);
        return;
    }
    memset(column, 0, w->first * channels * sizeof *column);
    if (rows_are_whole(s))
        memcpy(column + w->first * channels, x + offset_of(s, w, ky, w->first),
               (w->last - w->first) * channels * sizeof *column);
    else
        for (int kx = w->first; kx < w->last; kx++)
            memcpy(column + kx * channels, x + offset_of(s, w, ky, kx) + group * channels, channels * sizeof *column);
    memset(column + w->last * channels, 0, (s->kernel.width - w->last) * channels * sizeof *column);
}

void fs_im2col_gather(const fs_conv_shape *shape, int group, const float *x, size_t first, size_t rows, float *column)
{
    size_t line = (size_t)(shape->channels / shape->groups) * shape->kernel.width;
    struct pixel pixel = pixel_of(shape, first);
    for (size_t row = 0; row < rows; row++, next_pixel(&pixel), column += line * shape->kernel.height) {
        struct window w = window_at(shape, pixel.image, pixel.y, pixel.x);
        if (is_inside(shape, &w))
            gather_inside(shape, x + offset_of(shape, &w, 0, 0), line, column);
        else
            for (int ky = 0; ky < shape->kernel.height; ky++)
                gather_line(shape, &w, ky, group, x, column + ky * line);
    }
}

/* The transpose of gather_line. */
static void scatter_line(const fs_conv_shape *s, const struct window *w, int ky, int group, const float *column, float *dx)
{
    size_t channels = (size_t)(s->channels / s->groups);
    if (rows_are_whole(s))
        fs_add((w->last - w->first) * channels, dx + offset_of(s, w, ky, w->first), column + w->first * channels);
    else
        for (int kx = w->first; kx < w->last; kx++)
            fs_add(channels, dx + offset_of(s, w, ky, kx) + group * channels, column + kx * channels);
}

/* The transpose of fs_im2col_gather: adds each window back to where it came from. */
static void scatter_rows(const fs_conv_shape *shape, int group, const float *column, size_t first, size_t rows, float *dx)
{
    size_t line = (size_t)(shape->channels / shape->groups) * shape->kernel.width;
    struct pixel pixel = pixel_of(shape, first);
    for (size_t row = 0; row < rows; row++, next_pixel(&pixel)) {
        struct window w = window_at(shape, pixel.image, pixel.y, pixel.x);
        for (int ky = 0; ky < shape->kernel.height; ky++, column += line)
            if (row_inside(shape, &w, ky))
                scatter_line(shape, &w, ky, group, column, dx);
    }
}

/* weight [depth][filters] in panels for fs_gemm; returns where the block may begin. */
static float *pack(const float *weight, size_t depth, size_t filters, float *packed)
{
    size_t panel = (size_t)fs_gemm_panel();
    for (size_t first = 0; first < filters; first += panel)
        for (size_t row = 0; row < depth; row++, packed += panel)
            memcpy(packed, weight + row * filters + first, panel * sizeof *packed);
    return packed;
}

/* The three products of one block of rows: of each group the filters and their weights begin at the group's first. */
static void multiply(const fs_conv_shape *shape, int rows, const float *column, const float *weight, int adds, float *y)
{
    int depth = (int)row_floats(shape), filters = shape->filters;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, filters / shape->groups, depth, 1.0f, column, depth, weight,
                filters, adds ? 1.0f : 0.0f, y, filters);
}

static void multiply_for_weight(const fs_conv_shape *shape, int rows, const float *column, const float *dy, int adds,
                                float *dweight)
{
    int depth = (int)row_floats(shape), filters = shape->filters;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, depth, filters / shape->groups, rows, 1.0f, column, depth, dy, filters,
                adds ? 1.0f : 0.0f, dweight, filters);
}

static void multiply_for_input(const fs_conv_shape *shape, int rows, const float *dy, const float *weight, float *column)
{
    int depth = (int)row_floats(shape), filters = shape->filters;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, depth, filters / shape->groups, 1.0f, dy, filters, weight,
                filters, 0.0f, column, depth);
}

void fs_conv_im2col_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                            const fs_conv_after *after, float *y, float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images), own_filters = shape->filters / shape->groups;
    int depth = (int)row_floats(shape), filters = shape->filters, own = fs_conv_im2col_takes_own_gemm(shape),
        panel = fs_gemm_panel();
    float *rows_of_block = own ? pack(weight, depth, filters, scratch) : scratch;
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        float *out = y + first * filters;
        if (bias)
            for (size_t row = 0; row < rows; row++)
                memcpy(out + row * filters, bias, filters * sizeof *out);
        for (int g = 0; g < shape->groups; g++) {
            fs_im2col_gather(shape, g, x, first, rows, rows_of_block);
            if (own)
                fs_gemm((int)rows, filters, depth, rows_of_block, depth, 1, scratch, panel, (size_t)depth * panel, out, filters,
                        bias != NULL);
            else
                multiply(shape, (int)rows, rows_of_block, weight + g * own_filters, bias != NULL, out + g * own_filters);
        }
        fs_conv_finish(after, first * filters, rows * filters, y);
    }
}

void fs_conv_im2col_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                    float *dbias, float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images), own_filters = shape->filters / shape->groups;
    int depth = (int)row_floats(shape), filters = shape->filters, own = fs_conv_im2col_takes_own_gemm(shape),
        panel = fs_gemm_panel();
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        for (int g = 0; g < shape->groups; g++) {
            const float *own_dy = dy + first * filters + g * own_filters;
            fs_im2col_gather(shape, g, x, first, rows, scratch);
            if (own)
                fs_gemm(depth, filters, (int)rows, scratch, 1, depth, own_dy, filters, panel, dweight, filters, first > 0);
            else
                multiply_for_weight(shape, (int)rows, scratch, own_dy, first > 0, dweight + g * own_filters);
        }
    }
    if (dbias)
        fs_sum_rows(all, filters, dy, dbias);
}

void fs_conv_im2col_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, float *dx,
                                   float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images), own_filters = shape->filters / shape->groups;
    memset(dx, 0, (size_t)images * shape->height * shape->width * shape->channels * sizeof *dx);
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        for (int g = 0; g < shape->groups; g++) {
            multiply_for_input(shape, (int)rows, dy + first * shape->filters + g * own_filters, weight + g * own_filters,
                               scratch);
            scatter_rows(shape, g, scratch, first, rows, dx);
        }
    }
}
