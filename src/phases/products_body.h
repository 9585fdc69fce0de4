/* The sums of products.h in one precision: to be included by a file that says what a number of a map is, how many a vector has,
 * ROWS that are computed together with two units in registers, and how a vector of weights becomes one of such numbers. */
#ifndef FILTERSCOPE_PHASES_PRODUCTS_BODY_H
#define FILTERSCOPE_PHASES_PRODUCTS_BODY_H

#include <string.h>

#include "base/simd.h"
#include "phases/products.h"

#define INLINE static inline __attribute__((always_inline))
#define EACH_ROW _Pragma("GCC unroll 4")

enum {
    LANES = FS_PRODUCTS_LANES,
    PIXELS = 16 /* at a time: the maps of all rows stay in the first-level cache while all units pass by */
};

typedef NUMBER vector __attribute__((vector_size(VECTOR * sizeof(NUMBER)), aligned(4), may_alias));
typedef float weights __attribute__((vector_size(VECTOR * sizeof(float)), aligned(4), may_alias));

/* Adds to h the products of `rows` rows of maps [row][PIXELS][LANES] and of two units, `next` and, in h, H_UNIT apart. */
INLINE void add_tile(int rows, int pixels, const NUMBER *map, size_t filters, const float *weight, size_t next, NUMBER *h)
{
    enum { H_UNIT = FS_PRODUCTS_ROWS * LANES };
    vector sum[2][ROWS];
    EACH_ROW for (int row = 0; row < rows; row++)
    {
        sum[0][row] = *(const vector *)(h + row * LANES);
        sum[1][row] = *(const vector *)(h + H_UNIT + row * LANES);
    }
    for (int pixel = 0; pixel < pixels; pixel++, map += LANES, weight += filters) {
        vector right0 = TO_NUMBERS(*(const weights *)weight), right1 = TO_NUMBERS(*(const weights *)(weight + next));
        EACH_ROW for (int row = 0; row < rows; row++)
        {
            vector left = *(const vector *)(map + row * PIXELS * LANES);
            sum[0][row] += left * right0;
            sum[1][row] += left * right1;
        }
    }
    EACH_ROW for (int row = 0; row < rows; row++)
    {
        *(vector *)(h + row * LANES) = sum[0][row];
        *(vector *)(h + H_UNIT + row * LANES) = sum[1][row];
    }
}

/* Two units of all rows. */
INLINE void add_rows(int rows, int pixels, const NUMBER *map, size_t filters, const float *weight, size_t next, NUMBER *h)
{
    for (int pixel = 0; pixel < pixels; pixel++) { /* of the next two */
        __builtin_prefetch(weight + 2 * next + pixel * filters);
        __builtin_prefetch(weight + 3 * next + pixel * filters);
    }
    for (int lane = 0; lane < LANES; lane += VECTOR, map += VECTOR, weight += VECTOR, h += VECTOR) {
        int row = 0;
        for (; row + ROWS <= rows; row += ROWS)
            add_tile(ROWS, pixels, map + row * PIXELS * LANES, filters, weight, next, h + row * LANES);
        for (; row + 2 <= rows; row += 2)
            add_tile(2, pixels, map + row * PIXELS * LANES, filters, weight, next, h + row * LANES);
        if (row < rows)
            add_tile(1, pixels, map + row * PIXELS * LANES, filters, weight, next, h + row * LANES);
    }
}

/* The maps of all rows, next to each other: in a layer they are mostly powers of two apart, which is the same few sets of a
 * cache. */
INLINE void gather(const fs_products *p, int pixels, const NUMBER *map, NUMBER *to)
{
    size_t features = (size_t)p->filters * p->pixels;
    for (int row = 0; row < p->rows; row++)
        for (int pixel = 0; pixel < pixels; pixel++)
            memcpy(to + (row * PIXELS + pixel) * LANES, map + row * features + (size_t)pixel * p->filters, LANES * sizeof *to);
}

/* All lanes. Of an odd number of units the last is computed twice, the second time to where h has no use for it. */
FS_SIMD static void sum_lanes(const fs_products *p, const NUMBER *map, const float *weight, NUMBER *h)
{
    size_t filters = (size_t)p->filters, features = filters * p->pixels, h_unit = (size_t)FS_PRODUCTS_ROWS * LANES;
    NUMBER maps[FS_PRODUCTS_ROWS * PIXELS * LANES];
    memset(h, 0, (p->units + 1) / 2 * 2 * h_unit * sizeof *h);
    for (int first = 0; first < p->pixels; first += PIXELS) {
        int pixels = p->pixels - first < PIXELS ? p->pixels - first : PIXELS;
        size_t at = first * filters + p->first;
        gather(p, pixels, map + at, maps);
        for (int unit = 0; unit < p->units; unit += 2)
            add_rows(p->rows, pixels, maps, filters, weight + unit * features + at, unit + 1 < p->units ? features : 0,
                     h + unit * h_unit);
    }
}

/* Fewer than LANES filters. */
FS_SIMD static void sum_few(const fs_products *p, const NUMBER *map, const float *weight, NUMBER *h)
{
    size_t filters = (size_t)p->filters, features = filters * p->pixels;
    for (int unit = 0; unit < p->units; unit++)
        for (int row = 0; row < p->rows; row++)
            for (size_t lane = 0; lane < filters; lane++) {
                NUMBER sum = 0;
                for (size_t at = lane; at < features; at += filters)
                    sum += map[row * features + at] * (NUMBER)weight[unit * features + at];
                h[((size_t)unit * FS_PRODUCTS_ROWS + row) * LANES + lane] = sum;
            }
}

static void sum_products(const fs_products *p, const NUMBER *map, const float *weight, NUMBER *h)
{
    (p->filters < LANES ? sum_few : sum_lanes)(p, map, weight, h);
}

#endif
