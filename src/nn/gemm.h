/* A matrix product for Winograd's many small GEMMs on one matrix of weights: unlike BLAS it takes weights that were packed
 * once, packs nothing itself and has no pass over C before. Kernels for AVX2 and AVX-512; elsewhere the callers use BLAS. */
#ifndef FILTERSCOPE_GEMM_H
#define FILTERSCOPE_GEMM_H

#include <stddef.h>

/* Not collective, like everything here. Columns that this CPU's kernel takes at a time: 32, 16, or 0 where there is none. */
int fs_gemm_panel(void);

/* For tests: the kernels of lesser CPUs, too. No panel is wider from now on, and what was packed before is of no use. */
void fs_gemm_limit(int panel);

/* C [rows][columns] = A B, or C += A B with `add`; columns a multiple of fs_gemm_panel(), which is not 0.
 *   a  A(row, p) is a[row * a_row + p * a_depth], p = 0 .. depth - 1
 *   b  panel j holds columns j * panel .. : B(p, column) is b[j * b_panel + p * b_depth + column % panel]
 *   c  C(row, column) is c[row * c_row + column]
 * Each element is summed over p in ascending order, whatever the rows: the same bits in any blocking. */
void fs_gemm(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_depth, const float *b, size_t b_depth,
             size_t b_panel, float *c, size_t c_row, int add);

#endif
