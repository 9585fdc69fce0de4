/* Convolution of each channel by itself: vectors over channels. Bound by memory, so nothing is gathered. */
#include <string.h>

#include "base/simd.h"
#include "filterscope/conv.h"
#include "filterscope/layers.h"
#include "nn/depthwise.h"

int fs_depthwise_fits(const fs_conv_shape *shape)
{
    return shape->groups > 1 && shape->groups == shape->channels && shape->filters == shape->channels;
}

FS_SIMD static void add_product(int channels, const float *restrict a, const float *restrict b, float *restrict sum)
{
    for (int c = 0; c < channels; c++)
        sum[c] += a[c] * b[c];
}

/* The three passes differ in which of the arrays is summed into, the first, second or third of an input pixel, a tap of the
 * kernel and an output pixel; the order of the sums is that of the output's pixels and then of the taps. */
struct arrays {
    float *x, *weight, *y;
};

enum pass { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT };

static void add_tap(int channels, enum pass pass, float *x, float *weight, float *y)
{
    if (pass == FORWARD)
        add_product(channels, x, weight, y);
    else if (pass == BACKWARD_INPUT)
        add_product(channels, y, weight, x);
    else
        add_product(channels, x, y, weight);
}

static void add_window(const fs_conv_shape *s, enum pass pass, int oy, int ox, struct arrays a)
{
    size_t channels = (size_t)s->channels;
    for (int ky = 0; ky < s->kernel.height; ky++)
        for (int kx = 0; kx < s->kernel.width; kx++) {
            int y = oy * s->stride.height + ky * s->dilation.height - s->pad.height;
            int x = ox * s->stride.width + kx * s->dilation.width - s->pad.width;
            if (y >= 0 && y < s->height && x >= 0 && x < s->width)
                add_tap(s->channels, pass, a.x + ((size_t)y * s->width + x) * channels,
                        a.weight + ((size_t)ky * s->kernel.width + kx) * channels, a.y);
        }
}

static void run(const fs_conv_shape *s, int images, enum pass pass, struct arrays a)
{
    for (int n = 0; n < images; n++, a.x += (size_t)s->height * s->width * s->channels)
        for (int oy = 0; oy < fs_conv_out_height(s); oy++)
            for (int ox = 0; ox < fs_conv_out_width(s); ox++, a.y += s->channels)
                add_window(s, pass, oy, ox, a);
}

static size_t pixels_out(const fs_conv_shape *s, int images)
{
    return (size_t)images * fs_conv_out_height(s) * fs_conv_out_width(s);
}

void fs_depthwise_forward(const fs_conv_shape *s, int images, const float *x, const float *weight, const float *bias, float *y)
{
    size_t channels = (size_t)s->channels, pixels = pixels_out(s, images);
    if (!bias)
        memset(y, 0, pixels * channels * sizeof *y);
    for (size_t pixel = 0; bias && pixel < pixels; pixel++)
        memcpy(y + pixel * channels, bias, channels * sizeof *y);
    run(s, images, FORWARD, (struct arrays){(float *)x, (float *)weight, y});
}

void fs_depthwise_backward_weight(const fs_conv_shape *s, int images, const float *x, const float *dy, float *dweight,
                                  float *dbias)
{
    memset(dweight, 0, (size_t)s->kernel.height * s->kernel.width * s->channels * sizeof *dweight);
    run(s, images, BACKWARD_WEIGHT, (struct arrays){(float *)x, dweight, (float *)dy});
    if (dbias)
        fs_sum_rows(pixels_out(s, images), s->channels, dy, dbias);
}

void fs_depthwise_backward_input(const fs_conv_shape *s, int images, const float *dy, const float *weight, float *dx)
{
    memset(dx, 0, (size_t)images * s->height * s->width * s->channels * sizeof *dx);
    run(s, images, BACKWARD_INPUT, (struct arrays){dx, (float *)weight, (float *)dy});
}
