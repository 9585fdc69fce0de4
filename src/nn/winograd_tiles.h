/* Winograd's transforms of one tile, inlined into their callers: F(4x4, 3x3) with interpolation points 0, 1, -1, 2, -2 and
 * infinity, and the form with 9 products for a whole 2x2 map between zero borders. Letters as at the top of winograd.c. */
#ifndef FILTERSCOPE_WINOGRAD_TILES_H
#define FILTERSCOPE_WINOGRAD_TILES_H

#include <stdint.h>

#ifndef LANES
#error "LANES: how many channels a vector has, a multiple of 4"
#endif

enum { MOST = 6 }; /* largest tile */

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(LANES * sizeof(int32_t)), aligned(4), may_alias));

/* The one-axis transforms, on vectors of channels `step` apart. */

#define INLINE static inline __attribute__((always_inline))

/* B' d */
INLINE void transform_input4(const vector *d, int step, vector *t)
{
    vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    vector even = d4 - 4 * d2, odd = d3 - 4 * d1, even1 = d4 - d2, odd1 = 2 * (d3 - d1);
    t[0] = 4 * d0 - 5 * d2 + d4;
    t[step] = even + odd;
    t[2 * step] = even - odd;
    t[3 * step] = even1 + odd1;
    t[4 * step] = even1 - odd1;
    t[5 * step] = 4 * d1 - 5 * d3 + d5;
}

INLINE void transform_input2(const vector *d, int step, vector *t)
{
    vector d0 = d[0], d1 = d[step];
    t[0] = d0 + d1;
    t[step] = d1;
    t[2 * step] = d0;
}

/* A' m */
INLINE void transform_output4(const vector *m, int step, vector *y)
{
    vector sum1 = m[step] + m[2 * step], difference1 = m[step] - m[2 * step];
    vector sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
    vector first = m[0], last = m[5 * step];
    y[0] = first + sum1 + sum2;
    y[step] = difference1 + 2 * difference2;
    y[2 * step] = sum1 + 4 * sum2;
    y[3 * step] = difference1 + 8 * difference2 + last;
}

INLINE void transform_output2(const vector *m, int step, vector *y)
{
    vector m0 = m[0], m1 = m[step], m2 = m[2 * step];
    y[0] = m0 + m1;
    y[step] = m0 + m2;
}

/* A dy */
INLINE void transform_gradient4(const vector *dy, int step, vector *e)
{
    vector d0 = dy[0], d1 = dy[step], d2 = dy[2 * step], d3 = dy[3 * step];
    vector even1 = d0 + d2, odd1 = d1 + d3, even2 = d0 + 4 * d2, odd2 = 2 * d1 + 8 * d3;
    e[0] = d0;
    e[step] = even1 + odd1;
    e[2 * step] = even1 - odd1;
    e[3 * step] = even2 + odd2;
    e[4 * step] = even2 - odd2;
    e[5 * step] = d3;
}

INLINE void transform_gradient2(const vector *dy, int step, vector *e)
{
    vector d0 = dy[0], d1 = dy[step];
    e[0] = d0 + d1;
    e[step] = d0;
    e[2 * step] = d1;
}

/* G w */
INLINE void transform_weight4(const vector *w, int step, vector *u)
{
    vector w0 = w[0], w1 = w[step], w2 = w[2 * step];
    vector sum = (w0 + w2) * (-1.0f / 6), sum2 = w0 * (1.0f / 24) + w2 * (1.0f / 6);
    u[0] = w0 * 0.25f;
    u[step] = sum - w1 * (1.0f / 6);
    u[2 * step] = sum + w1 * (1.0f / 6);
    u[3 * step] = sum2 + w1 * (1.0f / 12);
    u[4 * step] = sum2 - w1 * (1.0f / 12);
    u[5 * step] = w2;
}

INLINE void transform_weight2(const vector *w, int step, vector *u)
{
    vector w0 = w[0], w1 = w[step], w2 = w[2 * step];
    u[0] = w1;
    u[step] = w2 - w1;
    u[2 * step] = w0 - w1;
}

/* G' u */
INLINE void transform_weight_back4(const vector *u, int step, vector *w)
{
    vector u0 = u[0], sum1 = u[step] + u[2 * step], difference1 = u[2 * step] - u[step];
    vector sum2 = u[3 * step] + u[4 * step], difference2 = u[3 * step] - u[4 * step], u5 = u[5 * step];
    w[0] = u0 * 0.25f - sum1 * (1.0f / 6) + sum2 * (1.0f / 24);
    w[step] = difference1 * (1.0f / 6) + difference2 * (1.0f / 12);
    w[2 * step] = (sum2 - sum1) * (1.0f / 6) + u5;
}

INLINE void transform_weight_back2(const vector *u, int step, vector *w)
{
    vector u0 = u[0], u1 = u[step], u2 = u[2 * step];
    w[0] = u2;
    w[step] = u0 - u1 - u2;
    w[2 * step] = u1;
}

/* Both axes of each transform, on a tile of vectors [MOST][MOST]. */
#define BOTH_AXES(name, transform, rows, results)                                                                              \
    INLINE void name(const vector *in, vector *out)                                                                            \
    {                                                                                                                          \
        vector half[MOST * MOST];                                                                                              \
        _Pragma("GCC unroll 6") for (int column = 0; column < (rows); column++) transform(in + column, MOST, half + column);   \
        _Pragma("GCC unroll 6") for (int row = 0; row < (results); row++) transform(half + row * MOST, 1, out + row * MOST);   \
    }

BOTH_AXES(tile_input4, transform_input4, 6, 6)
BOTH_AXES(tile_input2, transform_input2, 2, 3)
BOTH_AXES(tile_output4, transform_output4, 6, 4)
BOTH_AXES(tile_output2, transform_output2, 3, 2)
BOTH_AXES(tile_gradient4, transform_gradient4, 4, 6)
BOTH_AXES(tile_gradient2, transform_gradient2, 2, 3)
BOTH_AXES(tile_weight4, transform_weight4, 3, 6)
BOTH_AXES(tile_weight2, transform_weight2, 3, 3)
BOTH_AXES(tile_weight_back4, transform_weight_back4, 6, 3)
BOTH_AXES(tile_weight_back2, transform_weight_back2, 3, 3)

/* A tile transform: [MOST][MOST] in, [MOST][MOST] out. */
typedef void tile_transform(const vector *in, vector *out);

#endif
