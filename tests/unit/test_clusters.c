/* Clusters, noise and SNR: small matrices by hand. (The second implementation is compared in tests/reference.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filterscope/clusters.h"
#include "support.h"

static void a_matrix_by_hand(void **state)
{
    (void)state;
    /* B:  1 1 0 0     labels 0, 1 join; 2 would need (0,2); 3 has no diagonal one
     *     1 1 1 0     noise: (1,2) internal: column 2 is a cluster of its own
     *     0 1 1 0            (2,1) internal: column 1, row outside {0, 1}
     *     0 0 0 0            (0,3) external: column 3 is in no cluster
     * with (0,3) = 1 */
    const float field[16] = {1.0f, 0.9f, 0.1f, 0.8f, 0.5f, 0.7f, 0.6f, 0.0f, -2.f, 0.4f, 0.9f, 0.25f, 0.2f, 0.1f, 0.0f, 0.2f};
    const int32_t expected[4] = {1, 1, 2, 0};
    int32_t cluster[4];
    fs_filter_measure m;
    assert_int_equal(fs_measure_filter(4, field, 0.3, cluster, &m), FS_OK);
    assert_memory_equal(cluster, expected, sizeof cluster);
    assert_int_equal(m.clusters, 2);
    assert_int_equal(m.covered, 3);
    assert_int_equal(m.ones, 8);
    assert_int_equal(m.noise, 3);
    assert_int_equal(m.internal, 2);
    assert_int_equal(m.external, 1);
    assert_int_equal(m.dead, 0);
    assert_true(m.largest == 1.0);
}

static void labels_join_only_where_both_directions_are_ones(void **state)
{
    (void)state;
    const float upper[4] = {1, 1, 0, 1}, lower[4] = {1, 0, 1, 1}, both[4] = {1, 1, 1, 1};
    const struct {
        const float *field;
        int clusters, internal;
    } cases[3] = {{upper, 2, 1}, {lower, 2, 1}, {both, 1, 0}};
    for (int i = 0; i < 3; i++) {
        int32_t cluster[2];
        fs_filter_measure m;
        fs_measure_filter(2, cases[i].field, 0.3, cluster, &m);
        assert_int_equal(m.clusters, cases[i].clusters);
        assert_int_equal(m.internal, cases[i].internal);
    }
}

static void a_value_at_the_threshold_is_clipped_to_zero(void **state)
{
    (void)state;
    const float field[4] = {2.0f, 0.5f, 0.0f, 0.5f}; /* 0.25 of the largest */
    int32_t cluster[2];
    fs_filter_measure m;
    fs_measure_filter(2, field, 0.25, cluster, &m);
    assert_int_equal(m.ones, 1);
    fs_measure_filter(2, field, 0.2499, cluster, &m);
    assert_int_equal(m.ones, 3);
}

static void filters_without_a_positive_finite_largest_element_are_dead(void **state)
{
    (void)state;
    const float fields[5][4] = {{0, 0, 0, 0}, {-1, -2, -3, -4}, {1, NAN, 0, 0}, {NAN, 1, 2, 3}, {1, INFINITY, 0, 0}};
    for (int i = 0; i < 5; i++) {
        int32_t cluster[2] = {7, 7};
        fs_filter_measure m;
        fs_measure_filter(2, fields[i], 0.3, cluster, &m);
        assert_int_equal(m.dead, 1);
        assert_int_equal(m.clusters + m.covered + m.ones + m.noise + cluster[0] + cluster[1], 0);
    }
}

static void a_layer_by_hand(void **state)
{
    (void)state;
    /* K = 3: one filter with a cluster of two and n = 1, one with two clusters of one and n = 0, one dead. */
    const fs_filter_measure m[3] = {{.clusters = 1, .covered = 2, .noise = 1}, {.clusters = 2, .covered = 2}, {.dead = 1}};
    const int32_t cluster[9] = {1, 1, 0, 1, 0, 2, 0, 0, 0};
    int32_t histogram[4];
    fs_layer_measure layer;
    fs_measure_layer(3, 3, m, cluster, histogram, &layer);
    assert_int_equal(layer.dead, 1);
    assert_int_equal(layer.clustered, 2);
    assert_true(histogram[0] == 0 && histogram[1] == 2 && histogram[2] == 1 && histogram[3] == 0);
    assert_true(layer.all.clusters == 1 && layer.with.clusters == 1.5);
    assert_true(fabs(layer.cluster_size - 4.0 / 3) < 1e-15);
    assert_true(fabs(layer.signal - 4.0 / 3) < 1e-15);
    assert_true(fabs(layer.noise_internal - 2.0 / 6) < 1e-15);
    assert_true(fabs(layer.noise_external - 1.0 / 6) < 1e-15);
    assert_true(fabs(layer.snr - 8.0 / 3) < 1e-14);
}

static void a_layer_of_dead_filters_has_no_mean_size_and_no_snr(void **state)
{
    (void)state;
    const fs_filter_measure m[1] = {{.dead = 1}};
    const int32_t cluster[2] = {0, 0};
    int32_t histogram[3];
    fs_layer_measure layer;
    fs_measure_layer(2, 1, m, cluster, histogram, &layer);
    assert_true(isnan(layer.cluster_size) && isnan(layer.snr) && isnan(layer.with.clusters));
    assert_true(layer.all.clusters == 0 && layer.signal == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_matrix_by_hand),
        cmocka_unit_test(labels_join_only_where_both_directions_are_ones),
        cmocka_unit_test(a_value_at_the_threshold_is_clipped_to_zero),
        cmocka_unit_test(filters_without_a_positive_finite_largest_element_are_dead),
        cmocka_unit_test(a_layer_by_hand),
        cmocka_unit_test(a_layer_of_dead_filters_has_no_mean_size_and_no_snr),
    };
    return cmocka_run_group_tests_name("clusters", tests, NULL, NULL);
}
