/* What a results file says of damage, of foreign files, and of what a kill left. */
#define _GNU_SOURCE /* nftw */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "filterscope/crc32c.h"
#include "small_results.h"

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
    H5Fclose(foreign_file(H5F_LIBVER_V18, "filterscope-results", 2));
    assert_refused(FS_MISMATCH, "format version 2");
    H5Fclose(foreign_file(H5F_LIBVER_V18, "filterscope-results", 3));
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

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "write-until-killed") == 0)
        return write_until_killed();
    const struct CMUnitTest tests[] = {
        TEST(one_flipped_bit_is_found_where_it_is),
        TEST(a_damaged_unit_can_be_written_again),
        TEST(truncated_files_are_refused),
        TEST(foreign_files_are_refused),
        TEST(numbers_that_cannot_be_are_refused),
        TEST(a_session_changes_no_metadata),
        TEST(damaged_metadata_never_crash_and_are_left_alone),
        TEST(a_killed_writer_leaves_a_whole_file),
    };
    return run_in_folder("results_damage", argc, argv, tests, sizeof tests / sizeof *tests);
}
