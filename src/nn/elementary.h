/* Exponential functions of single numbers without branches, calls or tables, so that loops over them become vectors. NaN stays
 * NaN. The errors are the largest against double precision, in units in the last place, that tests/unit/test_ops.c allows. */
#ifndef FILTERSCOPE_NN_ELEMENTARY_H
#define FILTERSCOPE_NN_ELEMENTARY_H

#include <math.h>
#include <stdint.h>

/* x, but no larger than `most` in size. One comparison: of two gcc makes branches. */
static inline float fs_within(float x, float most)
{
    float size = fabsf(x);
    return copysignf(size > most ? most : size, x);
}

/* x = n ln 2 + rest with n whole and |rest| <= ln 2 / 2; e^rest - 1 is the last. |x| <= 110. */
typedef struct fs_reduced {
    int32_t n;
    float expm1;
} fs_reduced;

static inline fs_reduced fs_reduce(float x)
{
    /* 1.5 * 2^23: what is added to it is rounded to a whole number, which its last bits then are. */
    const float shift = 12582912.0f, log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    union {
        float number;
        uint32_t bits;
    } sum = {x * log2_e + shift}, none = {shift};
    float whole = sum.number - shift, rest = x - whole * ln2_high - whole * ln2_low;
    /* (e^r - 1 - r) / r^2, fitted to 1e-8 of e^r */
    float curve = 0.00139336884f;
    curve = curve * rest + 0.00836320547f;
    curve = curve * rest + 0.0416664646f;
    curve = curve * rest + 0.166665768f;
    curve = curve * rest + 0.5f;
    return (fs_reduced){(int32_t)(sum.bits - none.bits), rest + rest * rest * curve};
}

/* 2^n, n = -126 .. 127; anything for another n, which NaN brings along. */
static inline float fs_power_of_two(int32_t n)
{
    union {
        uint32_t bits;
        float number;
    } power = {((uint32_t)n + 127) << 23};
    return power.number;
}

/* e^x, with infinities and what is too small for a normal number: 2 ulp. */
static inline float fs_exp(float x)
{
    x = fs_within(x, 105.0f);
    fs_reduced r = fs_reduce(x);
    int32_t half = r.n >> 1; /* 2^n itself may be too large or too small for a number */
    return (r.expm1 + 1.0f) * fs_power_of_two(half) * fs_power_of_two(r.n - half);
}

/* e^x - 1 for x <= 87: 2 ulp. */
static inline float fs_expm1(float x)
{
    x = fs_within(x, 87.0f);
    fs_reduced r = fs_reduce(x);
    float power = fs_power_of_two(r.n);
    return r.expm1 * power + (power - 1.0f);
}

/* 1 / (1 + e^-x): 3 ulp. */
static inline float fs_sigmoid(float x)
{
    return 1.0f / (1.0f + fs_exp(-x));
}

/* 3 ulp. */
static inline float fs_tanh(float x)
{
    float size = fabsf(x), e = fs_expm1(2.0f * fs_within(size, 10.0f));
    return copysignf(e / (e + 2.0f), x);
}

/* What part of a normal distribution is below x: 4 ulp above 0; below, where it is e^(-x^2/2), with the rounding of its
 * exponent: up to x^2 / 2 ulp more. */
static inline float fs_gauss(float x)
{
    float size = fabsf(x), t = 1.0f / (1.0f + 0.275f * size);
    /* e^(s^2/2) times what is beyond s, over t, fitted to 5e-8 of it for s up to 14 */
    float tail = 0.0267083289f;
    tail = tail * t - 0.108211414f;
    tail = tail * t + 0.12461445f;
    tail = tail * t - 0.028292279f;
    tail = tail * t + 0.0829267934f;
    tail = tail * t + 0.0812302365f;
    tail = tail * t + 0.101574765f;
    tail = tail * t + 0.109743831f;
    tail = tail * t + 0.10970531f;
    tail *= t * fs_exp(-0.5f * size * size);
    return x < 0 ? tail : 1.0f - tail;
}

#endif
