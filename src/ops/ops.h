/* What the files of this folder share: their rows, and the words of a line. */
#ifndef FILTERSCOPE_OPS_OPS_H
#define FILTERSCOPE_OPS_OPS_H

#include "filterscope/op.h"

extern const fs_kind fs_kind_from, fs_kind_add, fs_kind_concat, fs_kind_scale, fs_kind_input, fs_kind_conv, fs_kind_bn,
    fs_kind_relu, fs_kind_maxpool, fs_kind_avgpool, fs_kind_globalmax, fs_kind_globalavg, fs_kind_dropout, fs_kind_flatten,
    fs_kind_fc, fs_kind_relu6, fs_kind_leakyrelu, fs_kind_elu, fs_kind_prelu, fs_kind_silu, fs_kind_gelu, fs_kind_sigmoid,
    fs_kind_tanh, fs_kind_hardswish, fs_kind_hardsigmoid, fs_kind_subsample, fs_kind_zeropad;

static inline const float *fs_weight_of(const fs_pass *pass)
{
    return pass->parameter + pass->step->op->weight;
}

/* NULL for none. */
static inline const float *fs_bias_of(const fs_pass *pass)
{
    const fs_op *op = pass->step->op;
    return op->biases ? pass->parameter + op->bias : NULL;
}

/* Pixels of the input. */
static inline size_t fs_rows_of(const fs_op *op, int images)
{
    return (size_t)images * op->height * op->width;
}

/* Units or filters of a line, K replaced. */
static inline int fs_units_of(const fs_layer *layer, const fs_place *place)
{
    return layer->units == FS_UNITS_K ? place->labels : layer->units;
}

/* By what a batch norm that goes into the convolution's weights multiplies those of `filter`; 1 without one. */
double fs_conv_scale(const fs_pass *pass, size_t filter);

/* fs_kind.channel and .subtract of convolutions, where they have one group, and of fully connected layers. */
void fs_conv_channel(const fs_pass *pass, int channel, float *weight);
void fs_conv_subtract(const fs_op *op, const float *weight, const float *map, float *y);
void fs_linear_channel(const fs_pass *pass, int channel, float *weight);
void fs_linear_subtract(const fs_op *op, const float *weight, const float *map, float *y);

/* Uniform in +-1/sqrt(fan_in). */
void fs_op_initialise(const fs_op *op, uint64_t seed, int number, size_t fan_in, float *parameter);

/* Kernel, stride, dilation and pads of a convolution or pool, those of "same" as the input wants them. */
void fs_op_take_window(const fs_layer *layer, fs_op *op);

/* FS_USAGE where `what` of one image has more numbers than an int counts. */
fs_status fs_op_check_size(const char *what, int height, int width, size_t channels);

#endif
