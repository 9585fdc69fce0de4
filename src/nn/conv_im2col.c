/* Convolution as a matrix product: each output pixel's window is laid out as a row ("im2col"), in blocks of rows. */
#include <cblas.h>
#include <string.h>

#include "filterscope/conv.h"
#include "filterscope/layers.h"
#include "nn/gemm.h"

/* A block is about this many floats, so that it stays in the second-level cache, ... */
enum { BLOCK_FLOATS = 1 << 16 };
/* ... but where BLAS repacks the weights at every call, at least so many rows, so that that is paid for. */
enum { LEAST_ROWS = 1024 };

static size_t row_floats(const fs_conv_shape *shape)
{
    return (size_t)shape->kernel * shape->kernel * shape->channels;
}

static size_t pixels_out(const fs_conv_shape *shape, int images)
{
    return (size_t)images * fs_conv_out(shape, shape->height) * fs_conv_out(shape, shape->width);
}

int fs_conv_im2col_takes_own_gemm(const fs_conv_shape *shape)
{
    int panel = fs_gemm_panel();
    return panel && shape->filters % panel == 0 && row_floats(shape) < 512;
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
static struct window window_at(const fs_conv_shape *shape, size_t image, int oy, int ox)
{
    struct window w = {.image = image, .y = oy * shape->stride - shape->pad, .x = ox * shape->stride - shape->pad};
    w.first = w.x < 0 ? -w.x : 0;
    w.last = w.x + shape->kernel > shape->width ? shape->width - w.x : shape->kernel;
    return w;
}

/* The output pixel of a row, and the next one. */
struct pixel {
    size_t image;
    int y, x, height, width;
};

static struct pixel pixel_of(const fs_conv_shape *shape, size_t row)
{
    struct pixel p = {.height = fs_conv_out(shape, shape->height), .width = fs_conv_out(shape, shape->width)};
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

/* Floats before kernel row `ky`, column w->first of the window in the input; only for rows inside the map. */
static size_t offset_of(const fs_conv_shape *shape, const struct window *w, int ky)
{
    size_t pixel = (w->image * shape->height + (size_t)(w->y + ky)) * shape->width + (size_t)(w->x + w->first);
    return pixel * shape->channels;
}

static int row_inside(const fs_conv_shape *shape, const struct window *w, int ky)
{
    return w->y + ky >= 0 && w->y + ky < shape->height && w->first < w->last;
}

/* A whole window inside the map: short lines are copied in place, since a call would cost more than the copy. */
static void gather_inside(const fs_conv_shape *shape, const float *x, size_t line, float *restrict column)
{
    enum { SHORT = 32 };
    const float *restrict from = x;
    for (int ky = 0; ky < shape->kernel; ky++, column += line, from += (size_t)shape->width * shape->channels)
        if (line <= SHORT)
            for (size_t i = 0; i < line; i++)
                column[i] = from[i];
        else
            memcpy(column, from, line * sizeof *column);
}

static void gather_rows(const fs_conv_shape *shape, const float *x, size_t first, size_t rows, float *column)
{
    size_t channels = (size_t)shape->channels, line = channels * shape->kernel;
    struct pixel pixel = pixel_of(shape, first);
    for (size_t row = 0; row < rows; row++, next_pixel(&pixel)) {
        struct window w = window_at(shape, pixel.image, pixel.y, pixel.x);
        if (w.y >= 0 && w.y + shape->kernel <= shape->height && w.first == 0 && w.last == shape->kernel) {
            gather_inside(shape, x + offset_of(shape, &w, 0), line, column);
            column += line * shape->kernel;
            continue;
        }
        for (int ky = 0; ky < shape->kernel; ky++, column += line) {
            if (!row_inside(shape, &w, ky)) {
                memset(column, 0, line * sizeof *column);
                continue;
            }
            memset(column, 0, w.first * channels * sizeof *column);
            memcpy(column + w.first * channels, x + offset_of(shape, &w, ky), (w.last - w.first) * channels * sizeof *column);
            memset(column + w.last * channels, 0, (shape->kernel - w.last) * channels * sizeof *column);
        }
    }
}

/* The transpose of gather_rows: adds each window back to where it came from. */
static void scatter_rows(const fs_conv_shape *shape, const float *column, size_t first, size_t rows, float *dx)
{
    size_t channels = (size_t)shape->channels, line = channels * shape->kernel;
    struct pixel pixel = pixel_of(shape, first);
    for (size_t row = 0; row < rows; row++, next_pixel(&pixel)) {
        struct window w = window_at(shape, pixel.image, pixel.y, pixel.x);
        for (int ky = 0; ky < shape->kernel; ky++, column += line)
            if (row_inside(shape, &w, ky))
                fs_add((w.last - w.first) * channels, dx + offset_of(shape, &w, ky), column + w.first * channels);
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

void fs_conv_im2col_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                            float *y, float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images);
    int depth = (int)row_floats(shape), filters = shape->filters, own = fs_conv_im2col_takes_own_gemm(shape),
        panel = fs_gemm_panel();
    float *rows_of_block = own ? pack(weight, depth, filters, scratch) : scratch;
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        gather_rows(shape, x, first, rows, rows_of_block);
        float *out = y + first * filters;
        if (bias)
            for (size_t row = 0; row < rows; row++)
                memcpy(out + row * filters, bias, filters * sizeof *out);
        if (own)
            fs_gemm((int)rows, filters, depth, rows_of_block, depth, 1, scratch, panel, (size_t)depth * panel, out, filters,
                    bias != NULL);
        else
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, filters, depth, 1.0f, rows_of_block, depth,
                        weight, filters, bias ? 1.0f : 0.0f, out, filters);
    }
}

void fs_conv_im2col_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                    float *dbias, float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images);
    int depth = (int)row_floats(shape), filters = shape->filters, own = fs_conv_im2col_takes_own_gemm(shape),
        panel = fs_gemm_panel();
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        gather_rows(shape, x, first, rows, scratch);
        if (own)
            fs_gemm(depth, filters, (int)rows, scratch, 1, depth, dy + first * filters, filters, panel, dweight, filters,
                    first > 0);
        else
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, depth, filters, (int)rows, 1.0f, scratch, depth,
                        dy + first * filters, filters, first ? 1.0f : 0.0f, dweight, filters);
    }
    if (dbias)
        fs_sum_rows(all, filters, dy, dbias);
}

void fs_conv_im2col_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, float *dx,
                                   float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images);
    int depth = (int)row_floats(shape), filters = shape->filters;
    memset(dx, 0, (size_t)images * shape->height * shape->width * shape->channels * sizeof *dx);
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, depth, filters, 1.0f, dy + first * filters, filters,
                    weight, filters, 0.0f, scratch, depth);
        scatter_rows(shape, scratch, first, rows, dx);
    }
}
