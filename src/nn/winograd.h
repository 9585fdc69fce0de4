/* Winograd's minimal filtering for 3x3 kernels of stride 1 and pad 1 (Lavin and Gray, 2016): F(4x4, 3x3) with 36 products for
 * 16 outputs, and for 2x2 maps, whose border is all zeros, a form with 9 products for 4 outputs. One GEMM a product. */
#ifndef FILTERSCOPE_WINOGRAD_H
#define FILTERSCOPE_WINOGRAD_H

#include "filterscope/conv.h"

/* Not collective, like everything here. 1 where these functions apply: the kernel above, 16 channels and filters at
 * least, and multiples of 16 where the CPU has no kernels for fs_gemm. */
int fs_winograd_fits(const fs_conv_shape *shape);

/* Floats of transformed weights, and of scratch for up to `images` images. */
size_t fs_winograd_prepared(const fs_conv_shape *shape);
size_t fs_winograd_scratch(const fs_conv_shape *shape, int images);

/* Transforms weight [3][3][channels][filters] for the forward pass; with `flipped`, for the gradient of the input. Part `part`
 * of `parts` of it. */
void fs_winograd_prepare(const fs_conv_shape *shape, const float *weight, int flipped, int part, int parts, float *prepared);

/* As their namesakes in conv.h, from transformed weights; maps that are pooled are even.
 * backward_weight needs none; `room` [fs_winograd_prepared]. */
void fs_winograd_forward(const fs_conv_shape *shape, int images, const float *x, const float *prepared, const float *bias,
                         const fs_conv_after *after, float *y, float *scratch);
void fs_winograd_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                 float *room, float *scratch);
void fs_winograd_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *flipped, float *dx,
                                float *scratch);

#endif
