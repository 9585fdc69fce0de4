/* BLIS, also AMD's. Its kernels are those of BLIS_ARCH_TYPE, where that is set. */
#include <blis.h>
#include <stdio.h>

#include "filterscope/blas.h"

void fs_blas_start(char **argv)
{
    (void)argv;
    bli_thread_set_num_threads(1);
}

const char *fs_blas_core(void)
{
    bli_init(); /* else it ends the process where BLIS_ARCH_TYPE is set */
    return bli_arch_string(bli_arch_query_id());
}

const char *fs_blas_library(void)
{
    static char text[48];
    snprintf(text, sizeof text, "BLIS %s", bli_info_get_version_str());
    return text;
}
