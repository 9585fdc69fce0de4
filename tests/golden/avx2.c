/* Linked around filterscope for the golden table: on a CPU with AVX-512 it takes the kernels of one without. */
#include "nn/gemm.h"

__attribute__((constructor)) static void limit(void)
{
    fs_gemm_limit(16);
}
