/* Peak: on vectors of each width that this CPU has, no kernel of that width is faster, and a good one comes near. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/bench.h"
#include "filterscope/stop.h"
#include "nn/gemm.h"
#include "nn/generation.h"
#include "support.h"

/* The best GFLOP/s of the kernel whose panel is that wide, on matrices that stay in the nearest cache. */
static double speed_of_kernel(int panel)
{
    enum { ROWS = 168, DEPTH = 128 }; /* of 14 and of 6 rows, which the tallest kernels take */
    float *a = random_floats(1, ROWS * DEPTH), *b = random_floats(2, (size_t)DEPTH * panel),
          *c = random_floats(3, (size_t)ROWS * panel);
    double best = INFINITY, end = fs_seconds() + 0.2;
    while (fs_seconds() < end) {
        double started = fs_seconds();
        for (int i = 0; i < 10; i++)
            fs_gemm(ROWS, panel, DEPTH, a, DEPTH, 1, b, (size_t)panel, 0, c, (size_t)panel, 0);
        best = fmin(best, fs_seconds() - started);
    }
    free(a);
    free(b);
    free(c);
    return 10 * 2.0 * ROWS * panel * DEPTH / best / 1e9;
}

static void no_kernel_is_faster(void **state)
{
    (void)state;
    for (int panel = 32; panel >= 16; panel /= 2) { /* of two vectors */
        fs_generation_limit(panel);
        if (fs_gemm_panel() != panel)
            continue;
        double speed = speed_of_kernel(panel), peak = fs_bench_peak_of(panel / 2);
        printf("vectors of %d floats: kernel %.0f, peak %.0f GFLOP/s\n", panel / 2, speed, peak);
        assert_true(speed < 1.05 * peak);
        assert_true(speed > 0.4 * peak);
    }
}

static void narrower_vectors_are_not_faster(void **state)
{
    (void)state;
    double narrow = fs_bench_peak_of(4), wide = fs_bench_peak();
    printf("vectors of 4 floats: %.0f GFLOP/s; the peak: %.0f\n", narrow, wide);
    assert_true(narrow > 0 && narrow < 1.05 * wide);
}

int main(void)
{
#ifndef __OPTIMIZE__
    printf("skipped: built without optimisation\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_kernel_is_faster),
                                       cmocka_unit_test(narrower_vectors_are_not_faster)};
    return cmocka_run_group_tests_name("peak", tests, NULL, NULL);
}
