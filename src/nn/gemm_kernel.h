/* Kernels of nn/gemm.c: what one is, and the source of all of them. A CPU generation has a file of them (nn/gemm_avx2.c). */
#ifndef FILTERSCOPE_GEMM_KERNEL_H
#define FILTERSCOPE_GEMM_KERNEL_H

#include "nn/gemm.h"

/* How A lies in memory: A(row, p) is a[row * row + p / line * next + p % line * step], `lines` lines in all. */
typedef struct fs_gemm_left {
    int lines, line;
    size_t row, next, step;
    const char *ahead; /* what will be wanted of B when all rows have had this panel: asked for meanwhile, a cache line ... */
    size_t ahead_step; /* ... and so many bytes further at each step of p */
} fs_gemm_left;

/* A kernel computes HEIGHT rows of one panel, or with VECTORS 1 of its left half, in registers: the panel is read once for all
 * its rows. `end` is that of its first element, or NULL. */
typedef void fs_gemm_run(const fs_gemm_left *left, const float *a, const float *b, size_t b_depth, float *c, size_t c_row,
                         int add, const fs_gemm_end *end);

typedef struct fs_gemm_kernel {
    fs_gemm_run *run, *half;
} fs_gemm_kernel;

/* Each generation's, of height 1, 2, ... */
extern const fs_gemm_kernel fs_gemm_avx2[], fs_gemm_avx512[], fs_gemm_neon[];

/* Of all of them. */
enum { FS_GEMM_MOST_HEIGHT = 14, FS_GEMM_MOST_PANEL = 32 };

#define FOR_ROWS(HEIGHT) _Pragma("GCC unroll 16") for (int row = 0; row < HEIGHT; row++)
#define FOR_THIRDS(HEIGHT) _Pragma("GCC unroll 16") for (int third = 0; third < (HEIGHT + 2) / 3; third++)
#define FOR_VECTORS(VECTORS) _Pragma("GCC unroll 2") for (int v = 0; v < VECTORS; v++)

/* One line of A, its elements `step` floats apart. */
#define SUM_LINE(HEIGHT, VECTORS, vector, step)                                                                                \
    for (int p = 0; p < left->line; p++, b += b_depth) {                                                                       \
        vector right[VECTORS];                                                                                                 \
        __builtin_prefetch(ahead, 0, 2); /* into the second-level cache */                                                     \
        ahead += left->ahead_step;                                                                                             \
        FOR_VECTORS(VECTORS) right[v] = *(const vector *)(b + v * LANES);                                                      \
        FOR_ROWS(HEIGHT)                                                                                                       \
        {                                                                                                                      \
            float factor = *(const float *)(own[row / 3] + row % 3 * a_row);                                                   \
            FOR_VECTORS(VECTORS) sum[row][v] += factor * right[v];                                                             \
        }                                                                                                                      \
        FOR_THIRDS(HEIGHT) own[third] += (step) * sizeof(float);                                                               \
    }

/* `own` is where every third row of A is: the two after it are at once and twice the distance of rows from there, which an
 * address can hold, so that all fit into registers. The compiler must not see through it, or it takes one for each row. */
#define KERNEL(name, HEIGHT, VECTORS, vector, LARGER, SMALLER, CPU)                                                            \
    __attribute__((target(CPU))) static void name(const fs_gemm_left *left, const float *a, const float *b, size_t b_depth,    \
                                                  float *c, size_t c_row, int add, const fs_gemm_end *end)                     \
    {                                                                                                                          \
        enum { LANES = sizeof(vector) / sizeof(float) };                                                                       \
        vector sum[HEIGHT][VECTORS];                                                                                           \
        size_t a_row = left->row * sizeof(float), step = left->step;                                                           \
        const char *ahead = left->ahead;                                                                                       \
        FOR_ROWS(HEIGHT)                                                                                                       \
        FOR_VECTORS(VECTORS) sum[row][v] = add ? *(const vector *)(c + row * c_row + v * LANES) : (vector){0};                 \
        for (int line = 0; line < left->lines; line++, a += left->next) {                                                      \
            const char *own[(HEIGHT + 2) / 3];                                                                                 \
            FOR_THIRDS(HEIGHT)                                                                                                 \
            {                                                                                                                  \
                own[third] = (const char *)a + 3 * third * a_row;                                                              \
                __asm__("" : "+r"(own[third]));                                                                                \
            }                                                                                                                  \
            if (step == 1)                                                                                                     \
                SUM_LINE(HEIGHT, VECTORS, vector, 1)                                                                           \
            else                                                                                                               \
                SUM_LINE(HEIGHT, VECTORS, vector, step)                                                                        \
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
        name##_##HEIGHT, name##_##HEIGHT##_half                                                                                \
    }

#endif
