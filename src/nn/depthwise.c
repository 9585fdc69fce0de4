/* Convolution of each channel by itself: vectors over channels, and a few neighbouring pixels of the output at a time, so that
 * what they share of the input and the weights is read once. Bound by memory where maps are large. */
#include "nn/depthwise.h"

#include <stdint.h>
#include <string.h>

#include "nn/finish.h"
#include "nn/gemm.h"

#define INLINE static inline __attribute__((always_inline))

enum { MOST_OUTS = 4, MOST_TAPS = 7 }; /* pixels of a block; weights of a line whose gradients are summed together */

/* What sum_pixels reads and writes: `outs` outputs in a line, MOST_OUTS or 1. */
struct block {
    size_t channels;
    int outs, rows, taps; /* of the kernel, those rows that see the map */
    int stride, dilation; /* along the line */
    int columns;          /* of the input, under all taps of all outputs */
    const float **column; /* [rows][columns]: their first channels, or zeros */
    const float *weight;  /* of the first tap */
    ptrdiff_t weight_row, weight_column;
    const float *bias; /* NULL for none */
    int clips;
    float floor, ceiling;
    float *y; /* the first output */
    size_t y_column;
};

/* What sum_line reads and writes: a line of dy and one of x. */
struct line {
    ptrdiff_t channels;
    const float *x, *dy; /* x under tap 0 of output 0, which may lie before the map */
    float *dweight;
    int taps, stride, dilation;
    int first[MOST_TAPS], end[MOST_TAPS]; /* outputs that see the map through each tap */
    int all_first, all_end;               /* through all of them; all_first = all_end where there are none */
};

static inline int smaller(int a, int b)
{
    return a < b ? a : b;
}

static inline int larger(int a, int b)
{
    return a > b ? a : b;
}

#if defined(__x86_64__) && defined(__GNUC__)
#define LANES 16
#define CPU __attribute__((target("avx512f")))
#define NAME(x) x##_16
#include "nn/depthwise_kernels.h"
#define LANES 8
#define CPU __attribute__((target("avx2,fma")))
#define NAME(x) x##_8
#include "nn/depthwise_kernels.h"
#define HAVE_WIDE 1
#else
#define HAVE_WIDE 0
#endif
#define LANES 4
#define CPU
#define NAME(x) x##_4
#include "nn/depthwise_kernels.h"
#define LANES 1
#define CPU
#define NAME(x) x##_1
#include "nn/depthwise_kernels.h"

/* Those of this CPU, widest first, ended by that of one lane. */
struct kernels {
    size_t lanes;
    void (*run)(const struct block *);
    size_t (*run_line)(const struct line *, size_t);
};

static const struct kernels *kernels_of_this_cpu(void)
{
    static const struct kernels all[] = {
#if HAVE_WIDE
        {16, run_16, run_line_16},
        {8, run_8, run_line_8},
#else
        {0},
        {0},
#endif
        {4, run_4, run_line_4},
        {1, run_1, run_line_1},
    };
    int panel = HAVE_WIDE ? fs_gemm_panel() : 0;
    return &all[panel >= 32 ? 0 : panel >= 16 ? 1 : 2];
}

int fs_depthwise_fits(const fs_conv_shape *s)
{
    return s->groups > 1 && s->groups == s->channels && s->filters == s->channels;
}

/* One axis of a pass: output o, at place out_first + o * out_step, sees through tap t, weight tap_first + t * tap_step,
 * the input's place o * stride + t * dilation + origin, where that is in 0 .. size - 1. */
struct axis {
    int outs, out_first, out_step;
    int taps, tap_first, tap_step;
    int stride, dilation, origin, size;
};

static struct axis forward_axis(int size, int out, int kernel, int stride, int pad, int dilation)
{
    return (struct axis){.outs = out,
                         .out_step = 1,
                         .taps = kernel,
                         .tap_step = 1,
                         .stride = stride,
                         .dilation = dilation,
                         .origin = -pad,
                         .size = size};
}

/* Of the gradient of the input, `size` long, from that of the output, `out` long: places residue, residue + stride, ... of the
 * one see the other through every so manyth tap, and the larger the tap, the smaller the place: so taps are taken backwards. */
static struct axis backward_axis(int size, int out, int kernel, int stride, int pad, int dilation, int residue)
{
    struct axis a = {.outs = (size - residue + stride - 1) / stride,
                     .out_first = residue,
                     .out_step = stride,
                     .stride = 1,
                     .dilation = 1,
                     .size = out};
    for (int k = 0; k < kernel; k++)
        if ((residue + pad - k * dilation) % stride == 0) {
            if (a.taps++) {
                a.tap_step = a.tap_first - k;
                a.dilation = -a.tap_step * dilation / stride;
            }
            a.tap_first = k;
            a.origin = (residue + pad - k * dilation) / stride;
        }
    return a;
}

/* Maps and weights of a pass. */
struct pass {
    struct axis down, along;
    int channels, kernel_width; /* of the weights */
    const float *x, *weight, *bias;
    const fs_conv_after *after;
    float *y;
    int y_width;                  /* of the output's whole lines */
    size_t y_image;               /* floats of an image of the output */
    const float *zeros, **column; /* in scratch */
};

static int columns_of(const struct axis *along, int outs)
{
    return (outs - 1) * along->stride + larger(along->taps - 1, 0) * along->dilation + 1;
}

/* The kernel's rows that see the map from line o, into *b, and the first input line under them. */
static int find_rows(const struct pass *p, int o, struct block *b)
{
    const struct axis *a = &p->down;
    int from = o * a->stride + a->origin, first = from < 0 ? (-from + a->dilation - 1) / a->dilation : 0;
    int end = from >= a->size ? 0 : smaller(a->taps, (a->size - 1 - from) / a->dilation + 1);
    b->rows = larger(end - first, 0);
    b->weight =
        p->weight +
        (((ptrdiff_t)a->tap_first + (ptrdiff_t)first * a->tap_step) * p->kernel_width + p->along.tap_first) * p->channels;
    return from + first * a->dilation;
}

/* Where the input under b's outputs is, o being the first; `lines` is the first of its lines that counts. */
static void find_columns(const struct pass *p, const float *lines, int o, struct block *b)
{
    const struct axis *a = &p->along;
    size_t channels = (size_t)p->channels, line = (size_t)a->size * channels;
    int from = o * a->stride + a->origin;
    b->columns = columns_of(a, b->outs);
    for (int row = 0; row < b->rows; row++)
        for (int i = 0; i < b->columns; i++) {
            int inside = from + i >= 0 && from + i < a->size;
            b->column[row * b->columns + i] =
                inside ? lines + (size_t)row * p->down.dilation * line + (size_t)(from + i) * channels : p->zeros;
        }
}

static void run_row(const struct pass *p, const struct kernels *kernels, const float *x, int row, float *y, struct block *b)
{
    const struct axis *along = &p->along;
    size_t channels = (size_t)p->channels, line = (size_t)along->size * channels;
    int first = find_rows(p, row, b);
    const float *lines = b->rows ? x + first * line : x;
    float *out = y + ((size_t)(p->down.out_first + row * p->down.out_step) * p->y_width + along->out_first) * channels;
    b->outs = along->outs < MOST_OUTS ? 1 : MOST_OUTS;
    for (int o = 0; o < along->outs; o += b->outs) {
        o = smaller(o, along->outs - b->outs);
        find_columns(p, lines, o, b);
        b->y = out + o * b->y_column;
        kernels->run(b);
    }
}

static void run(const struct pass *p, int images)
{
    const struct kernels *kernels = kernels_of_this_cpu();
    const fs_conv_after *after = p->after;
    size_t channels = (size_t)p->channels, image = (size_t)p->down.size * p->along.size * channels;
    int own = after && !after->addend; /* clips in registers; behind an addend it is for fs_conv_finish */
    struct block b = {.channels = channels,
                      .taps = p->along.taps,
                      .stride = p->along.stride,
                      .dilation = p->along.dilation,
                      .column = p->column,
                      .weight_row = (ptrdiff_t)p->down.tap_step * p->kernel_width * p->channels,
                      .weight_column = (ptrdiff_t)p->along.tap_step * p->channels,
                      .bias = p->bias,
                      .clips = own && after->clips,
                      .floor = own ? after->floor : 0,
                      .ceiling = own ? after->ceiling : 0,
                      .y_column = p->along.out_step * channels};
    fs_conv_after rest = after ? *after : (fs_conv_after){0};
    rest.clips = rest.clips && !own;
    while (kernels->lanes > channels)
        kernels++;
    for (int n = 0; n < images; n++)
        for (int row = 0; row < p->down.outs; row++) {
            run_row(p, kernels, p->x + n * image, row, p->y + n * p->y_image, &b);
            if (after)
                fs_conv_finish(&rest, n * p->y_image + (size_t)row * p->y_width * channels, p->y_width * channels, p->y);
        }
}

/* Zeros for what is outside the map, then the columns of a block. */
static size_t zeros_of(const fs_conv_shape *s)
{
    return ((size_t)s->channels + 15) / 16 * 16;
}

size_t fs_depthwise_scratch(const fs_conv_shape *s)
{
    size_t columns = (size_t)(MOST_OUTS - 1) * s->stride.width + (size_t)(s->kernel.width - 1) * s->dilation.width + 1;
    return zeros_of(s) + s->kernel.height * columns * sizeof(float *) / sizeof(float);
}

static void take_scratch(const fs_conv_shape *s, float *scratch, struct pass *p)
{
    memset(scratch, 0, s->channels * sizeof *scratch);
    p->zeros = scratch;
    p->column = (const float **)(scratch + zeros_of(s));
}

void fs_depthwise_forward(const fs_conv_shape *s, int images, const float *x, const float *weight, const float *bias,
                          const fs_conv_after *after, float *y, float *scratch)
{
    int height = fs_conv_out_height(s), width = fs_conv_out_width(s);
    struct pass p = {.down =
                         forward_axis(s->height, height, s->kernel.height, s->stride.height, s->pad.height, s->dilation.height),
                     .along = forward_axis(s->width, width, s->kernel.width, s->stride.width, s->pad.width, s->dilation.width),
                     .channels = s->channels,
                     .kernel_width = s->kernel.width,
                     .x = x,
                     .weight = weight,
                     .bias = bias,
                     .after = after,
                     .y = y,
                     .y_width = width,
                     .y_image = (size_t)height * width * s->channels};
    take_scratch(s, scratch, &p);
    run(&p, images);
}

void fs_depthwise_backward_input(const fs_conv_shape *s, int images, const float *dy, const float *weight, float *dx,
                                 float *scratch)
{
    int height = fs_conv_out_height(s), width = fs_conv_out_width(s);
    struct pass p = {.channels = s->channels,
                     .kernel_width = s->kernel.width,
                     .x = dy,
                     .weight = weight,
                     .y = dx,
                     .y_width = s->width,
                     .y_image = (size_t)s->height * s->width * s->channels};
    take_scratch(s, scratch, &p);
    for (int top = 0; top < s->stride.height; top++)
        for (int left = 0; left < s->stride.width; left++) {
            p.down =
                backward_axis(s->height, height, s->kernel.height, s->stride.height, s->pad.height, s->dilation.height, top);
            p.along = backward_axis(s->width, width, s->kernel.width, s->stride.width, s->pad.width, s->dilation.width, left);
            run(&p, images);
        }
}

/* Outputs that see the map through tap t of a line, first .. end - 1. */
static void find_outputs(const struct axis *a, int tap, int *first, int *end)
{
    int from = tap * a->dilation + a->origin, last = a->size - 1 - from;
    *first = smaller(from < 0 ? (-from + a->stride - 1) / a->stride : 0, a->outs);
    *end = last < 0 ? 0 : smaller(a->outs, last / a->stride + 1);
    *end = larger(*end, *first);
}

static struct line line_of(const fs_conv_shape *s, const struct axis *along, int tap)
{
    struct line l = {.channels = s->channels,
                     .taps = smaller(s->kernel.width - tap, MOST_TAPS),
                     .stride = along->stride,
                     .dilation = along->dilation,
                     .all_end = along->outs};
    for (int t = 0; t < l.taps; t++) {
        find_outputs(along, tap + t, &l.first[t], &l.end[t]);
        l.all_first = larger(l.all_first, l.first[t]);
        l.all_end = smaller(l.all_end, l.end[t]);
    }
    l.all_end = larger(l.all_end, l.all_first);
    return l;
}

/* One row of the kernel's weights from `tap` on, over a line of the output. */
static void add_line(const fs_conv_shape *s, const struct axis *along, int tap, const float *x, const float *dy, float *dweight)
{
    struct line l = line_of(s, along, tap);
    l.x = x + ((ptrdiff_t)tap * along->dilation + along->origin) * s->channels;
    l.dy = dy;
    l.dweight = dweight + (size_t)tap * s->channels;
    const struct kernels *kernels = kernels_of_this_cpu();
    for (size_t c = 0; c < (size_t)s->channels; kernels++)
        c = kernels->run_line(&l, c);
}

/* Line by line of the output, each of whose sums is added to those before. */
void fs_depthwise_backward_weight(const fs_conv_shape *s, int images, const float *x, const float *dy, float *dweight)
{
    int height = fs_conv_out_height(s), width = fs_conv_out_width(s);
    struct axis along = forward_axis(s->width, width, s->kernel.width, s->stride.width, s->pad.width, s->dilation.width);
    size_t channels = (size_t)s->channels, line = (size_t)s->width * channels;
    memset(dweight, 0, (size_t)s->kernel.height * s->kernel.width * channels * sizeof *dweight);
    for (int n = 0; n < images; n++, x += s->height * line)
        for (int oy = 0; oy < height; oy++, dy += (size_t)width * channels)
            for (int ky = 0; ky < s->kernel.height; ky++) {
                int iy = oy * s->stride.height + ky * s->dilation.height - s->pad.height;
                if (iy < 0 || iy >= s->height)
                    continue;
                for (int tap = 0; tap < s->kernel.width; tap += MOST_TAPS)
                    add_line(s, &along, tap, x + iy * line, dy, dweight + (size_t)ky * s->kernel.width * channels);
            }
}
