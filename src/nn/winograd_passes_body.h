/* The passes of winograd_passes.h for vectors of LANES channels: to be included by a file that says how many. */
#ifndef FILTERSCOPE_WINOGRAD_PASSES_BODY_H
#define FILTERSCOPE_WINOGRAD_PASSES_BODY_H

#include <math.h>

#include "base/simd.h"
#include "nn/finish.h"
#include "nn/winograd_passes.h"
#include "nn/winograd_tiles.h"

/* A tile of the grid: its image, and where its output begins there. */
typedef struct {
    size_t image;
    int top, left;
} tile_at;

INLINE tile_at find_tile(const fs_winograd_grid *g, int out, size_t tile)
{
    size_t an_image = (size_t)g->rows * g->columns, rest = tile % an_image;
    return (tile_at){tile / an_image, (int)(rest / g->columns) * out, (int)(rest % g->columns) * out};
}

INLINE void next_tile(const fs_winograd_grid *g, int out, tile_at *t)
{
    t->left += out;
    if (t->left < g->columns * out)
        return;
    t->left = 0;
    t->top += out;
    if (t->top < g->rows * out)
        return;
    t->top = 0;
    t->image++;
}

/* Where the pixels of a tile are, size x size from `border` before its output; `zeros` stand for those outside the map. */
INLINE void find_pixels(const float *map, const fs_winograd_grid *g, const tile_at *t, int size, int border, int channels,
                        const float *zeros, const float *pixel[MOST * MOST])
{
    int top = t->top - border, left = t->left - border, first_row = top < 0 ? -top : 0, first_column = left < 0 ? -left : 0,
        rows = g->height - top < size ? g->height - top : size, columns = g->width - left < size ? g->width - left : size;
    size_t down = (size_t)g->width * channels;
    const float *line = map + (t->image * g->height + (top + first_row)) * down + (size_t)(left + first_column) * channels;
    if (first_row || first_column || rows < size || columns < size)
        for (int i = 0; i < size * MOST; i++)
            pixel[i] = zeros;
    for (int row = first_row; row < rows; row++, line += down)
        for (int column = first_column; column < columns; column++)
            pixel[row * MOST + column] = line + (size_t)(column - first_column) * channels;
}

/* The last of `channels` that make no whole vector are computed with those before them, once more. */
INLINE size_t first_lane(size_t step, size_t channels)
{
    return step + LANES <= channels ? step : channels - LANES;
}

INLINE void transform_tiles(const float *map, const fs_winograd_grid *g, int channels, size_t first, size_t count,
                            const fs_winograd_order_of_places *at, const float *zeros, int size, int border, int out,
                            int points, tile_transform *transform, float *places)
{
    tile_at own = find_tile(g, out, first);
    for (size_t tile = 0; tile < count; tile++, next_tile(g, out, &own)) {
        const float *pixel[MOST * MOST];
        find_pixels(map, g, &own, size, border, channels, zeros, pixel);
        for (size_t panel = 0; panel < (size_t)channels; panel += at->panel) {
            float *to = places + panel / at->panel * at->per_panel + tile * at->per_tile;
            for (size_t step = 0; step < at->panel; step += LANES) {
                size_t channel = first_lane(step, at->panel);
                vector pixels[MOST * MOST], result[MOST * MOST];
                _Pragma("GCC unroll 6") for (int row = 0; row < size; row++)
                    _Pragma("GCC unroll 6") for (int column = 0; column < size; column++) pixels[row * MOST + column] =
                        *(const vector *)(pixel[row * MOST + column] + panel + channel);
                transform(pixels, result);
                _Pragma("GCC unroll 6") for (int row = 0; row < points; row++)
                        _Pragma("GCC unroll 6") for (int column = 0; column < points; column++) *
                    (vector *)(to + (row * points + column) * at->per_place + channel) = result[row * MOST + column];
            }
        }
    }
}

FS_SIMD static void inputs_of(const fs_winograd_form *form, const float *x, const fs_winograd_grid *g, int channels,
                              size_t first, size_t count, const fs_winograd_order_of_places *at, const float *zeros, float *v)
{
    if (form->out == 4)
        transform_tiles(x, g, channels, first, count, at, zeros, 6, 1, 4, 6, tile_input4, v);
    else
        transform_tiles(x, g, channels, first, count, at, zeros, 2, 0, 2, 3, tile_input2, v);
}

FS_SIMD static void gradients_of(const fs_winograd_form *form, const float *dy, const fs_winograd_grid *g, int filters,
                                 size_t first, size_t count, const fs_winograd_order_of_places *at, const float *zeros,
                                 float *e)
{
    if (form->out == 4)
        transform_tiles(dy, g, filters, first, count, at, zeros, 4, 0, 4, 6, tile_gradient4, e);
    else
        transform_tiles(dy, g, filters, first, count, at, zeros, 2, 0, 2, 3, tile_gradient2, e);
}

INLINE void take_larger(vector *a, const vector *b)
{
    mask keep = *a > *b;
    *a = (vector)(((mask)*a & keep) | ((mask)*b & ~keep));
}

/* Keeps NaN. */
INLINE void rectify(vector *a)
{
    *a = (vector)((mask)*a & ~(*a < 0));
}

/* A plain ReLU is done in registers; other clips, and activations, where the tile has been stored. */
static int is_relu(const fs_conv_after *after)
{
    return after->clips && after->floor == 0 && after->ceiling == INFINITY;
}

/* One tile of results [out][out] to the map, plus shift and addend, clipped at the map's edge; with `pooled` the largest of
 * each 2x2. `first`: the image's first float of these filters in y. */
INLINE void store_tile(const vector *result, const fs_winograd_grid *g, int filters, int top, int left, int out,
                       const vector *shift, const float *addend, int relu, int pooled, size_t first, float *y)
{
    for (int row = 0; row < out && top + row < g->height; row += 1 + pooled)
        for (int column = 0; column < out && left + column < g->width; column += 1 + pooled) {
            const vector *r = result + row * MOST + column;
            vector value = r[0];
            if (pooled) {
                take_larger(&value, &r[1]);
                take_larger(&value, &r[MOST]);
                take_larger(&value, &r[MOST + 1]);
            }
            value += *shift;
            size_t down = (size_t)(top + row) >> pooled, right = (size_t)(left + column) >> pooled;
            size_t at = first + (down * ((size_t)g->width >> pooled) + right) * filters;
            if (!pooled && addend)
                value += *(const vector *)(addend + at);
            if (relu)
                rectify(&value);
            *(vector *)(y + at) = value;
        }
}

/* What else follows one tile, line by line. */
static void finish_tile(const fs_conv_after *later, const fs_winograd_grid *g, int filters, int top, int left, int out,
                        int pooled, size_t first, float *y)
{
    int rows = g->height - top < out ? g->height - top : out, columns = g->width - left < out ? g->width - left : out;
    for (int row = 0; row < rows >> pooled; row++) {
        size_t line = (size_t)((top >> pooled) + row) * (g->width >> pooled) + (left >> pooled);
        fs_conv_finish(later, first + line * filters, (size_t)(columns >> pooled) * filters, y);
    }
}

/* Places [P x P][count][filters + PAD] to output tiles: bias, then what follows as told. */
INLINE void store_tiles(const float *places, const fs_winograd_grid *g, int filters, size_t first, size_t count,
                        const fs_winograd_order_of_places *at, int out, int points, tile_transform *transform,
                        const float *bias, const fs_conv_after *after, int pooled, float *y)
{
    size_t image_floats = (size_t)(g->height >> pooled) * (g->width >> pooled) * filters;
    int relu = is_relu(after);
    fs_conv_after later = *after;
    later.addend = NULL;
    later.clips = after->clips && !relu;
    tile_at own = find_tile(g, out, first);
    for (size_t tile = 0; tile < count; tile++, next_tile(g, out, &own)) {
        for (size_t step = 0; step < (size_t)filters; step += LANES) {
            size_t filter = first_lane(step, (size_t)filters);
            vector products[MOST * MOST], result[MOST * MOST], shift = bias ? *(const vector *)(bias + filter) : (vector){0};
            const float *from = places + tile * at->per_tile + filter;
            _Pragma("GCC unroll 6") for (int row = 0; row < points; row++)
                _Pragma("GCC unroll 6") for (int column = 0; column < points; column++) products[row * MOST + column] =
                    *(const vector *)(from + (row * points + column) * at->per_place);
            transform(products, result);
            store_tile(result, g, filters, own.top, own.left, out, &shift, after->addend, relu, pooled,
                       own.image * image_floats + filter, y);
        }
        if (later.clips || later.activation)
            finish_tile(&later, g, filters, own.top, own.left, out, pooled, own.image * image_floats, y);
    }
}

FS_SIMD static void outputs_of(const fs_winograd_form *form, const float *m, const fs_winograd_grid *g, int filters,
                               size_t first, size_t count, const fs_winograd_order_of_places *at, const float *bias,
                               const fs_conv_after *after, float *y)
{
    if (form->out == 4 && after->pools)
        store_tiles(m, g, filters, first, count, at, 4, 6, tile_output4, bias, after, 1, y);
    else if (form->out == 4)
        store_tiles(m, g, filters, first, count, at, 4, 6, tile_output4, bias, after, 0, y);
    else
        store_tiles(m, g, filters, first, count, at, 2, 3, tile_output2, bias, after, after->pools, y);
}

#endif
