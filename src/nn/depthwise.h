/* Depthwise convolution: a filter for each channel. Arrays as in conv.h; weight [kernel y][kernel x][channels]. */
#ifndef FILTERSCOPE_NN_DEPTHWISE_H
#define FILTERSCOPE_NN_DEPTHWISE_H

#include "filterscope/conv.h"

/* Not collective, like everything here. 1 where these functions apply: as many groups and filters as channels. */
int fs_depthwise_fits(const fs_conv_shape *shape);

void fs_depthwise_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                          float *y);
void fs_depthwise_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                  float *dbias);
void fs_depthwise_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, float *dx);

#endif
