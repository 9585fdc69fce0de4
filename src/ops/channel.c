/* What one channel of its input adds to the output of a convolution or a fully connected layer. */
#include "base/simd.h"
#include "ops/ops.h"

void fs_conv_channel(const fs_pass *pass, int channel, float *weight)
{
    const fs_op *op = pass->step->op;
    const float *own = fs_weight_of(pass);
    size_t filters = (size_t)op->out_channels, taps = (size_t)op->kernel.height * (size_t)op->kernel.width;
    for (size_t f = 0; f < filters; f++) {
        double scale = fs_conv_scale(pass, f);
        for (size_t tap = 0; tap < taps; tap++)
            weight[tap * filters + f] = (float)(own[(tap * (size_t)op->channels + (size_t)channel) * filters + f] * scale);
    }
}

/* Where input pixel `in` reaches the output through tap `tap` of the kernel, along one axis; -1: nowhere. */
static inline int reached(int in, int pad, int tap, int dilation, int stride, int size)
{
    int place = in + pad - tap * dilation, out = place / stride;
    return place >= 0 && out * stride == place && out < size ? out : -1;
}

/* One pixel through all taps. */
static inline __attribute__((always_inline)) void subtract_pixel(const fs_op *op, int row, int column, float value,
                                                                 const float *restrict weight, float *restrict y)
{
    size_t filters = (size_t)op->out_channels;
    for (int ky = 0; ky < op->kernel.height; ky++) {
        int out_row = reached(row, op->pad.height, ky, op->dilation.height, op->stride.height, op->out_height);
        for (int kx = 0; kx < op->kernel.width && out_row >= 0; kx++) {
            int out_column = reached(column, op->pad.width, kx, op->dilation.width, op->stride.width, op->out_width);
            if (out_column < 0)
                continue;
            const float *from = weight + (size_t)(ky * op->kernel.width + kx) * filters;
            float *to = y + ((size_t)out_row * (size_t)op->out_width + (size_t)out_column) * filters;
            for (size_t f = 0; f < filters; f++)
                to[f] -= value * from[f];
        }
    }
}

FS_SIMD void fs_conv_subtract(const fs_op *op, const float *weight, const float *map, float *y)
{
    for (int row = 0; row < op->height; row++)
        for (int column = 0; column < op->width; column++, map++)
            if (*map != 0)
                subtract_pixel(op, row, column, *map, weight, y);
}

/* weight [outputs][pixels x channels] of the op. */
void fs_linear_channel(const fs_pass *pass, int channel, float *weight)
{
    const fs_op *op = pass->step->op;
    const float *own = fs_weight_of(pass);
    size_t units = (size_t)op->out_channels, inputs = fs_op_inputs(op), channels = (size_t)op->channels;
    for (size_t pixel = 0; pixel < inputs / channels; pixel++)
        for (size_t unit = 0; unit < units; unit++)
            weight[pixel * units + unit] = own[unit * inputs + pixel * channels + (size_t)channel];
}

FS_SIMD void fs_linear_subtract(const fs_op *op, const float *restrict weight, const float *restrict map, float *restrict y)
{
    size_t units = (size_t)op->out_channels, pixels = (size_t)op->height * (size_t)op->width;
    for (size_t pixel = 0; pixel < pixels; pixel++)
        for (size_t unit = 0; unit < units; unit++)
            y[unit] -= map[pixel] * weight[pixel * units + unit];
}
