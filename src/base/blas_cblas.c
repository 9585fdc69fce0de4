/* Any library with cblas.h: the standard has neither versions nor kernels to ask for, nor threads to set but by OMP_NUM_THREADS. */
#include "filterscope/blas.h"

void fs_blas_start(char **argv)
{
    (void)argv;
}

const char *fs_blas_core(void)
{
    return "unknown";
}

const char *fs_blas_library(void)
{
    return "CBLAS unknown";
}
