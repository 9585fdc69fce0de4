/* What differs from one CPU generation to the next: a row each. */
#ifndef FILTERSCOPE_GENERATION_H
#define FILTERSCOPE_GENERATION_H

#include "nn/gemm_kernel.h"
#include "nn/winograd_passes.h"

typedef struct fs_generation {
    int panel;                       /* columns that a kernel of the GEMM takes at a time; 0: it has none, BLAS is taken */
    const fs_gemm_kernel *kernels;   /* see gemm_kernel.h */
    int height;                      /* of the tallest; tiles of a block are a multiple of it */
    int depth;                       /* rows of a panel that the GEMM takes at a time */
    const fs_winograd_passes *tiles; /* transforms of Winograd's tiles */
    size_t tile_floats;              /* of a block's V and M, so that they stay in the second-level cache */
} fs_generation;

/* Not collective. This CPU's. Results are a function of the row: no row looks at the size of a cache. */
const fs_generation *fs_generation_of_cpu(void);

/* For tests: the rows of lesser CPUs, too. No panel is wider from now on, and what was packed before is of no use. */
void fs_generation_limit(int panel);

#endif
