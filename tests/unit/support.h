/* What numerical tests share. Include after cmocka.h. */
#ifndef FILTERSCOPE_TEST_SUPPORT_H
#define FILTERSCOPE_TEST_SUPPORT_H

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/random.h"

/* Uniform in [-1, 1); released with free(). */
static inline float *random_floats(uint32_t stream, size_t count)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    fs_random_uniform(99, FS_RANDOM_WEIGHTS, stream, 1.0f, values, count);
    return values;
}

/* Largest difference, relative to the largest expected magnitude. */
static inline double relative_difference(size_t count, const float *found, const float *expected)
{
    double difference = 0, largest = 1e-30;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(found[i]))
            return INFINITY;
        difference = fmax(difference, fabs((double)found[i] - expected[i]));
        largest = fmax(largest, fabs(expected[i]));
    }
    return difference / largest;
}

static inline void assert_close(size_t count, const float *found, const float *expected, double tolerance)
{
    double difference = relative_difference(count, found, expected);
    if (!(difference <= tolerance))
        fail_msg("relative difference %g of %zu values is above %g", difference, count, tolerance);
}

static inline double dot(size_t count, const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* The loss as a function of whatever `context` holds; `room` is for intermediate results. */
typedef double objective_function(const void *context, float *room);

static inline double central_difference(float *variable, float step, objective_function *loss, const void *context, float *room)
{
    float origin = *variable;
    *variable = origin + step;
    double above = *variable, upper = loss(context, room);
    *variable = origin - step;
    double below = *variable, lower = loss(context, room);
    *variable = origin;
    return (upper - lower) / (above - below);
}

static inline void assert_slope(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * (1 + fabs(expected))))
        fail_msg("central difference %.9g, gradient %.9g", found, expected);
}

#endif
