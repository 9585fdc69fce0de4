/* The model file: round trip, and what it refuses. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <hdf5.h>

#include "filterscope/model_file.h"
#include "support.h"

static char path[64];

static fs_model make_model(void)
{
    fs_model model = {.epochs = 3, .epoch = 2, .batch = 5, .right = 1LL << 40, .loss = 1.25};
    assert_int_equal(fs_network_create(fs_arch_find("vgg6"), 32, 32, 1, 4, 7, &model.net), FS_OK);
    model.scaling = (fs_scaling){.pixel = {0, 1}, .mean = {0.25}, .std = {0.5}};
    fs_config_set(&model.config, "arch", "vgg6");
    fs_config_set(&model.config, "lr", "0.1");
    model.label_name = calloc(4, sizeof *model.label_name);
    model.history = calloc(3, sizeof *model.history);
    for (int k = 0; k < 4; k++)
        snprintf(model.label_name[k], FS_LABEL_NAME_BYTES, "label %d", k);
    for (int e = 0; e < 2; e++)
        model.history[e] = (fs_train_row){e + 1, 0.1, 0.2, 1.5 - e, 0.5, 0.25, 60};
    fs_random_uniform(8, FS_RANDOM_WEIGHTS, 0, 1, model.net.velocity, model.net.parameters);
    fs_random_uniform(9, FS_RANDOM_WEIGHTS, 0, 1, model.net.statistic, model.net.statistics);
    for (size_t i = 0; i < model.net.statistics; i++) /* no variance is negative */
        model.net.statistic[i] *= model.net.statistic[i];
    return model;
}

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/filterscope-XXXXXX");
    int file = mkstemp(path);
    return close(file);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void a_model_comes_back_as_it_was(void **state)
{
    (void)state;
    fs_model model = make_model(), read;
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    assert_int_equal(fs_model_load(path, &read), FS_OK);
    assert_int_equal(read.epochs, 3);
    assert_int_equal(read.epoch, 2);
    assert_int_equal(read.batch, 5);
    assert_true(read.right == 1LL << 40 && read.loss == 1.25);
    assert_string_equal(read.net.text, model.net.text);
    assert_true(read.scaling.pixel[1] == 1 && read.scaling.mean[0] == 0.25 && read.scaling.std[0] == 0.5);
    assert_int_equal(fs_config_match(path, &read.config, &model.config), FS_OK);
    assert_memory_equal(read.label_name, model.label_name, 4 * sizeof *model.label_name);
    for (int e = 0; e < 2; e++)
        assert_true(read.history[e].epoch == e + 1 && read.history[e].train_loss == 1.5 - e);
    assert_memory_equal(read.net.parameter, model.net.parameter, model.net.parameters * sizeof(float));
    assert_memory_equal(read.net.velocity, model.net.velocity, model.net.parameters * sizeof(float));
    assert_memory_equal(read.net.statistic, model.net.statistic, model.net.statistics * sizeof(float));
    fs_model_free(&model);
    fs_model_free(&read);
}

/* Saves the model with `value` at *place, and says that it is refused with the message; then *place is as before. */
static void assert_refused(fs_model *model, float *place, float value, const char *message)
{
    fs_model read;
    float before = *place;
    *place = value;
    assert_int_equal(fs_model_save(path, model), FS_OK);
    *place = before;
    assert_int_equal(fs_model_load(path, &read), FS_ERROR);
    assert_non_null(strstr(fs_message(), path));
    if (!strstr(fs_message(), message))
        fail_msg("'%s', expected '%s'", fs_message(), message);
    assert_null(read.net.parameter);
}

static void an_average_comes_back_with_the_last_weights_and_their_history(void **state)
{
    (void)state;
    fs_model model = make_model(), read;
    assert_int_equal(fs_model_start_average(&model), FS_OK);
    model.last.parameter[3] += 1;
    model.history[1].last_test_sr = 0.75;
    fs_config_set(&model.config, "held-back", "some");
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    assert_int_equal(fs_model_load(path, &read), FS_OK);
    assert_memory_equal(read.net.parameter, model.net.parameter, model.net.parameters * sizeof(float));
    assert_memory_equal(read.last.parameter, model.last.parameter, model.net.parameters * sizeof(float));
    assert_memory_equal(read.last.statistic, model.last.statistic, model.net.statistics * sizeof(float));
    assert_true(read.history[1].last_test_sr == 0.75);
    fs_model_exchange(&read);
    assert_true(read.net.parameter[3] == model.last.parameter[3]);
    fs_model_free(&read);
    model.last.statistic[0] = NAN;
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    assert_int_equal(fs_model_load(path, &read), FS_ERROR);
    assert_non_null(strstr(fs_message(), "/last/bn1.mean[0] is nan"));
    fs_model_free(&model);
}

static void a_value_that_cannot_be_is_named_with_array_and_element(void **state)
{
    (void)state;
    fs_model model = make_model();
    const fs_network *net = &model.net;
    const fs_op *conv = net->op, *norm = net->op + 1, *second = net->op + 4, *linear = &net->op[net->ops - 1];
    size_t tap = (size_t)second->channels * second->out_channels;
    assert_refused(&model, &net->parameter[conv->weight + 11], NAN, "/parameter/conv1.weight[0, 0, 0, 11] is nan");
    assert_refused(&model, &net->parameter[second->weight + 5 * tap + 2 * 128 + 7], INFINITY,
                   "/parameter/conv2.weight[1, 2, 2, 7] is inf");
    assert_refused(&model, &net->parameter[norm->bias + 3], -INFINITY, "/parameter/bn1.beta[3] is -inf");
    assert_refused(&model, &net->velocity[linear->weight + 513], NAN, "/momentum/fc1.weight[1, 1] is nan");
    assert_refused(&model, &net->statistic[norm->statistic + 5], NAN, "/statistic/bn1.mean[5] is nan");
    assert_refused(&model, &net->statistic[norm->statistic + norm->weights + 5], -0.5f,
                   "/statistic/bn1.variance[5] is -0.5: a variance is not negative");
    fs_model_free(&model);
}

static void a_scaling_that_cannot_be_is_refused(void **state)
{
    (void)state;
    fs_model model = make_model(), read;
    model.scaling.std[0] = 0;
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    assert_int_equal(fs_model_load(path, &read), FS_ERROR);
    assert_non_null(strstr(fs_message(), "/scaling: std 0 of channel 0 is not positive"));
    fs_model_free(&model);
}

/* Before "floor" was wanted it was what a pool did. */
static void a_pool_of_an_older_file_leaves_its_rest_out(void **state)
{
    (void)state;
    const fs_arch arch = {.name = "older", .text = "conv 2 1x1\nmaxpool 3 stride 2\nfc K\n", .silent_floor = 1};
    fs_model model = make_model(), read;
    fs_network_free(&model.net);
    assert_int_equal(fs_network_create(&arch, 8, 8, 1, 4, 7, &model.net), FS_OK);
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    assert_int_equal(fs_model_load(path, &read), FS_OK);
    assert_true(read.net.op[1].out_height == 3 && fs_network_crc(&read.net) == fs_network_crc(&model.net));
    fs_model_free(&model);
    fs_model_free(&read);
}

static void truncated_files_are_refused_at_any_length(void **state)
{
    (void)state;
    fs_model model = make_model(), read;
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    struct stat whole;
    assert_int_equal(stat(path, &whole), 0);
    for (off_t size = whole.st_size - 1; size > 0; size = size / 3) {
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(fs_model_load(path, &read), FS_MISMATCH);
    }
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(fs_model_load(path, &read), FS_MISMATCH);
    fs_model_free(&model);
}

/* Of a small network, so that most of the file is what HDF5 keeps for itself. */
static void a_flipped_byte_anywhere_is_refused_or_changes_nothing(void **state)
{
    (void)state;
    const fs_arch arch = {.name = "small", .text = "conv 2 3x3 pad 1 bias\nbn\nrelu\nglobalavg\nfc K\n"};
    fs_model model = make_model(), read;
    fs_network_free(&model.net);
    assert_int_equal(fs_network_create(&arch, 8, 8, 1, 4, 7, &model.net), FS_OK);
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    struct stat whole;
    assert_int_equal(stat(path, &whole), 0);
    assert_int_equal(fs_model_load(path, &read), FS_OK);
    fs_model_free(&read);
    int file = open(path, O_RDWR), refused = 0, tried = 0;
    unsigned char byte, changed;
    for (off_t at = 0; at < whole.st_size; at += 5, tried++) {
        assert_int_equal(pread(file, &byte, 1, at), 1);
        changed = byte ^ (unsigned char)(1 + at % 255);
        assert_int_equal(pwrite(file, &changed, 1, at), 1);
        fs_status status = fs_model_load(path, &read);
        refused += status == FS_MISMATCH;
        if (status == FS_OK)
            assert_int_equal(fs_network_crc(&read.net), fs_network_crc(&model.net));
        else
            assert_int_equal(status, FS_MISMATCH);
        fs_model_free(&read);
        assert_int_equal(pwrite(file, &byte, 1, at), 1);
    }
    close(file);
    print_message("%d of %d flipped bytes refused, the others unused\n", refused, tried);
    assert_true(refused > tried / 4);
    fs_model_free(&model);
}

/* Overwrites one array with zeros of the wrong or the right shape. */
static void replace(const char *name, int dimensions, const hsize_t *size)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), space = H5Screate_simple(dimensions, size, NULL);
    assert_true(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    hid_t set = H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    float *zeros = calloc((size_t)H5Sget_simple_extent_npoints(space), sizeof *zeros);
    assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros) >= 0);
    free(zeros);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
}

static void arrays_of_another_shape_or_content_are_refused_by_name(void **state)
{
    (void)state;
    fs_model model = make_model(), read;
    const hsize_t wrong[4] = {3, 3, 1, 65}, right[4] = {3, 3, 1, 64};
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    replace("/parameter/conv1.weight", 4, right);
    assert_int_equal(fs_model_load(path, &read), FS_MISMATCH);
    assert_non_null(strstr(fs_message(), "damaged"));
    replace("/parameter/conv1.weight", 4, wrong);
    assert_int_equal(fs_model_load(path, &read), FS_MISMATCH);
    assert_non_null(strstr(fs_message(), "/parameter/conv1.weight"));
    fs_model_free(&model);
}

static void a_failed_save_leaves_the_old_model_and_no_temporary(void **state)
{
    (void)state;
    fs_model model = make_model();
    assert_int_equal(fs_model_save("/nowhere/model.h5", &model), FS_ERROR);
    assert_non_null(strstr(fs_message(), "/nowhere/model.h5"));
    assert_int_equal(fs_model_save("/dev/null/model.h5", &model), FS_ERROR);
    char temporary[80];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    assert_int_not_equal(access(temporary, F_OK), 0);
    fs_model_free(&model);
}

/* A limit on the size of files stands for the full disk. */
static void a_full_disk_leaves_the_old_model(void **state)
{
    (void)state;
    fs_model model = make_model(), read;
    struct rlimit before, small = {1 << 20, 1 << 20};
    assert_int_equal(fs_model_save(path, &model), FS_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    model.epoch = 3;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    fs_status status = fs_model_save(path, &model);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, FS_ERROR);
    assert_non_null(strstr(fs_message(), "File too large"));
    assert_int_equal(fs_model_load(path, &read), FS_OK);
    assert_int_equal(read.epoch, 2);
    fs_model_free(&model);
    fs_model_free(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_model_comes_back_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(an_average_comes_back_with_the_last_weights_and_their_history, setup, teardown),
        cmocka_unit_test_setup_teardown(a_value_that_cannot_be_is_named_with_array_and_element, setup, teardown),
        cmocka_unit_test_setup_teardown(a_scaling_that_cannot_be_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pool_of_an_older_file_leaves_its_rest_out, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated_files_are_refused_at_any_length, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_anywhere_is_refused_or_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_of_another_shape_or_content_are_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_model, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_save_leaves_the_old_model_and_no_temporary, setup, teardown),
    };
    return cmocka_run_group_tests_name("model_file", tests, NULL, NULL);
}
