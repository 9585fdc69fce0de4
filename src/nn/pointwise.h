/* Convolution by a 1x1 kernel without padding: a matrix product on the maps as they are. Arrays as in conv.h. */
#ifndef FILTERSCOPE_NN_POINTWISE_H
#define FILTERSCOPE_NN_POINTWISE_H

#include "filterscope/conv.h"

/* Not collective, like everything here. 1 where these functions apply: a 1x1 kernel, no padding, no groups, and a CPU that has
 * kernels for fs_gemm. */
int fs_pointwise_fits(const fs_conv_shape *shape);

/* Floats of weights in panels, for either direction, and of scratch. */
size_t fs_pointwise_prepared(const fs_conv_shape *shape);
size_t fs_pointwise_scratch(const fs_conv_shape *shape);

void fs_pointwise_prepare(const fs_conv_shape *shape, const float *weight, int for_input, int part, int parts, float *prepared);

/* `after` without a pool. */
void fs_pointwise_forward(const fs_conv_shape *shape, int images, const float *x, const float *prepared, const float *bias,
                          const fs_conv_after *after, float *y, float *scratch);
void fs_pointwise_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                  float *scratch);
void fs_pointwise_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *prepared, float *dx,
                                 float *scratch);

#endif
