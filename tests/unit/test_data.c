/* What names a data set, and its checksum. */
#define _GNU_SOURCE /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filterscope/crc32c.h"
#include "filterscope/dataset.h"
#include "small_sets.h"

static void an_unknown_spec_is_a_usage_error(void **state)
{
    (void)state;
    const char *spec[] = {"", "cifar10", "cifar10:", "cifar100:", "idx:", "mnist:/data", "CIFAR10:/data", "/data", ":"};
    for (size_t i = 0; i < sizeof spec / sizeof *spec; i++) {
        fs_dataset data = {.images = 1};
        assert_int_equal(fs_dataset_open(spec[i], FS_TRAIN, 0, &data), FS_USAGE);
        message_has(spec[i]);
        message_has(FS_DATASET_SPECS);
        assert_zeroed(&data);
    }
    fs_dataset data;
    assert_int_equal(open_set("cifar10", FS_TRAIN, -1, &data), FS_USAGE);
    message_has("limit of -1");
    assert_zeroed(&data);
}

static void a_folder_that_is_none_is_refused(void **state)
{
    (void)state;
    const char *format[] = {"cifar10", "cifar100", "idx"};
    write_text("file", "text");
    for (int i = 0; i < 3; i++) {
        fs_dataset data = {.images = 1};
        char spec[256];
        snprintf(spec, sizeof spec, "%s:%s", format[i], at("absent"));
        assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_ERROR);
        message_has(at("absent: No such file or directory"));
        assert_zeroed(&data);
        snprintf(spec, sizeof spec, "%s:%s", format[i], at("file"));
        assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_ERROR);
        message_has(at("file: is not a folder"));
        assert_zeroed(&data);
    }
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    static char spec[5000] = "idx:"; /* slashes do not count: the folder is "/", its path 4090 characters */
    memset(spec + 4, '/', 4090);
    fs_dataset data;
    assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &data), FS_ERROR);
    message_has("train-labels-idx1-ubyte");
    message_has("longer than 4095 bytes");
    assert_zeroed(&data);
}

/* The number was computed by a bitwise CRC-32C in another language, over the bytes as the header describes them. */
static void the_checksum_covers_pixels_then_labels(void **state)
{
    (void)state;
    fs_dataset data;
    write_cifar10();
    assert_opens("cifar10", FS_TEST, 0, &data);
    assert_int_equal(data.crc, 0xEF94C7C3u);
    uint32_t crc = fs_crc32c(0, data.pixels, 3 * CIFAR_PIXELS);
    assert_int_equal(data.crc, fs_crc32c(crc, data.label, 3 * sizeof *data.label));
    uint32_t before = data.crc;
    fs_dataset_close(&data);
    set_byte("test_batch.bin", 2 * 3073, 9); /* the last label */
    assert_opens("cifar10", FS_TEST, 0, &data);
    assert_int_not_equal(data.crc, before);
    fs_dataset_close(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(an_unknown_spec_is_a_usage_error),
        in_folder(a_folder_that_is_none_is_refused),
        in_folder(a_path_that_is_too_long_is_refused),
        in_folder(the_checksum_covers_pixels_then_labels),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
