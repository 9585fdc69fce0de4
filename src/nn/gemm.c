#include "nn/gemm.h"

#include <stdint.h>
#include <string.h>

#include "nn/generation.h"

int fs_gemm_panel(void)
{
    return fs_generation_of_cpu()->panel;
}

/* A panel's last columns where they are no whole vectors: through a tile of whole ones. */
struct tile {
    float c[FS_GEMM_MOST_HEIGHT * FS_GEMM_MOST_PANEL], addend[FS_GEMM_MOST_HEIGHT * FS_GEMM_MOST_PANEL],
        bias[FS_GEMM_MOST_PANEL];
};

static void copy_tile(const float *from, size_t from_row, int height, int columns, float *to, size_t to_row)
{
    for (int row = 0; row < height; row++)
        memcpy(to + row * to_row, from + row * from_row, columns * sizeof *to);
}

static void run_ragged(fs_gemm_run *run, int height, int columns, const fs_gemm_left *left, const float *a, const float *b,
                       size_t b_depth, float *c, size_t c_row, int add, const fs_gemm_end *end)
{
    struct tile tile;
    fs_gemm_end own = end ? *end : (fs_gemm_end){0};
    memset(&tile, 0, sizeof tile);
    if (add)
        copy_tile(c, c_row, height, columns, tile.c, FS_GEMM_MOST_PANEL);
    if (own.bias)
        own.bias = memcpy(tile.bias, own.bias, columns * sizeof *tile.bias);
    if (own.addend) {
        copy_tile(own.addend, c_row, height, columns, tile.addend, FS_GEMM_MOST_PANEL);
        own.addend = tile.addend;
    }
    run(left, a, b, b_depth, tile.c, FS_GEMM_MOST_PANEL, add, end ? &own : NULL);
    copy_tile(tile.c, FS_GEMM_MOST_PANEL, height, columns, c, c_row);
}

/* `end` of the element at `row` and `column` of C. */
static fs_gemm_end end_at(const fs_gemm_end *end, size_t row, size_t column, size_t c_row)
{
    fs_gemm_end own = *end;
    own.bias = own.bias ? own.bias + column : NULL;
    own.addend = own.addend ? own.addend + row * c_row + column : NULL;
    return own;
}

/* How the rows of A are shared out: kernels of about the same height, since low ones are slow; the first are the tall ones. */
struct split {
    const fs_generation *cpu;
    int rows, height, tall; /* `tall` of them have a row more than `height` */
};

static struct split split_of(int rows, fs_gemm_left *left)
{
    const fs_generation *cpu = fs_generation_of_cpu();
    int calls = (rows + cpu->height - 1) / cpu->height;
    left->ahead_step = (size_t)cpu->panel * sizeof(float) / (size_t)calls;
    return (struct split){cpu, rows, rows / calls, rows % calls};
}

/* All rows of one panel of `columns` columns. More weights than the second-level cache holds come no faster than they are asked
 * for: each kernel asks for its share of what follows this panel, and none waits for all of it. */
static void run_panel(const struct split *split, int columns, fs_gemm_left *left, const float *a, const float *b,
                      size_t b_depth, float *c, size_t c_row, int add, const fs_gemm_end *end)
{
    int lanes = split->cpu->panel / 2, half = columns <= lanes, ragged = (columns & (lanes - 1)) != 0, tall = split->tall;
    size_t depth = (size_t)left->lines * (size_t)left->line, ahead = depth * left->ahead_step;
    left->ahead = (const char *)(b + depth * b_depth);
    for (int row = 0, height; row < split->rows; row += height, left->ahead += ahead) {
        height = split->height + (tall-- > 0);
        const fs_gemm_kernel *kernel = &split->cpu->kernels[height - 1];
        fs_gemm_run *run = half ? kernel->half : kernel->run;
        const float *own_a = a + row * left->row;
        float *own_c = c + row * c_row;
        fs_gemm_end own, *last = NULL;
        if (end) {
            own = end_at(end, (size_t)row, 0, c_row);
            last = &own;
        }
        if (ragged)
            run_ragged(run, height, columns, left, own_a, b, b_depth, own_c, c_row, add, last);
        else
            run(left, own_a, b, b_depth, own_c, c_row, add, last);
    }
}

/* Panel after panel; where A is one line, so many rows of the panel at a time that they stay in the first-level cache, with
 * their sum in C meanwhile: to the same bits. Not where C holds an addend. */
static void run_panels(int rows, int columns, fs_gemm_left *left, const float *a, const float *b, size_t b_depth,
                       size_t b_panel, float *c, size_t c_row, int add, const fs_gemm_end *end)
{
    struct split split = split_of(rows, left);
    int in_parts = left->lines == 1 && !(end && end->addend == c), depth = left->line, panel = split.cpu->panel,
        part = split.cpu->depth;
    for (int column = 0; column < columns; column += panel, b += b_panel) {
        int wide = columns - column < panel ? columns - column : panel;
        fs_gemm_end own = {0};
        if (end)
            own = end_at(end, 0, (size_t)column, c_row);
        for (int p = 0; p < depth; p += left->line) {
            left->line = in_parts && depth - p >= part * 3 / 2 ? part : depth - p;
            run_panel(&split, wide, left, a + p * left->step, b + p * b_depth, b_depth, c + column, c_row, add || p > 0,
                      end && p + left->line == depth ? &own : NULL);
        }
    }
}

void fs_gemm_ended(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_depth, const float *b,
                   size_t b_depth, size_t b_panel, float *c, size_t c_row, int add, const fs_gemm_end *end)
{
    fs_gemm_left left = {.lines = 1, .line = depth, .row = a_row, .step = a_depth};
    run_panels(rows, columns, &left, a, b, b_depth, b_panel, c, c_row, add, end);
}

void fs_gemm_lines(int rows, int columns, int lines, int line, const float *a, size_t a_row, size_t a_line, const float *packed,
                   float *c, size_t c_row, const fs_gemm_end *end)
{
    size_t panel = (size_t)fs_gemm_panel();
    fs_gemm_left left = {.lines = lines, .line = line, .row = a_row, .next = a_line, .step = 1};
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
