/* What holds for each BLAS; blas_openblas.c and its like have what only one can tell. */
#include "filterscope/blas.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>

void fs_blas_reserve(void)
{
    enum { SIDE = 160 }; /* products of less than 100 can do without */
    static float zero[SIDE * SIDE], product[SIDE * SIDE];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, zero, SIDE, zero, SIDE, 0, product, SIDE);
}

void fs_blas_name(char *name, size_t size)
{
    const char *library = fs_blas_library(); /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
    size_t version = strcspn(library, " ");
    version += strspn(library + version, " ");
    version += strcspn(library + version, " ");
    snprintf(name, size, "%.*s %s", (int)version, library, fs_blas_core());
}
