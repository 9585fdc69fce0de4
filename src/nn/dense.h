/* Convolution by any kernel that sees all channels, forward, on weights that were packed once. Arrays as in conv.h. */
#ifndef FILTERSCOPE_NN_DENSE_H
#define FILTERSCOPE_NN_DENSE_H

#include "filterscope/conv.h"

/* Not collective, like everything here. 1 where these functions apply: no groups, pixels of a kernel's row side by side, a CPU
 * that has kernels for fs_gemm, and no 3x3 kernel of stride 1 on 16 channels or more, which is Winograd's. */
int fs_dense_fits(const fs_conv_shape *shape);

/* Floats. */
size_t fs_dense_prepared(const fs_conv_shape *shape);
size_t fs_dense_scratch(const fs_conv_shape *shape);

void fs_dense_prepare(const fs_conv_shape *shape, const float *weight, int part, int parts, float *prepared);

/* `after` without a pool. */
void fs_dense_forward(const fs_conv_shape *shape, int images, const float *x, const float *prepared, const float *bias,
                      const fs_conv_after *after, float *y, float *scratch);

#endif
