#include "nn/generation.h"

/* AVX2: registers of 8 floats, 16 of them; first-level caches of 32 KiB: 256 rows of a panel fill half of one.
 * AVX-512: registers of 16 floats, 32 of them.
 * Others: GCC's vectors, whatever the CPU has, and BLAS. */
static const fs_generation avx512 = {32, fs_gemm_avx512, 14, 512, &fs_winograd_passes16, 100000},
                           avx2 = {16, fs_gemm_avx2, 6, 256, &fs_winograd_passes8, 100000},
                           other = {0, NULL, 14, 0, &fs_winograd_passes16, 100000};

static int widest = 32;

void fs_generation_limit(int panel)
{
    widest = panel;
}

const fs_generation *fs_generation_of_cpu(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (widest >= avx512.panel && __builtin_cpu_supports("avx512f"))
        return &avx512;
    if (widest >= avx2.panel && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
#endif
    return &other;
}
