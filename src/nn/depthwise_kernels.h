/* The inner loops of depthwise.c, once for each width of vectors: included with LANES, CPU (the target) and NAME(x) defined,
 * and without a guard. */

#define VECTOR NAME(vector)
#define MASK NAME(mask)

typedef float VECTOR __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef int32_t MASK __attribute__((vector_size(LANES * sizeof(int32_t)), aligned(4), may_alias));

INLINE void NAME(clip)(VECTOR *a, float floor, float ceiling)
{
    VECTOR least = (VECTOR){0} + floor, most = (VECTOR){0} + ceiling;
    MASK below = *a < least;
    *a = (VECTOR)(((MASK)least & below) | ((MASK)*a & ~below));
    MASK above = *a > most;
    *a = (VECTOR)(((MASK)most & above) | ((MASK)*a & ~above));
}

/* Channels c .. of `outs` neighbouring pixels, in registers: the compiler sees outs, taps, stride and dilation as constants. */
INLINE void NAME(sum_pixels)(const struct block *b, int outs, int taps, int stride, int dilation, size_t c)
{
    VECTOR first = b->bias ? *(const VECTOR *)(b->bias + c) : (VECTOR){0}, sum[MOST_OUTS];
    _Pragma("GCC unroll 8") for (int o = 0; o < outs; o++) sum[o] = first;
    const float *weight = b->weight + c;
    const float *const *column = b->column;
    for (int ky = 0; ky < b->rows; ky++, weight += b->weight_row, column += b->columns)
        _Pragma("GCC unroll 8") for (int kx = 0; kx < taps; kx++)
        {
            VECTOR tap = *(const VECTOR *)(weight + kx * b->weight_column);
            _Pragma("GCC unroll 8") for (int o = 0; o < outs; o++) sum[o] +=
                *(const VECTOR *)(column[o * stride + kx * dilation] + c) * tap;
        }
    _Pragma("GCC unroll 8") for (int o = 0; o < outs; o++)
    {
        if (b->clips)
            NAME(clip)(&sum[o], b->floor, b->ceiling);
        *(VECTOR *)(b->y + o * b->y_column + c) = sum[o];
    }
}

/* All channels, LANES at the least: the last vector may overlap the one before it. */
INLINE void NAME(sum_channels)(const struct block *b, int outs, int taps, int stride, int dilation)
{
    size_t c = 0;
    for (; c + LANES <= b->channels; c += LANES)
        NAME(sum_pixels)(b, outs, taps, stride, dilation, c);
    if (c < b->channels)
        NAME(sum_pixels)(b, outs, taps, stride, dilation, b->channels - LANES);
}

INLINE void NAME(choose)(const struct block *b, int outs)
{
    if (b->dilation != 1 || b->stride > 2)
        NAME(sum_channels)(b, outs, b->taps, b->stride, b->dilation);
    else if (b->taps == 3 && b->stride == 1)
        NAME(sum_channels)(b, outs, 3, 1, 1);
    else if (b->taps == 3)
        NAME(sum_channels)(b, outs, 3, 2, 1);
    else if (b->taps == 5 && b->stride == 1)
        NAME(sum_channels)(b, outs, 5, 1, 1);
    else if (b->taps == 5)
        NAME(sum_channels)(b, outs, 5, 2, 1);
    else
        NAME(sum_channels)(b, outs, b->taps, b->stride, 1);
}

CPU static void NAME(run)(const struct block *b)
{
    if (b->outs == MOST_OUTS)
        NAME(choose)(b, MOST_OUTS);
    else
        NAME(choose)(b, 1);
}

/* Adds what outputs first .. end - 1 of a line tell of tap t. */
INLINE void NAME(add_outputs)(const struct line *l, int t, int first, int end, size_t c, VECTOR *sum)
{
    for (int o = first; o < end; o++)
        *sum += *(const VECTOR *)(l->dy + o * l->channels + c) *
                *(const VECTOR *)(l->x + (o * l->stride + t * l->dilation) * l->channels + c);
}

/* The gradient of neighbouring weights, channels c .., over a line: first where all of them see the map, then where some do. */
INLINE void NAME(sum_line)(const struct line *l, int taps, size_t c)
{
    VECTOR sum[MOST_TAPS] = {0};
    const float *x = l->x + c, *dy = l->dy + c;
    for (int o = l->all_first; o < l->all_end; o++) {
        VECTOR slope = *(const VECTOR *)(dy + o * l->channels);
        _Pragma("GCC unroll 8") for (int t = 0; t < taps; t++) sum[t] +=
            slope * *(const VECTOR *)(x + (o * l->stride + t * l->dilation) * l->channels);
    }
    _Pragma("GCC unroll 8") for (int t = 0; t < taps; t++)
    {
        NAME(add_outputs)(l, t, l->first[t], smaller(l->end[t], l->all_first), c, &sum[t]);
        NAME(add_outputs)(l, t, larger(l->first[t], l->all_end), l->end[t], c, &sum[t]);
        *(VECTOR *)(l->dweight + t * l->channels + c) += sum[t];
    }
}

/* Channels c .. in whole vectors; returns the first that is left. */
CPU static size_t NAME(run_line)(const struct line *l, size_t c)
{
    for (; c + LANES <= (size_t)l->channels; c += LANES)
        if (l->taps == 3)
            NAME(sum_line)(l, 3, c);
        else if (l->taps == 5)
            NAME(sum_line)(l, 5, c);
        else
            NAME(sum_line)(l, l->taps, c);
    return c;
}

#undef VECTOR
#undef MASK
#undef LANES
#undef CPU
#undef NAME
