/* Winograd's weights: U = G w G' for the forward pass and, turned, for the gradient of the input; dw = G' dU G. Letters as at
 * the top of winograd.c. */
#include "nn/winograd_weights.h"

#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "base/simd.h"
#include "nn/gemm.h"
#include "nn/winograd.h"

#define LANES                                                                                                                  \
    16 /* also where a register holds 8: streams of weights are longer for it, and there is time, they wait for memory */
#include "nn/winograd_tiles.h"

const fs_winograd_form fs_winograd_form4 = {6, 4, 6, 1};
const fs_winograd_form fs_winograd_form2 = {2, 2, 3, 0};

const fs_winograd_form *fs_winograd_form_of(const fs_conv_shape *shape)
{
    return shape->height == 2 && shape->width == 2 ? &fs_winograd_form2 : &fs_winograd_form4;
}

size_t fs_winograd_places(const fs_winograd_form *form)
{
    return (size_t)form->points * form->points;
}

fs_winograd_order fs_winograd_order_of(size_t rows, size_t columns)
{
    size_t panel = (size_t)fs_gemm_panel();
    return (fs_winograd_order){rows, columns, panel};
}

/* Columns with those that fill up the last panel. */
static size_t filled(const fs_winograd_order *o)
{
    return o->panel ? (o->columns + o->panel - 1) / o->panel * o->panel : o->columns;
}

size_t fs_winograd_pairs(const fs_winograd_order *o)
{
    return o->rows * filled(o);
}

/* LANES floats, or the first `count` and zeros. */
INLINE void load(const float *from, size_t count, vector *to)
{
    *to = (vector){0};
    if (count >= LANES)
        *to = *(const vector *)from;
    else
        memcpy(to, from, count * sizeof *from);
}

/* Writes past the caches: a plain write would read the lines first. */
INLINE void stream(float *to, const vector *value)
{
#ifdef __SSE__
    for (int i = 0; i < LANES; i += 4)
        _mm_stream_ps(to + i, _mm_loadu_ps((const float *)value + i));
#else
    *(vector *)to = *value;
#endif
}

/* U of LANES neighbouring columns from their taps, to `position` in each place, the places `pairs` apart. */
INLINE void store_weights(const vector *taps, int points, tile_transform *transform, size_t pairs, int streams, float *position)
{
    vector result[MOST * MOST];
    transform(taps, result);
    _Pragma("GCC unroll 6") for (int y = 0; y < points; y++)
        _Pragma("GCC unroll 6") for (int x = 0; x < points; x++) if (streams)
            stream(position + (y * points + x) * pairs, &result[y * MOST + x]);
    else *(vector *)(position + (y * points + x) * pairs) = result[y * MOST + x];
}

/* Columns that lie together in each row. */
static size_t width_of(const fs_winograd_order *o)
{
    return o->panel ? o->panel : o->columns;
}

/* Columns begin .. end-1 from weight [3][3][rows][columns], row-major as the forward pass wants it. */
INLINE void transform_weights(const float *weight, const fs_winograd_order *o, size_t begin, size_t end, int points,
                              tile_transform *transform, int streams, float *prepared)
{
    size_t pairs = fs_winograd_pairs(o), taps_apart = o->rows * o->columns, width = width_of(o),
           at_once = o->panel ? o->panel : LANES;
    for (size_t first = begin; first < end; first += at_once)
        for (size_t row = 0; row < o->rows; row++)
            for (size_t column = first; column < first + at_once; column += LANES) {
                vector taps[MOST * MOST];
                const float *from = weight + row * o->columns + column;
                size_t count = column < o->columns ? o->columns - column : 0;
                for (int tap = 0; tap < 9; tap++)
                    load(from + tap * taps_apart, count, &taps[tap / 3 * MOST + tap % 3]);
                store_weights(taps, points, transform, pairs, streams,
                              prepared + column / width * o->rows * width + row * width + column % width);
            }
}

#ifdef __clang__ /* has it for constants alone, which it will see that these are */
INLINE void shuffle(const vector *a, const vector *b, const mask *from, vector *out)
{
    for (int lane = 0; lane < LANES; lane++)
        (*out)[lane] = (*from)[lane] < LANES ? (*a)[(*from)[lane]] : (*b)[(*from)[lane] - LANES];
}
#else
#define shuffle(a, b, from, out) (*(out) = __builtin_shuffle(*(a), *(b), *(from)))
#endif

/* One step of a transposition: in row pairs `step` apart, exchanges the blocks of `step` lanes off the diagonal. */
INLINE void exchange(vector *rows, int step)
{
    mask first, second;
    for (int lane = 0; lane < LANES; lane++) {
        first[lane] = lane & step ? LANES + lane - step : lane;
        second[lane] = lane & step ? LANES + lane : lane + step;
    }
    _Pragma("GCC unroll 16") for (int row = 0; row < LANES; row++)
    {
        if (row & step)
            continue;
        vector upper = rows[row], lower = rows[row + step];
        shuffle(&upper, &lower, &first, &rows[row]);
        shuffle(&upper, &lower, &second, &rows[row + step]);
    }
}

INLINE void transpose(vector rows[LANES])
{
    exchange(rows, 8);
    exchange(rows, 4);
    exchange(rows, 2);
    exchange(rows, 1);
}

/* The same from weight [3][3][columns][rows], transposed and turned by half a circle: LANES x LANES at a time, all taps of
 * which go through a block that stays in cache. */
INLINE void transform_flipped(const float *weight, const fs_winograd_order *o, size_t begin, size_t end, int points,
                              tile_transform *transform, int streams, float *prepared)
{
    size_t pairs = fs_winograd_pairs(o), taps_apart = o->rows * o->columns, width = width_of(o);
    for (size_t column = begin; column < end; column += LANES)
        for (size_t row = 0; row < o->rows; row += LANES) {
            vector block[9][LANES];
            const float *first = weight + column * o->rows + row;
            size_t columns = column < o->columns ? o->columns - column : 0, rows = o->rows - row;
            for (int tap = 0; tap < 9; tap++) {
                for (size_t x = 0; x < LANES; x++)
                    load(first + tap * taps_apart + x * o->rows, x < columns ? rows : 0, &block[8 - tap][x]);
                transpose(block[8 - tap]);
            }
            float *position = prepared + column / width * o->rows * width + row * width + column % width;
            for (size_t y = 0; y < LANES && y < rows; y++) {
                vector taps[MOST * MOST];
                for (int tap = 0; tap < 9; tap++)
                    taps[tap / 3 * MOST + tap % 3] = block[tap][y];
                store_weights(taps, points, transform, pairs, streams, position + y * width);
            }
        }
}

FS_SIMD static void weights_of(const fs_winograd_form *form, const float *weight, const fs_winograd_order *o, int flipped,
                               size_t begin, size_t end, float *prepared)
{
    enum { CACHED = 1 << 22 }; /* floats of U that are likely to be found in cache again */
    int streams = fs_winograd_places(form) * fs_winograd_pairs(o) > CACHED;
    if (form == &fs_winograd_form4 && flipped)
        transform_flipped(weight, o, begin, end, 6, tile_weight4, streams, prepared);
    else if (form == &fs_winograd_form4)
        transform_weights(weight, o, begin, end, 6, tile_weight4, streams, prepared);
    else if (flipped)
        transform_flipped(weight, o, begin, end, 3, tile_weight2, streams, prepared);
    else
        transform_weights(weight, o, begin, end, 3, tile_weight2, streams, prepared);
}

/* Gradients dU into rows of dweight; the last columns that make no whole vector once more with those before them. */
INLINE void transform_weights_back(const float *u, size_t rows, size_t columns, size_t per_u_row, int points,
                                   tile_transform *transform, float *dweight, size_t per_tap, size_t per_row)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t step = 0; step < columns; step += LANES) {
            size_t column = step + LANES <= columns ? step : columns - LANES;
            vector places[MOST * MOST], result[MOST * MOST];
            const float *from = u + row * per_u_row + column;
            _Pragma("GCC unroll 6") for (int y = 0; y < points; y++) _Pragma("GCC unroll 6") for (int x = 0; x < points; x++)
                places[y * MOST + x] = *(const vector *)(from + (y * points + x) * rows * per_u_row);
            transform(places, result);
            for (int tap = 0; tap < 9; tap++)
                *(vector *)(dweight + tap * per_tap + row * per_row + column) = result[tap / 3 * MOST + tap % 3];
        }
}

FS_SIMD void fs_winograd_weights_back(const fs_winograd_form *form, const float *u, size_t rows, size_t columns,
                                      size_t per_u_row, float *dweight, size_t per_tap, size_t per_row)
{
    if (form == &fs_winograd_form4)
        transform_weights_back(u, rows, columns, per_u_row, 6, tile_weight_back4, dweight, per_tap, per_row);
    else
        transform_weights_back(u, rows, columns, per_u_row, 3, tile_weight_back2, dweight, per_tap, per_row);
}

size_t fs_winograd_prepared(const fs_conv_shape *shape)
{
    size_t channels = (size_t)shape->channels, filters = (size_t)shape->filters;
    fs_winograd_order forward = fs_winograd_order_of(channels, filters), flipped = fs_winograd_order_of(filters, channels);
    size_t a = fs_winograd_pairs(&forward), b = fs_winograd_pairs(&flipped);
    return fs_winograd_places(fs_winograd_form_of(shape)) * (a > b ? a : b);
}

void fs_winograd_prepare(const fs_conv_shape *shape, const float *weight, int flipped, int part, int parts, float *prepared)
{
    size_t channels = (size_t)shape->channels, filters = (size_t)shape->filters;
    fs_winograd_order order = flipped ? fs_winograd_order_of(filters, channels) : fs_winograd_order_of(channels, filters);
    size_t unit = order.panel ? order.panel : LANES, units = filled(&order) / unit;
    weights_of(fs_winograd_form_of(shape), weight, &order, flipped, units * part / parts * unit,
               units * (part + 1) / parts * unit, prepared);
}
