/* A small results file, what can be written to it and looked at in it, and the frame of tests that use it. Include after
 * cmocka.h; define _GNU_SOURCE for nftw. */
#ifndef FILTERSCOPE_TEST_SMALL_RESULTS_H
#define FILTERSCOPE_TEST_SMALL_RESULTS_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hdf5.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static inline int exists(const char *name)
{
    struct stat found;
    return lstat(name, &found) == 0;
}

static inline unsigned char *slurp(const char *name, size_t *size)
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

static inline void spill(const char *name, const void *bytes, size_t size)
{
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(write(file, bytes, size), size);
    close(file);
}

static inline void flip(const char *name, size_t offset)
{
    unsigned char byte;
    int file = open(name, O_RDWR);
    assert_int_equal(pread(file, &byte, 1, (off_t)offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)offset), 1);
    close(file);
}

/* Where the dataset lies in the file; *size: its bytes. */
static inline size_t extent(const char *name, const char *set_name, size_t *size)
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

static inline void flip_in(const char *set_name, size_t offset)
{
    flip(path, extent(path, set_name, NULL) + offset);
}

/* --- a file and its contents --- */

static inline int fresh_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(temporary);
    return 0;
}

/* HDF5 crashes at the end where a file could not be closed. */
static inline int nothing_is_open(void **state)
{
    (void)state;
    return H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL) != 0;
}

static inline fs_results *opened(MPI_Comm comm)
{
    fs_results *results = NULL;
    if (fs_results_open(path, comm, &results) != FS_OK)
        fail_msg("%s", fs_message());
    return results;
}

static inline void created(void)
{
    if (fs_results_create(path, &plan) != FS_OK)
        fail_msg("%s", fs_message());
}

static inline fs_results *created_and_opened(void)
{
    created();
    return opened(MPI_COMM_SELF);
}

#define ok(call) assert_int_equal(call, FS_OK)

static inline float *numbered(float first, size_t count)
{
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = first + (float)i;
    return values;
}

static inline void write_history(fs_results *results, int index)
{
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        fs_history_row row = {layers[index].layer, epoch, 0.01 * epoch, 2.0 / epoch, 0.1 * epoch, NAN};
        ok(fs_results_write_history(results, index, &row, 1.5 * epoch));
    }
}

static inline void write_probe(fs_results *results, int unit)
{
    int index = units[unit].index;
    float *weight = numbered(1000, (size_t)K * layers[index].filters * layers[index].height * layers[index].width);
    ok(fs_results_write_start(results, unit, 0, 0));
    write_history(results, index);
    ok(fs_results_write_probe(results, unit, weight));
    free(weight);
}

static inline void write_silence(fs_results *results, int unit)
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

static inline void write_layers(fs_results *results)
{
    int32_t sizes[LAYERS * (K + 1)] = {0, 3, 1, 0, 0, 0, 2, 2, 1};
    fs_silence_layer_row row[LAYERS] = {{1, 3, 0, 3, 0.75, 1.5}, {3, 5, 1, 4, 0.8, 1.25, .snr = INFINITY}};
    ok(fs_results_write_layers(results, row, sizes));
}

static inline void write_everything(fs_results *results)
{
    for (int unit = 0; unit < UNITS; unit++)
        units[unit].kind == FS_UNIT_PROBE ? write_probe(results, unit) : write_silence(results, unit);
    write_layers(results);
}

static inline void completed(void)
{
    fs_results *results = created_and_opened();
    write_everything(results);
    ok(fs_results_close(results));
}

/* What a session finds: for each unit 1 (done), X (damaged) or a dot (neither); the layer tables. */
static inline void assert_units(const char *expected, int tables_complete, int tables_damaged)
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

static inline void write_state(fs_results *results, int epoch)
{
    float *weight = numbered((float)epoch, K * FEATURES), *momentum = numbered(-(float)epoch, K * FEATURES);
    fs_probe_state training = {epoch, 10 + epoch, 1LL << (20 + epoch), 0.5 * epoch, weight, momentum};
    ok(fs_results_write_state(results, 0, &training));
    free(weight);
    free(momentum);
}

/* --- the frame --- */

static inline int remove_one(const char *name, const struct stat *found, int kind, struct FTW *place)
{
    (void)found, (void)kind, (void)place;
    return remove(name);
}

static inline void keep_environment(char **now)
{
    size_t count = 0;
    while (now[count])
        count++;
    environment = malloc((count + 1) * sizeof *environment);
    memcpy(environment, now, (count + 1) * sizeof *environment);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fresh_folder, nothing_is_open)

/* The exit code of main: the tests in a folder of their own. */
static inline int run_in_folder(const char *name, int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    extern char **environ;
    keep_environment(environ);
    if (!realpath(argv[0], program) || !mkdtemp(folder) || chmod(folder, 0755) != 0 || chdir(folder) != 0)
        return 1;
    MPI_Init(&argc, &argv);
    int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    MPI_Finalize();
    free(environment);
    return failed;
}

#endif
