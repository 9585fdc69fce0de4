/* What holds for operations of all kinds. */
#include <limits.h>
#include <math.h>

#include "filterscope/random.h"
#include "ops/ops.h"

size_t fs_op_inputs(const fs_op *op)
{
    return (size_t)op->height * op->width * op->channels;
}

size_t fs_op_outputs(const fs_op *op)
{
    return (size_t)op->out_height * op->out_width * op->out_channels;
}

int fs_op_origin(const fs_op *op, int input, int channel)
{
    return op->kind->origin ? op->kind->origin(op, input, channel) : channel;
}

double fs_op_macs(const fs_op *op)
{
    return op->kind->macs ? op->kind->macs(op) : 0;
}

int fs_op_conv_shape(const fs_op *op, fs_conv_shape *shape)
{
    return op->kind->conv && op->kind->conv(op, shape);
}

void fs_op_initialise(const fs_op *op, uint64_t seed, int number, size_t fan_in, float *parameter)
{
    fs_random_uniform(seed, FS_RANDOM_WEIGHTS, (uint32_t)number, 1.0f / sqrtf((float)fan_in), parameter,
                      op->weights + op->biases);
}

/* TensorFlow's: as little as gives the input over the stride, rounded up; what is odd goes to the end. */
static void pad_same(int size, int kernel, int stride, int dilation, int *before, int *after)
{
    int all = ((size + stride - 1) / stride - 1) * stride + dilation * (kernel - 1) + 1 - size;
    *before = all > 0 ? all / 2 : 0;
    *after = all > 0 ? all - *before : 0;
}

void fs_op_take_window(const fs_layer *layer, fs_op *op)
{
    op->kernel = layer->size;
    op->stride = layer->stride;
    op->pad = layer->pad;
    op->pad_end = layer->pad_end;
    op->dilation = layer->dilation;
    if (!layer->same)
        return;
    pad_same(op->height, op->kernel.height, op->stride.height, op->dilation.height, &op->pad.height, &op->pad_end.height);
    pad_same(op->width, op->kernel.width, op->stride.width, op->dilation.width, &op->pad.width, &op->pad_end.width);
}

fs_status fs_op_check_size(const char *what, int height, int width, size_t channels)
{
    if ((double)height * width * (double)channels <= INT_MAX)
        return FS_OK;
    return fs_fail(FS_USAGE, "a %s of %dx%dx%zu is too large: at most %d numbers", what, height, width, channels, INT_MAX);
}
