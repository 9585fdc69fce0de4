/* Convolution as a matrix product: each output pixel's window is laid out as a row ("im2col"), in blocks of rows. */
#include <cblas.h>
#include <string.h>

#include "filterscope/conv.h"
#include "filterscope/layers.h"

/* A block holds at least this many rows, so that the GEMM's repacking of the weights is paid for, ... */
enum { LEAST_ROWS = 1024 };
/* ... and about this many floats where rows are short, so that it stays in the last-level cache. */
enum { BLOCK_FLOATS = 1 << 20 };

static size_t row_floats(const fs_conv_shape *shape)
{
    return (size_t)shape->kernel * shape->kernel * shape->channels;
}

static size_t pixels_out(const fs_conv_shape *shape, int images)
{
    return (size_t)images * fs_conv_out(shape, shape->height) * fs_conv_out(shape, shape->width);
}

static size_t block_rows(const fs_conv_shape *shape, int images)
{
    size_t rows = BLOCK_FLOATS / row_floats(shape), all = pixels_out(shape, images);
    if (rows < LEAST_ROWS)
        rows = LEAST_ROWS;
    return rows < all ? rows : all;
}

size_t fs_conv_im2col_scratch(const fs_conv_shape *shape, int images)
{
    return block_rows(shape, images) * row_floats(shape);
}

/* Where a window lies: its image, its first input pixel (which may be in the padding), and the columns inside the map. */
struct window {
    size_t image;
    int y, x;
    int first, last; /* kernel columns first .. last-1 are inside */
};

static struct window window_of(const fs_conv_shape *shape, size_t row)
{
    size_t out_width = (size_t)fs_conv_out(shape, shape->width);
    size_t out_pixels = out_width * (size_t)fs_conv_out(shape, shape->height);
    struct window w = {.image = row / out_pixels};
    w.y = (int)(row % out_pixels / out_width) * shape->stride - shape->pad;
    w.x = (int)(row % out_width) * shape->stride - shape->pad;
    w.first = w.x < 0 ? -w.x : 0;
    w.last = w.x + shape->kernel > shape->width ? shape->width - w.x : shape->kernel;
    return w;
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

static void gather_rows(const fs_conv_shape *shape, const float *x, size_t first, size_t rows, float *column)
{
    size_t channels = (size_t)shape->channels, line = channels * shape->kernel;
    for (size_t row = first; row < first + rows; row++) {
        struct window w = window_of(shape, row);
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
    for (size_t row = first; row < first + rows; row++) {
        struct window w = window_of(shape, row);
        for (int ky = 0; ky < shape->kernel; ky++, column += line)
            if (row_inside(shape, &w, ky))
                fs_add((w.last - w.first) * channels, dx + offset_of(shape, &w, ky), column + w.first * channels);
    }
}

void fs_conv_im2col_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                            float *y, float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images);
    int depth = (int)row_floats(shape), filters = shape->filters;
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        gather_rows(shape, x, first, rows, scratch);
        float *out = y + first * filters;
        if (bias)
            for (size_t row = 0; row < rows; row++)
                memcpy(out + row * filters, bias, filters * sizeof *out);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, filters, depth, 1.0f, scratch, depth, weight, filters,
                    bias ? 1.0f : 0.0f, out, filters);
    }
}

void fs_conv_im2col_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                    float *dbias, float *scratch)
{
    size_t all = pixels_out(shape, images), block = block_rows(shape, images);
    int depth = (int)row_floats(shape), filters = shape->filters;
    for (size_t first = 0; first < all; first += block) {
        size_t rows = first + block < all ? block : all - first;
        gather_rows(shape, x, first, rows, scratch);
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
