/* Phase three's sums, filter by filter, beside loops as they are defined. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "phases/products.h"

/* Filters, pixels, first filter, rows and units: none, one and several of what is computed together, and what is left over. */
static const fs_products cases[] = {
    {16, 16, 0, 4, 2},    {16, 17, 0, 5, 3}, {66, 5, 50, 7, 10}, {66, 33, 16, 24, 128}, {40, 1, 24, 1, 1},
    {512, 4, 496, 23, 7}, {15, 20, 0, 6, 5}, {1, 100, 0, 3, 4},  {3, 1, 0, 24, 128},
};

static float number(size_t i)
{
    return (float)(i * 2654435761u % 1999) / 1000 - 1;
}

static void sums_are_as_defined(void **state)
{
    static float h[FS_PRODUCTS_H];
    static double mean_h[FS_PRODUCTS_H];
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const fs_products *p = &cases[c];
        size_t features = (size_t)p->filters * p->pixels;
        int lanes = p->filters < FS_PRODUCTS_LANES ? p->filters : FS_PRODUCTS_LANES;
        float *map = malloc(p->rows * features * sizeof *map), *weight = malloc(p->units * features * sizeof *weight);
        double *mean = malloc(p->rows * features * sizeof *mean);
        assert_true(map && weight && mean);
        for (size_t i = 0; i < p->rows * features; i++) {
            map[i] = number(i);
            mean[i] = map[i] / 3.0;
        }
        for (size_t i = 0; i < p->units * features; i++)
            weight[i] = number(i * 7 + 5);
        fs_products_of_images(p, map, weight, h);
        fs_products_of_means(p, mean, weight, mean_h);
        for (int unit = 0; unit < p->units; unit++)
            for (int row = 0; row < p->rows; row++)
                for (int lane = 0; lane < lanes; lane++) {
                    double sum = 0, mean_sum = 0;
                    size_t at = ((size_t)unit * FS_PRODUCTS_ROWS + row) * FS_PRODUCTS_LANES + lane;
                    for (int pixel = 0; pixel < p->pixels; pixel++) {
                        size_t feature = (size_t)pixel * p->filters + p->first + lane;
                        double right = weight[unit * features + feature];
                        sum += map[row * features + feature] * right;
                        mean_sum += mean[row * features + feature] * right;
                    }
                    assert_true(fabs(h[at] - sum) < 1e-5);
                    assert_true(fabs(mean_h[at] - mean_sum) < 1e-13);
                }
        free(map);
        free(mean);
        free(weight);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_are_as_defined)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
