/* Two-dimensional convolution, float32, channels last: Winograd or im2col on GEMMs, and the naive kernel that is the oracle. */
#ifndef FILTERSCOPE_CONV_H
#define FILTERSCOPE_CONV_H

#include <stddef.h>

/* A number for each axis, height first. */
typedef struct fs_size {
    int height, width;
} fs_size;

typedef struct fs_conv_shape {
    int height, width, channels; /* of the input map */
    int filters;                 /* channels of the output */
    fs_size kernel, stride;      /* >= 1 */
    fs_size pad, pad_end;        /* zeros above and left, below and right, >= 0 */
    fs_size dilation;            /* pixels from one tap of the kernel to the next, >= 1 */
    int groups;                  /* >= 1: as many equal parts of channels and filters, each of which sees its own alone */
    int direct;                  /* 1: im2col where Winograd's algorithm would do, too */
} fs_conv_shape;

/* Not collective, like everything here. Size of the output map along an axis. */
static inline int fs_conv_out(int size, int kernel, int stride, int pads, int dilation)
{
    return (size + pads - dilation * (kernel - 1) - 1) / stride + 1;
}

static inline int fs_conv_out_height(const fs_conv_shape *s)
{
    return fs_conv_out(s->height, s->kernel.height, s->stride.height, s->pad.height + s->pad_end.height, s->dilation.height);
}

static inline int fs_conv_out_width(const fs_conv_shape *s)
{
    return fs_conv_out(s->width, s->kernel.width, s->stride.width, s->pad.width + s->pad_end.width, s->dilation.width);
}

/* Floats of the weights. */
static inline size_t fs_conv_weights(const fs_conv_shape *s)
{
    return (size_t)s->kernel.height * s->kernel.width * (s->channels / s->groups) * s->filters;
}

/* Arrays of the functions below; none may overlap another:
 *   x        [images][height][width][channels]
 *   weight   [kernel y][kernel x][channels/groups][filters]
 *   prepared [fs_conv_prepared(shape)]: what fs_conv_prepare made of weight
 *   bias     [filters], or NULL for none
 *   y        [images][out height][out width][filters]
 *   dx, dweight, dbias, dy: gradients of the loss, shaped as their namesakes
 *   scratch  [fs_conv_scratch(shape, images)], contents undefined before and after
 * Every output is overwritten. The result is a pure function of the arguments, the BLAS and the CPU: algorithm and blocking
 * depend on `shape` and `images` alone, so that every rank takes the same. 3x3 kernels of stride 1 and pad 1 with 16 or more
 * channels and filters take Winograd's algorithm (without AVX2 where both are multiples of 16), 1x1 kernels without padding
 * a GEMM on the maps as they are, filters of one channel each kernels of their own, all others im2col + GEMM, but forward,
 * without groups, a GEMM on weights packed once and, on wide maps, on windows as they lie in the map. */

/* 1 where weights that are new for every `images` images are better not transformed: there are too few tiles to pay for it. A
 * function of the shape and the size of a slot, so that it is the same on every rank. */
int fs_conv_prefers_direct(const fs_conv_shape *shape, int images);

/* 1 where the forward pass has the same bits for an image whatever the images beside it: our own GEMMs sum each element in one
 * order, those of BLAS may not. */
int fs_conv_stands_alone(const fs_conv_shape *shape);

/* Floats of scratch for up to `images` images, and of prepared weights (0 where there is nothing to prepare). */
size_t fs_conv_scratch(const fs_conv_shape *shape, int images);
size_t fs_conv_prepared(const fs_conv_shape *shape);

/* Transforms weights once for any number of forward passes, or with `for_input` of fs_conv_backward_input. Only part `part` of
 * `parts`, 0 .. parts - 1, which several may make at a time: they write to different places. */
void fs_conv_prepare(const fs_conv_shape *shape, const float *weight, int for_input, int part, int parts, float *prepared);

/* y [count] of x [count], each from its own alone; y may be x. `number` is what some have besides. */
typedef void fs_activation(size_t count, float number, const float *x, float *y);

/* What follows in the same pass over the output, in this order. All zero: nothing. */
typedef struct fs_conv_after {
    const float *addend; /* [as y]: added; NULL for none */
    int clips;           /* what is below the floor or above the ceiling becomes that; NaN stays NaN */
    float floor, ceiling;
    fs_activation *activation; /* NULL for none */
    float number;              /* of the activation */
    int pools; /* a 2x2 max pool of stride 2, where fs_conv_pools: y is [out height/2][out width/2]; no addend, no activation */
} fs_conv_after;

/* 1 where the forward pass of this shape takes a pool along. */
int fs_conv_pools(const fs_conv_shape *shape);

/* after: NULL for nothing. */
void fs_conv_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *prepared,
                     const float *bias, const fs_conv_after *after, float *y, float *scratch);
void fs_conv_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                             float *dbias, float *scratch);
void fs_conv_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, const float *prepared,
                            float *dx, float *scratch);

/* The same by im2col + GEMM, for any shape. Forward, our own GEMM takes short rows of whole panels of filters: it packs
 * nothing. */
int fs_conv_im2col_takes_own_gemm(const fs_conv_shape *shape);
size_t fs_conv_im2col_scratch(const fs_conv_shape *shape, int images);
void fs_conv_im2col_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                            const fs_conv_after *after, float *y, float *scratch);
void fs_conv_im2col_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                    float *dbias, float *scratch);
void fs_conv_im2col_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, float *dx,
                                   float *scratch);

/* The same by definition, summed in double: slow, and what the tests compare with. */
void fs_conv_naive_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *bias,
                           float *y);
void fs_conv_naive_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                   float *dbias);
void fs_conv_naive_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, float *dx);

#endif
