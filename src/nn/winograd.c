/* Winograd convolution, channels last. With d an input tile, w the kernel and y an output tile, along each axis
 *
 *     y = A' [(G w) * (B' d)],   so   dw = G' [(A dy) * (B' d)]   and   dd follows by flipping w,
 *
 * and both axes one after the other. All tiles' products at one of the P x P places of the transformed tile are one GEMM:
 * M[place] = V[place] U[place], V [tiles][channels], U [channels][filters], M [tiles][filters]. */
#include "nn/winograd.h"

#include <cblas.h>
#include <string.h>

#include "nn/gemm.h"
#include "nn/generation.h"
#include "nn/winograd_passes.h"
#include "nn/winograd_weights.h"

enum {
    PAD = 16,  /* floats behind each row of V and M that keep places out of each other's cache sets */
    LEAST = 16 /* channels and filters: a vector of the tiles' transforms */
};

/* Channels of a row of V, E and M, with those that only fill the kernels' vectors. */
static size_t filled(size_t channels)
{
    return (channels + 15) / 16 * 16;
}

static int is(fs_size size, int number)
{
    return size.height == number && size.width == number;
}

int fs_winograd_fits(const fs_conv_shape *shape)
{
    return is(shape->kernel, 3) && is(shape->stride, 1) && is(shape->pad, 1) && is(shape->pad_end, 1) &&
           is(shape->dilation, 1) && shape->groups == 1 && shape->channels >= LEAST && shape->filters >= LEAST &&
           (fs_gemm_panel() || (shape->channels % LEAST == 0 && shape->filters % LEAST == 0));
}

static fs_winograd_grid grid_of(const fs_conv_shape *shape, int images)
{
    int out = fs_winograd_form_of(shape)->out;
    fs_winograd_grid g = {shape->height, shape->width, (shape->height + out - 1) / out, (shape->width + out - 1) / out, 0};
    g.tiles = (size_t)images * g.rows * g.columns;
    return g;
}

/* Tiles that go through the GEMMs together, at the most: V and M should stay in the second-level cache, but each GEMM reads all
 * of U, so not too few; whole kernels where there are many. */
static size_t most_of(const fs_conv_shape *shape, int images, size_t least)
{
    const fs_generation *cpu = fs_generation_of_cpu();
    size_t tiles = grid_of(shape, images).tiles, rows = (size_t)cpu->height;
    size_t block = cpu->tile_floats / (fs_winograd_places(fs_winograd_form_of(shape)) * (shape->channels + shape->filters));
    block = (block < least ? least : block) / rows * rows;
    return block < tiles ? block : tiles;
}

/* The same, all blocks of about one size; 0 without images. */
static size_t block_of(const fs_conv_shape *shape, int images, size_t least)
{
    size_t tiles = grid_of(shape, images).tiles, most = most_of(shape, images, least),
           rows = (size_t)fs_generation_of_cpu()->height;
    if (tiles == 0)
        return 0;
    size_t blocks = (tiles + most - 1) / most, block = ((tiles + blocks - 1) / blocks + rows - 1) / rows * rows;
    return block < most ? block : most;
}

/* Floats of one place of V or M with `block` rows of `width`. */
static size_t place_floats(size_t block, int width)
{
    return block * (filled((size_t)width) + PAD) + PAD;
}

/* 1 where both sides of the weights' gradient go into panels. */
static int takes_panels(const fs_conv_shape *shape)
{
    int panel = fs_gemm_panel();
    return panel && shape->channels % panel == 0 && shape->filters % panel == 0;
}

/* Each block reads and writes all of dU, but for small maps, where it is large and all tiles fit. */
static size_t backward_least(const fs_conv_shape *shape)
{
    return takes_panels(shape) && shape->height * shape->width <= 64 ? 532 : 112;
}

/* Maps of few tiles have the most weights: there U is read as seldom as can be; and seldom where it is larger than the
 * second-level cache, though V and M are, too, then. */
static size_t convolve_least(const fs_conv_shape *shape)
{
    enum { MANY_PAIRS = 1 << 15 }; /* of channels and filters: 4.5 MiB of U */
    return shape->height * shape->width <= 16 ? 112 : (size_t)shape->channels * shape->filters >= MANY_PAIRS ? 56 : 28;
}

size_t fs_winograd_scratch(const fs_conv_shape *shape, int images)
{
    size_t forward = most_of(shape, images, convolve_least(shape)), backward = most_of(shape, images, backward_least(shape));
    size_t block = forward > backward ? forward : backward,
           zeros = filled((size_t)shape->channels) + filled((size_t)shape->filters);
    return zeros + fs_winograd_places(fs_winograd_form_of(shape)) *
                       (place_floats(block, shape->channels) + place_floats(block, shape->filters));
}

static fs_winograd_order_of_places places_in_rows(size_t block, int channels)
{
    return (fs_winograd_order_of_places){place_floats(block, channels), filled((size_t)channels) + PAD, (size_t)channels, 0};
}

static fs_winograd_order_of_places places_in_panels(size_t block, int channels, size_t panel)
{
    return (fs_winograd_order_of_places){place_floats(block, channels), panel, panel, block * panel};
}

/* One place: M [tiles][width] = V [tiles][depth] U. */
static void multiply(const fs_winograd_order *o, size_t tiles, const float *v, const float *u, float *m)
{
    int depth = (int)o->rows, v_row = (int)filled(o->rows) + PAD, width = (int)filled(o->columns), m_row = width + PAD;
    if (o->panel)
        fs_gemm((int)tiles, width, depth, v, (size_t)v_row, 1, u, o->panel, o->rows * o->panel, m, (size_t)m_row, 0);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)tiles, width, depth, 1.0f, v, v_row, u, width, 0.0f, m,
                    m_row);
}

/* x [..][depth] to y [..][width], with U [depth][width]: the forward pass, and the gradient of the input. */
static void convolve(const fs_conv_shape *shape, int images, const float *x, const float *u, int depth, int width,
                     const float *bias, const fs_conv_after *after, float *y, float *scratch)
{
    const fs_winograd_form *form = fs_winograd_form_of(shape);
    const fs_winograd_passes *passes = fs_generation_of_cpu()->tiles;
    fs_winograd_grid g = grid_of(shape, images);
    fs_winograd_order order = fs_winograd_order_of((size_t)depth, (size_t)width);
    size_t block = block_of(shape, images, convolve_least(shape)), places = fs_winograd_places(form);
    fs_winograd_order_of_places v_at = places_in_rows(block, depth), m_at = places_in_rows(block, width);
    float *zeros = scratch, *v = scratch + filled((size_t)depth) + filled((size_t)width), *m = v + places * v_at.per_place;
    memset(zeros, 0, depth * sizeof *zeros);
    for (size_t first = 0; first < g.tiles; first += block) {
        size_t count = first + block < g.tiles ? block : g.tiles - first;
        passes->inputs(form, x, &g, depth, first, count, &v_at, zeros, v);
        for (size_t place = 0; place < places; place++)
            multiply(&order, count, v + place * v_at.per_place, u + place * order.apart, m + place * m_at.per_place);
        passes->outputs(form, m, &g, width, first, count, &m_at, bias, after, y);
    }
}

void fs_winograd_forward(const fs_conv_shape *shape, int images, const float *x, const float *prepared, const float *bias,
                         const fs_conv_after *after, float *y, float *scratch)
{
    convolve(shape, images, x, prepared, shape->channels, shape->filters, bias, after, y, scratch);
}

void fs_winograd_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *flipped, float *dx,
                                float *scratch)
{
    static const fs_conv_after nothing = {0};
    convolve(shape, images, dy, flipped, shape->filters, shape->channels, NULL, &nothing, dx, scratch);
}

/* One place: dU [channels][filled filters] = or += V' E, V [tiles][channels], E [tiles][filters] in rows or panels. */
static void multiply_back(int channels, int filters, size_t tiles, const float *v, const float *e,
                          const fs_winograd_order_of_places *at, float *u, int add)
{
    int width = (int)filled((size_t)filters), v_row = (int)filled((size_t)channels) + PAD, panel = fs_gemm_panel();
    if (panel)
        fs_gemm(channels, width, (int)tiles, v, 1, (size_t)v_row, e, at->per_tile,
                at->per_panel ? at->per_panel : (size_t)panel, u, (size_t)width, add);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, channels, width, (int)tiles, 1.0f, v, v_row, e, (int)at->per_tile,
                    add ? 1.0f : 0.0f, u, width);
}

/* All tiles at once, and both sides in panels: dU is taken a panel by some at a time and transformed back while it is in
 * cache, where the whole would go to memory and back. */
static void backward_in_panels(const fs_winograd_form *form, const fs_conv_shape *shape, size_t tiles, const float *v,
                               const float *e, const fs_winograd_order_of_places *v_at, const fs_winograd_order_of_places *e_at,
                               float *room, float *dweight)
{
    const fs_winograd_passes *passes = fs_generation_of_cpu()->tiles;
    enum { GROUP = 4 }; /* panels of E that stay in the second-level cache while all of V passes by */
    size_t channels = (size_t)shape->channels, filters = (size_t)shape->filters, places = fs_winograd_places(form),
           panel = e_at->panel, group = GROUP * panel;
    for (size_t filter = 0; filter < filters; filter += group)
        for (size_t channel = 0; channel < channels; channel += panel) {
            const float *left = v + channel / panel * v_at->per_panel, *right = e + filter / panel * e_at->per_panel;
            size_t width = filters - filter < group ? filters - filter : group, apart = panel * width + FS_WINOGRAD_BETWEEN;
            for (size_t place = 0; place < places; place++)
                fs_gemm((int)panel, (int)width, (int)tiles, left + place * v_at->per_place, 1, panel,
                        right + place * e_at->per_place, panel, e_at->per_panel, room + place * apart, width, 0);
            passes->weights_back(form, room, apart, panel, width, width, dweight + channel * filters + filter,
                                 channels * filters, filters);
        }
}

void fs_winograd_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                 float *room, float *scratch)
{
    const fs_winograd_form *form = fs_winograd_form_of(shape);
    const fs_winograd_passes *passes = fs_generation_of_cpu()->tiles;
    fs_winograd_grid g = grid_of(shape, images);
    int channels = shape->channels, filters = shape->filters;
    size_t block = block_of(shape, images, backward_least(shape)), places = fs_winograd_places(form),
           width = filled((size_t)filters), apart = (size_t)channels * width + FS_WINOGRAD_BETWEEN;
    size_t panel = (size_t)fs_gemm_panel();
    int in_panels = takes_panels(shape) && block == g.tiles;
    fs_winograd_order_of_places v_at = in_panels ? places_in_panels(block, channels, panel) : places_in_rows(block, channels),
                                e_at = panel && filters % (int)panel == 0 ? places_in_panels(block, filters, panel)
                                                                          : places_in_rows(block, filters);
    float *zeros = scratch, *v = scratch + filled((size_t)channels) + width, *e = v + places * v_at.per_place;
    memset(zeros, 0, (channels + filters) * sizeof *zeros);
    for (size_t first = 0; first < g.tiles; first += block) {
        size_t count = first + block < g.tiles ? block : g.tiles - first;
        passes->inputs(form, x, &g, channels, first, count, &v_at, zeros, v);
        passes->gradients(form, dy, &g, filters, first, count, &e_at, zeros, e);
        for (size_t place = 0; place < places && !in_panels; place++)
            multiply_back(channels, filters, count, v + place * v_at.per_place, e + place * e_at.per_place, &e_at,
                          room + place * apart, first > 0);
    }
    if (in_panels)
        backward_in_panels(form, shape, g.tiles, v, e, &v_at, &e_at, room, dweight);
    else
        passes->weights_back(form, room, apart, (size_t)channels, (size_t)filters, width, dweight, (size_t)channels * filters,
                             (size_t)filters);
}
