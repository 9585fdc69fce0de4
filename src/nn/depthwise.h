/* Depthwise convolution: a filter for each channel. Arrays as in conv.h; weight [kernel y][kernel x][channels]. */
#ifndef FILTERSCOPE_NN_DEPTHWISE_H
#define FILTERSCOPE_NN_DEPTHWISE_H

#include "filterscope/conv.h"

/* Not collective, like everything here. 1 where these functions apply: as many groups and filters as channels. */
int fs_depthwise_fits(const fs_conv_shape *shape);

/* Floats. */
size_t fs_depthwise_scratch(const fs_conv_shape *shape);

/* `after` without a pool. */
void fs_depthwise_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                          const fs_conv_after *after, float *y, float *scratch);
void fs_depthwise_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight);
void fs_depthwise_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, float *dx,
                                 float *scratch);

#endif
