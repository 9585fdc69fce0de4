#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include "nn/gemm_kernel.h"

typedef float vector16 __attribute__((vector_size(64), aligned(4), may_alias));

/* Of a number that is not less than the floor, or NaN, these instructions give the second operand. */
#define MOST16(a, b) (vector16) _mm512_max_ps((__m512)(a), (__m512)(b))
#define LEAST16(a, b) (vector16) _mm512_min_ps((__m512)(a), (__m512)(b))

KERNELS(avx512_14, 14, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_8, 8, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_4, 4, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_2, 2, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_1, 1, vector16, MOST16, LEAST16, "avx512f")

const fs_gemm_kernel fs_gemm_avx512[] = {ROW(avx512, 14), ROW(avx512, 8), ROW(avx512, 4), ROW(avx512, 2), ROW(avx512, 1)};
#endif
