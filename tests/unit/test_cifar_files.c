/* CIFAR's binary files, small ones written here and the real ones where they are. */
#define _GNU_SOURCE /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filterscope/dataset.h"
#include "small_sets.h"

static void the_five_batches_of_cifar10_are_joined_in_order_with_channels_last(void **state)
{
    (void)state;
    fs_dataset data;
    write_cifar10();
    assert_opens("cifar10", FS_TRAIN, 0, &data);
    assert_shape(&data, 5 * BATCH, 32, 32, 3, 10);
    for (int i = 0; i < data.images; i++) {
        assert_int_equal(data.label[i], i % 10);
        assert_pattern(&data, i, i, 0);
    }
    fs_dataset_close(&data);
    assert_zeroed(&data);
    fs_dataset_close(&data); /* closing what is zeroed does nothing */
}

static void the_test_split_of_cifar10_is_its_own_file(void **state)
{
    (void)state;
    fs_dataset data;
    write_cifar("test_batch.bin", 1, 10, 100, 3);
    assert_opens("cifar10", FS_TEST, 0, &data);
    assert_shape(&data, 3, 32, 32, 3, 10);
    for (int i = 0; i < 3; i++)
        assert_pattern(&data, i, 100 + i, 0);
    fs_dataset_close(&data);
}

static void files_of_cifar_may_differ_in_length(void **state)
{
    (void)state;
    fs_dataset data;
    write_cifar10();
    write_cifar("data_batch_2.bin", 1, 10, BATCH, 1);
    assert_opens("cifar10", FS_TRAIN, 0, &data);
    assert_int_equal(data.images, 4 * BATCH + 1);
    assert_pattern(&data, BATCH, BATCH, 0);
    assert_pattern(&data, BATCH + 1, 2 * BATCH, 0);
    fs_dataset_close(&data);
}

static void cifar100_takes_the_fine_label(void **state)
{
    (void)state;
    fs_dataset data;
    write_cifar("train.bin", 2, 100, 95, 7);
    write_cifar("test.bin", 2, 100, 3, 2);
    assert_opens("cifar100", FS_TRAIN, 0, &data);
    assert_shape(&data, 7, 32, 32, 3, 100);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(data.label[i], (95 + i) % 100);
        assert_pattern(&data, i, 95 + i, 0);
    }
    fs_dataset_close(&data);
    assert_opens("cifar100", FS_TEST, 0, &data);
    assert_int_equal(data.images, 2);
    assert_int_equal(data.label[1], 4);
    assert_pattern(&data, 1, 4, 0);
    fs_dataset_close(&data);
}

static void a_limit_keeps_the_first_images_across_files(void **state)
{
    (void)state;
    fs_dataset all, some;
    write_cifar10();
    assert_opens("cifar10", FS_TRAIN, 0, &all);
    for (int limit = 1; limit <= all.images; limit++) {
        assert_opens("cifar10", FS_TRAIN, limit, &some);
        assert_shape(&some, limit, 32, 32, 3, 10);
        assert_memory_equal(some.pixels, all.pixels, (size_t)limit * CIFAR_PIXELS);
        assert_memory_equal(some.label, all.label, limit * sizeof *some.label);
        assert_true((some.crc == all.crc) == (limit == all.images));
        fs_dataset_close(&some);
    }
    fs_dataset_close(&all);
}

static void a_limit_beyond_the_set_is_refused_with_both_numbers(void **state)
{
    (void)state;
    write_cifar10();
    write_idx(write_gz, ".gz", 28, 28);
    refused("cifar10", FS_TRAIN, 21, "limit of 21 ", " 20");
    refused("cifar10", FS_TEST, 4, "limit of 4 ", " 3");
    refused("idx", FS_TRAIN, 13, "limit of 13 ", " 12");
}

static void a_batch_of_cifar_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    const char *name = "data_batch_4.bin";
    refused("cifar10", FS_TRAIN, 0, at("data_batch_1.bin"), "No such file");
    write_cifar10();
    unlink(at(name));
    refused("cifar10", FS_TRAIN, 0, at(name), "No such file");
    refused("cifar10", FS_TRAIN, 1, at(name), "No such file"); /* a limit does not hide it */
    write_file(name, "", 0);
    refused("cifar10", FS_TRAIN, 0, at(name), "empty");
    unlink(at(name));
    mkdir(at(name), 0700);
    refused("cifar10", FS_TRAIN, 0, at(name), "is a folder");
    rmdir(at(name));
    mkfifo(at(name), 0600);
    refused("cifar10", FS_TRAIN, 0, at(name), "not a regular file");
}

/* Root may read everything, so root becomes nobody for a moment. */
static void a_file_without_permission_is_named(void **state)
{
    (void)state;
    write_cifar10();
    chmod(folder, 0755);
    chmod(at("data_batch_3.bin"), 0);
    int root = geteuid() == 0;
    if (root && seteuid(65534) != 0)
        skip();
    fs_dataset data;
    fs_status status = open_set("cifar10", FS_TRAIN, 0, &data);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, FS_ERROR);
    message_has(at("data_batch_3.bin"));
    message_has("Permission denied");
    assert_zeroed(&data);
}

static void a_part_of_a_record_is_refused_with_the_count(void **state)
{
    (void)state;
    write_cifar10();
    resize("data_batch_2.bin", -1);
    refused("cifar10", FS_TRAIN, 0, at("data_batch_2.bin"),
            ": 12291 bytes are not a whole number of 3073-byte records (3 records and 3072 bytes)");
    resize("data_batch_2.bin", 2);
    refused("cifar10", FS_TRAIN, 0, at("data_batch_2.bin"), "12293 bytes");
    write_cifar("test.bin", 2, 100, 0, 2);
    resize("test.bin", 1);
    refused("cifar100", FS_TEST, 0, at("test.bin"), "3074-byte records (2 records and 1 bytes)");
    write_cifar("train.bin", 1, 10, 0, 1); /* CIFAR-10 records are one byte short of CIFAR-100's */
    refused("cifar100", FS_TRAIN, 0, at("train.bin"), "(0 records and 3073 bytes)");
}

static void a_label_out_of_range_is_refused_with_file_record_and_value(void **state)
{
    (void)state;
    fs_dataset data;
    char message[256];
    write_cifar10();
    set_byte("data_batch_3.bin", 2 * 3073, 10);
    refused("cifar10", FS_TRAIN, 0, NULL, NULL);
    snprintf(message, sizeof message, "%s: label 10 in record 2: this set has 10 labels", at("data_batch_3.bin"));
    assert_string_equal(fs_message(), message);
    assert_opens("cifar10", FS_TRAIN, 2 * BATCH + 2, &data); /* the record is behind the limit */
    fs_dataset_close(&data);
    write_cifar("train.bin", 2, 100, 0, 3);
    set_byte("train.bin", 3074 + 1, 99);
    assert_opens("cifar100", FS_TRAIN, 0, &data);
    fs_dataset_close(&data);
    set_byte("train.bin", 3074 + 1, 100);
    refused("cifar100", FS_TRAIN, 0, at("train.bin"), "label 100 in record 1: this set has 100 labels");
}

static void assert_balanced(const char *variable, const char *format, int labels, const char *first_name)
{
    const char *path = getenv(variable);
    if (!path || !*path) {
        print_message("%s is not set: nothing to read\n", variable);
        skip();
    }
    fs_dataset data;
    char spec[4096];
    int seen[100] = {0};
    snprintf(spec, sizeof spec, "%s:%s", format, path);
    fs_status status = fs_dataset_open(spec, FS_TEST, 0, &data);
    assert_string_equal(status == FS_OK ? "" : fs_message(), "");
    assert_shape(&data, 10000, 32, 32, 3, labels);
    for (int i = 0; i < data.images; i++)
        seen[data.label[i]]++;
    for (int i = 0; i < labels; i++)
        assert_int_equal(seen[i], 10000 / labels);
    assert_string_equal(data.label_name[0], first_name);
    fs_dataset_close(&data);
}

static void the_real_test_images_of_cifar10_are_1000_a_label(void **state)
{
    (void)state;
    assert_balanced("CIFAR10_DIR", "cifar10", 10, "airplane");
}

static void the_real_test_images_of_cifar100_are_100_a_label(void **state)
{
    (void)state;
    assert_balanced("CIFAR100_DIR", "cifar100", 100, "apple");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(the_five_batches_of_cifar10_are_joined_in_order_with_channels_last),
        in_folder(the_test_split_of_cifar10_is_its_own_file),
        in_folder(files_of_cifar_may_differ_in_length),
        in_folder(cifar100_takes_the_fine_label),
        in_folder(a_limit_keeps_the_first_images_across_files),
        in_folder(a_limit_beyond_the_set_is_refused_with_both_numbers),
        in_folder(a_batch_of_cifar_that_cannot_be_used_is_named),
        in_folder(a_file_without_permission_is_named),
        in_folder(a_part_of_a_record_is_refused_with_the_count),
        in_folder(a_label_out_of_range_is_refused_with_file_record_and_value),
        cmocka_unit_test(the_real_test_images_of_cifar10_are_1000_a_label),
        cmocka_unit_test(the_real_test_images_of_cifar100_are_100_a_label),
    };
    return cmocka_run_group_tests_name("cifar_files", tests, NULL, NULL);
}
