/* Which algorithm a convolution takes. */
#include "filterscope/conv.h"

#include "filterscope/layers.h"
#include "nn/dense.h"
#include "nn/depthwise.h"
#include "nn/gemm.h"
#include "nn/pointwise.h"
#include "nn/winograd.h"

/* A map of one row or column leaves most of a Winograd tile empty. */
static int takes_winograd(const fs_conv_shape *shape)
{
    return !shape->direct && fs_winograd_fits(shape) && shape->height > 1 && shape->width > 1;
}

int fs_conv_prefers_direct(const fs_conv_shape *shape, int images)
{
    enum {
        LEAST_TILES = 3
    }; /* VGG-16, slots of 4: one rank alone loses a seventh; 16 of a node share the transforms and gain a third (reckoned) */
    return takes_winograd(shape) && (size_t)images * ((shape->height + 3) / 4) * ((shape->width + 3) / 4) < LEAST_TILES;
}

int fs_conv_stands_alone(const fs_conv_shape *shape)
{
    int panel = fs_gemm_panel();
    if (fs_depthwise_fits(shape) || fs_pointwise_fits(shape) || fs_dense_fits(shape))
        return 1;
    return panel && (takes_winograd(shape) || (shape->filters % panel == 0 && fs_conv_im2col_takes_own_gemm(shape)));
}

size_t fs_conv_prepared(const fs_conv_shape *shape)
{
    if (fs_pointwise_fits(shape))
        return fs_pointwise_prepared(shape);
    if (fs_dense_fits(shape))
        return fs_dense_prepared(shape);
    return takes_winograd(shape) ? fs_winograd_prepared(shape) : 0;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t fs_conv_scratch(const fs_conv_shape *shape, int images)
{
    if (fs_depthwise_fits(shape))
        return fs_depthwise_scratch(shape);
    if (fs_pointwise_fits(shape))
        return fs_pointwise_scratch(shape);
    if (fs_dense_fits(shape))
        return larger(fs_dense_scratch(shape), fs_conv_im2col_scratch(shape, images)); /* the second for the gradients */
    if (!takes_winograd(shape))
        return fs_conv_im2col_scratch(shape, images);
    return fs_winograd_prepared(shape) + fs_winograd_scratch(shape, images); /* the first for the gradient of the weights */
}

int fs_conv_pools(const fs_conv_shape *shape)
{
    return takes_winograd(shape) && shape->height % 2 == 0 && shape->width % 2 == 0;
}

void fs_conv_prepare(const fs_conv_shape *shape, const float *weight, int for_input, int part, int parts, float *prepared)
{
    if (takes_winograd(shape))
        fs_winograd_prepare(shape, weight, for_input, part, parts, prepared);
    else if (fs_pointwise_fits(shape))
        fs_pointwise_prepare(shape, weight, for_input, part, parts, prepared);
    else if (fs_dense_fits(shape) && !for_input)
        fs_dense_prepare(shape, weight, part, parts, prepared);
}

void fs_conv_forward(const fs_conv_shape *shape, int images, const float *x, const float *weight, const float *prepared,
                     const float *bias, const fs_conv_after *after, float *y, float *scratch)
{
    static const fs_conv_after nothing = {0};
    after = after ? after : &nothing;
    if (takes_winograd(shape))
        fs_winograd_forward(shape, images, x, prepared, bias, after, y, scratch);
    else if (fs_pointwise_fits(shape))
        fs_pointwise_forward(shape, images, x, prepared, bias, after, y, scratch);
    else if (fs_depthwise_fits(shape))
        fs_depthwise_forward(shape, images, x, weight, bias, after, y, scratch);
    else if (fs_dense_fits(shape))
        fs_dense_forward(shape, images, x, prepared, bias, after, y, scratch);
    else
        fs_conv_im2col_forward(shape, images, x, weight, bias, after, y, scratch);
}

void fs_conv_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                             float *dbias, float *scratch)
{
    if (takes_winograd(shape))
        fs_winograd_backward_weight(shape, images, x, dy, dweight, scratch, scratch + fs_winograd_prepared(shape));
    else if (fs_pointwise_fits(shape))
        fs_pointwise_backward_weight(shape, images, x, dy, dweight, scratch);
    else if (fs_depthwise_fits(shape))
        fs_depthwise_backward_weight(shape, images, x, dy, dweight);
    else
        fs_conv_im2col_backward_weight(shape, images, x, dy, dweight, NULL, scratch);
    if (dbias)
        fs_sum_rows((size_t)images * fs_conv_out_height(shape) * fs_conv_out_width(shape), shape->filters, dy, dbias);
}

void fs_conv_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *weight, const float *prepared,
                            float *dx, float *scratch)
{
    if (takes_winograd(shape))
        fs_winograd_backward_input(shape, images, dy, prepared, dx, scratch);
    else if (fs_pointwise_fits(shape))
        fs_pointwise_backward_input(shape, images, dy, prepared, dx, scratch);
    else if (fs_depthwise_fits(shape))
        fs_depthwise_backward_input(shape, images, dy, weight, dx, scratch);
    else
        fs_conv_im2col_backward_input(shape, images, dy, weight, dx, scratch);
}
