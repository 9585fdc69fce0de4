/* Batch norm, ReLU, pooling, linear, loss and SGD: values by hand, gradients against central differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filterscope/layers.h"
#include "support.h"

/* A layer as L = sum dy y(x, parameters). */
struct layer {
    float *x, *dy, *gamma, *beta, *weight;
    int images, height, width, channels, size, outputs;
    size_t count; /* of y */
    const uint16_t *label;
    double smoothing; /* of labels */
};

static double sum_of(const struct layer *l, const float *y)
{
    return dot(l->count, l->dy, y);
}

enum { ROWS = 7, CHANNELS = 3 };

static double batchnorm(const struct layer *l, float *y)
{
    double sums[2 * CHANNELS];
    float mean[CHANNELS], inverse[CHANNELS];
    fs_batchnorm_sums(ROWS, CHANNELS, l->x, sums);
    fs_batchnorm_statistics(ROWS, CHANNELS, sums, mean, inverse, NULL);
    fs_batchnorm_forward(ROWS, CHANNELS, l->x, mean, inverse, l->gamma, l->beta, 0, y);
    return sum_of(l, y);
}

static void batchnorm_gradients_are_central_differences(void **state)
{
    (void)state;
    struct layer l = {.x = random_floats(1, 21),
                      .dy = random_floats(2, 21),
                      .gamma = random_floats(3, 3),
                      .beta = random_floats(4, 3),
                      .count = 21};
    double sums[6], totals[6];
    float mean[3], inverse[3], dx[21], y[21];
    fs_batchnorm_sums(ROWS, CHANNELS, l.x, sums);
    fs_batchnorm_statistics(ROWS, CHANNELS, sums, mean, inverse, NULL);
    fs_batchnorm_backward_sums(ROWS, CHANNELS, l.x, NULL, 0, l.dy, mean, inverse, totals);
    fs_batchnorm_backward(ROWS, CHANNELS, l.x, l.dy, mean, inverse, l.gamma, totals, ROWS, dx);
    for (int i = 0; i < 21; i++)
        assert_slope(central_difference(&l.x[i], 0.01f, (objective_function *)batchnorm, &l, y), dx[i], 1e-3);
    for (int c = 0; c < 3; c++) {
        assert_slope(central_difference(&l.beta[c], 0.5f, (objective_function *)batchnorm, &l, y), totals[c], 1e-5);
        assert_slope(central_difference(&l.gamma[c], 0.5f, (objective_function *)batchnorm, &l, y), totals[3 + c], 1e-5);
    }
    float in_place[21];
    memcpy(in_place, l.dy, sizeof in_place);
    fs_batchnorm_backward(ROWS, CHANNELS, l.x, in_place, mean, inverse, l.gamma, totals, ROWS, in_place);
    assert_memory_equal(in_place, dx, sizeof dx);
    free(l.x);
    free(l.dy);
    free(l.gamma);
    free(l.beta);
}

/* A clip of y to 0 .. ceiling, and of its gradient: a ReLU by its own functions, and what is above. */
static void clip(size_t count, float ceiling, float *y, float *dy)
{
    fs_relu_forward(count, y);
    for (size_t i = 0; i < count; i++)
        y[i] = y[i] > ceiling ? ceiling : y[i];
    fs_relu_backward(count, y, dy);
    for (size_t i = 0; i < count; i++)
        dy[i] = y[i] < ceiling ? dy[i] : 0;
}

static void compare_clip(float ceiling)
{
    float *x = random_floats(1, 21), *dy = random_floats(2, 21), *same = random_floats(2, 21);
    float *gamma = random_floats(3, 3), *beta = random_floats(4, 3), mean[3], inverse[3], apart[21], together[21];
    double sums[6], expected[6];
    fs_batchnorm_sums(ROWS, CHANNELS, x, sums);
    fs_batchnorm_statistics(ROWS, CHANNELS, sums, mean, inverse, NULL);
    fs_batchnorm_forward(ROWS, CHANNELS, x, mean, inverse, gamma, beta, 0, apart);
    clip(21, ceiling, apart, dy);
    fs_batchnorm_forward(ROWS, CHANNELS, x, mean, inverse, gamma, beta, ceiling, together);
    assert_memory_equal(together, apart, sizeof apart);
    fs_batchnorm_backward_sums(ROWS, CHANNELS, x, NULL, 0, dy, mean, inverse, expected);
    fs_batchnorm_backward_sums(ROWS, CHANNELS, x, apart, ceiling, same, mean, inverse, sums);
    assert_memory_equal(same, dy, 21 * sizeof *dy);
    assert_memory_equal(sums, expected, sizeof sums);
    float *all[] = {x, dy, same, gamma, beta};
    for (int i = 0; i < 5; i++)
        free(all[i]);
}

static void a_relu_goes_along_with_batchnorm_forward_and_backward(void **state)
{
    (void)state;
    compare_clip(INFINITY);
    compare_clip(0.25f);
}

/* Two rows 1 and 5: mean 3, variance 4, unbiased 8. */
static void running_statistics_follow_the_batch_with_unbiased_variance(void **state)
{
    (void)state;
    const float x[2] = {1, 5};
    double sums[2];
    float mean, inverse, running[2] = {0, 1};
    fs_batchnorm_sums(2, 1, x, sums);
    fs_batchnorm_statistics(2, 1, sums, &mean, &inverse, running);
    assert_true(mean == 3.0f && fabs(inverse - 0.5) < 1e-5);
    assert_true(fabs(running[0] - 0.3) < 1e-6 && fabs(running[1] - 1.7) < 1e-6);
}

static void inference_normalises_with_the_running_statistics_and_keeps_nan(void **state)
{
    (void)state;
    enum { C = 70 }; /* more than one group of channels */
    float x[2 * C], y[2 * C], running[2 * C], gamma[C], beta[C];
    for (int c = 0; c < C; c++) {
        x[c] = (float)c;
        x[C + c] = -(float)c;
        running[c] = 1;
        running[C + c] = 4;
        gamma[c] = 2;
        beta[c] = 0.5f;
    }
    memcpy(y, x, sizeof y);
    fs_batchnorm_infer(2, C, y, running, gamma, beta, 0);
    for (int i = 0; i < 2 * C; i++)
        assert_true(fabs(y[i] - (2 * (x[i] - 1) / 2 + 0.5)) < 1e-3);
    memcpy(y, x, sizeof y);
    y[5] = NAN;
    fs_batchnorm_infer(2, C, y, running, gamma, beta, INFINITY);
    assert_true(isnan(y[5]) && y[C + 60] == 0.0f && fabs(y[60] - 59.5) < 1e-3);
    fs_batchnorm_infer(2, C, y, running, gamma, beta, 6);
    assert_true(isnan(y[5]) && y[60] == 6.0f);
}

static void relu_passes_positive_values_and_nan_and_their_gradients(void **state)
{
    (void)state;
    float y[4] = {-1, 0, 2, NAN}, dy[3] = {5, 6, 7};
    fs_relu_forward(4, y);
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == 2 && isnan(y[3]));
    fs_relu_backward(3, y, dy);
    assert_true(dy[0] == 0 && dy[1] == 0 && dy[2] == 7);
}

static double maxpool(const struct layer *l, float *y)
{
    fs_maxpool_forward(l->images, l->height, l->width, l->channels, l->size, l->x, y, NULL);
    return sum_of(l, y);
}

static double avgpool(const struct layer *l, float *y)
{
    fs_avgpool_forward(l->images, l->height, l->width, l->channels, l->size, l->x, y);
    return sum_of(l, y);
}

static void pool_gradients_are_central_differences(void **state)
{
    (void)state;
    for (int size = 1; size <= 4; size++) {
        struct layer l = {.images = 2, .height = 2 * size, .width = 3 * size, .channels = 5, .size = size, .count = 60};
        size_t inputs = (size_t)60 * size * size;
        l.x = random_floats(1, inputs);
        l.dy = random_floats(2, l.count);
        for (size_t i = 0; i < inputs; i++) /* well apart, so that a small step changes no winner */
            l.x[i] = (float)(i * 7919 % inputs);
        float *dx = random_floats(3, inputs), *y = random_floats(4, l.count);
        uint8_t winner[60];
        fs_maxpool_forward(2, l.height, l.width, 5, size, l.x, y, winner);
        fs_maxpool_backward(2, l.height, l.width, 5, size, l.dy, winner, dx);
        for (size_t i = 0; i < inputs; i++)
            assert_slope(central_difference(&l.x[i], 0.25f, (objective_function *)maxpool, &l, y), dx[i], 1e-4);
        fs_avgpool_backward(2, l.height, l.width, 5, size, l.dy, dx);
        for (size_t i = 0; i < inputs; i++)
            assert_slope(central_difference(&l.x[i], 0.25f, (objective_function *)avgpool, &l, y), dx[i], 1e-4);
        free(l.x);
        free(l.dy);
        free(dx);
        free(y);
    }
}

static void the_first_of_equal_values_wins_a_pool(void **state)
{
    (void)state;
    const float x[4] = {3, 3, 3, 3};
    float y;
    uint8_t winner = 9;
    fs_maxpool_forward(1, 2, 2, 1, 2, x, &y, &winner);
    assert_true(y == 3 && winner == 0);
}

enum { IMAGES = 2, HEIGHT = 7, WIDTH = 6, MAP_CHANNELS = 5, COUNT = IMAGES * HEIGHT * WIDTH * MAP_CHANNELS };

/* By definition: the padding is -infinity for the maximum and 0 for the average, which counts nothing beyond it, or nothing
 * outside the map. */
static float pool_pixel(const fs_window *w, int average, const float *x, int n, int oy, int ox, int c)
{
    double sum = 0, most = -INFINITY;
    int count = 0;
    for (int ky = 0; ky < w->kernel.height; ky++)
        for (int kx = 0; kx < w->kernel.width; kx++) {
            int y = oy * w->stride.height + ky - w->pad.height, column = ox * w->stride.width + kx - w->pad.width;
            int outside = y < 0 || y >= w->height || column < 0 || column >= w->width;
            count += w->inside ? !outside : y < w->height + w->pad_end.height && column < w->width + w->pad_end.width;
            if (outside)
                continue;
            double value = x[((n * w->height + y) * w->width + column) * w->channels + c];
            sum += value;
            most = fmax(most, value);
        }
    return (float)(average ? sum / count : most);
}

static void compare_window(const fs_window *w)
{
    int count = IMAGES * w->out_height * w->out_width * MAP_CHANNELS;
    float *x = random_floats(1, COUNT), *dy = random_floats(2, (size_t)count), *expected = random_floats(3, (size_t)count);
    float *y = random_floats(4, (size_t)count), *dx = random_floats(5, COUNT);
    for (int average = 0; average < 2; average++) {
        for (int i = 0; i < count; i++) {
            int c = i % MAP_CHANNELS, ox = i / MAP_CHANNELS % w->out_width,
                oy = i / MAP_CHANNELS / w->out_width % w->out_height;
            expected[i] = pool_pixel(w, average, x, i / (count / IMAGES), oy, ox, c);
        }
        (average ? fs_avgwindow_forward : fs_maxwindow_forward)(IMAGES, w, x, y);
        assert_close((size_t)count, y, expected, 1e-6);
        if (average)
            fs_avgwindow_backward(IMAGES, w, dy, dx);
        else
            fs_maxwindow_backward(IMAGES, w, x, dy, dx);
        /* Both are linear where no winner changes: <dy, pool(x)> = <dx, x>. */
        assert_true(fabs(dot((size_t)count, dy, y) - dot(COUNT, dx, x)) < 1e-4);
    }
    free(x);
    free(dy);
    free(expected);
    free(y);
    free(dx);
}

static void pools_of_any_window_are_what_their_definition_says(void **state)
{
    (void)state;
    static const int sizes[][10] = {{2, 2, 2, 2, 0, 0, 0, 0},      {3, 3, 2, 2, 1, 1, 1, 1}, {3, 2, 1, 3, 1, 1, 0, 0},
                                    {7, 6, 7, 6, 0, 0, 0, 0},      {2, 5, 3, 1, 1, 1, 2, 2}, {2, 2, 1, 1, 0, 1, 0, 1},
                                    {4, 3, 2, 3, 3, 0, 1, 2},      {5, 4, 1, 2, 0, 3, 2, 1}, {2, 4, 2, 3, 0, 0, 0, 0, 1, 1},
                                    {3, 3, 3, 2, 0, 0, 1, 1, 2, 1}}; /* what reaches over the border */
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        const int *s = sizes[i / 2];
        fs_window w = {.height = HEIGHT,
                       .width = WIDTH,
                       .channels = MAP_CHANNELS,
                       .out_height = (HEIGHT + s[4] + s[5] - s[0] + s[8]) / s[2] + 1,
                       .out_width = (WIDTH + s[6] + s[7] - s[1] + s[9]) / s[3] + 1,
                       .kernel = {s[0], s[1]},
                       .stride = {s[2], s[3]},
                       .pad = {s[4], s[6]},
                       .pad_end = {s[5], s[7]},
                       .inside = i % 2};
        compare_window(&w);
    }
}

static double linear(const struct layer *l, float *y)
{
    fs_linear_forward(l->images, l->channels, l->outputs, l->x, l->weight, l->beta, y);
    return sum_of(l, y);
}

static void linear_gradients_are_central_differences(void **state)
{
    (void)state;
    struct layer l = {.images = 3,
                      .channels = 5,
                      .outputs = 4,
                      .count = 12,
                      .x = random_floats(1, 15),
                      .weight = random_floats(2, 20),
                      .beta = random_floats(3, 4),
                      .dy = random_floats(4, 12)};
    float dweight[20], dbias[4], dx[15], y[12];
    fs_linear_backward_weight(3, 5, 4, l.x, l.dy, dweight, dbias);
    fs_linear_backward_input(3, 5, 4, l.dy, l.weight, dx);
    for (int i = 0; i < 20; i++)
        assert_slope(central_difference(&l.weight[i], 0.5f, (objective_function *)linear, &l, y), dweight[i], 1e-5);
    for (int i = 0; i < 4; i++)
        assert_slope(central_difference(&l.beta[i], 0.5f, (objective_function *)linear, &l, y), dbias[i], 1e-5);
    for (int i = 0; i < 15; i++)
        assert_slope(central_difference(&l.x[i], 0.5f, (objective_function *)linear, &l, y), dx[i], 1e-5);
    free(l.x);
    free(l.weight);
    free(l.beta);
    free(l.dy);
}

static double mean_loss(const struct layer *l, float *unused)
{
    int right;
    (void)unused;
    return fs_softmax_loss(l->images, l->outputs, l->x, l->label, l->smoothing, 1, NULL, &right) / l->images;
}

static void loss_gradients_are_central_differences(void **state)
{
    (void)state;
    const uint16_t label[4] = {2, 0, 4, 2};
    struct layer l = {.images = 4, .outputs = 5, .x = random_floats(1, 20), .label = label};
    float dx[20], in_place[20];
    int right;
    for (l.smoothing = 0; l.smoothing < 0.5; l.smoothing += 0.3) {
        fs_softmax_loss(4, 5, l.x, label, l.smoothing, 1.0 / 4, dx, &right);
        for (int i = 0; i < 20; i++)
            assert_slope(central_difference(&l.x[i], 0.01f, (objective_function *)mean_loss, &l, NULL), dx[i], 1e-4);
        memcpy(in_place, l.x, sizeof in_place);
        fs_softmax_loss(4, 5, in_place, label, l.smoothing, 1.0 / 4, in_place, &right);
        assert_memory_equal(in_place, dx, sizeof dx);
    }
    free(l.x);
}

/* By hand: logits 0 and log 3, so p = 1/4 and 3/4; the target of label 1, smoothed by 0.2, is 0.1 and 0.9. */
static void a_smoothed_target_keeps_a_share_for_every_label(void **state)
{
    (void)state;
    const uint16_t label[1] = {1};
    const float logits[2] = {0, logf(3)};
    float slope[2];
    int right;
    double loss = fs_softmax_loss(1, 2, logits, label, 0.2, 1, slope, &right);
    assert_true(fabs(loss - (0.1 * log(4) + 0.9 * log(4.0 / 3))) < 1e-7);
    assert_true(fabs(slope[0] - (0.25 - 0.1)) < 1e-7 && fabs(slope[1] - (0.75 - 0.9)) < 1e-7);
}

static void the_loss_of_equal_logits_is_log_k_and_large_ones_do_not_overflow(void **state)
{
    (void)state;
    const uint16_t label[1] = {1};
    const float equal[4] = {7, 7, 7, 7}, large[4] = {-1e30f, 1e30f, 0, 0}, tie[3] = {1, 5, 5};
    int right;
    assert_true(fabs(fs_softmax_loss(1, 4, equal, label, 0, 1, NULL, &right) - log(4)) < 1e-12);
    assert_int_equal(right, 0); /* the tie goes to label 0 */
    assert_true(fs_softmax_loss(1, 4, large, label, 0, 1, NULL, &right) == 0);
    assert_int_equal(right, 1);
    assert_int_equal(fs_argmax(3, tie), 1);
}

/* By hand, lr 0.1, momentum 0.9, L2 0.5, from w = 1: g = 2: slope 2.5, v = 2.5, w = 1 - 0.1 (2.5 + 2.25) = 0.525.
 * g = -1: slope -0.7375, v = 1.5125, w = 0.525 - 0.1 (-0.7375 + 1.36125) = 0.462625. */
static void sgd_takes_nesterov_steps_with_weight_decay(void **state)
{
    (void)state;
    float weight = 1, velocity = 0, gradient = 2;
    fs_sgd_step(1, 0.1f, 0.9f, 0.5f, &gradient, &weight, &velocity);
    assert_true(fabs(weight - 0.525) < 1e-6 && velocity == 2.5f);
    gradient = -1;
    fs_sgd_step(1, 0.1f, 0.9f, 0.5f, &gradient, &weight, &velocity);
    assert_true(fabs(weight - 0.462625) < 1e-6 && fabs(velocity - 1.5125) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batchnorm_gradients_are_central_differences),
        cmocka_unit_test(a_relu_goes_along_with_batchnorm_forward_and_backward),
        cmocka_unit_test(running_statistics_follow_the_batch_with_unbiased_variance),
        cmocka_unit_test(inference_normalises_with_the_running_statistics_and_keeps_nan),
        cmocka_unit_test(relu_passes_positive_values_and_nan_and_their_gradients),
        cmocka_unit_test(pool_gradients_are_central_differences),
        cmocka_unit_test(the_first_of_equal_values_wins_a_pool),
        cmocka_unit_test(pools_of_any_window_are_what_their_definition_says),
        cmocka_unit_test(linear_gradients_are_central_differences),
        cmocka_unit_test(loss_gradients_are_central_differences),
        cmocka_unit_test(a_smoothed_target_keeps_a_share_for_every_label),
        cmocka_unit_test(the_loss_of_equal_logits_is_log_k_and_large_ones_do_not_overflow),
        cmocka_unit_test(sgd_takes_nesterov_steps_with_weight_decay),
    };
    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
