/* Winograd convolution, channels last. With d an input tile, w the kernel and y an output tile, along each axis
 *
 *     y = A' [(G w) * (B' d)],   so   dw = G' [(A dy) * (B' d)]   and   dd follows by flipping w,
 *
 * and both axes one after the other. All tiles' products at one of the P x P places of the transformed tile are one GEMM:
 * M[place] = V[place] U[place], V [tiles][channels], U [channels][filters], M [tiles][filters]. */
#include "nn/winograd.h"

#include <cblas.h>
#include <string.h>

#include "base/simd.h"
#include "nn/gemm.h"

/* One algorithm: its tile sizes. Both have their transforms below. */
struct form {
    int in;     /* input tile in x in */
    int out;    /* output tile out x out */
    int points; /* P: transformed tile P x P */
    int border; /* the input tile begins so many pixels before the output tile */
};

static const struct form form4 = {6, 4, 6, 1}; /* F(4x4, 3x3), interpolation points 0, 1, -1, 2, -2, infinity */
static const struct form form2 = {2, 2, 3, 0}; /* a whole 2x2 map between zero borders */

enum { MOST = 6, LANES = 8, PAD = 16 }; /* PAD floats behind each row of V and M keep places out of each other's cache sets */

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* The one-axis transforms, on vectors of channels `step` apart. */

#define INLINE static inline __attribute__((always_inline))

/* B' d */
INLINE void transform_input4(const vector *d, int step, vector *t)
{
    vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    vector even = d4 - 4 * d2, odd = d3 - 4 * d1, even1 = d4 - d2, odd1 = 2 * (d3 - d1);
    t[0] = 4 * d0 - 5 * d2 + d4;
    t[step] = even + odd;
    t[2 * step] = even - odd;
    t[3 * step] = even1 + odd1;
    t[4 * step] = even1 - odd1;
    t[5 * step] = 4 * d1 - 5 * d3 + d5;
}

INLINE void transform_input2(const vector *d, int step, vector *t)
{
    vector d0 = d[0], d1 = d[step];
    t[0] = d0 + d1;
    t[step] = d1;
    t[2 * step] = d0;
}

/* A' m */
INLINE void transform_output4(const vector *m, int step, vector *y)
{
    vector sum1 = m[step] + m[2 * step], difference1 = m[step] - m[2 * step];
    vector sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
    vector first = m[0], last = m[5 * step];
    y[0] = first + sum1 + sum2;
    y[step] = difference1 + 2 * difference2;
    y[2 * step] = sum1 + 4 * sum2;
    y[3 * step] = difference1 + 8 * difference2 + last;
}

INLINE void transform_output2(const vector *m, int step, vector *y)
{
    vector m0 = m[0], m1 = m[step], m2 = m[2 * step];
    y[0] = m0 + m1;
    y[step] = m0 + m2;
}

/* A dy */
INLINE void transform_gradient4(const vector *dy, int step, vector *e)
{
    vector d0 = dy[0], d1 = dy[step], d2 = dy[2 * step], d3 = dy[3 * step];
    vector even1 = d0 + d2, odd1 = d1 + d3, even2 = d0 + 4 * d2, odd2 = 2 * d1 + 8 * d3;
    e[0] = d0;
    e[step] = even1 + odd1;
    e[2 * step] = even1 - odd1;
    e[3 * step] = even2 + odd2;
    e[4 * step] = even2 - odd2;
    e[5 * step] = d3;
}

INLINE void transform_gradient2(const vector *dy, int step, vector *e)
{
    vector d0 = dy[0], d1 = dy[step];
    e[0] = d0 + d1;
    e[step] = d0;
    e[2 * step] = d1;
}

/* G w */
INLINE void transform_weight4(const vector *w, int step, vector *u)
{
    vector w0 = w[0], w1 = w[step], w2 = w[2 * step];
    vector sum = (w0 + w2) * (-1.0f / 6), sum2 = w0 * (1.0f / 24) + w2 * (1.0f / 6);
    u[0] = w0 * 0.25f;
    u[step] = sum - w1 * (1.0f / 6);
    u[2 * step] = sum + w1 * (1.0f / 6);
    u[3 * step] = sum2 + w1 * (1.0f / 12);
    u[4 * step] = sum2 - w1 * (1.0f / 12);
    u[5 * step] = w2;
}

INLINE void transform_weight2(const vector *w, int step, vector *u)
{
    vector w0 = w[0], w1 = w[step], w2 = w[2 * step];
    u[0] = w1;
    u[step] = w2 - w1;
    u[2 * step] = w0 - w1;
}

/* G' u */
INLINE void transform_weight_back4(const vector *u, int step, vector *w)
{
    vector u0 = u[0], sum1 = u[step] + u[2 * step], difference1 = u[2 * step] - u[step];
    vector sum2 = u[3 * step] + u[4 * step], difference2 = u[3 * step] - u[4 * step], u5 = u[5 * step];
    w[0] = u0 * 0.25f - sum1 * (1.0f / 6) + sum2 * (1.0f / 24);
    w[step] = difference1 * (1.0f / 6) + difference2 * (1.0f / 12);
    w[2 * step] = (sum2 - sum1) * (1.0f / 6) + u5;
}

INLINE void transform_weight_back2(const vector *u, int step, vector *w)
{
    vector u0 = u[0], u1 = u[step], u2 = u[2 * step];
    w[0] = u2;
    w[step] = u0 - u1 - u2;
    w[2 * step] = u1;
}

/* Both axes of each transform, on a tile of vectors [MOST][MOST]. */
#define BOTH_AXES(name, transform, rows, results)                                                                              \
    INLINE void name(const vector *in, vector *out)                                                                            \
    {                                                                                                                          \
        vector half[MOST * MOST];                                                                                              \
        for (int column = 0; column < (rows); column++)                                                                        \
            transform(in + column, MOST, half + column);                                                                       \
        for (int row = 0; row < (results); row++)                                                                              \
            transform(half + row * MOST, 1, out + row * MOST);                                                                 \
    }

BOTH_AXES(tile_input4, transform_input4, 6, 6)
BOTH_AXES(tile_input2, transform_input2, 2, 3)
BOTH_AXES(tile_output4, transform_output4, 6, 4)
BOTH_AXES(tile_output2, transform_output2, 3, 2)
BOTH_AXES(tile_gradient4, transform_gradient4, 4, 6)
BOTH_AXES(tile_gradient2, transform_gradient2, 2, 3)
BOTH_AXES(tile_weight4, transform_weight4, 3, 6)
BOTH_AXES(tile_weight2, transform_weight2, 3, 3)
BOTH_AXES(tile_weight_back4, transform_weight_back4, 6, 3)
BOTH_AXES(tile_weight_back2, transform_weight_back2, 3, 3)

static const struct form *form_of(const fs_conv_shape *shape)
{
    return shape->height == 2 && shape->width == 2 ? &form2 : &form4;
}

int fs_winograd_fits(const fs_conv_shape *shape)
{
    return shape->kernel == 3 && shape->stride == 1 && shape->pad == 1 && shape->channels % LANES == 0 &&
           shape->filters % LANES == 0;
}

static size_t places_of(const struct form *form)
{
    return (size_t)form->points * form->points;
}

/* Tiles of a batch: a grid on each image. */
struct grid {
    int height, width; /* of the map */
    int rows, columns; /* of tiles on one image */
    size_t tiles;      /* of all images */
};

static struct grid grid_of(const fs_conv_shape *shape, int images)
{
    int out = form_of(shape)->out;
    struct grid g = {shape->height, shape->width, (shape->height + out - 1) / out, (shape->width + out - 1) / out, 0};
    g.tiles = (size_t)images * g.rows * g.columns;
    return g;
}

/* Tiles that go through the GEMMs together: V and M should stay in cache, but each GEMM reads all of U, so not too few. */
static size_t block_of(const fs_conv_shape *shape, int images)
{
    enum { FLOATS = 1 << 20, LEAST = 128 };
    size_t tiles = grid_of(shape, images).tiles;
    size_t block = FLOATS / (places_of(form_of(shape)) * (shape->channels + shape->filters));
    block = block < LEAST ? LEAST : block;
    return block < tiles ? block : tiles;
}

/* Floats of one place of V or M with `block` rows of `width`. */
static size_t place_floats(size_t block, int width)
{
    return block * (width + PAD) + PAD;
}

size_t fs_winograd_scratch(const fs_conv_shape *shape, int images)
{
    size_t block = block_of(shape, images);
    return places_of(form_of(shape)) * (place_floats(block, shape->channels) + place_floats(block, shape->filters));
}

/* The pixels of a tile that begins at (y, x) of `image`, LANES channels from `channel` on; 0 outside the map. */
INLINE void load_tile(const float *map, const struct grid *g, size_t image, int y, int x, int size, int channels, int channel,
                      vector *tile)
{
    for (int row = 0; row < size; row++)
        for (int column = 0; column < size; column++) {
            int py = y + row, px = x + column;
            int inside = py >= 0 && py < g->height && px >= 0 && px < g->width;
            size_t pixel = (image * g->height + (size_t)(inside ? py : 0)) * g->width + (size_t)(inside ? px : 0);
            tile[row * MOST + column] = inside ? *(const vector *)(map + pixel * channels + channel) : (vector){0};
        }
}

/* A tile transform: from loaded pixels to P x P places. */
typedef void tile_transform(const vector *in, vector *out);

/* Tiles first .. first+count-1 of `map` [..][channels] into places [P x P][count][channels + PAD]. */
INLINE void transform_tiles(const float *map, const struct grid *g, int channels, size_t first, size_t count, size_t block,
                            int size, int border, int out, int points, tile_transform *transform, float *places)
{
    size_t stride = channels + PAD, per_place = place_floats(block, channels);
    for (size_t tile = first; tile < first + count; tile++) {
        size_t image = tile / ((size_t)g->rows * g->columns), rest = tile % ((size_t)g->rows * g->columns);
        int y = (int)(rest / g->columns) * out - border, x = (int)(rest % g->columns) * out - border;
        for (int channel = 0; channel < channels; channel += LANES) {
            vector pixels[MOST * MOST], result[MOST * MOST];
            load_tile(map, g, image, y, x, size, channels, channel, pixels);
            transform(pixels, result);
            for (int row = 0; row < points; row++)
                for (int column = 0; column < points; column++)
                    *(vector *)(places + (row * points + column) * per_place + (tile - first) * stride + channel) =
                        result[row * MOST + column];
        }
    }
}

FS_SIMD static void inputs_of(const struct form *form, const float *x, const struct grid *g, int channels, size_t first,
                              size_t count, size_t block, float *v)
{
    if (form == &form4)
        transform_tiles(x, g, channels, first, count, block, 6, 1, 4, 6, tile_input4, v);
    else
        transform_tiles(x, g, channels, first, count, block, 2, 0, 2, 3, tile_input2, v);
}

FS_SIMD static void gradients_of(const struct form *form, const float *dy, const struct grid *g, int filters, size_t first,
                                 size_t count, size_t block, float *e)
{
    if (form == &form4)
        transform_tiles(dy, g, filters, first, count, block, 4, 0, 4, 6, tile_gradient4, e);
    else
        transform_tiles(dy, g, filters, first, count, block, 2, 0, 2, 3, tile_gradient2, e);
}

/* Places [P x P][count][filters + PAD] to output tiles, plus bias, clipped at the map's edge. */
INLINE void store_tiles(const float *places, const struct grid *g, int filters, size_t first, size_t count, size_t block,
                        int out, int points, tile_transform *transform, const float *bias, float *y)
{
    size_t stride = filters + PAD, per_place = place_floats(block, filters);
    for (size_t tile = first; tile < first + count; tile++) {
        size_t image = tile / ((size_t)g->rows * g->columns), rest = tile % ((size_t)g->rows * g->columns);
        int top = (int)(rest / g->columns) * out, left = (int)(rest % g->columns) * out;
        for (int filter = 0; filter < filters; filter += LANES) {
            vector products[MOST * MOST], result[MOST * MOST], shift = bias ? *(const vector *)(bias + filter) : (vector){0};
            for (int row = 0; row < points; row++)
                for (int column = 0; column < points; column++)
                    products[row * MOST + column] =
                        *(const vector *)(places + (row * points + column) * per_place + (tile - first) * stride + filter);
            transform(products, result);
            for (int row = 0; row < out && top + row < g->height; row++)
                for (int column = 0; column < out && left + column < g->width; column++) {
                    size_t pixel = (image * g->height + (size_t)(top + row)) * g->width + (size_t)(left + column);
                    *(vector *)(y + pixel * filters + filter) = result[row * MOST + column] + shift;
                }
        }
    }
}

FS_SIMD static void outputs_of(const struct form *form, const float *m, const struct grid *g, int filters, size_t first,
                               size_t count, size_t block, const float *bias, float *y)
{
    if (form == &form4)
        store_tiles(m, g, filters, first, count, block, 4, 6, tile_output4, bias, y);
    else
        store_tiles(m, g, filters, first, count, block, 2, 3, tile_output2, bias, y);
}

/* Where U(row, column) of one place is: row-major, or in panels of so many columns for fs_gemm. */
struct order {
    size_t rows, columns;
    size_t panel; /* 0: row-major */
};

static struct order order_of(size_t rows, size_t columns)
{
    size_t panel = (size_t)fs_gemm_panel();
    return (struct order){rows, columns, panel && columns % panel == 0 ? panel : 0};
}

/* LANES neighbouring columns at a time, in the order of the places' memory; weight [3][3][rows][columns]. */
INLINE void transform_weights(const float *weight, const struct order *o, int flipped, int points, tile_transform *transform,
                              float *prepared)
{
    size_t pairs = o->rows * o->columns, width = o->panel ? o->panel : o->columns;
    for (size_t panel = 0; panel < pairs; panel += o->rows * width)
        for (size_t row = 0; row < o->rows; row++)
            for (size_t column = 0; column < width; column += LANES) {
                vector taps[MOST * MOST], result[MOST * MOST];
                const float *first = weight + row * o->columns + panel / o->rows + column;
                float *position = prepared + panel + row * width + column;
                for (int tap = 0; tap < 9; tap++)
                    taps[tap / 3 * MOST + tap % 3] = *(const vector *)(first + (flipped ? 8 - tap : tap) * pairs);
                transform(taps, result);
                for (int place = 0; place < points * points; place++)
                    *(vector *)(position + place * pairs) = result[place / points * MOST + place % points];
            }
}

FS_SIMD static void weights_of(const struct form *form, const float *weight, const struct order *o, int flipped,
                               float *prepared)
{
    if (form == &form4)
        transform_weights(weight, o, flipped, 6, tile_weight4, prepared);
    else
        transform_weights(weight, o, flipped, 3, tile_weight2, prepared);
}

INLINE void transform_weights_back(const float *room, size_t pairs, int points, tile_transform *transform, float *dweight)
{
    for (size_t pair = 0; pair < pairs; pair += LANES) {
        vector places[MOST * MOST], result[MOST * MOST];
        for (int row = 0; row < points; row++)
            for (int column = 0; column < points; column++)
                places[row * MOST + column] = *(const vector *)(room + (row * points + column) * pairs + pair);
        transform(places, result);
        for (int row = 0; row < 3; row++)
            for (int column = 0; column < 3; column++)
                *(vector *)(dweight + (row * 3 + column) * pairs + pair) = result[row * MOST + column];
    }
}

FS_SIMD static void weights_back(const struct form *form, const float *room, size_t pairs, float *dweight)
{
    if (form == &form4)
        transform_weights_back(room, pairs, 6, tile_weight_back4, dweight);
    else
        transform_weights_back(room, pairs, 3, tile_weight_back2, dweight);
}

/* [9][rows][columns] to [9][columns][rows], rows and columns multiples of LANES: block by block, for the cache's sake. */
static void transpose_taps(const float *weight, size_t rows, size_t columns, float *transposed)
{
    for (size_t tap = 0; tap < 9; tap++, weight += rows * columns, transposed += rows * columns)
        for (size_t row = 0; row < rows; row += LANES)
            for (size_t column = 0; column < columns; column++)
                for (size_t i = 0; i < LANES; i++)
                    transposed[column * rows + row + i] = weight[(row + i) * columns + column];
}

size_t fs_winograd_prepared(const fs_conv_shape *shape)
{
    return (places_of(form_of(shape)) + 9) * shape->channels * shape->filters; /* 9: room for the transposed weights */
}

void fs_winograd_prepare(const fs_conv_shape *shape, const float *weight, int flipped, float *prepared)
{
    const struct form *form = form_of(shape);
    size_t channels = (size_t)shape->channels, filters = (size_t)shape->filters;
    struct order order = flipped ? order_of(filters, channels) : order_of(channels, filters);
    if (flipped) {
        float *transposed = prepared + places_of(form) * channels * filters;
        transpose_taps(weight, channels, filters, transposed);
        weight = transposed;
    }
    weights_of(form, weight, &order, flipped, prepared);
}

/* One place: M [tiles][width] = V [tiles][depth] U. */
static void multiply(const struct order *o, size_t tiles, const float *v, const float *u, float *m)
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
                     const float *bias, float *y, float *scratch)
{
    const struct form *form = form_of(shape);
    struct grid g = grid_of(shape, images);
    struct order order = order_of((size_t)depth, (size_t)width);
    size_t block = block_of(shape, images), places = places_of(form);
    size_t v_floats = place_floats(block, depth), m_floats = place_floats(block, width);
    float *v = scratch, *m = scratch + places * v_floats;
    for (size_t first = 0; first < g.tiles; first += block) {
        size_t count = first + block < g.tiles ? block : g.tiles - first;
        inputs_of(form, x, &g, depth, first, count, block, v);
        for (size_t place = 0; place < places; place++)
            multiply(&order, count, v + place * v_floats, u + place * order.rows * order.columns, m + place * m_floats);
        outputs_of(form, m, &g, width, first, count, block, bias, y);
    }
}

void fs_winograd_forward(const fs_conv_shape *shape, int images, const float *x, const float *prepared, const float *bias,
                         float *y, float *scratch)
{
    convolve(shape, images, x, prepared, shape->channels, shape->filters, bias, y, scratch);
}

void fs_winograd_backward_input(const fs_conv_shape *shape, int images, const float *dy, const float *flipped, float *dx,
                                float *scratch)
{
    convolve(shape, images, dy, flipped, shape->filters, shape->channels, NULL, dx, scratch);
}

/* One place: dU [channels][filters] = or += V' E, V [tiles][channels], E [tiles][filters]. */
static void multiply_back(int channels, int filters, size_t tiles, const float *v, const float *e, float *u, int add)
{
    int panel = fs_gemm_panel();
    if (panel && filters % panel == 0)
        fs_gemm(channels, filters, (int)tiles, v, 1, (size_t)channels + PAD, e, (size_t)filters + PAD, (size_t)panel, u,
                (size_t)filters, add);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, channels, filters, (int)tiles, 1.0f, v, channels + PAD, e,
                    filters + PAD, add ? 1.0f : 0.0f, u, filters);
}

void fs_winograd_backward_weight(const fs_conv_shape *shape, int images, const float *x, const float *dy, float *dweight,
                                 float *room, float *scratch)
{
    const struct form *form = form_of(shape);
    struct grid g = grid_of(shape, images);
    int channels = shape->channels, filters = shape->filters;
    size_t block = block_of(shape, images), places = places_of(form), pairs = (size_t)channels * filters;
    size_t v_floats = place_floats(block, channels), e_floats = place_floats(block, filters);
    float *v = scratch, *e = scratch + places * v_floats;
    for (size_t first = 0; first < g.tiles; first += block) {
        size_t count = first + block < g.tiles ? block : g.tiles - first;
        inputs_of(form, x, &g, channels, first, count, block, v);
        gradients_of(form, dy, &g, filters, first, count, block, e);
        for (size_t place = 0; place < places; place++)
            multiply_back(channels, filters, count, v + place * v_floats, e + place * e_floats, room + place * pairs,
                          first > 0);
    }
    weights_back(form, room, pairs, dweight);
}
