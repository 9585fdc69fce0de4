#include <string.h>

#include "filterscope/blas.h"

const char *fs_blas_better_core(const char *core, int avx512, const char *wanted)
{
    if (wanted || !avx512 || (strcmp(core, "Haswell") != 0 && strcmp(core, "Zen") != 0))
        return NULL;
    return "SkylakeX";
}
