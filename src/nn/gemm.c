#include "nn/gemm.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

enum { MOST_HEIGHT = 14, MOST_PANEL = 32 }; /* of all kernels below */

/* Floats of the panel that are asked for before they are wanted: more weights than the second-level cache holds would come too
 * late by the CPU's own guess, which ends with each page. 512 and 2048 are slower. */
enum { AHEAD = 1024 };

/* How A lies in memory: A(row, p) is a[row * row + p / line * next + p % line * step], `lines` lines in all. */
struct left {
    int lines, line;
    size_t row, next, step;
};

/* A kernel computes HEIGHT rows of one panel, or with VECTORS 1 of its left half, in registers: the panel is read once for all
 * its rows. `end` is that of its first element, or NULL. */
typedef void kernel(const struct left *left, const float *a, const float *b, size_t b_depth, float *c, size_t c_row, int add,
                    const fs_gemm_end *end);

typedef float vector8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float vector16 __attribute__((vector_size(64), aligned(4), may_alias));

/* Of a number that is not less than the floor, or NaN, these instructions give the second operand. */
#define MOST8(a, b) (vector8) _mm256_max_ps((__m256)(a), (__m256)(b))
#define LEAST8(a, b) (vector8) _mm256_min_ps((__m256)(a), (__m256)(b))
#define MOST16(a, b) (vector16) _mm512_max_ps((__m512)(a), (__m512)(b))
#define LEAST16(a, b) (vector16) _mm512_min_ps((__m512)(a), (__m512)(b))

#define FOR_ROWS(HEIGHT) _Pragma("GCC unroll 16") for (int row = 0; row < HEIGHT; row++)
#define FOR_VECTORS(VECTORS) _Pragma("GCC unroll 2") for (int v = 0; v < VECTORS; v++)

#define KERNEL(name, HEIGHT, VECTORS, vector, LARGER, SMALLER, CPU)                                                            \
    __attribute__((target(CPU))) static void name(const struct left *left, const float *a, const float *b, size_t b_depth,     \
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

#if defined(__x86_64__) && defined(__GNUC__)
KERNELS(avx2_6, 6, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_4, 4, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_2, 2, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx2_1, 1, vector8, MOST8, LEAST8, "avx2,fma")
KERNELS(avx512_14, 14, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_8, 8, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_4, 4, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_2, 2, vector16, MOST16, LEAST16, "avx512f")
KERNELS(avx512_1, 1, vector16, MOST16, LEAST16, "avx512f")
#define HAVE_KERNELS 1
#else
#define HAVE_KERNELS 0
#endif

/* Kernels of one CPU generation, tallest first, the last of height 1. */
struct generation {
    int panel;
    struct {
        int height;
        kernel *run, *half;
    } kernels[5];
};

static int widest = 32;

void fs_gemm_limit(int panel)
{
    widest = panel;
}

static const struct generation *this_generation(void)
{
#if HAVE_KERNELS
#define ROW(CPU, HEIGHT)                                                                                                       \
    {                                                                                                                          \
        HEIGHT, CPU##_##HEIGHT, CPU##_##HEIGHT##_half                                                                          \
    }
    static const struct generation avx512 = {32,
                                             {ROW(avx512, 14), ROW(avx512, 8), ROW(avx512, 4), ROW(avx512, 2), ROW(avx512, 1)}};
    static const struct generation avx2 = {16, {ROW(avx2, 6), ROW(avx2, 4), ROW(avx2, 2), ROW(avx2, 1)}};
#undef ROW
    if (widest >= avx512.panel && __builtin_cpu_supports("avx512f"))
        return &avx512;
    if (widest >= avx2.panel && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2;
#endif
    return NULL;
}

int fs_gemm_panel(void)
{
    const struct generation *generation = this_generation();
    return generation ? generation->panel : 0;
}

/* A panel's last columns where they are no whole vectors: through a tile of whole ones. */
struct tile {
    float c[MOST_HEIGHT * MOST_PANEL], addend[MOST_HEIGHT * MOST_PANEL], bias[MOST_PANEL];
};

static void copy_tile(const float *from, size_t from_row, int height, int columns, float *to, size_t to_row)
{
    for (int row = 0; row < height; row++)
        memcpy(to + row * to_row, from + row * from_row, columns * sizeof *to);
}

static void run_ragged(kernel *run, int height, int columns, const struct left *left, const float *a, const float *b,
                       size_t b_depth, float *c, size_t c_row, int add, const fs_gemm_end *end)
{
    struct tile tile;
    fs_gemm_end own = end ? *end : (fs_gemm_end){0};
    memset(&tile, 0, sizeof tile);
    if (add)
        copy_tile(c, c_row, height, columns, tile.c, MOST_PANEL);
    if (own.bias)
        own.bias = memcpy(tile.bias, own.bias, columns * sizeof *tile.bias);
    if (own.addend) {
        copy_tile(own.addend, c_row, height, columns, tile.addend, MOST_PANEL);
        own.addend = tile.addend;
    }
    run(left, a, b, b_depth, tile.c, MOST_PANEL, add, end ? &own : NULL);
    copy_tile(tile.c, MOST_PANEL, height, columns, c, c_row);
}

/* `end` of the element at `row` and `column` of C. */
static fs_gemm_end end_at(const fs_gemm_end *end, size_t row, size_t column, size_t c_row)
{
    fs_gemm_end own = *end;
    own.bias = own.bias ? own.bias + column : NULL;
    own.addend = own.addend ? own.addend + row * c_row + column : NULL;
    return own;
}

static void run_panels(int rows, int columns, const struct left *left, const float *a, const float *b, size_t b_depth,
                       size_t b_panel, float *c, size_t c_row, int add, const fs_gemm_end *end)
{
    const struct generation *generation = this_generation();
    int panel = generation->panel;
    for (int column = 0; column < columns; column += panel, b += b_panel) {
        int wide = columns - column < panel ? columns - column : panel, half = wide <= panel / 2;
        int ragged = wide % (panel / 2) != 0;
        for (int row = 0, k = 0; row < rows; row += generation->kernels[k].height) {
            while (generation->kernels[k].height > rows - row)
                k++;
            kernel *run = half ? generation->kernels[k].half : generation->kernels[k].run;
            const float *own_a = a + row * left->row;
            float *own_c = c + row * c_row + column;
            fs_gemm_end own = {0}, *last = NULL;
            if (end) {
                own = end_at(end, (size_t)row, (size_t)column, c_row);
                last = &own;
            }
            if (ragged)
                run_ragged(run, generation->kernels[k].height, wide, left, own_a, b, b_depth, own_c, c_row, add, last);
            else
                run(left, own_a, b, b_depth, own_c, c_row, add, last);
        }
    }
}

void fs_gemm_ended(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_depth, const float *b,
                   size_t b_depth, size_t b_panel, float *c, size_t c_row, int add, const fs_gemm_end *end)
{
    struct left left = {.lines = 1, .line = depth, .row = a_row, .step = a_depth};
    run_panels(rows, columns, &left, a, b, b_depth, b_panel, c, c_row, add, end);
}

void fs_gemm_lines(int rows, int columns, int lines, int line, const float *a, size_t a_row, size_t a_line, const float *packed,
                   float *c, size_t c_row, const fs_gemm_end *end)
{
    size_t panel = (size_t)fs_gemm_panel();
    struct left left = {.lines = lines, .line = line, .row = a_row, .next = a_line, .step = 1};
    run_panels(rows, columns, &left, a, packed, panel, panel * (size_t)lines * (size_t)line, c, c_row, 0, end);
}

void fs_gemm(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_depth, const float *b, size_t b_depth,
             size_t b_panel, float *c, size_t c_row, int add)
{
    fs_gemm_ended(rows, columns, depth, a, a_row, a_depth, b, b_depth, b_panel, c, c_row, add, NULL);
}

size_t fs_gemm_packed(int columns, int depth)
{
    size_t panel = (size_t)fs_gemm_panel();
    return ((size_t)columns + panel - 1) / panel * panel * depth;
}

void fs_gemm_pack(int columns, int depth, const float *b, size_t b_depth, size_t b_column, int part, int parts, float *packed)
{
    int panel = fs_gemm_panel(), panels = (columns + panel - 1) / panel;
    int first = (int)((int64_t)panels * part / parts), last = (int)((int64_t)panels * (part + 1) / parts);
    for (int column = first * panel; column < last * panel; column += panel) {
        int wide = columns - column < panel ? columns - column : panel;
        float *to = packed + (size_t)column * depth;
        memset(to, 0, wide < panel ? (size_t)depth * panel * sizeof *to : 0);
        for (int p = 0; p < depth; p++, to += panel) {
            const float *from = b + p * b_depth + column * b_column;
            for (int i = 0; i < wide; i++)
                to[i] = from[i * b_column];
        }
    }
}
