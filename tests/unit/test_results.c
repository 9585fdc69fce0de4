/* The results file: what was written comes back, and a probe goes on from the newest of its two states. */
#define _GNU_SOURCE /* nftw */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "filterscope/crc32c.h"
#include "small_results.h"

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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
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
    };
    return run_in_folder("results", argc, argv, tests, sizeof tests / sizeof *tests);
}
