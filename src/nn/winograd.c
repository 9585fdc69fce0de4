/* Winograd convolution, channels last. With d an input tile, w the kernel and y an output tile, along each axis
 *
 *     y = A' [(G w) * (B' d)],   so   dw = G' [(A dy) * (B' d)]   and   dd follows by flipping w,
 *
 * and both axes one after the other. All tiles' products at one of the P x P places of the transformed tile are one GEMM:
 * M[place] = V[place] U[place], V [tiles][channels], U [channels][filters], M [tiles][filters]. */
#include "nn/winograd.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "nn/finish.h"
#include "nn/gemm.h"
#include "nn/winograd_tiles.h"
#include "nn/winograd_weights.h"

enum { PAD = 16 }; /* floats behind each row of V and M that keep places out of each other's cache sets */

static int is(fs_size size, int number)
{
    return size.height == number && size.width == number;
}

int fs_winograd_fits(const fs_conv_shape *shape)
{
    return is(shape->kernel, 3) && is(shape->stride, 1) && is(shape->pad, 1) && is(shape->pad_end, 1) &&
           is(shape->dilation, 1) && shape->groups == 1 && shape->channels % LANES == 0 && shape->filters % LANES == 0;
}

/* Tiles of a batch: a grid on each image. */
struct grid {
    int height, width; /* of the map */
    int rows, columns; /* of tiles on one image */
    size_t tiles;      /* of all images */
};

static struct grid grid_of(const fs_conv_shape *shape, int images)
{
    int out = fs_winograd_form_of(shape)->out;
    struct grid g = {shape->height, shape->width, (shape->height + out - 1) / out, (shape->width + out - 1) / out, 0};
    g.tiles = (size_t)images * g.rows * g.columns;
    return g;
}

/* Tiles that go through the GEMMs together: V and M should stay in the second-level cache, but each GEMM reads all of U, so not
 * too few; whole kernels of 14 rows where there are many. */
static size_t block_of(const fs_conv_shape *shape, int images, size_t least)
{
    enum { FLOATS = 100000, ROWS = 14 };
    size_t tiles = grid_of(shape, images).tiles;
    size_t block = FLOATS / (fs_winograd_places(fs_winograd_form_of(shape)) * (shape->channels + shape->filters)) / ROWS * ROWS;
    block = block < least ? least : block;
    return block < tiles ? block : tiles;
}

/* Floats of one place of V or M with `block` rows of `width`. */
static size_t place_floats(size_t block, int width)
{
    return block * (width + PAD) + PAD;
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
    return takes_panels(shape) && shape->height * shape->width <= 64 ? 512 : 112;
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
    size_t forward = block_of(shape, images, convolve_least(shape)), backward = block_of(shape, images, backward_least(shape));
    size_t block = forward > backward ? forward : backward, zeros = (size_t)(shape->channels + shape->filters);
    return zeros + fs_winograd_places(fs_winograd_form_of(shape)) *
                       (place_floats(block, shape->channels) + place_floats(block, shape->filters));
}

/* Where the pixels of tile `tile` are, size x size from `border` before its output; `zeros` stand for those outside the map. */
INLINE void find_pixels(const float *map, const struct grid *g, size_t tile, int size, int border, int out, int channels,
                        const float *zeros, const float **pixel)
{
    size_t image = tile / ((size_t)g->rows * g->columns), rest = tile % ((size_t)g->rows * g->columns);
    int top = (int)(rest / g->columns) * out - border, left = (int)(rest % g->columns) * out - border;
    const float *first = map + image * g->height * g->width * channels;
    for (int row = 0; row < size; row++)
        for (int column = 0; column < size; column++) {
            int y = top + row, x = left + column;
            int inside = y >= 0 && y < g->height && x >= 0 && x < g->width;
            pixel[row * MOST + column] = inside ? first + ((size_t)y * g->width + x) * channels : zeros;
        }
}

/* How places lie in memory: element (place, tile, channel) is at place * per_place + tile * per_tile + channel, or, in panels
 * of so many channels for fs_gemm's right side, at place * per_place + channel / panel * per_panel + tile * panel + rest. */
struct places {
    size_t per_place, per_tile, panel, per_panel;
};

static struct places places_in_rows(size_t block, int channels)
{
    return (struct places){place_floats(block, channels), (size_t)channels + PAD, (size_t)channels, 0};
}

static struct places places_in_panels(size_t block, int channels, size_t panel)
{
    return (struct places){place_floats(block, channels), panel, panel, block * panel};
}

/* Tiles first .. first+count-1 of `map` [..][channels] into places [P x P]. */
INLINE void transform_tiles(const float *map, const struct grid *g, int channels, size_t first, size_t count,
                            const struct places *at, const float *zeros, int size, int border, int out, int points,
                            tile_transform *transform, float *places)
{
    for (size_t tile = 0; tile < count; tile++) {
        const float *pixel[MOST * MOST];
        find_pixels(map, g, first + tile, size, border, out, channels, zeros, pixel);
        for (size_t panel = 0; panel < (size_t)channels; panel += at->panel) {
            float *to = places + panel / at->panel * at->per_panel + tile * at->per_tile;
            for (size_t channel = 0; channel < at->panel; channel += LANES) {
                vector pixels[MOST * MOST], result[MOST * MOST];
                _Pragma("GCC unroll 6") for (int row = 0; row < size; row++)
                    _Pragma("GCC unroll 6") for (int column = 0; column < size; column++) pixels[row * MOST + column] =
                        *(const vector *)(pixel[row * MOST + column] + panel + channel);
                transform(pixels, result);
                _Pragma("GCC unroll 6") for (int row = 0; row < points; row++)
                        _Pragma("GCC unroll 6") for (int column = 0; column < points; column++) *
                    (vector *)(to + (row * points + column) * at->per_place + channel) = result[row * MOST + column];
            }
        }
    }
}

FS_SIMD static void inputs_of(const fs_winograd_form *form, const float *x, const struct grid *g, int channels, size_t first,
                              size_t count, const struct places *at, const float *zeros, float *v)
{
    if (form == &fs_winograd_form4)
        transform_tiles(x, g, channels, first, count, at, zeros, 6, 1, 4, 6, tile_input4, v);
    else
        transform_tiles(x, g, channels, first, count, at, zeros, 2, 0, 2, 3, tile_input2, v);
}

FS_SIMD static void gradients_of(const fs_winograd_form *form, const float *dy, const struct grid *g, int filters, size_t first,
                                 size_t count, const struct places *at, const float *zeros, float *e)
{
    if (form == &fs_winograd_form4)
        transform_tiles(dy, g, filters, first, count, at, zeros, 4, 0, 4, 6, tile_gradient4, e);
    else
        transform_tiles(dy, g, filters, first, count, at, zeros, 2, 0, 2, 3, tile_gradient2, e);
}

INLINE void take_larger(vector *a, const vector *b)
{
    mask keep = *a > *b;
    *a = (vector)(((mask)*a & keep) | ((mask)*b & ~keep));
}

/* Keeps NaN. */
INLINE void rectify(vector *a)
{
    *a = (vector)((mask)*a & ~(*a < 0));
}

/* A plain ReLU is done in registers; other clips, and activations, where the tile has been stored. */
static int is_relu(const fs_conv_after *after)
{
    return after->clips && after->floor == 0 && after->ceiling == INFINITY;
}

/* One tile of results [out][out] to the map, plus shift and addend, clipped at the map's edge; with `pooled` the largest of
 * each 2x2. `first`: the image's first float of these filters in y. */
INLINE void store_tile(const vector *result, const struct grid *g, int filters, int top, int left, int out, const vector *shift,
                       const float *addend, int relu, int pooled, size_t first, float *y)
{
    for (int row = 0; row < out && top + row < g->height; row += 1 + pooled)
        for (int column = 0; column < out && left + column < g->width; column += 1 + pooled) {
            const vector *r = result + row * MOST + column;
            vector value = r[0];
            if (pooled) {
                take_larger(&value, &r[1]);
                take_larger(&value, &r[MOST]);
                take_larger(&value, &r[MOST + 1]);
            }
            value += *shift;
            size_t down = (size_t)(top + row) >> pooled, right = (size_t)(left + column) >> pooled;
            size_t at = first + (down * ((size_t)g->width >> pooled) + right) * filters;
            if (!pooled && addend)
                value += *(const vector *)(addend + at);
            if (relu)
                rectify(&value);
            *(vector *)(y + at) = value;
        }
}

/* What else follows one tile, line by line. */
static void finish_tile(const fs_conv_after *later, const struct grid *g, int filters, int top, int left, int out, int pooled,
                        size_t first, float *y)
{
    int rows = g->height - top < out ? g->height - top : out, columns = g->width - left < out ? g->width - left : out;
    for (int row = 0; row < rows >> pooled; row++) {
        size_t line = (size_t)((top >> pooled) + row) * (g->width >> pooled) + (left >> pooled);
        fs_conv_finish(later, first + line * filters, (size_t)(columns >> pooled) * filters, y);
    }
}

/* Places [P x P][count][filters + PAD] to output tiles: bias, then what follows as told. */
INLINE void store_tiles(const float *places, const struct grid *g, int filters, size_t first, size_t count,
                        const struct places *at, int out, int points, tile_transform *transform, const float *bias,
                        const fs_conv_after *after, int pooled, float *y)
{
    size_t image_floats = (size_t)(g->height >> pooled) * (g->width >> pooled) * filters;
    int relu = is_relu(after);
    fs_conv_after later = *after;
    later.addend = NULL;
    later.clips = after->clips && !relu;
    for (size_t tile = 0; tile < count; tile++) {
        size_t image = (first + tile) / ((size_t)g->rows * g->columns), rest = (first + tile) % ((size_t)g->rows * g->columns);
        int top = (int)(rest / g->columns) * out, left = (int)(rest % g->columns) * out;
        for (int filter = 0; filter < filters; filter += LANES) {
            vector products[MOST * MOST], result[MOST * MOST], shift = bias ? *(const vector *)(bias + filter) : (vector){0};
            const float *from = places + tile * at->per_tile + filter;
            _Pragma("GCC unroll 6") for (int row = 0; row < points; row++)
                _Pragma("GCC unroll 6") for (int column = 0; column < points; column++) products[row * MOST + column] =
                    *(const vector *)(from + (row * points + column) * at->per_place);
            transform(products, result);
            store_tile(result, g, filters, top, left, out, &shift, after->addend, relu, pooled, image * image_floats + filter,
                       y);
        }
        if (later.clips || later.activation)
            finish_tile(&later, g, filters, top, left, out, pooled, image * image_floats, y);
    }
}

FS_SIMD static void outputs_of(const fs_winograd_form *form, const float *m, const struct grid *g, int filters, size_t first,
                               size_t count, const struct places *at, const float *bias, const fs_conv_after *after, float *y)
{
    if (form == &fs_winograd_form4 && after->pools)
        store_tiles(m, g, filters, first, count, at, 4, 6, tile_output4, bias, after, 1, y);
    else if (form == &fs_winograd_form4)
        store_tiles(m, g, filters, first, count, at, 4, 6, tile_output4, bias, after, 0, y);
    else
        store_tiles(m, g, filters, first, count, at, 2, 3, tile_output2, bias, after, after->pools, y);
}

/* One place: M [tiles][width] = V [tiles][depth] U. */
static void multiply(const fs_winograd_order *o, size_t tiles, const float *v, const float *u, float *m)
{
    int depth = (int)o->rows, width = (int)o->columns;
    if (o->panel)
        fs_gemm((int)tiles, width, depth, v, o->rows + PAD, 1, u, o->panel, o->rows * o->panel, m, o->columns + PAD, 0);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)tiles, width, depth, 1.0f, v, depth + PAD, u, width, 0.0f,
                    m, width + PAD);
}

/* x [..][depth] to y [..][width], with U [depth][width]: the forward pass, and the gradient of the input. */
static void convolve(const fs_conv_shape *shape, int images, const float *x, const float *u, int depth, int width,
                     const float *bias, const fs_conv_after *after, float *y, float *scratch)
{
    const fs_winograd_form *form = fs_winograd_form_of(shape);
    struct grid g = grid_of(shape, images);
    fs_winograd_order order = fs_winograd_order_of((size_t)depth, (size_t)width);
    size_t block = block_of(shape, images, convolve_least(shape)), places = fs_winograd_places(form);
    struct places v_at = places_in_rows(block, depth), m_at = places_in_rows(block, width);
    float *zeros = scratch, *v = scratch + depth + width, *m = v + places * v_at.per_place;
    memset(zeros, 0, depth * sizeof *zeros);
    for (size_t first = 0; first < g.tiles; first += block) {
        size_t count = first + block < g.tiles ? block : g.tiles - first;
        inputs_of(form, x, &g, depth, first, count, &v_at, zeros, v);
        for (size_t place = 0; place < places; place++)
            multiply(&order, count, v + place * v_at.per_place, u + place * order.rows * order.columns,
                     m + place * m_at.per_place);
        outputs_of(form, m, &g, width, first, count, &m_at, bias, after, y);
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

/* One place: dU [channels][filters] = or += V' E, V [tiles][channels], E [tiles][filters] in rows or panels. */
static void multiply_back(int channels, int filters, size_t tiles, const float *v, const float *e, const struct places *at,
                          float *u, int add)
{
    if (at->per_panel)
        fs_gemm(channels, filters, (int)tiles, v, 1, (size_t)channels + PAD, e, at->panel, at->per_panel, u, (size_t)filters,
                add);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, channels, filters, (int)tiles, 1.0f, v, channels + PAD, e,
                    (int)at->per_tile, add ? 1.0f : 0.0f, u, filters);
}

/* All tiles at once, and both sides in panels: dU is taken a panel by a panel at a time and transformed back while it is in
 * cache, where the whole would go to memory and back. */
static void backward_in_panels(const fs_winograd_form *form, const fs_conv_shape *shape, size_t tiles, const float *v,
                               const float *e, const struct places *v_at, const struct places *e_at, float *room,
                               float *dweight)
{
    size_t channels = (size_t)shape->channels, filters = (size_t)shape->filters, places = fs_winograd_places(form),
           panel = e_at->panel;
    for (size_t filter = 0; filter < filters; filter += panel)
        for (size_t channel = 0; channel < channels; channel += panel) {
            const float *left = v + channel / panel * v_at->per_panel, *right = e + filter / panel * e_at->per_panel;
            for (size_t place = 0; place < places; place++)
                fs_gemm((int)panel, (int)panel, (int)tiles, left + place * v_at->per_place, 1, panel,
                        right + place * e_at->per_place, panel, 0, room + place * panel * panel, panel, 0);
            fs_winograd_weights_back(form, room, panel, panel, dweight + channel * filters + filter, channels * filters,
                                     filters);
        }
}

void fs_winograd_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                 float *room, float *scratch)
{
    const fs_winograd_form *form = fs_winograd_form_of(shape);
    struct grid g = grid_of(shape, images);
    int channels = shape->channels, filters = shape->filters;
    size_t block = block_of(shape, images, backward_least(shape)), places = fs_winograd_places(form),
           pairs = (size_t)channels * filters;
    size_t panel = fs_winograd_order_of((size_t)channels, (size_t)filters).panel;
    int in_panels = takes_panels(shape) && block == g.tiles;
    struct places v_at = in_panels ? places_in_panels(block, channels, panel) : places_in_rows(block, channels),
                  e_at = panel ? places_in_panels(block, filters, panel) : places_in_rows(block, filters);
    float *zeros = scratch, *v = scratch + channels + filters, *e = v + places * v_at.per_place;
    memset(zeros, 0, (channels + filters) * sizeof *zeros);
    for (size_t first = 0; first < g.tiles; first += block) {
        size_t count = first + block < g.tiles ? block : g.tiles - first;
        inputs_of(form, x, &g, channels, first, count, &v_at, zeros, v);
        gradients_of(form, dy, &g, filters, first, count, &e_at, zeros, e);
        for (size_t place = 0; place < places && !in_panels; place++)
            multiply_back(channels, filters, count, v + place * v_at.per_place, e + place * e_at.per_place, &e_at,
                          room + place * pairs, first > 0);
    }
    if (in_panels)
        backward_in_panels(form, shape, g.tiles, v, e, &v_at, &e_at, room, dweight);
    else
        fs_winograd_weights_back(form, room, 1, pairs, dweight, pairs, pairs);
}
