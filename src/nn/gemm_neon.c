#if defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>

#include "nn/gemm_kernel.h"

typedef float vector4 __attribute__((vector_size(16), aligned(4), may_alias));

/* Of a number that is not less than the floor, or NaN, these give the second operand, as on other CPUs. */
#define MOST4(a, b) (vector4) vbslq_f32(vcgtq_f32((float32x4_t)(a), (float32x4_t)(b)), (float32x4_t)(a), (float32x4_t)(b))
#define LEAST4(a, b) (vector4) vbslq_f32(vcltq_f32((float32x4_t)(a), (float32x4_t)(b)), (float32x4_t)(a), (float32x4_t)(b))

#define NEON(HEIGHT) KERNELS(neon_##HEIGHT, HEIGHT, vector4, MOST4, LEAST4, "arch=armv8-a")

NEON(1)
NEON(2)
NEON(3)
NEON(4)
NEON(5)
NEON(6)
NEON(7)
NEON(8)
NEON(9)
NEON(10)
NEON(11)
NEON(12)

const fs_gemm_kernel fs_gemm_neon[] = {ROW(neon, 1), ROW(neon, 2), ROW(neon, 3), ROW(neon, 4),  ROW(neon, 5),  ROW(neon, 6),
                                       ROW(neon, 7), ROW(neon, 8), ROW(neon, 9), ROW(neon, 10), ROW(neon, 11), ROW(neon, 12)};
#endif
