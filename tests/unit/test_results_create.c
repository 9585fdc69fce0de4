/* A results file is created whole or not at all, and over nothing. */
#define _GNU_SOURCE /* nftw, unshare */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "small_results.h"

static void a_new_file_holds_its_plan(void **state)
{
    (void)state;
    created();
    assert_false(exists(temporary));
    fs_results *results = opened(MPI_COMM_NULL);
    const fs_results_plan *found = fs_results_plan_of(results);
    assert_int_equal(found->labels, K);
    assert_memory_equal(found->label_name, names, sizeof names);
    assert_int_equal(found->layers, LAYERS);
    assert_memory_equal(found->layer, layers, sizeof layers);
    assert_int_equal(found->epochs, EPOCHS);
    assert_int_equal(found->units, UNITS);
    assert_memory_equal(found->unit, units, sizeof units);
    ok(fs_config_match(path, found->config, &config));
    ok(fs_results_close(results));
    ok(fs_results_close(NULL));
}

static void a_new_file_is_filled_with_what_is_known_and_NaN_or_0(void **state)
{
    (void)state;
    created();
    fs_results *results = opened(MPI_COMM_NULL);
    fs_history_row history[EPOCHS];
    fs_filter_row filter[2];
    fs_silence_layer_row row[LAYERS];
    float weight[K * FEATURES], field[2 * K * K];
    int32_t cluster[2 * K], epochs, found;
    fs_probe_state training = {.epoch = 77, .weight = weight, .momentum = weight};
    ok(fs_results_read_history(results, 1, history));
    assert_true(history[2].layer == 3 && history[2].epoch == 3 && isnan(history[2].lr) && isnan(history[2].test_sr));
    ok(fs_results_read_filters(results, 1, 3, 2, field, cluster, filter));
    assert_true(filter[1].layer == 3 && filter[1].filter == 4 && filter[1].ones == 0 && isnan(filter[1].share));
    assert_true(isnan(field[0]) && isnan(field[2 * K * K - 1]) && cluster[2 * K - 1] == 0);
    ok(fs_results_read_layers(results, row));
    assert_true(row[1].layer == 3 && row[1].filters == 5 && row[1].dead == 0 && isnan(row[1].snr));
    ok(fs_results_read_weight(results, 0, weight));
    assert_true(isnan(weight[0]) && isnan(weight[K * FEATURES - 1]));
    ok(fs_results_read_state(results, 0, &training, &found));
    ok(fs_results_read_epochs(results, 0, &epochs));
    assert_true(!found && training.epoch == 77 && epochs == 0);
    fs_results_close(results);
    assert_units(".......", 0, 0);
    assert_string_equal(checked(FS_OK), "");
}

static void equal_plans_give_equal_files_of_the_predicted_size(void **state)
{
    (void)state;
    size_t size, size_again;
    created();
    unsigned char *bytes = slurp(path, &size);
    unlink(path);
    created();
    unsigned char *again = slurp(path, &size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(bytes, again, size);
    assert_true(fs_results_bytes(&plan) < size && size < fs_results_bytes(&plan) + 40000);
    free(bytes);
    free(again);
}

static void assert_not_overwritten(void)
{
    size_t size, size_after;
    unsigned char *before = slurp(path, &size);
    assert_int_equal(fs_results_create(path, &plan), FS_ERROR);
    assert_non_null(strstr(fs_message(), strerror(EEXIST)));
    unsigned char *after = slurp(path, &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    assert_false(exists(temporary));
    free(before);
    free(after);
}

static void an_existing_file_is_never_overwritten(void **state)
{
    (void)state;
    completed();
    assert_not_overwritten();
    spill(path, "a diary", 7);
    assert_not_overwritten();
    unlink(path);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(fs_results_create(path, &plan), FS_ERROR);
    assert_false(exists("nowhere"));
}

/* PATH.tmp may be a second name of a file that was renamed since: it is unlinked, not truncated. */
static void the_remains_of_a_crash_are_replaced_and_never_count(void **state)
{
    (void)state;
    fs_results *results;
    created();
    assert_int_equal(rename(path, "moved.h5"), 0);
    assert_int_equal(link("moved.h5", temporary), 0);
    assert_int_equal(fs_results_open(path, MPI_COMM_NULL, &results), FS_ERROR);
    assert_non_null(strstr(fs_message(), "sweep.h5: "));
    assert_non_null(strstr(fs_message(), strerror(ENOENT)));
    created();
    assert_false(exists(temporary));
    assert_int_equal(rename("moved.h5", path), 0);
    assert_units(".......", 0, 0);
}

static void assert_creation_fails(const char *where, int error)
{
    char remains[64];
    snprintf(remains, sizeof remains, "%s.tmp", where);
    assert_int_equal(fs_results_create(where, &plan), FS_ERROR);
    assert_non_null(strstr(fs_message(), where));
    if (!strstr(fs_message(), strerror(error)))
        fail_msg("'%s' does not say '%s'", fs_message(), strerror(error));
    assert_false(exists(where) || exists(remains));
}

static void a_creation_without_a_folder_or_permission_leaves_nothing(void **state)
{
    (void)state;
    assert_creation_fails("no/such/folder/sweep.h5", ENOENT);
    mkdir("locked", 0555);
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    assert_creation_fails("locked/sweep.h5", EACCES);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    rmdir("locked");
}

static void a_creation_beyond_the_size_limit_leaves_nothing(void **state)
{
    (void)state;
    struct rlimit before, limited;
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    const uint64_t limits[] = {1, 100, 5000, fs_results_bytes(&plan) - 1, fs_results_bytes(&plan) + 1};
    for (int i = 0; i < 5; i++) {
        limited = (struct rlimit){limits[i], before.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limited);
        assert_creation_fails(path, EFBIG);
        setrlimit(RLIMIT_FSIZE, &before);
    }
    created();
    assert_units(".......", 0, 0);
}

/* The child, in a mount namespace of its own: creates on file systems that are too small. 77: it may not mount. */
static int create_on_small_disks(void)
{
    mkdir("small", 0755);
    if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return 77;
    for (int kib = 4; kib <= 2048; kib *= 2) {
        char size[32];
        snprintf(size, sizeof size, "size=%dk", kib);
        if (mount("none", "small", "tmpfs", 0, size) != 0)
            return 77;
        if (kib == 4)
            spill("small/full", size, 1); /* one page: nothing is left */
        fs_status status = fs_results_create("small/sweep.h5", &plan);
        int enough = (uint64_t)kib * 1024 > fs_results_bytes(&plan) + 100000;
        int said = enough || strstr(fs_message(), strerror(ENOSPC)) != NULL;
        if (!said || (status == FS_OK) != enough || exists("small/sweep.h5") != enough || exists("small/sweep.h5.tmp"))
            return fprintf(stderr, "%d KiB: status %d: %s\n", kib, status, fs_message()), 1;
        umount("small");
    }
    return 0;
}

static void a_creation_on_a_full_disk_fails_cleanly_and_so_does_the_program(void **state)
{
    (void)state;
    char *arguments[] = {program, "create-on-small-disks", NULL};
    pid_t child;
    int status;
    assert_int_equal(posix_spawn(&child, program, NULL, NULL, arguments, environment), 0);
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static void an_impossible_plan_is_refused(void **state)
{
    (void)state;
    fs_results_plan wrong = plan;
    fs_unit far = {FS_UNIT_SILENCE, 0, 2, 2};
    fs_layer_row twice[LAYERS] = {layers[0], layers[0]};
    wrong.epochs = 0;
    assert_int_equal(fs_results_create(path, &wrong), FS_ERROR);
    wrong = plan, wrong.units = 1, wrong.unit = &far;
    assert_int_equal(fs_results_create(path, &wrong), FS_ERROR);
    assert_non_null(strstr(fs_message(), "/units: count of row 0 is 2, not in 1 .. 1"));
    wrong = plan, wrong.layer = twice;
    assert_int_equal(fs_results_create(path, &wrong), FS_ERROR);
    assert_false(exists(path) || exists(temporary));
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "create-on-small-disks") == 0)
        return create_on_small_disks();
    const struct CMUnitTest tests[] = {
        TEST(a_new_file_holds_its_plan),
        TEST(a_new_file_is_filled_with_what_is_known_and_NaN_or_0),
        TEST(equal_plans_give_equal_files_of_the_predicted_size),
        TEST(an_existing_file_is_never_overwritten),
        TEST(the_remains_of_a_crash_are_replaced_and_never_count),
        TEST(a_creation_without_a_folder_or_permission_leaves_nothing),
        TEST(a_creation_beyond_the_size_limit_leaves_nothing),
        TEST(a_creation_on_a_full_disk_fails_cleanly_and_so_does_the_program),
        TEST(an_impossible_plan_is_refused),
    };
    return run_in_folder("results_create", argc, argv, tests, sizeof tests / sizeof *tests);
}
