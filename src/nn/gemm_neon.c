#if defined(__aarch64__) && defined(__GNUC__)
#include <stdint.h>

#include "nn/gemm_kernel.h"

/* Two registers: a panel is to be whole vectors of the transforms of weights, 16 floats. */
typedef float vector8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t mask8 __attribute__((vector_size(32)));

static inline vector8 choose(mask8 first, vector8 a, vector8 b)
{
    return (vector8)((first & (mask8)a) | (~first & (mask8)b));
}

/* Of a number that is not less than the floor, or NaN, these give the second operand, as on other CPUs. */
#define MOST8(a, b) choose((a) > (b), a, b)
#define LEAST8(a, b) choose((a) < (b), a, b)

KERNELS(neon_1, 1, vector8, MOST8, LEAST8, "arch=armv8-a")
KERNELS(neon_2, 2, vector8, MOST8, LEAST8, "arch=armv8-a")
KERNELS(neon_3, 3, vector8, MOST8, LEAST8, "arch=armv8-a")
KERNELS(neon_4, 4, vector8, MOST8, LEAST8, "arch=armv8-a")
KERNELS(neon_5, 5, vector8, MOST8, LEAST8, "arch=armv8-a")
KERNELS(neon_6, 6, vector8, MOST8, LEAST8, "arch=armv8-a")

const fs_gemm_kernel fs_gemm_neon[] = {ROW(neon, 1), ROW(neon, 2), ROW(neon, 3), ROW(neon, 4), ROW(neon, 5), ROW(neon, 6)};
#endif
