/* The floating-point peak of a core, and medians. */
#include <math.h>
#include <stdlib.h>

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

enum { ROUNDS = 50000 };

/* CHAINS independent chains of multiply-adds on vectors of one register each: enough to hide a multiply-add's latency on all
 * units, and few enough that they and the factor stay in registers, of which each CPU below has 16 or 32. */
#define KERNEL(name, LANES, CHAINS, CPU)                                                                                       \
    enum { name##_flops = 2 * LANES * CHAINS };                                                                                \
    CPU static float name(float factor)                                                                                        \
    {                                                                                                                          \
        typedef float vector __attribute__((vector_size(LANES * sizeof(float))));                                              \
        vector sum[CHAINS];                                                                                                    \
        _Pragma("GCC unroll 32") for (int c = 0; c < CHAINS; c++) sum[c] = (vector){(float)c};                                 \
        for (int round = 0; round < ROUNDS; round++)                                                                           \
            _Pragma("GCC unroll 32") for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * factor + factor;                       \
        float all = 0;                                                                                                         \
        _Pragma("GCC unroll 32") for (int c = 0; c < CHAINS; c++) all += sum[c][0];                                            \
        return all;                                                                                                            \
    }

#if defined(__x86_64__) && defined(__GNUC__)
KERNEL(avx512_chains, 16, 24, __attribute__((target("avx512f"))))
KERNEL(fma_chains, 8, 12, __attribute__((target("avx,fma"))))
KERNEL(avx_chains, 8, 12, __attribute__((target("avx"))))
KERNEL(sse_chains, 4, 12, )
#elif defined(__ARM_NEON) || defined(__VSX__)
KERNEL(plain_chains, 4, 24, )
#else
KERNEL(plain_chains, 1, 12, )
#endif

struct kernel {
    float (*run)(float factor);
    int flops; /* of a round */
};

/* That of the widest vectors of at most `lanes` floats. */
static struct kernel find(int lanes)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (lanes >= 16 && __builtin_cpu_supports("avx512f"))
        return (struct kernel){avx512_chains, avx512_chains_flops};
    if (lanes >= 8 && __builtin_cpu_supports("fma"))
        return (struct kernel){fma_chains, fma_chains_flops};
    if (lanes >= 8 && __builtin_cpu_supports("avx"))
        return (struct kernel){avx_chains, avx_chains_flops};
    return (struct kernel){sse_chains, sse_chains_flops};
#else
    (void)lanes;
    return (struct kernel){plain_chains, plain_chains_flops};
#endif
}

double fs_bench_peak_of(int lanes)
{
    const struct kernel kernel = find(lanes);
    double end = fs_seconds() + 0.1, best = INFINITY;
    volatile float keep;
    do {
        double started = fs_seconds();
        keep = kernel.run(0.5f);
        double took = fs_seconds() - started;
        best = took < best ? took : best;
    } while (fs_seconds() < end);
    (void)keep;
    return (double)kernel.flops * ROUNDS / best / 1e9;
}

double fs_bench_peak(void)
{
    return fmax(fs_bench_peak_of(16), fs_bench_peak_of(8)); /* some CPUs slow down for their widest */
}
