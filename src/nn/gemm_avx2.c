#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include "nn/gemm_kernel.h"

typedef float vector8 __attribute__((vector_size(32), aligned(4), may_alias));

/* Of a number that is not less than the floor, or NaN, these instructions give the second operand. */
#define MOST8(a, b) (vector8) _mm256_max_ps((__m256)(a), (__m256)(b))
#define LEAST8(a, b) (vector8) _mm256_min_ps((__m256)(a), (__m256)(b))

KERNELS(avx2_1, 1, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_2, 2, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_3, 3, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_4, 4, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_5, 5, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_6, 6, vector8, MOST8, LEAST8, "avx2,fma")

const fs_gemm_kernel fs_gemm_avx2[] = {ROW(avx2, 1), ROW(avx2, 2), ROW(avx2, 3), ROW(avx2, 4), ROW(avx2, 5), ROW(avx2, 6)};
#endif
