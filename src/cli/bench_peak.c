/* The floating-point peak of a core, and medians. */
#include <math.h>
#include <stdlib.h>

#include "base/simd.h"
#include "cli/bench.h"
#include "filterscope/stop.h"

void fs_samples_add(fs_samples *samples, double seconds)
{
    if (samples->count < FS_BENCH_SAMPLES)
        samples->seconds[samples->count++] = seconds;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double fs_samples_median(fs_samples *samples)
{
    if (samples->count == 0)
        return (double)NAN;
    qsort(samples->seconds, (size_t)samples->count, sizeof *samples->seconds, compare);
    return samples->seconds[samples->count / 2];
}

enum { CHAINS = 12, FLOATS = 16, ROUNDS = 100000 };

typedef float vector __attribute__((vector_size(FLOATS * sizeof(float))));

/* CHAINS independent chains hide the latency of one multiply-add; on CPUs with shorter vectors each is several of theirs. */
FS_SIMD static float multiply_adds(float factor)
{
    vector sum[CHAINS];
    for (int c = 0; c < CHAINS; c++)
        sum[c] = (vector){(float)c};
    for (int round = 0; round < ROUNDS; round++)
        _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * factor + factor;
    float all = 0;
    for (int c = 0; c < CHAINS; c++)
        all += sum[c][0];
    return all;
}

double fs_bench_peak(void)
{
    double end = fs_seconds() + 0.2, best = INFINITY;
    volatile float keep;
    do {
        double started = fs_seconds();
        keep = multiply_adds(0.5f);
        double took = fs_seconds() - started;
        best = took < best ? took : best;
    } while (fs_seconds() < end);
    (void)keep;
    return 2.0 * CHAINS * FLOATS * ROUNDS / best / 1e9;
}
