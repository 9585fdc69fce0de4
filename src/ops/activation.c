/* Activations. Each is one line of the table below: its value y of x, and its slope of what its backward pass reads, so that
 * one that reads y alone can work in place in training, too. NaN stays NaN. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math") /* nobody asks which exceptions floating-point comparisons raise: both sides may run */
#endif

#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "filterscope/layers.h"
#include "nn/elementary.h"
#include "ops/ops.h"
#include "ops/words.h"

static fs_status shape(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    (void)place;
    op->alpha = (float)layer->alpha;
    return FS_OK;
}

static fs_status read_slope(fs_words *w, fs_layer *layer)
{
    return fs_words_real(w, "slope below 0", 0, 1, &layer->alpha);
}

/* Keras' before 3 and ONNX' have a slope of 0.2. */
static fs_status read_hard(fs_words *w, fs_layer *layer)
{
    return w->next < w->count ? fs_words_real(w, "slope", 1e-6, 1000, &layer->alpha) : FS_OK;
}

static fs_status read_scale(fs_words *w, fs_layer *layer)
{
    return fs_words_real(w, "scale below 0", 0, 1000, &layer->alpha);
}

static size_t count_of(const fs_pass *pass)
{
    return pass->images * fs_op_outputs(pass->step->op);
}

static void forward_relu(const fs_pass *pass)
{
    size_t count = count_of(pass);
    if (pass->y != pass->x[0])
        memcpy(pass->y, pass->x[0], count * sizeof *pass->y);
    fs_relu_forward(count, pass->y);
}

static void backward_relu(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    size_t count = count_of(pass);
    if (dx != dy)
        memcpy(dx, dy, count * sizeof *dx);
    fs_relu_backward(count, pass->y, dx);
}

static void follow_relu(const fs_op *op, fs_conv_after *after)
{
    (void)op;
    after->clips = 1;
    after->ceiling = INFINITY;
}

const fs_kind fs_kind_relu = {
    .word = "relu",
    .keeps_zero = 1,
    .follow = follow_relu,
    .in_place = 1,
    .forward = forward_relu,
    .reads_output = 1,
    .backward = backward_relu,
};

/* A slope below 0 for each channel, which is learned. */
static fs_status shape_prelu(const fs_layer *layer, const fs_place *place, fs_op *op)
{
    (void)layer;
    (void)place;
    op->weights = (size_t)op->channels;
    return FS_OK;
}

static void initialise_prelu(const fs_op *op, uint64_t seed, int number, float *parameter, float *statistic)
{
    (void)seed;
    (void)number;
    (void)statistic;
    for (size_t c = 0; c < op->weights; c++)
        parameter[c] = 0.25f; /* PyTorch's */
}

static void forward_prelu(const fs_pass *pass)
{
    const float *slope = fs_weight_of(pass), *x = pass->x[0];
    size_t channels = pass->step->op->weights;
    for (size_t i = 0; i < count_of(pass); i++)
        pass->y[i] = x[i] > 0 ? x[i] : slope[i % channels] * x[i];
}

static void backward_prelu(const fs_pass *pass, int input, float *dy, float *dx)
{
    (void)input;
    const float *slope = fs_weight_of(pass), *x = pass->x[0];
    size_t channels = pass->step->op->weights;
    for (size_t i = 0; i < count_of(pass); i++)
        dx[i] = x[i] > 0 ? dy[i] : slope[i % channels] * dy[i];
}

static void gradient_prelu(const fs_pass *pass, const float *dy, float *out)
{
    const float *x = pass->x[0];
    size_t channels = pass->step->op->weights;
    memset(out, 0, channels * sizeof *out);
    for (size_t i = 0; i < count_of(pass); i++)
        out[i % channels] += x[i] > 0 ? 0 : dy[i] * x[i];
}

const fs_kind fs_kind_prelu = {
    .word = "prelu",
    .keeps_zero = 1,
    .shape = shape_prelu,
    .array = "prelu",
    .weight = "weight",
    .initialise = initialise_prelu,
    .forward = forward_prelu,
    .reads_input = 1,
    .backward = backward_prelu,
    .gradient = gradient_prelu,
};

/* The loops of one activation; x may be y, and dy may be dx. `a` is the number of its line, `from` the x or y that is read. */
#define LOOPS(name, value, reads, slope)                                                                                       \
    FS_SIMD static void value_of_##name(size_t count, float a, const float *in, float *out)                                    \
    {                                                                                                                          \
        (void)a;                                                                                                               \
        FS_INDEPENDENT for (size_t i = 0; i < count; i++)                                                                      \
        {                                                                                                                      \
            float x = in[i];                                                                                                   \
            out[i] = value;                                                                                                    \
        }                                                                                                                      \
    }                                                                                                                          \
    FS_SIMD static void slope_of_##name(size_t count, float a, const float *from, const float *dy, float *dx)                  \
    {                                                                                                                          \
        (void)a;                                                                                                               \
        FS_INDEPENDENT for (size_t i = 0; i < count; i++)                                                                      \
        {                                                                                                                      \
            float reads = from[i];                                                                                             \
            dx[i] = dy[i] * (slope);                                                                                           \
        }                                                                                                                      \
    }                                                                                                                          \
    static void forward_##name(const fs_pass *pass)                                                                            \
    {                                                                                                                          \
        value_of_##name(count_of(pass), pass->step->op->alpha, pass->x[0], pass->y);                                           \
    }                                                                                                                          \
    static void backward_##name(const fs_pass *pass, int input, float *dy, float *dx)                                          \
    {                                                                                                                          \
        const float *x = pass->x[0], *y = pass->y;                                                                             \
        (void)input, (void)x, (void)y;                                                                                         \
        slope_of_##name(count_of(pass), pass->step->op->alpha, reads, dy, dx);                                                 \
    }

/* How a convolution takes it along. */
#define FOLLOW(name)                                                                                                           \
    static void follow_##name(const fs_op *op, fs_conv_after *after)                                                           \
    {                                                                                                                          \
        after->activation = value_of_##name;                                                                                   \
        after->number = op->alpha;                                                                                             \
    }

/* The row of an activation that reads x or y; `reader` reads its number, NULL for none; `zero`: it is 0 at 0. */
#define ROW_x(name, reader, zero) ROW(name, reader, zero, 1, 0)
#define ROW_y(name, reader, zero) ROW(name, reader, zero, 0, 1)
#define ROW(name, reader, zero, x, y)                                                                                          \
    const fs_kind fs_kind_##name = {.word = #name,                                                                             \
                                    .read = reader,                                                                            \
                                    .shape = shape,                                                                            \
                                    .keeps_zero = zero,                                                                        \
                                    .in_place = 1,                                                                             \
                                    .follow = follow_##name,                                                                   \
                                    .forward = forward_##name,                                                                 \
                                    .reads_input = x,                                                                          \
                                    .reads_output = y,                                                                         \
                                    .backward = backward_##name};

#define ACTIVATION(name, reader, zero, value, reads, slope)                                                                    \
    LOOPS(name, value, reads, slope) FOLLOW(name) ROW_##reads(name, reader, zero)

static inline float clip(float v, float least, float most)
{
    return v < least ? least : v > most ? most : v;
}

/* Without a slope, PyTorch's. */
static inline float hard_slope(float slope)
{
    return slope > 0 ? slope : 1.0f / 6.0f;
}

static inline float hard_sigmoid(float v, float slope)
{
    return slope > 0 ? clip(slope * v + 0.5f, 0.0f, 1.0f) : clip(v + 3.0f, 0.0f, 6.0f) / 6.0f;
}

static inline float slope_silu(float v, float sigmoid)
{
    return sigmoid * (1.0f + v * (1.0f - sigmoid));
}

static inline float slope_gelu(float v)
{
    return fs_gauss(v) + v * fs_exp(-0.5f * v * v) * (float)(M_2_SQRTPI * M_SQRT1_2 / 2);
}

static inline float slope_hardswish(float v)
{
    return v < -3 ? 0.0f : v <= 3 ? v / 3.0f + 0.5f : 1.0f;
}

/* clang-format off */
/*         word         its number  0 at 0  y                                   reads  slope */
LOOPS     (relu6,                   clip(x, 0.0f, 6.0f),                y,     y > 0 && y < 6 ? 1.0f : 0.0f)
ACTIVATION(leakyrelu,   read_slope, 1,      x > 0 ? x : a * x,                  y,     y > 0 ? 1.0f : a)
ACTIVATION(elu,         read_scale, 1,      x > 0 ? x : a * fs_expm1(x),        y,     y > 0 ? 1.0f : y + a)
ACTIVATION(sigmoid,     NULL,       0,      fs_sigmoid(x),                      y,     y * (1.0f - y))
ACTIVATION(tanh,        NULL,       1,      fs_tanh(x),                         y,     1.0f - y * y)
ACTIVATION(hardsigmoid, read_hard,  0,      hard_sigmoid(x, a),                 y,     y > 0 && y < 1 ? hard_slope(a) : 0.0f)
ACTIVATION(silu,        NULL,       1,      x * fs_sigmoid(x),                  x,     slope_silu(x, fs_sigmoid(x)))
ACTIVATION(gelu,        NULL,       1,      x * fs_gauss(x),                    x,     slope_gelu(x))
ACTIVATION(hardswish,   NULL,       1,      x * clip(x + 3.0f, 0.0f, 6.0f) / 6.0f,  x,     slope_hardswish(x))
/* clang-format on */

static void follow_relu6(const fs_op *op, fs_conv_after *after)
{
    (void)op;
    after->clips = 1;
    after->ceiling = 6;
}

ROW_y(relu6, NULL, 1)
