#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include "nn/gemm_kernel.h"

typedef float vector16 __attribute__((vector_size(64), aligned(4), may_alias));

/* Of a number that is not less than the floor, or NaN, these instructions give the second operand. */
#define MOST16(a, b) (vector16) _mm512_max_ps((__m512)(a), (__m512)(b))
#define LEAST16(a, b) (vector16) _mm512_min_ps((__m512)(a), (__m512)(b))

KERNELS(avx512_1, 1, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_2, 2, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_3, 3, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_4, 4, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_5, 5, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_6, 6, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_7, 7, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_8, 8, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_9, 9, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_10, 10, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_11, 11, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_12, 12, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_13, 13, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_14, 14, vector16, MOST16, LEAST16, "avx512f")

const fs_gemm_kernel fs_gemm_avx512[] = {ROW(avx512, 1),  ROW(avx512, 2),  ROW(avx512, 3),  ROW(avx512, 4), ROW(avx512, 5),
                                         ROW(avx512, 6),  ROW(avx512, 7),  ROW(avx512, 8),  ROW(avx512, 9), ROW(avx512, 10),
                                         ROW(avx512, 11), ROW(avx512, 12), ROW(avx512, 13), ROW(avx512, 14)};
#endif
