#include "nn/gemm.h"

/* A kernel computes HEIGHT rows of one panel, two vectors wide, in registers: the panel is read once for all its rows. */
typedef void kernel(int depth, const float *a, size_t a_row, size_t a_depth, const float *b, size_t b_depth, float *c,
                    size_t c_row, int add);

typedef float vector8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float vector16 __attribute__((vector_size(64), aligned(4), may_alias));

#define KERNEL(name, HEIGHT, vector, CPU)                                                                                      \
    __attribute__((target(CPU))) static void name(int depth, const float *a, size_t a_row, size_t a_depth, const float *b,     \
                                                  size_t b_depth, float *c, size_t c_row, int add)                             \
    {                                                                                                                          \
        enum { LANES = sizeof(vector) / sizeof(float) };                                                                       \
        vector left[HEIGHT], right[HEIGHT];                                                                                    \
        _Pragma("GCC unroll 16") for (int row = 0; row < HEIGHT; row++)                                                        \
        {                                                                                                                      \
            left[row] = add ? *(const vector *)(c + row * c_row) : (vector){0};                                                \
            right[row] = add ? *(const vector *)(c + row * c_row + LANES) : (vector){0};                                       \
        }                                                                                                                      \
        for (int p = 0; p < depth; p++, a += a_depth, b += b_depth) {                                                          \
            vector b_left = *(const vector *)b, b_right = *(const vector *)(b + LANES);                                        \
            _Pragma("GCC unroll 16") for (int row = 0; row < HEIGHT; row++)                                                    \
            {                                                                                                                  \
                float factor = a[row * a_row];                                                                                 \
                left[row] += factor * b_left;                                                                                  \
                right[row] += factor * b_right;                                                                                \
            }                                                                                                                  \
        }                                                                                                                      \
        _Pragma("GCC unroll 16") for (int row = 0; row < HEIGHT; row++)                                                        \
        {                                                                                                                      \
            *(vector *)(c + row * c_row) = left[row];                                                                          \
            *(vector *)(c + row * c_row + LANES) = right[row];                                                                 \
        }                                                                                                                      \
    }

#if defined(__x86_64__) && defined(__GNUC__)
KERNEL(avx2_6, 6, vector8, "avx2,fma")
KERNEL(avx2_4, 4, vector8, "avx2,fma")
KERNEL(avx2_2, 2, vector8, "avx2,fma")
KERNEL(avx2_1, 1, vector8, "avx2,fma")
KERNEL(avx512_14, 14, vector16, "avx512f")
KERNEL(avx512_8, 8, vector16, "avx512f")
KERNEL(avx512_4, 4, vector16, "avx512f")
KERNEL(avx512_2, 2, vector16, "avx512f")
KERNEL(avx512_1, 1, vector16, "avx512f")
#define HAVE_KERNELS 1
#else
#define HAVE_KERNELS 0
#endif

/* Kernels of one CPU generation, tallest first, the last of height 1. */
struct generation {
    int panel;
    struct {
        int height;
        kernel *run;
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
    static const struct generation avx512 = {32, {{14, avx512_14}, {8, avx512_8}, {4, avx512_4}, {2, avx512_2}, {1, avx512_1}}};
    static const struct generation avx2 = {16, {{6, avx2_6}, {4, avx2_4}, {2, avx2_2}, {1, avx2_1}}};
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

void fs_gemm(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_depth, const float *b, size_t b_depth,
             size_t b_panel, float *c, size_t c_row, int add)
{
    const struct generation *generation = this_generation();
    for (int column = 0; column < columns; column += generation->panel, b += b_panel)
        for (int row = 0, k = 0; row < rows; row += generation->kernels[k].height) {
            while (generation->kernels[k].height > rows - row)
                k++;
            generation->kernels[k].run(depth, a + row * a_row, a_row, a_depth, b, b_depth, c + row * c_row + column, c_row,
                                       add);
        }
}
