/* Status, memory, random numbers, CRC-32C, configuration and job ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/job.h"
#include "filterscope/blas.h"
#include "filterscope/config.h"
#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "filterscope/random.h"
#include "filterscope/status.h"

static void a_failure_keeps_its_message(void **state)
{
    (void)state;
    assert_int_equal(fs_fail(FS_ERROR, "label %d", 12), FS_ERROR);
    assert_string_equal(fs_message(), "label 12");
    fs_fail(FS_ERROR, "again: %s", fs_message());
    assert_string_equal(fs_message(), "again: label 12");
}

static void an_impossible_allocation_is_reported(void **state)
{
    (void)state;
    assert_null(fs_alloc(SIZE_MAX / 2, 4, "a tensor"));
    assert_non_null(strstr(fs_message(), "a tensor"));
    assert_null(fs_alloc(SIZE_MAX / 2, 1, "a tensor"));
    assert_non_null(strstr(fs_message(), "out of memory"));
}

/* Known answers of Random123 (kat_vectors, philox4x32 with 10 rounds). */
static void philox_gives_the_published_numbers(void **state)
{
    (void)state;
    uint32_t out[4];
    fs_random4(0, (fs_purpose)0, 0, 0, 0, out);
    uint32_t zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    assert_memory_equal(out, zeros, sizeof out);
    fs_random4(UINT64_MAX, (fs_purpose)0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, out);
    uint32_t ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    assert_memory_equal(out, ones, sizeof out);
    fs_random4(0x299f31d0a4093822u, (fs_purpose)0x03707344u, 0x13198a2eu, 0x85a308d3u, 0x243f6a88u, out);
    uint32_t pi[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    assert_memory_equal(out, pi, sizeof out);
}

static void uniform_numbers_fill_their_range(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    float *values = malloc(COUNT * sizeof *values);
    fs_random_uniform(7, FS_RANDOM_PROBE, 3, 0.25f, values, COUNT);
    double sum = 0, least = 1, most = -1;
    for (int i = 0; i < COUNT; i++) {
        sum += values[i];
        least = values[i] < least ? values[i] : least;
        most = values[i] > most ? values[i] : most;
    }
    assert_true(least >= -0.25 && least < -0.249 && most < 0.25 && most > 0.249);
    assert_true(sum / COUNT > -0.004 && sum / COUNT < 0.004); /* five standard errors */
    free(values);
}

static void an_order_is_a_permutation_that_depends_on_the_epoch(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    int one[COUNT], two[COUNT], seen[COUNT] = {0};
    fs_random_order(1, 1, one, COUNT);
    fs_random_order(1, 2, two, COUNT);
    for (int i = 0; i < COUNT; i++)
        seen[one[i]]++;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(seen[i], 1);
    assert_memory_not_equal(one, two, sizeof one);
    fs_random_order(1, 1, two, COUNT);
    assert_memory_equal(one, two, sizeof one);
}

static void crc32c_gives_the_check_value_in_any_pieces(void **state)
{
    (void)state;
    assert_int_equal(fs_crc32c(0, "123456789", 9), 0xE3069283u);
    unsigned char zeros[32] = {0};
    assert_int_equal(fs_crc32c(0, zeros, 32), 0x8A9136AAu); /* RFC 3720, B.4 */
    for (size_t cut = 0; cut <= 9; cut++)
        assert_int_equal(fs_crc32c(fs_crc32c(0, "123456789", cut), &"123456789"[cut], 9 - cut), 0xE3069283u);
}

static void a_configuration_mismatch_names_every_key_and_both_values(void **state)
{
    (void)state;
    fs_config stored = {0}, now = {0};
    fs_config_set(&stored, "epochs", "%d", 200);
    fs_config_set(&stored, "seed", "1");
    now = stored;
    assert_int_equal(fs_config_match("a.h5", &stored, &now), FS_OK);
    fs_config_set(&now, "epochs", "%d", 100);
    fs_config_set(&now, "views", "2");
    assert_int_equal(fs_config_match("a.h5", &stored, &now), FS_MISMATCH);
    assert_string_equal(fs_message(), "a.h5: was made with another configuration: epochs: file has 200, this command has 100; "
                                      "views: file has (nothing), this command has 2");
    assert_string_equal(fs_config_get(&now, "epochs"), "100");
    assert_null(fs_config_get(&now, "nothing"));
}

static void blas_cores_are_changed_only_where_they_are_too_slow(void **state)
{
    (void)state;
    assert_string_equal(fs_blas_better_core("Haswell", 1, NULL), "SkylakeX");
    assert_string_equal(fs_blas_better_core("Zen", 1, NULL), "SkylakeX");
    assert_null(fs_blas_better_core("Zen", 0, NULL));
    assert_null(fs_blas_better_core("Cooperlake", 1, NULL));
    assert_null(fs_blas_better_core("Haswell", 1, "Haswell"));
}

static void a_job_has_the_id_of_any_scheduler(void **state)
{
    static const char *const names[] = {"SLURM_JOB_ID", "PBS_JOBID", "FLUX_JOB_ID", "LSB_JOBID"};
    enum { NAMES = sizeof names / sizeof *names };
    (void)state;
    for (int i = 0; i < NAMES; i++)
        unsetenv(names[i]);
    assert_null(fs_job_id());
    for (int i = 0; i < NAMES; i++) {
        setenv(names[i], "", 1);
        assert_null(fs_job_id());
        setenv(names[i], names[i], 1);
        assert_string_equal(fs_job_id(), names[i]);
        unsetenv(names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blas_cores_are_changed_only_where_they_are_too_slow),
        cmocka_unit_test(a_failure_keeps_its_message),
        cmocka_unit_test(an_impossible_allocation_is_reported),
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(uniform_numbers_fill_their_range),
        cmocka_unit_test(an_order_is_a_permutation_that_depends_on_the_epoch),
        cmocka_unit_test(crc32c_gives_the_check_value_in_any_pieces),
        cmocka_unit_test(a_configuration_mismatch_names_every_key_and_both_values),
        cmocka_unit_test(a_job_has_the_id_of_any_scheduler),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
