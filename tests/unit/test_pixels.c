/* How pixels become inputs by pixel range, mean and std; IDX sets with channels, wide labels, and without a border. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "filterscope/dataset.h"
#include "support.h"

enum { SIDE = 16, CHANNELS = 3, VALUES = SIDE * SIDE * CHANNELS };

static uint8_t pixels[VALUES];

static fs_dataset make_data(void)
{
    for (int i = 0; i < VALUES; i++)
        pixels[i] = (uint8_t)(i * 7 + i / 256);
    return (fs_dataset){.images = 1, .height = SIDE, .width = SIDE, .channels = CHANNELS, .pixels = pixels};
}

static void the_default_scaling_changes_no_bit(void **state)
{
    (void)state;
    fs_dataset data = make_data();
    fs_scaling scaling;
    float without[VALUES], with[VALUES];
    fs_dataset_scale(&data, 0, without);
    fs_scaling_default(&scaling);
    assert_int_equal(fs_dataset_set_scaling(&data, &scaling), FS_OK);
    fs_dataset_scale(&data, 0, with);
    assert_memory_equal(with, without, sizeof with);
    free(data.scaled);
}

static void each_channel_has_its_mean_and_std(void **state)
{
    (void)state;
    fs_dataset data = make_data();
    const fs_scaling scaling = {.pixel = {0, 1}, .mean = {0.25, 0.5, -1}, .std = {0.5, 2, 0.125}};
    float x[VALUES];
    assert_int_equal(fs_dataset_set_scaling(&data, &scaling), FS_OK);
    fs_dataset_scale(&data, 0, x);
    for (int i = 0; i < VALUES; i++)
        assert_true(x[i] == (float)((pixels[i] / 255.0 - scaling.mean[i % 3]) / scaling.std[i % 3]));
    free(data.scaled);
}

/* Flips and shifts move pixels, whatever they are scaled to; vacated ones are 0. */
static void augmentation_moves_scaled_pixels(void **state)
{
    (void)state;
    fs_dataset data = make_data();
    const fs_scaling scaling = {.pixel = {3, 5}, .mean = {0, 1, 2}, .std = {1, 2, 3}};
    float plain[VALUES], x[VALUES];
    for (uint32_t epoch = 0; epoch < 64; epoch++) {
        fs_dataset_augment(&data, 0, 1, epoch, plain);
        assert_int_equal(fs_dataset_set_scaling(&data, &scaling), FS_OK);
        fs_dataset_augment(&data, 0, 1, epoch, x);
        for (int i = 0; i < VALUES; i++) { /* plain is never 0 inside: 2p/255 - 1 has no zero */
            double pixel = (plain[i] + 1) + 3, expected = plain[i] == 0 ? 0 : (pixel - i % 3) / (i % 3 + 1);
            assert_true(fabs(x[i] - expected) < 1e-6);
        }
        free(data.scaled);
        data.scaled = NULL;
    }
}

static void a_scaling_that_is_none_is_refused_with_its_value(void **state)
{
    (void)state;
    fs_dataset data = make_data();
    fs_scaling scaling;
    fs_scaling_default(&scaling);
    scaling.std[2] = 0;
    assert_int_equal(fs_dataset_set_scaling(&data, &scaling), FS_ERROR);
    assert_string_equal(fs_message(), "std 0 of channel 2 is not positive");
    scaling.std[2] = 1;
    scaling.mean[1] = NAN;
    assert_int_equal(fs_dataset_set_scaling(&data, &scaling), FS_ERROR);
    assert_string_equal(fs_message(), "mean nan of channel 1 is not finite");
    scaling.mean[1] = 0;
    scaling.pixel[0] = 1;
    assert_int_equal(fs_dataset_set_scaling(&data, &scaling), FS_ERROR);
    assert_string_equal(fs_message(), "pixel range 1 .. 1 is none");
    scaling.pixel[0] = -1;
    scaling.std[1] = 1e-39;
    assert_int_equal(fs_dataset_set_scaling(&data, &scaling), FS_ERROR);
    assert_non_null(strstr(fs_message(), "std 1e-39 of channel 1 make inputs of up to 1e+39"));
    assert_null(data.scaled);
}

static char folder[64], spec[128];

static void write_file(const char *name, const void *head, size_t head_bytes, const void *data, size_t bytes)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fwrite(head, 1, head_bytes, file) == head_bytes && fwrite(data, 1, bytes, file) == bytes);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/filterscope-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(spec, sizeof spec, "idx:%s", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void an_idx_set_may_have_channels_and_wide_labels(void **state)
{
    (void)state;
    const uint8_t images[] = {0, 0, 8, 4, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2};
    const uint8_t shorts[] = {0, 0, 0x0b, 1, 0, 0, 0, 2, 0x01, 0x02, 0x03, 0xe7}, ints[] = {0, 0, 0x0c, 1, 0, 0, 0, 2};
    const uint8_t int_labels[] = {0, 0, 0, 5, 0, 0, 1, 0}, too_large[] = {0, 0, 0, 5, 0, 1, 0, 0};
    uint8_t bytes[24];
    fs_dataset data;
    for (int i = 0; i < 24; i++)
        bytes[i] = (uint8_t)(10 * i);
    write_file("train-images-idx4-ubyte", images, sizeof images, bytes, sizeof bytes);
    write_file("train-labels-idx1-short", shorts, 8, shorts + 8, 4);
    assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_OK);
    assert_true(data.height == 2 && data.width == 3 && data.channels == 2 && data.labels == 1000);
    assert_true(data.label[0] == 0x102 && data.label[1] == 999);
    assert_memory_equal(data.pixels, bytes, sizeof bytes);
    fs_dataset_close(&data);
    write_file("t10k-images-idx4-ubyte", images, sizeof images, bytes, sizeof bytes);
    write_file("t10k-labels-idx1-int", ints, sizeof ints, int_labels, sizeof int_labels);
    assert_int_equal(fs_dataset_open(spec, FS_TEST, 0, &data), FS_OK);
    assert_true(data.label[0] == 5 && data.label[1] == 256 && data.labels == 1000);
    fs_dataset_close(&data);
    write_file("t10k-labels-idx1-int", ints, sizeof ints, too_large, sizeof too_large);
    assert_int_equal(fs_dataset_open(spec, FS_TEST, 0, &data), FS_ERROR);
    assert_non_null(strstr(fs_message(), "t10k-labels-idx1-int: label 65536 in record 1: expected 0..65534"));
}

static void idx_plain_adds_no_border(void **state)
{
    (void)state;
    const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28}, labels[] = {0, 0, 8, 1, 0, 0, 0, 1, 1};
    uint8_t bytes[784];
    fs_dataset data;
    memset(bytes, 9, sizeof bytes);
    write_file("train-images-idx3-ubyte", images, sizeof images, bytes, sizeof bytes);
    write_file("train-labels-idx1-ubyte", labels, sizeof labels, "", 0);
    assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_OK);
    assert_true(data.height == 32 && data.width == 32 && data.pixels[0] == 0);
    fs_dataset_close(&data);
    snprintf(spec, sizeof spec, "idx-plain:%s", folder);
    assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_OK);
    assert_true(data.height == 28 && data.width == 28);
    assert_memory_equal(data.pixels, bytes, sizeof bytes);
    fs_dataset_close(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_scaling_changes_no_bit),
        cmocka_unit_test(each_channel_has_its_mean_and_std),
        cmocka_unit_test(augmentation_moves_scaled_pixels),
        cmocka_unit_test(a_scaling_that_is_none_is_refused_with_its_value),
        cmocka_unit_test_setup_teardown(an_idx_set_may_have_channels_and_wide_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(idx_plain_adds_no_border, setup, teardown),
    };
    return cmocka_run_group_tests_name("pixels", tests, NULL, NULL);
}
