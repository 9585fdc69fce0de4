/* A convolution as a matrix product, y [pixels][filters] = windows [pixels][depth] weight [depth][filters]. On wide maps the
 * windows are not laid out: a row of the kernel over one of a map is one piece of memory, and those of neighbouring windows are
 * a stride apart,
 *
 *     strip   0 0 0 0 0 0 0 0 0        of a 3x3 kernel of stride 2: lines of the map between zeros, line floats of which
 *             0 a b c d e f g 0        the windows begin at 0, stride, 2 stride, ...
 *             0 h i j k l m n 0
 *
 * so that fs_gemm_lines reads them where they are. Narrow maps, of which a line is no whole kernel of the GEMM, take im2col. */
#include "nn/dense.h"

#include <math.h>
#include <string.h>

#include "nn/gemm.h"
#include "nn/im2col.h"

/* Of what is laid out at a time: floats, so that they stay in the second-level cache, and pixels, a multiple of the kernels'
 * heights, 14 and 6, and not so few that the reading of the weights does not pay. */
enum { BLOCK_FLOATS = 1 << 16, ROWS = 84, LEAST_ROWS = 112 };

/* Pixels of a line of the output that is wide. */
enum { WIDE = 14 };

static size_t depth_of(const fs_conv_shape *s)
{
    return (size_t)s->kernel.height * s->kernel.width * s->channels;
}

int fs_dense_fits(const fs_conv_shape *s)
{
    /* Winograd's, or where its weights do not pay, im2col's: packing weights that are new for few pixels does not pay
     * either. */
    int deep =
        s->kernel.height == 3 && s->kernel.width == 3 && s->stride.height == 1 && s->stride.width == 1 && s->channels >= 16;
    return fs_gemm_panel() && s->groups == 1 && s->dilation.width == 1 && !deep;
}

size_t fs_dense_prepared(const fs_conv_shape *s)
{
    return fs_gemm_packed(s->filters, (int)depth_of(s));
}

void fs_dense_prepare(const fs_conv_shape *s, const float *weight, int part, int parts, float *prepared)
{
    fs_gemm_pack(s->filters, (int)depth_of(s), weight, (size_t)s->filters, 1, part, parts, prepared);
}

static int is_wide(const fs_conv_shape *s)
{
    return fs_conv_out_width(s) >= WIDE;
}

/* Floats of a line of a strip. */
static size_t line_of(const fs_conv_shape *s)
{
    return ((size_t)s->pad.width + s->width + s->pad_end.width) * s->channels;
}

/* Lines of a strip under `rows` of the output's. */
static size_t lines_under(const fs_conv_shape *s, size_t rows)
{
    return (rows - 1) * s->stride.height + (size_t)(s->kernel.height - 1) * s->dilation.height + 1;
}

/* Of the output, that a strip serves. */
static size_t strip_rows(const fs_conv_shape *s)
{
    size_t lines = BLOCK_FLOATS / line_of(s), least = lines_under(s, 1), all = (size_t)fs_conv_out_height(s);
    size_t rows = lines > least ? (lines - least) / s->stride.height + 1 : 1;
    return rows < all ? rows : all;
}

static size_t block_rows(const fs_conv_shape *s)
{
    size_t rows = BLOCK_FLOATS / depth_of(s) / ROWS * ROWS;
    return rows < LEAST_ROWS ? LEAST_ROWS : rows;
}

size_t fs_dense_scratch(const fs_conv_shape *s)
{
    return is_wide(s) ? lines_under(s, strip_rows(s)) * line_of(s) : block_rows(s) * depth_of(s);
}

/* Line `y` of an image between its zeros, or zeros. */
static void copy_line(const fs_conv_shape *s, const float *image, ptrdiff_t y, float *strip)
{
    size_t before = (size_t)s->pad.width * s->channels, line = (size_t)s->width * s->channels, all = line_of(s);
    if (y < 0 || y >= s->height) {
        memset(strip, 0, all * sizeof *strip);
        return;
    }
    memset(strip, 0, before * sizeof *strip);
    memcpy(strip + before, image + (size_t)y * line, line * sizeof *strip);
    memset(strip + before + line, 0, (all - before - line) * sizeof *strip);
}

/* What follows the sums of the output from float `at` on. */
static fs_gemm_end end_of(const fs_conv_after *after, const float *bias, size_t at)
{
    return (fs_gemm_end){.bias = bias,
                         .addend = after->addend ? after->addend + at : NULL,
                         .floor = after->clips ? after->floor : -INFINITY,
                         .ceiling = after->clips ? after->ceiling : INFINITY};
}

/* `rows` lines of the output from float `at` on, panel by panel, so that the weights are read once a strip. */
static void multiply_strip(const fs_conv_shape *s, size_t rows, const float *strip, const float *prepared, const float *bias,
                           const fs_conv_after *after, size_t at, float *y)
{
    size_t filters = (size_t)s->filters, out = (size_t)fs_conv_out_width(s) * filters, panel = (size_t)fs_gemm_panel();
    size_t line = line_of(s);
    for (size_t filter = 0; filter < filters; filter += panel)
        for (size_t row = 0; row < rows; row++) {
            size_t own = at + row * out + filter;
            fs_gemm_end end = end_of(after, bias ? bias + filter : NULL, own);
            fs_gemm_lines(fs_conv_out_width(s), (int)(panel < filters - filter ? panel : filters - filter), s->kernel.height,
                          s->kernel.width * s->channels, strip + row * s->stride.height * line,
                          (size_t)s->stride.width * s->channels, s->dilation.height * line, prepared + filter * depth_of(s),
                          y + own, filters, &end);
        }
}

static void forward_in_strips(const fs_conv_shape *s, int images, const float *x, const float *prepared, const float *bias,
                              const fs_conv_after *after, float *y, float *strip)
{
    size_t height = (size_t)fs_conv_out_height(s), out = (size_t)fs_conv_out_width(s) * s->filters, most = strip_rows(s);
    for (int n = 0; n < images; n++, x += (size_t)s->height * s->width * s->channels)
        for (size_t first = 0; first < height; first += most) {
            size_t rows = most < height - first ? most : height - first, at = (n * height + first) * out;
            for (size_t line = 0; line < lines_under(s, rows); line++)
                copy_line(s, x, (ptrdiff_t)(first * s->stride.height + line) - s->pad.height, strip + line * line_of(s));
            multiply_strip(s, rows, strip, prepared, bias, after, at, y);
            if (after->activation)
                after->activation(rows * out, after->number, y + at, y + at);
        }
}

static void forward_in_blocks(const fs_conv_shape *s, int images, const float *x, const float *prepared, const float *bias,
                              const fs_conv_after *after, float *y, float *windows)
{
    size_t all = (size_t)images * fs_conv_out_height(s) * fs_conv_out_width(s), block = block_rows(s), depth = depth_of(s);
    for (size_t first = 0; first < all; first += block) {
        size_t rows = block < all - first ? block : all - first, at = first * s->filters;
        fs_gemm_end end = end_of(after, bias, at);
        fs_im2col_gather(s, 0, x, first, rows, windows);
        fs_gemm_lines((int)rows, s->filters, 1, (int)depth, windows, depth, 0, prepared, y + at, (size_t)s->filters, &end);
        if (after->activation)
            after->activation(rows * s->filters, after->number, y + at, y + at);
    }
}

void fs_dense_forward(const fs_conv_shape *s, int images, const float *x, const float *prepared, const float *bias,
                      const fs_conv_after *after, float *y, float *scratch)
{
    (is_wide(s) ? forward_in_strips : forward_in_blocks)(s, images, x, prepared, bias, after, y, scratch);
}
