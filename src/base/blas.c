#include "filterscope/blas.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *fs_blas_better_core(const char *core, int avx512, const char *wanted)
{
    if (wanted || !avx512 || (strcmp(core, "Haswell") != 0 && strcmp(core, "Zen") != 0))
        return NULL;
    return "SkylakeX";
}

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

void fs_blas_reserve(void)
{
    enum { SIDE = 160 }; /* products of less than 100 can do without */
    static float zero[SIDE * SIDE], product[SIDE * SIDE];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, zero, SIDE, zero, SIDE, 0, product, SIDE);
}

void fs_blas_name(char *name, size_t size)
{
    const char *config = openblas_get_config(); /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
    size_t version = strcspn(config, " ");
    version += strspn(config + version, " ");
    version += strcspn(config + version, " ");
    snprintf(name, size, "%.*s %s", (int)version, config, openblas_get_corename());
}
