#include "nn/generation.h"

#include <stddef.h>

static int widest = 32;

void fs_generation_limit(int panel)
{
    widest = panel;
}

/* AVX2: registers of 8 floats, 16 of them; first-level caches of 32 KiB: 256 rows of a panel fill half of one.
 * AVX-512: registers of 16 floats, 32 of them. NEON: of 4 floats, 32 of them, which each CPU of 64-bit Arm has. */
static const fs_generation *vectors_of_cpu(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    static const fs_generation avx512 = {32, fs_gemm_avx512, 14, 512, &fs_winograd_passes16, 100000},
                               avx2 = {16, fs_gemm_avx2, 6, 256, &fs_winograd_passes8, 100000};
    if (widest >= avx512.panel && __builtin_cpu_supports("avx512f"))
        return &avx512;
    if (widest >= avx2.panel && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
#elif defined(__aarch64__) && defined(__GNUC__)
    static const fs_generation neon = {16, fs_gemm_neon, 6, 512, &fs_winograd_passes4, 100000};
    if (widest >= neon.panel)
        return &neon;
#endif
    return NULL;
}

const fs_generation *fs_generation_of_cpu(void)
{
    /* GCC's vectors, whatever the CPU has, and BLAS */
    static const fs_generation other = {0, NULL, 14, 0, &fs_winograd_passes16, 100000};
    const fs_generation *vectors = vectors_of_cpu();
    return vectors ? vectors : &other;
}
