/* Kernels of nn/gemm.c: what one is, and the source of all of them. A CPU generation has a file of them (nn/gemm_avx2.c). */
#ifndef FILTERSCOPE_GEMM_KERNEL_H
#define FILTERSCOPE_GEMM_KERNEL_H

#include "nn/gemm.h"

/* How A lies in memory: A(row, p) is a[row * row + p / line * next + p % line * step], `lines` lines in all. */
typedef struct fs_gemm_left {
    int lines, line;
    size_t row, next, step;
} fs_gemm_left;

/* A kernel computes HEIGHT rows of one panel, or with VECTORS 1 of its left half, in registers: the panel is read once for all
 * its rows. `end` is that of its first element, or NULL. */
typedef void fs_gemm_run(const fs_gemm_left *left, const float *a, const float *b, size_t b_depth, float *c, size_t c_row,
                         int add, const fs_gemm_end *end);

typedef struct fs_gemm_kernel {
    int height;
    fs_gemm_run *run, *half;
} fs_gemm_kernel;

/* Each generation's, tallest first, the last of height 1. */
extern const fs_gemm_kernel fs_gemm_avx2[], fs_gemm_avx512[];

/* Of all of them. */
enum { FS_GEMM_MOST_HEIGHT = 14, FS_GEMM_MOST_PANEL = 32 };

/* Floats of the panel that are asked for before they are wanted: more weights than the second-level cache holds would come too
 * late by the CPU's own guess, which ends with each page. 512 and 2048 are slower. */
enum { AHEAD = 1024 };

#define FOR_ROWS(HEIGHT) _Pragma("GCC unroll 16") for (int row = 0; row < HEIGHT; row++)
#define FOR_VECTORS(VECTORS) _Pragma("GCC unroll 2") for (int v = 0; v < VECTORS; v++)

#define KERNEL(name, HEIGHT, VECTORS, vector, LARGER, SMALLER, CPU)                                                            \
    __attribute__((target(CPU))) static void name(const fs_gemm_left *left, const float *a, const float *b, size_t b_depth,    \
                                                  float *c, size_t c_row, int add, const fs_gemm_end *end)                     \
    {                                                                                                                          \
        enum { LANES = sizeof(vector) / sizeof(float) };                                                                       \
        vector sum[HEIGHT][VECTORS];                                                                                           \
        size_t a_row = left->row, step = left->step;                                                                           \
        FOR_ROWS(HEIGHT)                                                                                                       \
        FOR_VECTORS(VECTORS) sum[row][v] = add ? *(const vector *)(c + row * c_row + v * LANES) : (vector){0};                 \
        for (int line = 0; line < left->lines; line++, a += left->next) {                                                      \
            const float *own = a;                                                                                              \
            for (int p = 0; p < left->line; p++, own += step, b += b_depth) {                                                  \
                vector right[VECTORS];                                                                                         \
                FOR_VECTORS(VECTORS) __builtin_prefetch(b + AHEAD + v * LANES);                                                \
                FOR_VECTORS(VECTORS) right[v] = *(const vector *)(b + v * LANES);                                              \
                FOR_ROWS(HEIGHT)                                                                                               \
                {                                                                                                              \
                    float factor = own[row * a_row];                                                                           \
                    FOR_VECTORS(VECTORS) sum[row][v] += factor * right[v];                                                     \
                }                                                                                                              \
            }                                                                                                                  \
        }                                                                                                                      \
        if (end) {                                                                                                             \
            vector floor = (vector){0} + end->floor, ceiling = (vector){0} + end->ceiling;                                     \
            FOR_ROWS(HEIGHT)                                                                                                   \
            FOR_VECTORS(VECTORS)                                                                                               \
            {                                                                                                                  \
                vector value = sum[row][v];                                                                                    \
                if (end->bias)                                                                                                 \
                    value += *(const vector *)(end->bias + v * LANES);                                                         \
                if (end->addend)                                                                                               \
                    value += *(const vector *)(end->addend + row * c_row + v * LANES);                                         \
                sum[row][v] = SMALLER(ceiling, LARGER(floor, value));                                                          \
            }                                                                                                                  \
        }                                                                                                                      \
        FOR_ROWS(HEIGHT)                                                                                                       \
        FOR_VECTORS(VECTORS) * (vector *)(c + row * c_row + v * LANES) = sum[row][v];                                          \
    }

#define KERNELS(name, HEIGHT, vector, LARGER, SMALLER, CPU)                                                                    \
    KERNEL(name, HEIGHT, 2, vector, LARGER, SMALLER, CPU)                                                                      \
    KERNEL(name##_half, HEIGHT, 1, vector, LARGER, SMALLER, CPU)

/* A row of a table of them. */
#define ROW(name, HEIGHT)                                                                                                      \
    {                                                                                                                          \
        HEIGHT, name##_##HEIGHT, name##_##HEIGHT##_half                                                                        \
    }

#endif
