#include <cblas.h>
#include <stdlib.h>
#include <unistd.h>

#include "filterscope/blas.h"

static int has_avx512(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

void fs_blas_start(char **argv)
{
    const char *better = fs_blas_better_core(openblas_get_corename(), has_avx512(), getenv("OPENBLAS_CORETYPE"));
    if (better && setenv("OPENBLAS_CORETYPE", better, 1) == 0)
        execv("/proc/self/exe", argv);
    openblas_set_num_threads(1);
}

const char *fs_blas_core(void)
{
    return openblas_get_corename();
}

const char *fs_blas_library(void)
{
    return openblas_get_config();
}
