/* The results file: round trips, refusals, damage, and what a kill leaves. */
#define _GNU_SOURCE /* nftw, unshare */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hdf5.h>
#include <math.h>
#include <mpi.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filterscope/crc32c.h"
#include "filterscope/results.h"

enum { K = 4, LAYERS = 2, EPOCHS = 3, UNITS = 7, FILTERS = 3, HEIGHT = 2, WIDTH = 5, FEATURES = FILTERS * HEIGHT * WIDTH };

static const char path[] = "sweep.h5", temporary[] = "sweep.h5.tmp";
static const char names[K][FS_LABEL_NAME_BYTES] = {"airplane", "automobile", "bird", "cat"};
static const fs_layer_row layers[LAYERS] = {{1, "conv1", FILTERS, HEIGHT, WIDTH, 0}, {3, "conv3", 5, 2, 2, 1}};
static const fs_unit units[UNITS] = {{FS_UNIT_PROBE, 0, 0, 3},   {FS_UNIT_PROBE, 1, 0, 5},   {FS_UNIT_SILENCE, 0, 0, 2},
                                     {FS_UNIT_SILENCE, 0, 2, 1}, {FS_UNIT_SILENCE, 1, 0, 2}, {FS_UNIT_SILENCE, 1, 2, 2},
                                     {FS_UNIT_SILENCE, 1, 4, 1}};
static const fs_config config = {.count = 2, .entry = {{"epochs", "3"}, {"seed", "7"}}};
static const fs_results_plan plan = {K, names, LAYERS, layers, EPOCHS, UNITS, units, &config};

static char **environment; /* as it was before MPI_Init, which marks it as a rank's */
static char program[4096], folder[] = "/tmp/test_results_XXXXXX";

/* --- files as bytes --- */

static int exists(const char *name)
{
    struct stat found;
    return lstat(name, &found) == 0;
}

static unsigned char *slurp(const char *name, size_t *size)
{
    struct stat found;
    int file = open(name, O_RDONLY);
    assert_true(file >= 0 && fstat(file, &found) == 0);
    *size = (size_t)found.st_size;
    unsigned char *bytes = malloc(*size + 1);
    assert_int_equal(read(file, bytes, *size), *size);
    close(file);
    return bytes;
}

static void spill(const char *name, const void *bytes, size_t size)
{
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(write(file, bytes, size), size);
    close(file);
}

static void flip(const char *name, size_t offset)
{
    unsigned char byte;
    int file = open(name, O_RDWR);
    assert_int_equal(pread(file, &byte, 1, (off_t)offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)offset), 1);
    close(file);
}

/* Where the dataset lies in the file; *size: its bytes. */
static size_t extent(const char *name, const char *set_name, size_t *size)
{
    hid_t file = H5Fopen(name, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, set_name, H5P_DEFAULT);
    assert_true(set >= 0);
    size_t offset = H5Dget_offset(set);
    if (size)
        *size = H5Dget_storage_size(set);
    H5Dclose(set);
    H5Fclose(file);
    return offset;
}

static void flip_in(const char *set_name, size_t offset)
{
    flip(path, extent(path, set_name, NULL) + offset);
}

/* --- a file and its contents --- */

static int fresh_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(temporary);
    return 0;
}

/* HDF5 crashes at the end where a file could not be closed. */
static int nothing_is_open(void **state)
{
    (void)state;
    return H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL) != 0;
}

static fs_results *opened(MPI_Comm comm)
{
    fs_results *results = NULL;
    if (fs_results_open(path, comm, &results) != FS_OK)
        fail_msg("%s", fs_message());
    return results;
}

static void created(void)
{
    if (fs_results_create(path, &plan) != FS_OK)
        fail_msg("%s", fs_message());
}

static fs_results *created_and_opened(void)
{
    created();
    return opened(MPI_COMM_SELF);
}

#define ok(call) assert_int_equal(call, FS_OK)

static float *numbered(float first, size_t count)
{
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = first + (float)i;
    return values;
}

static void write_history(fs_results *results, int index)
{
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        fs_history_row row = {layers[index].layer, epoch, 0.01 * epoch, 2.0 / epoch, 0.1 * epoch, NAN};
        ok(fs_results_write_history(results, index, &row, 1.5 * epoch));
    }
}

static void write_probe(fs_results *results, int unit)
{
    int index = units[unit].index;
    float *weight = numbered(1000, (size_t)K * layers[index].filters * layers[index].height * layers[index].width);
    ok(fs_results_write_start(results, unit, 0, 0));
    write_history(results, index);
    ok(fs_results_write_probe(results, unit, weight));
    free(weight);
}

static void write_silence(fs_results *results, int unit)
{
    const fs_unit *u = &units[unit];
    float *field = numbered(100.0f * unit, (size_t)u->count * K * K);
    int32_t cluster[5 * K];
    fs_filter_row row[5];
    for (int f = 0; f < u->count; f++)
        row[f] = (fs_filter_row){layers[u->index].layer, u->first + f, 2, 3, 9, 4, 1, 3, 0, f, 0.5, 0.25, 1.0 + unit};
    for (int i = 0; i < u->count * K; i++)
        cluster[i] = unit * 10 + i;
    ok(fs_results_write_start(results, unit, 0, 1));
    ok(fs_results_write_silence(results, unit, field, cluster, row));
    free(field);
}

static void write_layers(fs_results *results)
{
    int32_t sizes[LAYERS * (K + 1)] = {0, 3, 1, 0, 0, 0, 2, 2, 1};
    fs_silence_layer_row row[LAYERS] = {{1, 3, 0, 3, 0.75, 1.5}, {3, 5, 1, 4, 0.8, 1.25, .snr = INFINITY}};
    ok(fs_results_write_layers(results, row, sizes));
}

static void write_everything(fs_results *results)
{
    for (int unit = 0; unit < UNITS; unit++)
        units[unit].kind == FS_UNIT_PROBE ? write_probe(results, unit) : write_silence(results, unit);
    write_layers(results);
}

static void completed(void)
{
    fs_results *results = created_and_opened();
    write_everything(results);
    ok(fs_results_close(results));
}

/* What a session finds: for each unit 1 (done), X (damaged) or a dot (neither); the layer tables. */
static void assert_units(const char *expected, int tables_complete, int tables_damaged)
{
    uint8_t done[UNITS], damaged[UNITS];
    int complete, table_damage;
    char found[UNITS + 1] = "";
    fs_results *results = opened(MPI_COMM_NULL);
    ok(fs_results_read_done(results, done, damaged));
    ok(fs_results_read_complete(results, &complete, &table_damage));
    for (int unit = 0; unit < UNITS; unit++)
        found[unit] = damaged[unit] ? 'X' : done[unit] ? '1' : '.';
    assert_string_equal(found, expected);
    assert_int_equal(complete, tables_complete);
    assert_int_equal(table_damage, tables_damaged);
    fs_results_close(results);
}

/* The status of a check and its text (static). */
static const char *checked(fs_status expected)
{
    static char text[4096];
    FILE *out = fmemopen(text, sizeof text, "w");
    fs_results *results = opened(MPI_COMM_NULL);
    memset(text, 0, sizeof text);
    assert_int_equal(fs_results_check(results, out), expected);
    fclose(out);
    fs_results_close(results);
    return text;
}

/* --- creation --- */

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

/* --- writing and reading --- */

static void history_weights_fields_and_layers_come_back(void **state)
{
    (void)state;
    completed();
    fs_results *results = opened(MPI_COMM_NULL);
    fs_history_row history[EPOCHS];
    float weight[K * FEATURES], field[2 * K * K];
    int32_t cluster[2 * K];
    fs_filter_row row[2];
    fs_silence_layer_row means[LAYERS];
    ok(fs_results_read_history(results, 1, history));
    assert_true(history[1].layer == 3 && history[1].epoch == 2 && history[1].lr == 0.02 && isnan(history[1].test_sr));
    ok(fs_results_read_weight(results, 0, weight));
    for (int i = 0; i < K * FEATURES; i++)
        assert_true(weight[i] == 1000.0f + (float)i);
    ok(fs_results_read_filters(results, 1, 1, 2, field, cluster, row)); /* the end of unit 4, the beginning of unit 5 */
    assert_true(field[0] == 416 && field[K * K - 1] == 431 && field[K * K] == 500);
    assert_true(cluster[0] == 44 && cluster[K] == 50);
    assert_true(row[0].filter == 1 && row[0].largest == 5 && row[1].filter == 2 && row[1].largest == 6);
    ok(fs_results_read_filters(results, 1, 4, 1, NULL, NULL, row));
    assert_true(row[0].filter == 4 && row[0].noise_external == 3 && row[0].sr == 0.25);
    ok(fs_results_read_layers(results, means));
    assert_true(means[0].sr == 0.75 && means[1].dead == 1 && isinf(means[1].snr));
    fs_results_close(results);
    assert_units("1111111", 1, 0);
    assert_string_equal(checked(FS_OK), "");
}

/* Memory has (output unit)(y, x, filter), the file [output unit, filter, y, x]. */
static void weights_lie_in_the_file_as_output_filter_y_x(void **state)
{
    (void)state;
    completed();
    static float in_file[K][FILTERS][HEIGHT][WIDTH];
    char axes[64] = "";
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, "/probe/1/weight", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, in_file) >= 0);
    hid_t attribute = H5Aopen(set, "axes", H5P_DEFAULT), type = H5Aget_type(attribute);
    H5Aread(attribute, type, axes);
    assert_string_equal(axes, "output unit, filter, y, x");
    for (int k = 0; k < K; k++)
        for (int f = 0; f < FILTERS; f++)
            for (int y = 0; y < HEIGHT; y++)
                for (int x = 0; x < WIDTH; x++)
                    assert_true(in_file[k][f][y][x] == 1000.0f + (float)(((k * HEIGHT + y) * WIDTH + x) * FILTERS + f));
    H5Tclose(type);
    H5Aclose(attribute);
    H5Dclose(set);
    H5Fclose(file);
}

/* An independent reckoning of a probe's CRC from the file's own bytes. */
static void a_record_has_the_CRC_of_the_bytes_in_the_file(void **state)
{
    (void)state;
    completed();
    size_t size, weights, all;
    size_t weight = extent(path, "/probe/3/weight", &weights), rows = extent(path, "/probe/history", NULL);
    size_t record = extent(path, "/units", &size) + size / UNITS; /* of unit 1 */
    unsigned char *bytes = slurp(path, &all);
    uint32_t crc = fs_crc32c(0, bytes + weight, weights);
    crc = fs_crc32c(crc, bytes + rows + EPOCHS * 40, EPOCHS * 40);
    const int32_t expected[] = {FS_UNIT_PROBE, 3, 0, 5, 1, (int32_t)crc};
    assert_int_equal(size, UNITS * sizeof expected);
    assert_memory_equal(bytes + record, expected, sizeof expected);
    free(bytes);
}

static void wrong_places_are_refused(void **state)
{
    (void)state;
    fs_results *results = created_and_opened();
    fs_history_row row = {.layer = 1, .epoch = EPOCHS + 1};
    float weight[1] = {0};
    int epochs;
    assert_int_equal(fs_results_write_history(results, 0, &row, 1), FS_ERROR);
    assert_int_equal(fs_results_write_probe(results, 2, weight), FS_ERROR);
    assert_int_equal(fs_results_write_silence(results, 0, NULL, NULL, NULL), FS_ERROR);
    assert_int_equal(fs_results_write_start(results, UNITS, 0, 0), FS_ERROR);
    assert_int_equal(fs_results_read_epochs(results, LAYERS, &epochs), FS_ERROR);
    assert_int_equal(fs_results_read_filters(results, 0, 2, 2, NULL, NULL, NULL), FS_ERROR);
    assert_non_null(strstr(fs_message(), "filters 2 to 3 of layer 1"));
    fs_results_close(results);
    results = opened(MPI_COMM_NULL);
    assert_int_equal(fs_results_write_start(results, 0, 0, 0), FS_ERROR); /* open for reading */
    fs_results_close(results);
    assert_units(".......", 0, 0);
}

static void a_start_counts_attempts_and_takes_the_record_back(void **state)
{
    (void)state;
    struct {
        int32_t attempt, rank;
        double started, finished, seconds;
        int32_t launch;
        uint32_t crc;
    } row[UNITS];
    size_t all;
    fs_results *results = created_and_opened();
    write_silence(results, 3);
    write_silence(results, 3);
    write_silence(results, 4);
    ok(fs_results_write_start(results, 4, 6, 9));
    ok(fs_results_close(results));
    assert_units("...1...", 0, 0);
    unsigned char *bytes = slurp(path, &all);
    memcpy(row, bytes + extent(path, "/provenance/units", NULL), sizeof row);
    assert_true(row[2].attempt == 0 && isnan(row[2].started));
    assert_true(row[3].attempt == 2 && row[3].rank == 1 && row[3].started > 1.6e9 && row[3].seconds >= 0);
    assert_true(row[4].attempt == 2 && row[4].rank == 9 && row[4].launch == 6 && isnan(row[4].finished) &&
                isnan(row[4].seconds));
    free(bytes);
}

static void launches_fill_rows_in_order_and_then_the_last_one(void **state)
{
    (void)state;
    fs_results *results = created_and_opened();
    size_t all;
    for (int i = 1; i <= FS_LAUNCHES + 2; i++) {
        fs_launch launch = {.time = i, .ranks = i, .hosts = "node1"};
        int number;
        ok(fs_results_write_launch(results, &launch, &number));
        assert_int_equal(number, i <= FS_LAUNCHES ? i - 1 : FS_LAUNCHES - 1);
    }
    ok(fs_results_close(results));
    unsigned char *bytes = slurp(path, &all);
    const unsigned char *launch = bytes + extent(path, "/provenance/launches", NULL);
    fs_launch row[3];
    memcpy(row, launch, sizeof *row);
    memcpy(row + 1, launch + (FS_LAUNCHES - 2) * sizeof *row, 2 * sizeof *row);
    assert_true(row[0].time == 1 && row[1].time == FS_LAUNCHES - 1 && row[2].time == FS_LAUNCHES + 2);
    assert_string_equal(row[2].hosts, "node1");
    free(bytes);
}

/* --- resume --- */

static void write_state(fs_results *results, int epoch)
{
    float *weight = numbered((float)epoch, K * FEATURES), *momentum = numbered(-(float)epoch, K * FEATURES);
    fs_probe_state training = {epoch, 10 + epoch, 1LL << (20 + epoch), 0.5 * epoch, weight, momentum};
    ok(fs_results_write_state(results, 0, &training));
    free(weight);
    free(momentum);
}

/* The state that a new session finds; 0: none. */
static void assert_state(int epoch)
{
    float weight[K * FEATURES], momentum[K * FEATURES];
    fs_probe_state training = {.weight = weight, .momentum = momentum};
    int found;
    fs_results *results = opened(MPI_COMM_SELF);
    ok(fs_results_read_state(results, 0, &training, &found));
    assert_int_equal(training.epoch, epoch);
    assert_int_equal(found, epoch > 0);
    if (found) {
        assert_true(training.batch == 10 + epoch && training.right == 1LL << (20 + epoch) && training.loss == 0.5 * epoch);
        assert_true(weight[0] == (float)epoch && weight[K * FEATURES - 1] == (float)epoch + K * FEATURES - 1);
        assert_true(momentum[0] == -(float)epoch && momentum[1] == 1 - (float)epoch);
    }
    ok(fs_results_close(results));
}

static void slots_alternate_and_the_newest_is_read(void **state)
{
    (void)state;
    int epochs;
    fs_results *results = created_and_opened();
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        write_state(results, epoch);
        assert_state(epoch); /* beside the session that writes */
    }
    ok(fs_results_read_epochs(results, 0, &epochs));
    assert_int_equal(epochs, EPOCHS);
    ok(fs_results_read_epochs(results, 1, &epochs));
    assert_int_equal(epochs, 0);
    ok(fs_results_close(results));
}

static void a_damaged_newest_slot_falls_back_and_is_the_next_to_be_written(void **state)
{
    (void)state;
    size_t size;
    const size_t momentum_end = 2 * K * FEATURES * sizeof(float) - 1;
    fs_results *results = created_and_opened();
    write_state(results, 1);
    write_state(results, 2);
    ok(fs_results_close(results));
    extent(path, "/resume/1/state", &size);
    assert_int_equal(size, 2 * (momentum_end + 1));
    flip_in("/resume/1/state", size - 1); /* slot 1: epoch 2 */
    assert_state(1);
    assert_non_null(strstr(checked(FS_MISMATCH), "damaged: resume slot 1 of layer 1 (/resume/slots, /resume/1/state)"));
    results = opened(MPI_COMM_SELF);
    write_state(results, 3);
    ok(fs_results_close(results));
    assert_state(3);
    assert_string_equal(checked(FS_OK), "");
    flip_in("/resume/slots", 32 + 16); /* slot 1's header, its loss */
    assert_state(1);
    flip_in("/resume/1/state", momentum_end); /* slot 0, too */
    assert_state(0);
    results = opened(MPI_COMM_SELF);
    write_state(results, 2);
    ok(fs_results_close(results));
    assert_state(2);
}

static void an_overwritten_older_slot_is_no_damage(void **state)
{
    (void)state;
    fs_results *results = created_and_opened();
    write_state(results, 1);
    write_state(results, 2);
    ok(fs_results_close(results));
    flip_in("/resume/1/state", 0); /* as a kill leaves it that came while epoch 3 was being written */
    assert_string_equal(checked(FS_OK), "");
    assert_state(2);
}

/* A 32-bit number of slot `slot`'s header of the first layer: 0 is its epoch, 5 its sequence, 7 its CRC. */
static uint32_t header_word(int slot, int word)
{
    size_t size;
    uint32_t value;
    off_t place = (off_t)extent(path, "/resume/slots", &size) + (slot * 8 + word) * 4;
    int file = open(path, O_RDONLY);
    assert_int_equal(pread(file, &value, sizeof value, place), sizeof value);
    close(file);
    return value;
}

static void sync_now(fs_results *results)
{
    fs_results_sync_every(results, 0);
    while (!fs_results_is_due(results)) /* a hundred times what the last sync took */
        usleep(1000);
    ok(fs_results_settle(results));
    fs_results_sync_every(results, 1e6);
    assert_false(fs_results_is_due(results));
}

static void a_slot_is_kept_until_the_other_is_on_the_disk(void **state)
{
    (void)state;
    fs_results *results = created_and_opened();
    fs_results_sync_every(results, 1e6);
    write_state(results, 1);
    write_state(results, 2); /* nothing is on the disk yet: in turn */
    assert_true(header_word(0, 0) == 1 && header_word(1, 0) == 2);
    sync_now(results);
    write_state(results, 3);
    write_state(results, 1);
    write_state(results, 3);
    assert_true(header_word(0, 0) == 3 && header_word(0, 5) == 5); /* the last of three states */
    assert_true(header_word(1, 0) == 2 && header_word(1, 5) == 2); /* still the one that was synced */
    sync_now(results);
    write_state(results, 1);
    assert_true(header_word(0, 0) == 3 && header_word(1, 0) == 1 && header_word(1, 5) == 6);
    ok(fs_results_close(results));
    results = opened(MPI_COMM_SELF); /* which syncs */
    write_state(results, 2);
    write_state(results, 3);
    assert_true(header_word(0, 0) == 3 && header_word(1, 0) == 1);
    ok(fs_results_close(results));
    assert_state(3);
}

static void a_slot_that_is_given_up_is_no_damage(void **state)
{
    (void)state;
    size_t size;
    const uint32_t given_up = 0;
    fs_results *results = created_and_opened();
    write_state(results, 1);
    write_state(results, 2);
    ok(fs_results_close(results));
    int file = open(path, O_WRONLY); /* as a kill leaves it that came while slot 1 was written once more */
    assert_int_equal(pwrite(file, &given_up, sizeof given_up, (off_t)extent(path, "/resume/slots", &size) + 32 + 28), 4);
    close(file);
    flip_in("/resume/1/state", 2 * 2 * K * FEATURES * sizeof(float) - 1);
    assert_string_equal(checked(FS_OK), "");
    assert_state(1);
    flip_in("/resume/1/state", 0); /* now neither holds */
    assert_non_null(strstr(checked(FS_MISMATCH), "damaged: resume slot 0 of layer 1"));
}

/* --- damage --- */

static void one_flipped_bit_is_found_where_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *set;
        size_t offset;
        const char *units;
        int tables;
        const char *line;
    } cases[] = {
        {"/probe/1/weight", 479, "X111111", 0, "unit 0, the probe of layer 1 (/probe/1/weight, /probe/history)"},
        {"/probe/history", 239, "1X11111", 0, "unit 1, the probe of layer 3"},
        {"/silence/1/field", 128, "111X111", 0, "unit 3, filters 2 to 2 of layer 1"},
        {"/silence/3/cluster", 16, "1111X11", 0, "unit 4, filters 0 to 1 of layer 3 (/silence/3/field"},
        {"/silence/filters", 8 * 64 - 1, "111111X", 0, "unit 6, filters 4 to 4 of layer 3"},
        {"/units", 2 * 24 + 20, "11X1111", 0, "unit 2, filters 0 to 1 of layer 1"},
        {"/units", 5 * 24 + 16, "11111X1", 0, "recorded state 65"},
        {"/silence/layers", 100, "1111111", 1, "the layer tables (/state, "},
        {"/silence/cluster_sizes", 0, "1111111", 1, "the layer tables"},
        {"/state", 0, "1111111", 1, "the layer tables"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fresh_folder(NULL);
        completed();
        flip_in(cases[i].set, cases[i].offset);
        assert_units(cases[i].units, !cases[i].tables, cases[i].tables);
        const char *text = checked(FS_MISMATCH);
        if (!strstr(text, cases[i].line) || strchr(text, '\n') != text + strlen(text) - 1)
            fail_msg("%s: %s", cases[i].set, text);
        assert_string_equal(fs_message(), "sweep.h5: 1 damaged record");
    }
}

static void a_damaged_unit_can_be_written_again(void **state)
{
    (void)state;
    completed();
    flip_in("/probe/history", 0);
    assert_units("X111111", 1, 0);
    fs_results *results = opened(MPI_COMM_SELF);
    ok(fs_results_write_start(results, 0, 0, 0));
    assert_units(".111111", 1, 0);
    write_probe(results, 0);
    ok(fs_results_close(results));
    assert_units("1111111", 1, 0);
    assert_string_equal(checked(FS_OK), "");
}

/* Both ways of opening refuse the file and leave it as it is. */
static void assert_refused(fs_status expected, const char *part)
{
    size_t size, size_after;
    fs_results *results;
    unsigned char *before = slurp(path, &size);
    for (int writing = 0; writing < 2; writing++) {
        fs_status status = fs_results_open(path, writing ? MPI_COMM_SELF : MPI_COMM_NULL, &results);
        if (status != expected || results || !strstr(fs_message(), part) || strncmp(fs_message(), "sweep.h5: ", 10) != 0)
            fail_msg("status %d: '%s' should be %d with '%s'", status, fs_message(), expected, part);
    }
    unsigned char *after = slurp(path, &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

static void truncated_files_are_refused(void **state)
{
    (void)state;
    size_t size;
    completed();
    unsigned char *bytes = slurp(path, &size);
    const size_t lengths[] = {0, 1, 8, 47, 48, 100, 1000, 4096, size / 2, size - 4096, size - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        spill(path, bytes, lengths[i]);
        assert_refused(FS_MISMATCH, lengths[i] < 8 ? "not an HDF5 file" : lengths[i] < 48 ? "superblock" : "truncated");
    }
    bytes[size] = 0;
    spill(path, bytes, size + 1);
    assert_refused(FS_MISMATCH, "damaged");
    free(bytes);
}

static hid_t foreign_file(H5F_libver_t version, const char *format, int32_t format_version)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), text = H5Tcopy(H5T_C_S1), scalar = H5Screate(H5S_SCALAR);
    H5Pset_libver_bounds(access, version, version == H5F_LIBVER_EARLIEST ? H5F_LIBVER_LATEST : version);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Tset_size(text, strlen(format));
    hid_t attribute = H5Acreate2(file, "format", text, scalar, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, text, format);
    H5Aclose(attribute);
    attribute = H5Acreate2(file, "format_version", H5T_STD_I32LE, scalar, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, H5T_NATIVE_INT32, &format_version);
    H5Aclose(attribute);
    H5Sclose(scalar);
    H5Tclose(text);
    H5Pclose(access);
    return file;
}

static void foreign_files_are_refused(void **state)
{
    (void)state;
    spill(path, "layer,sr\n1,0.5\n", 15);
    assert_refused(FS_MISMATCH, "not an HDF5 file");
    H5Fclose(foreign_file(H5F_LIBVER_EARLIEST, "filterscope-results", 1));
    assert_refused(FS_MISMATCH, "not a filterscope results file");
    H5Fclose(foreign_file(H5F_LIBVER_V18, "filterscope-model", 1));
    assert_refused(FS_MISMATCH, "not a filterscope results file");
    H5Fclose(foreign_file(H5F_LIBVER_V18, "filterscope-results", 1));
    assert_refused(FS_MISMATCH, "format version 1");
    H5Fclose(foreign_file(H5F_LIBVER_V18, "filterscope-results", 2));
    assert_refused(FS_MISMATCH, "/config");
    unlink(path);
    fs_results *results;
    assert_int_equal(fs_results_open(".", MPI_COMM_NULL, &results), FS_MISMATCH);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(fs_results_open(path, MPI_COMM_NULL, &results), FS_MISMATCH);
}

/* Makes the recorded sum of a table's fixed bytes fit what is there, as in a file that somebody else wrote. */
static void resum(const char *set, size_t fixed)
{
    size_t size, all, offset = extent(path, set, &size);
    unsigned char *bytes = slurp(path, &all);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, access), table = H5Dopen2(file, set, H5P_DEFAULT), type = H5Dget_type(table);
    hid_t attribute = H5Aopen(table, "crc", H5P_DEFAULT);
    size_t row = H5Tget_size(type);
    uint32_t crc = 0;
    for (size_t i = 0; i < size; i += row)
        crc = fs_crc32c(crc, bytes + offset + i, fixed ? fixed : row);
    assert_true(H5Awrite(attribute, H5T_NATIVE_UINT32, &crc) >= 0);
    H5Tclose(type);
    H5Dclose(table);
    H5Aclose(attribute);
    H5Pclose(access);
    H5Fclose(file);
    free(bytes);
}

static void numbers_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *set;
        size_t offset;
        const char *part;
    } cases[] = {
        {"/layers", 36 + 3, "/silence/filters"}, /* filters of row 0 */
        {"/layers", 52 + 1, "/probe/16387"},     /* number of row 1 */
        {"/layers", 40, "/probe/1/weight"},      /* height of row 0 */
        {"/layers", 4 + 5, ""},                  /* a letter of a name: nobody's business */
        {"/units", 0, "/units: kind of row 0"},
        {"/units", 4, "row 0 of /units: there is no layer 65"},
        {"/units", 24 + 8, "/units: first of row 1"},
        {"/units", 2 * 24 + 13, "/units: count of row 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fresh_folder(NULL);
        created();
        flip_in(cases[i].set, cases[i].offset);
        assert_refused(FS_MISMATCH, "is damaged: recorded CRC");
        resum(cases[i].set, strcmp(cases[i].set, "/units") == 0 ? 16 : 0);
        if (cases[i].part[0])
            assert_refused(FS_MISMATCH, cases[i].part);
        else
            assert_units(".......", 0, 0);
    }
    fresh_folder(NULL);
    created();
    size_t text = extent(path, "/config", NULL);
    int file = open(path, O_RDWR);
    char letters[FS_CONFIG_KEY_BYTES];
    memset(letters, 'a', sizeof letters);
    assert_int_equal(pwrite(file, letters, sizeof letters, (off_t)text), sizeof letters);
    close(file);
    resum("/config", 0);
    assert_refused(FS_MISMATCH, "/config: key of row 0 has no end");
}

/* --- metadata --- */

static const char *const sets[] = {
    "/config",
    "/labels",
    "/layers",
    "/units",
    "/state",
    "/probe/history",
    "/probe/1/weight",
    "/probe/3/weight",
    "/silence/filters",
    "/silence/layers",
    "/silence/cluster_sizes",
    "/silence/1/field",
    "/silence/1/cluster",
    "/silence/3/field",
    "/silence/3/cluster",
    "/resume/slots",
    "/resume/1/state",
    "/resume/3/state",
    "/provenance/launches",
    "/provenance/units",
    "/provenance/epochs",
};

/* The file with zeros in place of all values. */
static unsigned char *metadata(size_t *size)
{
    unsigned char *bytes = slurp(path, size);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        size_t length, offset = extent(path, sets[i], &length);
        memset(bytes + offset, 0, length);
    }
    return bytes;
}

static void a_session_changes_no_metadata(void **state)
{
    (void)state;
    size_t size, size_after;
    fs_launch launch = {.time = 1e9};
    int number;
    created();
    unsigned char *before = metadata(&size);
    fs_results *results = opened(MPI_COMM_SELF);
    ok(fs_results_write_launch(results, &launch, &number));
    for (int epoch = 1; epoch <= EPOCHS; epoch++)
        write_state(results, epoch);
    write_everything(results);
    ok(fs_results_close(results));
    unsigned char *after = metadata(&size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

static void damaged_metadata_never_crash_and_are_left_alone(void **state)
{
    (void)state;
    size_t size, blank_size;
    completed();
    unsigned char *bytes = slurp(path, &size), *blank = metadata(&blank_size), *damaged = malloc(size);
    int tried = 0;
    for (size_t offset = 0; offset < size; offset += 1 + offset % 97) {
        if (!blank[offset])
            continue;
        fs_results *results;
        size_t size_after;
        memcpy(damaged, bytes, size);
        damaged[offset] ^= 0x10;
        spill(path, damaged, size);
        if (fs_results_open(path, tried++ % 2 ? MPI_COMM_SELF : MPI_COMM_NULL, &results) == FS_OK)
            ok(fs_results_close(results));
        unsigned char *after = slurp(path, &size_after);
        assert_int_equal(size, size_after);
        assert_memory_equal(damaged, after, size);
        free(after);
    }
    assert_true(tried > 50);
    free(bytes);
    free(blank);
    free(damaged);
}

/* --- a kill --- */

enum { BIG_FILTERS = 64, BIG_SIDE = 16, BIG_K = 10, BIG_WEIGHTS = BIG_K * BIG_FILTERS * BIG_SIDE * BIG_SIDE };

static const fs_layer_row big_layer = {1, "conv1", BIG_FILTERS, BIG_SIDE, BIG_SIDE, 0};
static const fs_unit big_units[3] = {{FS_UNIT_PROBE, 0, 0, 64}, {FS_UNIT_SILENCE, 0, 0, 32}, {FS_UNIT_SILENCE, 0, 32, 32}};
static const char big_names[BIG_K][FS_LABEL_NAME_BYTES];
static const fs_results_plan big_plan = {BIG_K, big_names, 1, &big_layer, 1000000, 3, big_units, &config};

static void paint(float *values, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

/* The child: writes states and units, each of one value, until it is killed; says so once it has begun. */
static int write_until_killed(void)
{
    static float weight[BIG_WEIGHTS], momentum[BIG_WEIGHTS], field[32 * BIG_K * BIG_K];
    static int32_t cluster[32 * BIG_K];
    static fs_filter_row row[32];
    fs_results *results;
    int found, failed;
    MPI_Init(NULL, NULL);
    fs_probe_state training = {.weight = weight, .momentum = momentum};
    if (fs_results_open(path, MPI_COMM_SELF, &results) || fs_results_read_state(results, 0, &training, &found))
        return fprintf(stderr, "%s\n", fs_message()), 1;
    do {
        training.epoch++;
        paint(weight, BIG_WEIGHTS, (float)training.epoch);
        paint(momentum, BIG_WEIGHTS, -(float)training.epoch);
        paint(field, 32 * BIG_K * BIG_K, (float)training.epoch);
        fs_history_row history = {1, training.epoch, 1, 1, 1, 1};
        int unit = 1 + training.epoch % 2;
        failed = fs_results_write_start(results, 0, 0, 0) || fs_results_write_history(results, 0, &history, 1) ||
                 fs_results_write_state(results, 0, &training) || fs_results_write_probe(results, 0, weight) ||
                 fs_results_write_start(results, unit, 0, 0) || fs_results_write_silence(results, unit, field, cluster, row);
    } while (!failed && write(1, ".", 1) == 1);
    return fprintf(stderr, "%s\n", fs_message()), 1;
}

static void run_and_kill(useconds_t after)
{
    char *arguments[] = {program, "write-until-killed", NULL}, byte;
    int ends[2], status;
    pid_t child;
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe(ends), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    assert_int_equal(posix_spawn(&child, program, &actions, NULL, arguments, environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    usleep(after);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    close(ends[0]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* What stands in the file is whole: a state of one epoch, no record without its payload. Returns the epoch. */
static int assert_whole(void)
{
    static float weight[BIG_WEIGHTS], momentum[BIG_WEIGHTS];
    fs_probe_state training = {.weight = weight, .momentum = momentum};
    uint8_t done[3], damaged[3];
    int found;
    fs_results *results = opened(MPI_COMM_SELF);
    ok(fs_results_read_done(results, done, damaged));
    assert_true(!damaged[0] && !damaged[1] && !damaged[2]);
    ok(fs_results_read_state(results, 0, &training, &found));
    assert_true(found);
    for (int i = 0; i < BIG_WEIGHTS; i++)
        assert_true(weight[i] == (float)training.epoch && momentum[i] == -(float)training.epoch);
    ok(fs_results_close(results));
    assert_string_equal(checked(FS_OK), "");
    return training.epoch;
}

static void a_killed_writer_leaves_a_whole_file(void **state)
{
    (void)state;
    int epoch = 0;
    ok(fs_results_create(path, &big_plan));
    for (int i = 0; i < 6; i++) {
        run_and_kill(1000 + 7321 * (useconds_t)i);
        int now = assert_whole();
        assert_true(now >= epoch); /* what a child began with is there, even if it was killed amid a write */
        epoch = now;
    }
}

/* --- */

static int remove_one(const char *name, const struct stat *found, int kind, struct FTW *place)
{
    (void)found, (void)kind, (void)place;
    return remove(name);
}

static void keep_environment(char **now)
{
    size_t count = 0;
    while (now[count])
        count++;
    environment = malloc((count + 1) * sizeof *environment);
    memcpy(environment, now, (count + 1) * sizeof *environment);
}

int main(int argc, char **argv)
{
    extern char **environ;
    if (argc > 1 && strcmp(argv[1], "write-until-killed") == 0)
        return write_until_killed();
    if (argc > 1 && strcmp(argv[1], "create-on-small-disks") == 0)
        return create_on_small_disks();
    keep_environment(environ);
    if (!realpath(argv[0], program) || !mkdtemp(folder) || chmod(folder, 0755) != 0 || chdir(folder) != 0)
        return 1;
    MPI_Init(&argc, &argv);
#define TEST(function) cmocka_unit_test_setup_teardown(function, fresh_folder, nothing_is_open)
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
        TEST(history_weights_fields_and_layers_come_back),
        TEST(weights_lie_in_the_file_as_output_filter_y_x),
        TEST(a_record_has_the_CRC_of_the_bytes_in_the_file),
        TEST(wrong_places_are_refused),
        TEST(a_start_counts_attempts_and_takes_the_record_back),
        TEST(launches_fill_rows_in_order_and_then_the_last_one),
        TEST(slots_alternate_and_the_newest_is_read),
        TEST(a_damaged_newest_slot_falls_back_and_is_the_next_to_be_written),
        TEST(an_overwritten_older_slot_is_no_damage),
        TEST(a_slot_is_kept_until_the_other_is_on_the_disk),
        TEST(a_slot_that_is_given_up_is_no_damage),
        TEST(one_flipped_bit_is_found_where_it_is),
        TEST(a_damaged_unit_can_be_written_again),
        TEST(truncated_files_are_refused),
        TEST(foreign_files_are_refused),
        TEST(numbers_that_cannot_be_are_refused),
        TEST(a_session_changes_no_metadata),
        TEST(damaged_metadata_never_crash_and_are_left_alone),
        TEST(a_killed_writer_leaves_a_whole_file),
    };
    int failed = cmocka_run_group_tests_name("results", tests, NULL, NULL);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    MPI_Finalize();
    return failed;
}
