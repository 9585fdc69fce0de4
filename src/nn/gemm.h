/* A matrix product for Winograd's many small GEMMs on one matrix of weights: unlike BLAS it takes weights that were packed
 * once, packs nothing itself and has no pass over C before. Kernels for AVX2 and AVX-512; elsewhere the callers use BLAS. */
#ifndef FILTERSCOPE_GEMM_H
#define FILTERSCOPE_GEMM_H

#include <stddef.h>

/* Not collective, like everything here. Columns that this CPU's kernel takes at a time: 32, 16, or 0 where there is none. */
int fs_gemm_panel(void);

/* C [rows][columns] = A B, or C += A B with `add`; neither fs_gemm_panel() nor rows are 0.
 *   a  A(row, p) is a[row * a_row + p * a_depth], p = 0 .. depth - 1
 *   b  panel j holds columns j * panel .. : B(p, column) is b[j * b_panel + p * b_depth + column % panel]. A last panel of
 *      fewer columns is read up to its half or its whole width, but does not count there.
 *   c  C(row, column) is c[row * c_row + column]
 * Each element is summed over p in ascending order, whatever the rows: the same bits in any blocking. */
void fs_gemm(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_depth, const float *b, size_t b_depth,
             size_t b_panel, float *c, size_t c_row, int add);

/* What is done to each element after its sum, in this order. */
typedef struct fs_gemm_end {
    const float *bias;    /* [columns], added; NULL for none */
    const float *addend;  /* as C, added; NULL for none; may be C */
    float floor, ceiling; /* for what is below and above: -INFINITY and INFINITY where nothing is; NaN stays NaN */
} fs_gemm_end;

/* The same, with `end`, or NULL. */
void fs_gemm_ended(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_depth, const float *b,
                   size_t b_depth, size_t b_panel, float *c, size_t c_row, int add, const fs_gemm_end *end);

/* The same where a row of A is `lines` pieces of a map, of `line` floats each and a_line apart, and depth = lines * line:
 * A(row, p) is a[row * a_row + p / line * a_line + p % line]. B as packed below. */
void fs_gemm_lines(int rows, int columns, int lines, int line, const float *a, size_t a_row, size_t a_line, const float *packed,
                   float *c, size_t c_row, const fs_gemm_end *end);

/* B, where B(p, column) is b[p * b_depth + column * b_column], as panels for fs_gemm with b_depth = panel and b_panel = panel *
 * depth: how many floats, and part `part` of `parts` of them. */
size_t fs_gemm_packed(int columns, int depth);
void fs_gemm_pack(int columns, int depth, const float *b, size_t b_depth, size_t b_column, int part, int parts, float *packed);

#endif
