/* Convolution: im2col + GEMM and Winograd against the naive kernel on odd shapes, and the naive kernel against central
 * differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filterscope/conv.h"
#include "filterscope/layers.h"
#include "nn/gemm.h"
#include "nn/generation.h"
#include "support.h"

#define SQUARE(height, width, channels, filters, size, step, zeros)                                                            \
    {                                                                                                                          \
        height, width, channels, filters, {size, size}, {step, step}, {zeros, zeros}, {zeros, zeros}, {1, 1}, 1                \
    }

/* Rectangles, pads that differ, dilation, groups, filters of one channel each. */
#define IRREGULAR                                                                                                              \
    {{9, 7, 3, 4, {1, 5}, {1, 1}, {0, 2}, {0, 2}, {1, 1}, 1}, 2},                                                              \
        {{6, 8, 5, 3, {4, 2}, {2, 3}, {1, 0}, {2, 3}, {1, 1}, 1}, 3},                                                          \
        {{11, 9, 2, 16, {3, 2}, {1, 2}, {2, 1}, {0, 4}, {2, 3}, 1}, 2},                                                        \
        {{7, 8, 6, 9, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {1, 1}, 3}, 3},                                                          \
        {{9, 8, 8, 8, {3, 2}, {1, 1}, {2, 1}, {2, 1}, {2, 2}, 2}, 2},                                                          \
        {{8, 9, 5, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 5}, 3},                                                          \
        {{8, 9, 33, 33, {5, 5}, {2, 2}, {1, 2}, {2, 2}, {1, 1}, 33}, 2},                                                       \
        {{8, 6, 16, 16, {3, 4}, {1, 2}, {4, 0}, {3, 5}, {2, 1}, 16}, 2},                                                       \
    {                                                                                                                          \
        {6, 6, 4, 8, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 4}, 2                                                             \
    }

static const fs_conv_after nothing = {0}, relu = {.clips = 1, .ceiling = INFINITY},
                           relu_and_pool = {.clips = 1, .ceiling = INFINITY, .pools = 1};

#define DEPTHWISE(height, width, channels, size, step, zeros, spread)                                                          \
    {                                                                                                                          \
        height, width, channels, channels, {size, size}, {step, step}, {zeros, zeros}, {zeros, zeros}, {spread, spread},       \
            channels                                                                                                           \
    }

struct problem {
    fs_conv_shape shape;
    int images;
    size_t inputs, weights, outputs;
    float *x, *weight, *bias, *dy, *out, *expected, *scratch;
};

static struct problem make(fs_conv_shape shape, int images)
{
    struct problem p = {.shape = shape, .images = images};
    p.inputs = (size_t)images * shape.height * shape.width * shape.channels;
    p.weights = fs_conv_weights(&shape);
    p.outputs = (size_t)images * fs_conv_out_height(&shape) * fs_conv_out_width(&shape) * shape.filters;
    size_t largest = p.inputs > p.outputs ? p.inputs : p.outputs;
    largest = largest > p.weights ? largest : p.weights;
    p.x = random_floats(1, p.inputs);
    p.weight = random_floats(2, p.weights);
    p.bias = random_floats(3, (size_t)shape.filters);
    p.dy = random_floats(4, p.outputs);
    p.out = random_floats(5, largest); /* outputs must be overwritten, not added to */
    p.expected = random_floats(6, largest);
    p.scratch = random_floats(7, fs_conv_im2col_scratch(&shape, images));
    return p;
}

static void release(struct problem *p)
{
    free(p->x);
    free(p->weight);
    free(p->bias);
    free(p->dy);
    free(p->out);
    free(p->expected);
    free(p->scratch);
}

static const struct {
    fs_conv_shape shape;
    int images;
} problems[] = {
    {SQUARE(32, 32, 1, 64, 3, 1, 1), 2}, {SQUARE(32, 32, 3, 64, 3, 1, 1), 3},
    {SQUARE(7, 5, 3, 4, 3, 1, 1), 1},    {SQUARE(1, 1, 2, 3, 3, 1, 1), 2},
    {SQUARE(2, 2, 33, 17, 3, 1, 1), 5},  {SQUARE(5, 9, 2, 3, 5, 2, 0), 2},
    {SQUARE(6, 4, 3, 2, 5, 1, 4), 2},    {SQUARE(8, 8, 4, 4, 1, 1, 0), 2},
    {SQUARE(9, 7, 2, 5, 3, 3, 2), 3},    {SQUARE(4, 4, 130, 66, 3, 1, 1), 70},
    {SQUARE(3, 40, 1, 1, 3, 1, 1), 30},  {SQUARE(5, 4, 3, 2, 1, 1, 1), 2},
    {SQUARE(4, 5, 2, 16, 1, 3, 5), 2},   {SQUARE(3, 2, 2, 3, 2, 5, 7), 2},
    {SQUARE(2, 3, 1, 2, 9, 1, 4), 2},    IRREGULAR,
};
enum { PROBLEMS = sizeof problems / sizeof *problems };

static void im2col_agrees_with_the_naive_kernel_forward(void **state)
{
    (void)state;
    for (int i = 0; i < PROBLEMS; i++) {
        struct problem p = make(problems[i].shape, problems[i].images);
        fs_conv_naive_forward(&p.shape, p.images, p.x, p.weight, p.bias, p.expected);
        fs_conv_im2col_forward(&p.shape, p.images, p.x, p.weight, p.bias, &nothing, p.out, p.scratch);
        assert_close(p.outputs, p.out, p.expected, 1e-5);
        fs_conv_naive_forward(&p.shape, p.images, p.x, p.weight, NULL, p.expected);
        fs_conv_im2col_forward(&p.shape, p.images, p.x, p.weight, NULL, &nothing, p.out, p.scratch);
        assert_close(p.outputs, p.out, p.expected, 1e-5);
        release(&p);
    }
}

static void im2col_agrees_with_the_naive_kernel_on_weight_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < PROBLEMS; i++) {
        struct problem p = make(problems[i].shape, problems[i].images);
        float *dbias = random_floats(8, (size_t)p.shape.filters), *expected = random_floats(9, (size_t)p.shape.filters);
        fs_conv_naive_backward_weight(&p.shape, p.images, p.x, p.dy, p.expected, expected);
        fs_conv_im2col_backward_weight(&p.shape, p.images, p.x, p.dy, p.out, dbias, p.scratch);
        assert_close(p.weights, p.out, p.expected, 1e-5);
        assert_close((size_t)p.shape.filters, dbias, expected, 1e-5);
        free(dbias);
        free(expected);
        release(&p);
    }
}

static void im2col_agrees_with_the_naive_kernel_on_input_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < PROBLEMS; i++) {
        struct problem p = make(problems[i].shape, problems[i].images);
        fs_conv_naive_backward_input(&p.shape, p.images, p.dy, p.weight, p.expected);
        fs_conv_im2col_backward_input(&p.shape, p.images, p.dy, p.weight, p.out, p.scratch);
        assert_close(p.inputs, p.out, p.expected, 1e-5);
        release(&p);
    }
}

/* One pixel in a wide border: what PyTorch makes of nn.Conv2d(1, 1, 1, padding=1). */
static void padding_may_be_wider_than_the_kernel(void **state)
{
    (void)state;
    const fs_conv_shape shape = SQUARE(1, 2, 1, 1, 1, 1, 1);
    const float x[2] = {3, 5}, weight = 2, bias = 0.5f,
                expected[12] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 6.5f, 10.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
    struct problem p = make(shape, 1);
    assert_int_equal(p.outputs, 12);
    fs_conv_im2col_forward(&shape, 1, x, &weight, &bias, &nothing, p.out, p.scratch);
    assert_memory_equal(p.out, expected, sizeof expected);
    release(&p);
}

/* Shapes that take Winograd's algorithm: whole and clipped tiles, the 2x2 form, more tiles than a block; one that does not. */
static const struct {
    fs_conv_shape shape;
    int images;
} fast[] = {
    {SQUARE(32, 32, 64, 64, 3, 1, 1), 2},
    {SQUARE(4, 4, 8, 16, 3, 1, 1), 1},
    {SQUARE(2, 2, 16, 24, 3, 1, 1), 200},
    {SQUARE(7, 9, 24, 8, 3, 1, 1), 3},
    {SQUARE(3, 2, 8, 8, 3, 1, 1), 5},
    {SQUARE(2, 2, 8, 8, 3, 1, 1), 1},
    {SQUARE(1, 5, 16, 8, 3, 1, 1), 2},
    {SQUARE(8, 8, 3, 8, 3, 1, 1), 2},
    {SQUARE(4, 4, 256, 136, 3, 1, 1), 150},
    /* channels that are no multiple of a vector, or of a panel */
    {SQUARE(16, 16, 66, 50, 3, 1, 1), 3},
    {SQUARE(8, 8, 17, 31, 3, 1, 1), 40},
    {SQUARE(7, 5, 50, 72, 3, 1, 1), 2},
    {SQUARE(2, 2, 33, 49, 3, 1, 1), 70},
    {SQUARE(4, 4, 16, 16, 3, 1, 1), 7},
    {SQUARE(5, 4, 300, 21, 3, 1, 1), 3},
    IRREGULAR,
    /* 1x1 kernels on the maps as they are, and gathered */
    {SQUARE(7, 5, 3, 17, 1, 1, 0), 3},
    {SQUARE(1, 1, 33, 1, 1, 1, 0), 5},
    {SQUARE(1, 9, 17, 33, 1, 1, 0), 2},
    {SQUARE(7, 5, 33, 40, 1, 2, 0), 3},
    {SQUARE(8, 8, 16, 96, 1, 1, 0), 40},
    {{7, 9, 20, 48, {1, 1}, {3, 2}, {0, 0}, {0, 0}, {1, 1}, 1}, 2},
    /* dense kernels: strips of wide maps, one and several to an image, and windows of narrow ones, one block and more */
    {SQUARE(31, 30, 3, 37, 7, 2, 3), 3},
    {SQUARE(90, 62, 20, 18, 3, 2, 1), 2},
    {SQUARE(14, 14, 40, 33, 3, 2, 1), 4},
    {{9, 29, 5, 16, {5, 2}, {1, 2}, {4, 0}, {1, 3}, {2, 1}, 1}, 2},
    {{3, 20, 4, 9, {2, 3}, {1, 1}, {7, 5}, {6, 0}, {3, 1}, 1}, 2},
    {{9, 9, 4, 20, {3, 1}, {2, 1}, {0, 1}, {2, 0}, {3, 1}, 1}, 3},
    {SQUARE(6, 7, 30, 32, 5, 1, 2), 5},
    {SQUARE(14, 16, 7, 64, 1, 1, 1), 2},
    /* depthwise: all ways through the kernels, lines shorter than a block, kernels wider than the map */
    {DEPTHWISE(7, 5, 3, 3, 1, 1, 1), 2},
    {DEPTHWISE(9, 12, 17, 3, 2, 1, 1), 3},
    {DEPTHWISE(14, 14, 33, 5, 1, 2, 1), 2},
    {DEPTHWISE(11, 10, 24, 5, 2, 2, 1), 2},
    {DEPTHWISE(1, 1, 40, 3, 1, 1, 1), 3},
    {DEPTHWISE(1, 13, 8, 3, 2, 1, 1), 2},
    {DEPTHWISE(2, 3, 16, 9, 1, 4, 1), 2},
    {DEPTHWISE(9, 9, 20, 3, 1, 2, 2), 2},
    {DEPTHWISE(12, 11, 19, 3, 2, 3, 3), 2},
    {DEPTHWISE(13, 14, 6, 2, 3, 0, 2), 2},
    {DEPTHWISE(9, 17, 12, 7, 4, 3, 1), 2},
};
enum { FAST = sizeof fast / sizeof *fast };

static void the_chosen_kernel_agrees_with_the_naive_one(void **state)
{
    (void)state;
    for (int i = 0; i < FAST; i++) {
        struct problem p = make(fast[i].shape, fast[i].images);
        float *prepared = random_floats(12, fs_conv_prepared(&p.shape));
        float *scratch = random_floats(13, fs_conv_scratch(&p.shape, p.images));
        float *dbias = random_floats(14, (size_t)p.shape.filters), *expected = random_floats(15, (size_t)p.shape.filters);
        for (int part = 0; part < 3; part++)
            fs_conv_prepare(&p.shape, p.weight, 0, part, 3, prepared);
        fs_conv_naive_forward(&p.shape, p.images, p.x, p.weight, p.bias, p.expected);
        fs_conv_forward(&p.shape, p.images, p.x, p.weight, prepared, p.bias, NULL, p.out, scratch);
        assert_close(p.outputs, p.out, p.expected, 2e-5);
        fs_conv_naive_backward_weight(&p.shape, p.images, p.x, p.dy, p.expected, expected);
        fs_conv_backward_weight(&p.shape, p.images, p.x, p.dy, p.out, dbias, scratch);
        assert_close(p.weights, p.out, p.expected, 2e-5);
        assert_close((size_t)p.shape.filters, dbias, expected, 1e-5);
        for (int part = 0; part < 2; part++)
            fs_conv_prepare(&p.shape, p.weight, 1, part, 2, prepared);
        fs_conv_naive_backward_input(&p.shape, p.images, p.dy, p.weight, p.expected);
        fs_conv_backward_input(&p.shape, p.images, p.dy, p.weight, prepared, p.out, scratch);
        assert_close(p.inputs, p.out, p.expected, 2e-5);
        free(prepared);
        free(scratch);
        free(dbias);
        free(expected);
        release(&p);
    }
}

static void halve(size_t count, float number, const float *x, float *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = number * x[i];
}

/* y as `after` has it, of the plain output. */
static void follow(const fs_conv_after *after, size_t count, float *y)
{
    for (size_t i = 0; i < count; i++) {
        y[i] += after->addend ? after->addend[i] : 0;
        if (after->clips)
            y[i] = fminf(fmaxf(y[i], after->floor), after->ceiling);
        y[i] *= after->activation ? after->number : 1;
    }
}

/* What follows in the same pass is what layers do one after the other; and the direct kernel takes the same shapes. */
static void what_follows_agrees_with_layers_of_their_own(void **state)
{
    (void)state;
    for (int i = 0; i < FAST; i++) {
        fs_conv_shape shape = fast[i].shape, direct = shape;
        int images = fast[i].images < 2 ? fast[i].images : 2;
        struct problem p = make(shape, images);
        direct.direct = 1;
        size_t most = fs_conv_scratch(&shape, images), other = fs_conv_scratch(&direct, images);
        float *prepared = random_floats(12, fs_conv_prepared(&shape) + 1),
              *scratch = random_floats(13, most > other ? most : other), *plain = random_floats(15, p.outputs);
        fs_conv_naive_forward(&shape, images, p.x, p.weight, p.bias, plain);
        float middle = 0;
        for (size_t k = 0; k < p.outputs; k++)
            middle = fmaxf(middle, fabsf(plain[k]) / 2);
        const fs_conv_after afters[] = {relu,
                                        {.addend = p.dy},
                                        {.addend = p.dy, .clips = 1, .floor = -middle, .ceiling = middle},
                                        {.clips = 1, .ceiling = middle, .activation = halve, .number = 0.5f},
                                        {.addend = p.dy, .activation = halve, .number = 0.5f}};
        fs_conv_prepare(&shape, p.weight, 0, 0, 1, prepared);
        for (size_t a = 0; a < sizeof afters / sizeof *afters; a++) {
            memcpy(p.expected, plain, p.outputs * sizeof *plain);
            follow(&afters[a], p.outputs, p.expected);
            fs_conv_forward(&shape, images, p.x, p.weight, prepared, p.bias, &afters[a], p.out, scratch);
            assert_close(p.outputs, p.out, p.expected, 4e-5);
        }
        follow(&relu, p.outputs, plain);
        fs_conv_prepare(&direct, p.weight, 0, 0, 1, prepared);
        fs_conv_forward(&direct, images, p.x, p.weight, prepared, p.bias, &relu, p.out, scratch);
        assert_close(p.outputs, p.out, plain, 2e-5);
        assert_false(fs_conv_pools(&direct));
        fs_conv_prepare(&shape, p.weight, 0, 0, 1, prepared);
        if (fs_conv_pools(&shape)) {
            float *pooled = random_floats(14, p.outputs / 4);
            fs_maxpool_forward(images, shape.height, shape.width, shape.filters, 2, plain, pooled, NULL);
            fs_conv_forward(&shape, images, p.x, p.weight, prepared, p.bias, &relu_and_pool, p.out, scratch);
            assert_close(p.outputs / 4, p.out, pooled, 2e-5);
            free(pooled);
        }
        free(plain);
        free(prepared);
        free(scratch);
        release(&p);
    }
}

static int has_tap_at(int pixel, int dilation, int kernel)
{
    return pixel % dilation == 0 && pixel / dilation < kernel;
}

/* NaN passes through what follows; and where fs_conv_stands_alone says so, an image by itself has the bits that it has among
 * others. */
static void an_image_has_the_same_bits_alone(void **state)
{
    (void)state;
    for (int i = 0; i < FAST; i++) {
        fs_conv_shape shape = fast[i].shape;
        int images = fast[i].images;
        if (!fs_conv_stands_alone(&shape))
            continue;
        struct problem p = make(shape, images);
        size_t one_in = p.inputs / images, one_out = p.outputs / images;
        float *prepared = random_floats(12, fs_conv_prepared(&shape)),
              *scratch = random_floats(13, fs_conv_scratch(&shape, images));
        p.x[0] = NAN;
        fs_conv_prepare(&shape, p.weight, 0, 0, 1, prepared);
        fs_conv_forward(&shape, images, p.x, p.weight, prepared, p.bias, &relu, p.out, scratch);
        for (int n = 0; n < images; n++)
            fs_conv_forward(&shape, 1, p.x + n * one_in, p.weight, prepared, p.bias, &relu, p.expected + n * one_out, scratch);
        assert_memory_equal(p.out, p.expected, p.outputs * sizeof *p.out);
        if (has_tap_at(shape.pad.height, shape.dilation.height, shape.kernel.height) &&
            has_tap_at(shape.pad.width, shape.dilation.width, shape.kernel.width)) /* the first window sees the first pixel */
            assert_true(isnan(p.out[0]));
        free(prepared);
        free(scratch);
        release(&p);
    }
}

/* As on CPUs without AVX-512, and without AVX2. */
static void narrower_kernels_agree_too(void **state)
{
    for (int panel = 16; panel >= 0; panel -= 16) {
        fs_generation_limit(panel);
        the_chosen_kernel_agrees_with_the_naive_one(state);
        what_follows_agrees_with_layers_of_their_own(state);
        an_image_has_the_same_bits_alone(state);
    }
    fs_generation_limit(32);
}

static void few_tiles_are_left_to_the_direct_kernel(void **state)
{
    (void)state;
    fs_conv_shape deep = SQUARE(4, 4, 512, 512, 3, 1, 1), early = SQUARE(32, 32, 64, 64, 3, 1, 1),
                  odd = SQUARE(4, 4, 3, 512, 3, 1, 1);
    assert_true(fs_conv_prefers_direct(&deep, 2));
    assert_false(fs_conv_prefers_direct(&deep, 4));
    assert_false(fs_conv_prefers_direct(&early, 1));
    assert_false(fs_conv_prefers_direct(&odd, 1)); /* it has no other */
}

/* L = sum dy y is linear in x and in the weights: its central difference is exact but for rounding. */
static double objective(const struct problem *p, float *y)
{
    fs_conv_naive_forward(&p->shape, p->images, p->x, p->weight, p->bias, y);
    return dot(p->outputs, p->dy, y);
}

static void naive_gradients_are_central_differences(void **state)
{
    (void)state;
    static const fs_conv_shape shapes[] = {SQUARE(5, 4, 2, 3, 3, 2, 1),
                                           {7, 6, 4, 6, {3, 2}, {2, 1}, {1, 0}, {0, 2}, {2, 3}, 2}};
    for (int s = 0; s < 2; s++) {
        struct problem p = make(shapes[s], 2);
        size_t filters = (size_t)shapes[s].filters;
        float *y = random_floats(10, p.outputs), *dbias = random_floats(11, filters);
        fs_conv_naive_backward_weight(&p.shape, p.images, p.x, p.dy, p.expected, dbias);
        for (size_t i = 0; i < p.weights; i++)
            assert_slope(central_difference(&p.weight[i], 0.5f, (objective_function *)objective, &p, y), p.expected[i], 1e-5);
        for (size_t i = 0; i < filters; i++)
            assert_slope(central_difference(&p.bias[i], 0.5f, (objective_function *)objective, &p, y), dbias[i], 1e-5);
        fs_conv_naive_backward_input(&p.shape, p.images, p.dy, p.weight, p.expected);
        for (size_t i = 0; i < p.inputs; i++)
            assert_slope(central_difference(&p.x[i], 0.5f, (objective_function *)objective, &p, y), p.expected[i], 1e-5);
        free(y);
        free(dbias);
        release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(im2col_agrees_with_the_naive_kernel_forward),
        cmocka_unit_test(im2col_agrees_with_the_naive_kernel_on_weight_gradients),
        cmocka_unit_test(im2col_agrees_with_the_naive_kernel_on_input_gradients),
        cmocka_unit_test(padding_may_be_wider_than_the_kernel),
        cmocka_unit_test(the_chosen_kernel_agrees_with_the_naive_one),
        cmocka_unit_test(what_follows_agrees_with_layers_of_their_own),
        cmocka_unit_test(an_image_has_the_same_bits_alone),
        cmocka_unit_test(narrower_kernels_agree_too),
        cmocka_unit_test(few_tiles_are_left_to_the_direct_kernel),
        cmocka_unit_test(naive_gradients_are_central_differences),
    };
    return cmocka_run_group_tests_name("conv", tests, NULL, NULL);
}
