/* Convolution by its definition. Kept slow and plain: it is what the fast kernels are tested against. */
#include <stdlib.h>

#include "filterscope/conv.h"

/* The input pixel under kernel place `k` of output place `out`; -1 in the padding. */
static int source(int out, int k, int stride, int dilation, int pad, int size)
{
    int in = out * stride + k * dilation - pad;
    return in >= 0 && in < size ? in : -1;
}

typedef void visit(const fs_conv_shape *shape, size_t x_pixel, size_t tap, size_t y_pixel, void *context);

/* Calls `each` for every pair of an input and an output pixel that a kernel place (tap) joins. */
static void for_each_pair(const fs_conv_shape *shape, int images, visit *each, void *context)
{
    const fs_conv_shape *s = shape;
    int out_height = fs_conv_out_height(s), out_width = fs_conv_out_width(s);
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < out_height; oy++)
            for (int ox = 0; ox < out_width; ox++)
                for (int ky = 0; ky < s->kernel.height; ky++)
                    for (int kx = 0; kx < s->kernel.width; kx++) {
                        int iy = source(oy, ky, s->stride.height, s->dilation.height, s->pad.height, s->height);
                        int ix = source(ox, kx, s->stride.width, s->dilation.width, s->pad.width, s->width);
                        if (iy >= 0 && ix >= 0)
                            each(shape, ((size_t)n * shape->height + iy) * shape->width + ix, (size_t)ky * s->kernel.width + kx,
                                 ((size_t)n * out_height + oy) * out_width + ox, context);
                    }
}

/* The three products differ in which array is summed into. */
struct product {
    const float *x, *weight, *dy;
    double *sum;
};

/* A channel at a tap: the filters of its group, first .. end-1, and where all filters' weights of it begin. */
struct seen {
    int first, end;
    size_t weights;
};

static struct seen seen_by(const fs_conv_shape *shape, size_t tap, int channel)
{
    int channels = shape->channels / shape->groups, filters = shape->filters / shape->groups, group = channel / channels;
    return (struct seen){group * filters, (group + 1) * filters, (tap * channels + channel % channels) * shape->filters};
}

static void add_forward(const fs_conv_shape *shape, size_t x_pixel, size_t tap, size_t y_pixel, void *context)
{
    struct product *p = context;
    double *y = p->sum + y_pixel * shape->filters;
    for (int c = 0; c < shape->channels; c++) {
        struct seen seen = seen_by(shape, tap, c);
        double x = p->x[x_pixel * shape->channels + c];
        for (int f = seen.first; f < seen.end; f++)
            y[f] += x * p->weight[seen.weights + f];
    }
}

static void add_weight(const fs_conv_shape *shape, size_t x_pixel, size_t tap, size_t y_pixel, void *context)
{
    struct product *p = context;
    const float *dy = p->dy + y_pixel * shape->filters;
    for (int c = 0; c < shape->channels; c++) {
        struct seen seen = seen_by(shape, tap, c);
        double x = p->x[x_pixel * shape->channels + c];
        for (int f = seen.first; f < seen.end; f++)
            p->sum[seen.weights + f] += x * dy[f];
    }
}

static void add_input(const fs_conv_shape *shape, size_t x_pixel, size_t tap, size_t y_pixel, void *context)
{
    struct product *p = context;
    const float *dy = p->dy + y_pixel * shape->filters;
    for (int c = 0; c < shape->channels; c++) {
        struct seen seen = seen_by(shape, tap, c);
        for (int f = seen.first; f < seen.end; f++)
            p->sum[x_pixel * shape->channels + c] += (double)dy[f] * p->weight[seen.weights + f];
    }
}

static void sum_pairs(const fs_conv_shape *shape, int images, visit *each, struct product *p, size_t count, float *out)
{
    p->sum = calloc(count, sizeof *p->sum);
    if (!p->sum)
        abort(); /* an oracle for tests: there is nothing to go on with */
    for_each_pair(shape, images, each, p);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)p->sum[i];
    free(p->sum);
}

static size_t pixels_out(const fs_conv_shape *shape, int images)
{
    return (size_t)images * fs_conv_out_height(shape) * fs_conv_out_width(shape);
}

void fs_conv_naive_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                           float *y)
{
    struct product p = {.x = x, .weight = weight};
    size_t count = pixels_out(shape, images) * shape->filters;
    sum_pairs(shape, images, add_forward, &p, count, y);
    if (bias)
        for (size_t i = 0; i < count; i++)
            y[i] += bias[i % shape->filters];
}

void fs_conv_naive_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                   float *dbias)
{
    struct product p = {.x = x, .dy = dy};
    size_t weights = fs_conv_weights(shape);
    sum_pairs(shape, images, add_weight, &p, weights, dweight);
    if (!dbias)
        return;
    for (int f = 0; f < shape->filters; f++) {
        double sum = 0;
        for (size_t i = 0; i < pixels_out(shape, images); i++)
            sum += dy[i * shape->filters + f];
        dbias[f] = (float)sum;
    }
}

void fs_conv_naive_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, float *dx)
{
    struct product p = {.weight = weight, .dy = dy};
    sum_pairs(shape, images, add_input, &p, (size_t)images * shape->height * shape->width * shape->channels, dx);
}
