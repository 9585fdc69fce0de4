/* The transforms of weights and of their gradients of winograd_passes.h for vectors of LANES channels: to be included by a file
 * that says how many. */
#ifndef FILTERSCOPE_WINOGRAD_WEIGHTS_BODY_H
#define FILTERSCOPE_WINOGRAD_WEIGHTS_BODY_H

#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "base/simd.h"
#include "nn/winograd_passes.h"
#include "nn/winograd_tiles.h"

enum {
    LINE = 16, /* floats of a cache line: what is streamed past the caches are whole ones, or it takes many times as long */
    PARTS = LINE / LANES
};

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

/* U of LINE neighbouring columns from their taps, to `position` in each place, the places `apart`. */
INLINE void store_weights(const vector taps[PARTS][MOST * MOST], int points, tile_transform *transform, size_t apart,
                          int streams, float *position)
{
    vector result[PARTS][MOST * MOST];
    for (int part = 0; part < PARTS; part++)
        transform(taps[part], result[part]);
    _Pragma("GCC unroll 6") for (int y = 0; y < points; y++)
        _Pragma("GCC unroll 6") for (int x = 0; x < points; x++) for (int part = 0; part < PARTS; part++)
    {
        float *to = position + (y * points + x) * apart + part * LANES;
        if (streams)
            stream(to, &result[part][y * MOST + x]);
        else
            *(vector *)to = result[part][y * MOST + x];
    }
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
    size_t taps_apart = o->rows * o->columns, width = width_of(o), at_once = o->panel ? o->panel : LINE;
    for (size_t first = begin; first < end; first += at_once)
        for (size_t row = 0; row < o->rows; row++)
            for (size_t column = first; column < first + at_once; column += LINE) {
                vector taps[PARTS][MOST * MOST];
                for (size_t part = 0, own = column; part < PARTS; part++, own += LANES)
                    for (int tap = 0; tap < 9; tap++)
                        load(weight + tap * taps_apart + row * o->columns + own, own < o->columns ? o->columns - own : 0,
                             &taps[part][tap / 3 * MOST + tap % 3]);
                store_weights(taps, points, transform, o->apart, streams,
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
    _Pragma("GCC unroll 4") for (int step = LANES / 2; step > 0; step /= 2) exchange(rows, step);
}

/* The same from weight [3][3][columns][rows], transposed and turned by half a circle: LANES x LANES at a time, all taps of
 * which go through a block that stays in cache. */
INLINE void transform_flipped(const float *weight, const fs_winograd_order *o, size_t begin, size_t end, int points,
                              tile_transform *transform, int streams, float *prepared)
{
    size_t taps_apart = o->rows * o->columns, width = width_of(o);
    for (size_t column = begin; column < end; column += LINE)
        for (size_t row = 0; row < o->rows; row += LANES) {
            vector block[9][PARTS][LANES];
            const float *first = weight + column * o->rows + row;
            size_t columns = column < o->columns ? o->columns - column : 0, rows = o->rows - row;
            for (int tap = 0; tap < 9; tap++)
                for (size_t part = 0; part < PARTS; part++) {
                    vector *own = block[8 - tap][part];
                    for (size_t x = 0, from = part * LANES; x < LANES; x++, from++)
                        load(first + tap * taps_apart + from * o->rows, from < columns ? rows : 0, &own[x]);
                    transpose(own);
                }
            float *position = prepared + column / width * o->rows * width + row * width + column % width;
            for (size_t y = 0; y < LANES && y < rows; y++) {
                vector taps[PARTS][MOST * MOST];
                for (int part = 0; part < PARTS; part++)
                    for (int tap = 0; tap < 9; tap++)
                        taps[part][tap / 3 * MOST + tap % 3] = block[tap][part][y];
                store_weights(taps, points, transform, o->apart, streams, position + y * width);
            }
        }
}

FS_SIMD static void weights_of(const fs_winograd_form *form, const float *weight, const fs_winograd_order *o, int flipped,
                               size_t begin, size_t end, float *prepared)
{
    enum { CACHED = 1 << 22 }; /* floats of U that are likely to be found in cache again */
    int streams = (size_t)form->points * form->points * o->apart > CACHED;
    if (form->out == 4 && flipped)
        transform_flipped(weight, o, begin, end, 6, tile_weight4, streams, prepared);
    else if (form->out == 4)
        transform_weights(weight, o, begin, end, 6, tile_weight4, streams, prepared);
    else if (flipped)
        transform_flipped(weight, o, begin, end, 3, tile_weight2, streams, prepared);
    else
        transform_weights(weight, o, begin, end, 3, tile_weight2, streams, prepared);
}

/* Gradients dU into rows of dweight; the last columns that make no whole vector once more with those before them. */
INLINE void transform_weights_back(const float *u, size_t apart, size_t rows, size_t columns, size_t per_u_row, int points,
                                   tile_transform *transform, float *dweight, size_t per_tap, size_t per_row)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t step = 0; step < columns; step += LANES) {
            size_t column = step + LANES <= columns ? step : columns - LANES;
            vector places[MOST * MOST], result[MOST * MOST];
            const float *from = u + row * per_u_row + column;
            _Pragma("GCC unroll 6") for (int y = 0; y < points; y++) _Pragma("GCC unroll 6") for (int x = 0; x < points; x++)
                places[y * MOST + x] = *(const vector *)(from + (y * points + x) * apart);
            transform(places, result);
            for (int tap = 0; tap < 9; tap++)
                *(vector *)(dweight + tap * per_tap + row * per_row + column) = result[tap / 3 * MOST + tap % 3];
        }
}

FS_SIMD static void weights_back_of(const fs_winograd_form *form, const float *u, size_t apart, size_t rows, size_t columns,
                                    size_t per_u_row, float *dweight, size_t per_tap, size_t per_row)
{
    if (form->out == 4)
        transform_weights_back(u, apart, rows, columns, per_u_row, 6, tile_weight_back4, dweight, per_tap, per_row);
    else
        transform_weights_back(u, apart, rows, columns, per_u_row, 3, tile_weight_back2, dweight, per_tap, per_row);
}

#endif
