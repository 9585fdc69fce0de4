/* Intel's MKL. Its kernels are those of MKL_ENABLE_INSTRUCTIONS, where that is set. */
#include <mkl_service.h>
#include <stdio.h>
#include <string.h>

#include "filterscope/blas.h"

void fs_blas_start(char **argv)
{
    (void)argv;
    mkl_set_num_threads(1);
}

/* MKL names them as "Intel(R) Advanced Vector Extensions 512 (Intel(R) AVX-512) ... enabled processors". */
const char *fs_blas_core(void)
{
    MKLVersion version;
    mkl_get_version(&version);
    const char *has = version.Processor;
    return strstr(has, "AVX-512") ? "AVX-512" : strstr(has, "AVX2") ? "AVX2" : strstr(has, "AVX") ? "AVX" : "SSE";
}

const char *fs_blas_library(void)
{
    static char text[48];
    MKLVersion version;
    mkl_get_version(&version);
    snprintf(text, sizeof text, "MKL %d.%d", version.MajorVersion, version.UpdateVersion);
    return text;
}
