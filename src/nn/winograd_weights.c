/* Winograd's weights: U = G w G' for the forward pass and, turned, for the gradient of the input; dw = G' dU G. Letters as at
 * the top of winograd.c. */
#include "nn/winograd_weights.h"

#include "nn/gemm.h"
#include "nn/generation.h"
#include "nn/winograd.h"

const fs_winograd_form *fs_winograd_form_of(const fs_conv_shape *shape)
{
    static const fs_winograd_form four = {6, 4, 6, 1} /* F(4x4, 3x3) */, two = {2, 2, 3, 0} /* a whole 2x2 map between zeros */;
    return shape->height == 2 && shape->width == 2 ? &two : &four;
}

size_t fs_winograd_places(const fs_winograd_form *form)
{
    return (size_t)form->points * form->points;
}

/* Columns with those that fill up the last panel. */
static size_t filled(size_t columns, size_t panel)
{
    return panel ? (columns + panel - 1) / panel * panel : columns;
}

fs_winograd_order fs_winograd_order_of(size_t rows, size_t columns)
{
    size_t panel = (size_t)fs_gemm_panel();
    return (fs_winograd_order){rows, columns, panel, rows * filled(columns, panel) + FS_WINOGRAD_BETWEEN};
}

size_t fs_winograd_prepared(const fs_conv_shape *shape)
{
    size_t channels = (size_t)shape->channels, filters = (size_t)shape->filters;
    fs_winograd_order forward = fs_winograd_order_of(channels, filters), flipped = fs_winograd_order_of(filters, channels);
    return fs_winograd_places(fs_winograd_form_of(shape)) * (forward.apart > flipped.apart ? forward.apart : flipped.apart);
}

void fs_winograd_prepare(const fs_conv_shape *shape, const float *weight, int flipped, int part, int parts, float *prepared)
{
    size_t channels = (size_t)shape->channels, filters = (size_t)shape->filters;
    fs_winograd_order order = flipped ? fs_winograd_order_of(filters, channels) : fs_winograd_order_of(channels, filters);
    size_t unit = order.panel ? order.panel : 16, units = filled(order.columns, order.panel) / unit;
    fs_generation_of_cpu()->tiles->weights(fs_winograd_form_of(shape), weight, &order, flipped, units * part / parts * unit,
                                           units * (part + 1) / parts * unit, prepared);
}
