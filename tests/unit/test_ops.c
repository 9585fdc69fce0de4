/* Each kind of operation by itself, through its row, against numbers that PyTorch printed. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filterscope/network.h"
#include "nn/elementary.h"
#include "support.h"

enum { POINTS = 12 };

/* PyTorch 1.13's torch.nn activations at these points, and the gradients of their sum. */
static const float point[POINTS] = {-8, -3.5f, -3, -1.25f, -0.5f, 0, 0.25f, 1, 2.75f, 3, 6, 7.5f};
static const struct {
    const char *line;
    float value[POINTS], slope[POINTS];
} activations[] = {
    {"relu", {0, 0, 0, 0, 0, 0, 0.25f, 1, 2.75f, 3, 6, 7.5f}, {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}},
    {"relu6", {0, 0, 0, 0, 0, 0, 0.25f, 1, 2.75f, 3, 6, 6}, {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0}},
    {"leakyrelu 0.01",
     {-0.0799999982f, -0.0350000001f, -0.0299999993f, -0.0124999993f, -0.00499999989f, 0, 0.25f, 1, 2.75f, 3, 6, 7.5f},
     {0.00999999978f, 0.00999999978f, 0.00999999978f, 0.00999999978f, 0.00999999978f, 0.00999999978f, 1, 1, 1, 1, 1, 1}},
    {"leakyrelu 0.3",
     {-2.4000001f, -1.05000007f, -0.900000036f, -0.375f, -0.150000006f, 0, 0.25f, 1, 2.75f, 3, 6, 7.5f},
     {0.300000012f, 0.300000012f, 0.300000012f, 0.300000012f, 0.300000012f, 0.300000012f, 1, 1, 1, 1, 1, 1}},
    {"elu 1",
     {-0.999664545f, -0.969802618f, -0.950212955f, -0.713495195f, -0.393469334f, 0, 0.25f, 1, 2.75f, 3, 6, 7.5f},
     {0.000335462624f, 0.0301973838f, 0.0497870669f, 0.286504805f, 0.606530666f, 1, 1, 1, 1, 1, 1, 1}},
    {"elu 0.5",
     {-0.499832273f, -0.484901309f, -0.475106478f, -0.356747597f, -0.196734667f, 0, 0.25f, 1, 2.75f, 3, 6, 7.5f},
     {0.000167731312f, 0.0150986919f, 0.0248935334f, 0.143252403f, 0.303265333f, 0.5f, 1, 1, 1, 1, 1, 1}},
    {"prelu",
     {-2, -0.875f, -0.75f, -0.3125f, -0.125f, 0, 0.25f, 1, 2.75f, 3, 6, 7.5f},
     {0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 1, 1, 1, 1, 1, 1}},
    {"silu",
     {-0.0026828011f, -0.102592811f, -0.142277613f, -0.278375179f, -0.188770339f, 0, 0.140544131f, 0.731058598f, 2.58476162f,
      2.85772252f, 5.98516464f, 7.4958539f},
     {-0.00234655128f, -0.0702733472f, -0.0881041065f, 0.0063191494f, 0.260038823f, 0.5f, 0.623710036f, 0.927670538f,
      1.09522307f, 1.08810413f, 1.01232624f, 1.00359106f}},
    {"gelu",
     {0, -0.000814333558f, -0.00404986739f, -0.132062316f, -0.154268786f, 0, 0.149676561f, 0.841344714f, 2.74180555f,
      2.99595022f, 6, 7.5f},
     {0, -0.00282171369f, -0.0119456053f, -0.122661471f, 0.13250491f, 0.5f, 0.695373297f, 1.08331537f, 1.02202749f, 1.01194561f,
      1, 1}},
    {"sigmoid",
     {0.000335350138f, 0.0293122306f, 0.0474258736f, 0.222700134f, 0.377540678f, 0.5f, 0.562176526f, 0.731058598f, 0.939913332f,
      0.952574134f, 0.997527421f, 0.999447167f},
     {0.000335237681f, 0.0284530222f, 0.0451766588f, 0.173104793f, 0.23500371f, 0.25f, 0.246134073f, 0.196611926f,
      0.0564762615f, 0.0451766551f, 0.00246646581f, 0.000552527432f}},
    {"tanh",
     {-0.999999762f, -0.998177886f, -0.995054781f, -0.848283648f, -0.462117165f, 0, 0.244918659f, 0.761594176f, 0.991859734f,
      0.995054781f, 0.999987721f, 0.999999404f},
     {4.76837101e-07f, 0.00364090782f, 0.00986598153f, 0.28041485f, 0.786447704f, 1, 0.940014839f, 0.419974297f, 0.0162142683f,
      0.00986598153f, 2.45569627e-05f, 1.19209255e-06f}},
    {"hardswish",
     {0, 0, 0, -0.364583343f, -0.208333328f, 0, 0.135416672f, 0.666666687f, 2.63541675f, 3, 6, 7.5f},
     {0, 0, -0.5f, 0.0833333433f, 0.333333313f, 0.5f, 0.583333313f, 0.833333373f, 1.41666675f, 1.5f, 1, 1}},
    {"hardsigmoid",
     {0, 0, 0, 0.291666657f, 0.416666657f, 0.5f, 0.541666687f, 0.666666687f, 0.958333313f, 1, 1, 1},
     {0, 0, 0, 0.166666672f, 0.166666672f, 0.166666672f, 0.166666672f, 0.166666672f, 0.166666672f, 0, 0, 0}},
    {"hardsigmoid 0.2", /* clamp(0.2 x + 0.5, 0, 1) */
     {0, 0, 0, 0.25f, 0.400000006f, 0.5f, 0.550000012f, 0.699999988f, 1, 1, 1, 1},
     {0, 0, 0, 0.200000003f, 0.200000003f, 0.200000003f, 0.200000003f, 0.200000003f, 0, 0, 0, 0}},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

/* A network whose operation 1 is the line, on maps of 1x1 with one channel. */
static fs_network network_with(const char *line)
{
    char text[100];
    fs_network net;
    snprintf(text, sizeof text, "conv 1 1x1\n%s\nfc K", line);
    const fs_arch arch = {.name = "mine", .text = text};
    assert_int_equal(fs_network_create(&arch, 1, 1, 1, 2, 1, &net), FS_OK);
    return net;
}

/* What acts on each number alone has a row above; the rest of its line may differ. */
static void every_activation_is_tried(void **state)
{
    (void)state;
    for (const fs_kind *const *kind = fs_kinds; *kind; kind++) {
        int tried = !(*kind)->follow;
        for (int i = 0; i < ACTIVATIONS && !tried; i++) {
            size_t length = strcspn(activations[i].line, " ");
            tried = strlen((*kind)->word) == length && memcmp(activations[i].line, (*kind)->word, length) == 0;
        }
        if (!tried)
            fail_msg("%s: no row says what PyTorch prints", (*kind)->word);
    }
}

/* In a buffer of its own and in place, as both happen. */
static void activations_are_what_pytorch_prints(void **state)
{
    (void)state;
    for (int i = 0; i < ACTIVATIONS; i++) {
        fs_network net = network_with(activations[i].line);
        const fs_step step = {.op = &net.op[1]};
        float x[POINTS], y[POINTS], ones[POINTS], dx[POINTS];
        for (int p = 0; p < POINTS; p++) {
            x[p] = point[p];
            ones[p] = 1;
        }
        fs_pass pass = {.step = &step, .images = POINTS, .x = {x}, .y = y, .parameter = net.parameter};
        net.op[1].kind->forward(&pass);
        assert_close(POINTS, y, activations[i].value, 2e-7);
        net.op[1].kind->backward(&pass, 0, ones, dx);
        assert_close(POINTS, dx, activations[i].slope, 3e-7);
        pass.y = x;
        if (net.op[1].kind->in_place) {
            net.op[1].kind->forward(&pass);
            assert_memory_equal(x, y, sizeof x);
        }
        if (net.op[1].kind->in_place && !net.op[1].kind->reads_input) {
            net.op[1].kind->backward(&pass, 0, ones, ones);
            assert_memory_equal(ones, dx, sizeof dx);
        }
        fs_network_free(&net);
    }
}

/* Vectors and what is left behind the last of them: a number's result does not depend on its place. */
static void a_number_has_the_same_bits_anywhere(void **state)
{
    (void)state;
    enum { MANY = 37 };
    float *x = random_floats(1, MANY), *y = random_floats(2, MANY), *dy = random_floats(3, MANY), *dx = random_floats(4, MANY);
    for (int i = 0; i < ACTIVATIONS; i++) {
        fs_network net = network_with(activations[i].line);
        const fs_step step = {.op = &net.op[1]};
        fs_pass all = {.step = &step, .images = MANY, .x = {x}, .y = y, .parameter = net.parameter};
        net.op[1].kind->forward(&all);
        net.op[1].kind->backward(&all, 0, dy, dx);
        for (int n = 0; n < MANY; n++) {
            float value, slope;
            fs_pass one = {.step = &step, .images = 1, .x = {x + n}, .y = &value, .parameter = net.parameter};
            net.op[1].kind->forward(&one);
            net.op[1].kind->backward(&one, 0, dy + n, &slope);
            assert_true(value == y[n] && slope == dx[n]);
        }
        fs_network_free(&net);
    }
    free(x), free(y), free(dy), free(dx);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double gauss(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

/* The largest error over many points from `first` to `last`, in units in the last place of the exact value. */
static double worst_error(float (*of)(float), double (*exact)(double), double first, double last)
{
    enum { MANY = 400000 };
    double worst = 0;
    for (int i = 0; i <= MANY; i++) {
        float x = (float)(first + (last - first) * i / MANY);
        double wanted = exact(x), unit = ldexp(1, ilogb(fmax(fabs(wanted), FLT_MIN)) - 23);
        worst = fmax(worst, fabs(of(x) - wanted) / unit);
    }
    return worst;
}

static void elementary_functions_are_as_exact_as_said(void **state)
{
    (void)state;
    const struct {
        const char *name;
        float (*of)(float);
        double (*exact)(double);
        double first, last, bound;
    } rows[] = {{"exp", fs_exp, exp, -87, 88.7, 2},
                {"exp, denormal", fs_exp, exp, -110, -87, 2},
                {"expm1", fs_expm1, expm1, -90, 80, 2},
                {"expm1 near 0", fs_expm1, expm1, -0.01, 0.01, 2},
                {"sigmoid", fs_sigmoid, sigmoid, -80, 80, 3},
                {"tanh", fs_tanh, tanh, -12, 12, 3},
                {"tanh near 0", fs_tanh, tanh, -0.01, 0.01, 3},
                {"gauss", fs_gauss, gauss, 0, 12, 4},
                {"gauss below 0", fs_gauss, gauss, -13, 0, 90}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        double error = worst_error(rows[r].of, rows[r].exact, rows[r].first, rows[r].last);
        print_message("%s: %.2f ulp\n", rows[r].name, error);
        assert_true(error <= rows[r].bound);
    }
    assert_true(fs_exp(1000) == INFINITY && fs_exp(-1000) == 0 && fs_sigmoid(1000) == 1 && fs_sigmoid(-1000) == 0);
    assert_true(fs_tanh(INFINITY) == 1 && fs_tanh(-INFINITY) == -1 && fs_gauss(50) == 1 && fs_gauss(-50) == 0);
    assert_true(isnan(fs_exp(NAN)) && isnan(fs_expm1(NAN)) && isnan(fs_tanh(NAN)) && isnan(fs_gauss(NAN)));
}

static void a_value_that_is_no_number_stays_so(void **state)
{
    (void)state;
    for (int i = 0; i < ACTIVATIONS; i++) {
        fs_network net = network_with(activations[i].line);
        const fs_step step = {.op = &net.op[1]};
        float x = NAN, y = 0;
        const fs_pass pass = {.step = &step, .images = 1, .x = {&x}, .y = &y, .parameter = net.parameter};
        net.op[1].kind->forward(&pass);
        assert_true(isnan(y));
        fs_network_free(&net);
    }
}

static void a_learned_slope_has_its_gradient_by_channel(void **state)
{
    (void)state;
    fs_network net;
    const fs_arch arch = {.name = "mine", .text = "conv 2 1x1\nprelu\nfc K"};
    const float x[6] = {-1, 2, 3, -4, -5, -6}, dy[6] = {10, 20, 30, 40, 50, 60};
    assert_int_equal(fs_network_create(&arch, 1, 3, 1, 2, 1, &net), FS_OK);
    assert_true(net.op[1].weights == 2 && net.parameter[net.op[1].weight] == 0.25f);
    const fs_step step = {.op = &net.op[1]};
    const fs_pass pass = {.step = &step, .images = 1, .x = {x}, .parameter = net.parameter};
    float gradient[2];
    net.op[1].kind->gradient(&pass, dy, gradient);
    assert_true(gradient[0] == -1 * 10 - 5 * 50 && gradient[1] == -4 * 40 - 6 * 60);
    fs_network_free(&net);
}

/* x[:, :, ::2, ::3] of PyTorch, and pad(x, (0, 0, 0, 0, 1, 2)); both are linear: <dy, f(x)> = <dx, x>. */
static void the_shortcut_without_parameters_is_what_pytorch_gives(void **state)
{
    (void)state;
    enum { HEIGHT = 5, WIDTH = 4, CHANNELS = 2, COUNT = 2 * HEIGHT * WIDTH * CHANNELS, MOST = 200 };
    fs_network net;
    const fs_arch arch = {.name = "mine", .text = "conv 2 1x1\nsubsample 2x3 as a\nfrom a\nzeropad channels 1 2\nfc K"};
    assert_int_equal(fs_network_create(&arch, HEIGHT, WIDTH, 1, 2, 1, &net), FS_OK);
    float *x = random_floats(1, COUNT), *dy = random_floats(2, MOST), *y = random_floats(3, MOST),
          *dx = random_floats(4, COUNT);
    for (int i = 1; i <= 2; i++) {
        const fs_op *op = &net.op[i];
        const fs_step step = {.op = op};
        const fs_pass pass = {.step = &step, .images = 2, .x = {x}, .y = y};
        assert_int_equal(fs_op_outputs(op), i == 1 ? 3 * 2 * 2 : 3 * 2 * 5);
        op->kind->forward(&pass);
        op->kind->backward(&pass, 0, dy, dx);
        assert_true(fabs(dot(2 * fs_op_outputs(op), dy, y) - dot(2 * fs_op_inputs(op), dx, x)) < 1e-5);
        for (size_t k = 0; k < 2 * fs_op_outputs(op); k++) {
            size_t out = (size_t)op->out_channels, c = k % out, column = k / out % 2, row = k / out / 2 % 3, n = k / out / 6;
            float wanted = i == 1           ? x[((n * HEIGHT + 2 * row) * WIDTH + 3 * column) * 2 + c]
                           : c < 1 || c > 2 ? 0
                                            : x[((n * 3 + row) * 2 + column) * 2 + c - 1];
            assert_true(y[k] == wanted);
        }
    }
    free(x);
    free(dy);
    free(y);
    free(dx);
    fs_network_free(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_activation_is_tried),
        cmocka_unit_test(activations_are_what_pytorch_prints),
        cmocka_unit_test(a_number_has_the_same_bits_anywhere),
        cmocka_unit_test(elementary_functions_are_as_exact_as_said),
        cmocka_unit_test(a_value_that_is_no_number_stays_so),
        cmocka_unit_test(a_learned_slope_has_its_gradient_by_channel),
        cmocka_unit_test(the_shortcut_without_parameters_is_what_pytorch_gives),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
