/* Any library with cblas.h: versions, kernels and threads cannot be asked for, nor set but by OMP_NUM_THREADS. */
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
