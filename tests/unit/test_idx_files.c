/* Sets in IDX form, plain and .gz, from small files written here. */
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

static void images_of_28_by_28_are_padded_with_black_to_32_by_32(void **state)
{
    (void)state;
    fs_dataset data;
    write_idx(write_file, "", 28, 28);
    assert_opens("idx", FS_TRAIN, 0, &data);
    assert_shape(&data, 12, 32, 32, 1, 4);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(data.label[i], i % 4);
        assert_pattern(&data, i, i, 2);
    }
    fs_dataset_close(&data);
}

static void images_of_other_sizes_stay_as_they_are(void **state)
{
    (void)state;
    static const int size[][2] = {{1, 1}, {3, 5}, {28, 27}, {27, 28}, {32, 32}, {512, 512}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        fs_dataset data;
        write_idx(write_file, "", size[i][0], size[i][1]);
        assert_opens("idx", FS_TEST, 0, &data);
        assert_shape(&data, 5, size[i][0], size[i][1], 1, 4);
        assert_pattern(&data, 4, 4, 0);
        fs_dataset_close(&data);
    }
}

static void the_forms_of_an_idx_set_give_the_same_data(void **state)
{
    (void)state;
    fs_dataset plain, other;
    write_idx(write_file, "", 28, 28);
    assert_opens("idx", FS_TRAIN, 0, &plain);
    remove_folder(state);
    mkdir(folder, 0700);
    write_idx(write_gz, ".gz", 28, 28);
    assert_opens("idx", FS_TRAIN, 0, &other);
    assert_memory_equal(plain.pixels, other.pixels, 12 * PLANE);
    assert_memory_equal(plain.label, other.label, 12 * sizeof *plain.label);
    assert_int_equal(plain.crc, other.crc);
    fs_dataset_close(&other);
    rename(at("train-images-idx3-ubyte.gz"), at("train-images.idx3-ubyte.gz"));
    write_labels(write_file, "train-labels.idx1-ubyte", 12, 4);
    unlink(at("train-labels-idx1-ubyte.gz"));
    assert_opens("idx", FS_TRAIN, 0, &other);
    assert_int_equal(plain.crc, other.crc);
    fs_dataset_close(&other);
    fs_dataset_close(&plain);
}

static void a_plain_file_is_preferred_and_a_gz_name_may_hold_one(void **state)
{
    (void)state;
    fs_dataset data;
    write_idx(write_file, ".gz", 4, 4); /* unpacked by a browser, the name kept */
    assert_opens("idx", FS_TRAIN, 0, &data);
    assert_shape(&data, 12, 4, 4, 1, 4);
    fs_dataset_close(&data);
    write_images(write_file, "train-images-idx3-ubyte", 12, 5, 5);
    assert_opens("idx", FS_TRAIN, 0, &data);
    assert_shape(&data, 12, 5, 5, 1, 4);
    fs_dataset_close(&data);
}

static void the_training_labels_give_k_to_both_splits(void **state)
{
    (void)state;
    fs_dataset data;
    write_idx(write_gz, ".gz", 6, 6);
    assert_opens("idx", FS_TEST, 0, &data);
    assert_shape(&data, 5, 6, 6, 1, 4); /* though the test labels end at 2 */
    assert_int_equal(data.label[4], 1);
    fs_dataset_close(&data);
    write_labels(write_file, "t10k-labels-idx1-ubyte", 5, 5);
    refused("idx", FS_TEST, 0, at("t10k-labels-idx1-ubyte"), ": label 4 in record 4: this set has 4 labels");
    unlink(at("train-labels-idx1-ubyte.gz"));
    refused("idx", FS_TEST, 0, at("train-labels-idx1-ubyte"), "no such file");
    write_labels(write_file, "train-labels-idx1-ubyte", 12, 1);
    refused("idx", FS_TEST, 0, at("train-labels-idx1-ubyte"), "all 12 labels are 0: a set needs at least 2");
}

static void a_limit_of_an_idx_set_keeps_the_first_images_and_still_checks_the_rest(void **state)
{
    (void)state;
    fs_dataset data;
    write_idx(write_gz, ".gz", 28, 28);
    assert_opens("idx", FS_TRAIN, 2, &data);
    assert_shape(&data, 2, 32, 32, 1, 4); /* K of the whole file */
    assert_pattern(&data, 1, 1, 2);
    fs_dataset_close(&data);
    resize("train-images-idx3-ubyte.gz", -1);
    refused("idx", FS_TRAIN, 2, at("train-images-idx3-ubyte.gz"), "unexpected end of file");
}

static void images_and_labels_that_differ_in_number_are_refused(void **state)
{
    (void)state;
    write_idx(write_file, "", 28, 28);
    write_labels(write_file, "train-labels-idx1-ubyte", 11, 4);
    refused("idx", FS_TRAIN, 0, at("train-images-idx3-ubyte"), "12 images, but 11 labels");
    message_has("train-labels-idx1-ubyte");
    write_images(write_file, "t10k-images-idx3-ubyte", 4, 28, 28);
    refused("idx", FS_TEST, 0, at("t10k-images-idx3-ubyte"), "4 images, but 5 labels");
}

static void an_idx_header_out_of_range_is_refused_with_the_value(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        int value;
        const char *part;
    } damage[] = {
        {3, 1, "magic number 0x00000801: a file of images has 0x00000803"},
        {2, 9, "magic number 0x00000903"}, /* signed bytes */
        {0, 1, "magic number 0x01000803"},
        {7, 0, "count of images is 0 in the header: expected 1..2147483647"},
        {4, 0x80, "count of images is 2147483660"},
        {11, 0, "rows of images is 0 in the header: expected 1..512"},
        {15, 0, "columns of images is 0"},
        {10, 2, "rows of images is 540"},
        {14, 2, "columns of images is 540"},
        {12, 0xff, "columns of images is 4278190108"},
    };
    const char *name = "train-images-idx3-ubyte";
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        write_idx(write_file, "", 28, 28);
        set_byte(name, damage[i].offset, damage[i].value);
        refused("idx", FS_TRAIN, 0, at(name), damage[i].part);
    }
    write_idx(write_file, "", 28, 28);
    set_byte("train-labels-idx1-ubyte", 3, 3);
    refused("idx", FS_TRAIN, 0, at("train-labels-idx1-ubyte"), "0x00000803: a file of labels has 0x00000801");
    set_byte("train-labels-idx1-ubyte", 3, 1);
    set_byte("train-labels-idx1-ubyte", 7, 0);
    refused("idx", FS_TRAIN, 0, at("train-labels-idx1-ubyte"), "count of labels is 0");
}

static void a_plain_idx_file_of_another_length_is_refused(void **state)
{
    (void)state;
    const char *names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"};
    for (int i = 0; i < 2; i++) {
        write_idx(write_file, "", 28, 28);
        resize(names[i], -1);
        refused("idx", FS_TRAIN, 1, at(names[i]), "truncated");
        resize(names[i], 2);
        refused("idx", FS_TRAIN, 1, at(names[i]), "trailing bytes");
        assert_int_equal(truncate(at(names[i]), 6), 0);
        refused("idx", FS_TRAIN, 1, at(names[i]), "truncated: ends after 6 bytes");
        write_file(names[i], "", 0);
        refused("idx", FS_TRAIN, 1, at(names[i]), "empty");
    }
    write_idx(write_file, "", 28, 28);
    resize("train-images-idx3-ubyte", -1);
    refused("idx", FS_TRAIN, 0, "9423 bytes", "9424");
}

/* A header that promises 1.5 TB must not make the reader ask for that much memory. */
static void a_header_that_promises_too_much_is_refused_before_allocation(void **state)
{
    (void)state;
    uint8_t header[16];
    put_number(header, 0x803);
    put_number(header + 4, 2000000000);
    put_number(header + 8, 28);
    put_number(header + 12, 28);
    write_idx(write_file, "", 28, 28);
    write_file("train-images-idx3-ubyte", header, sizeof header);
    refused("idx", FS_TRAIN, 0, at("train-images-idx3-ubyte"), "1568000000016");
    unlink(at("train-images-idx3-ubyte"));
    write_gz("train-images-idx3-ubyte.gz", header, sizeof header);
    refused("idx", FS_TRAIN, 0, at("train-images-idx3-ubyte.gz"), "cannot unpack to the 1568000000016");
}

/* Cut anywhere. A single byte no longer counts as compressed: that is a file too short for its magic number. */
static void a_gz_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    const char *name[] = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"};
    for (int i = 0; i < 2; i++) {
        write_idx(write_gz, ".gz", 3, 3);
        for (size_t size = file_size(name[i]); size-- > 0;) {
            assert_int_equal(truncate(at(name[i]), (off_t)size), 0);
            refused("idx", FS_TRAIN, 0, at(name[i]), size > 10 ? "unexpected end of file" : NULL); /* zlib knows its header */
        }
    }
}

static void a_gz_file_with_a_wrong_byte_is_refused(void **state)
{
    (void)state;
    const char *name = "train-images-idx3-ubyte.gz";
    write_idx(write_gz, ".gz", 28, 28);
    size_t size = file_size(name);
    set_byte(name, size - 8, 0x5a); /* the CRC-32 that ends the file */
    set_byte(name, size - 7, 0xa5);
    refused("idx", FS_TRAIN, 0, at(name), "incorrect data check");
    write_idx(write_gz, ".gz", 28, 28);
    set_byte(name, size - 4, 0x77); /* the length that follows it */
    refused("idx", FS_TRAIN, 0, at(name), "incorrect length check");
    write_idx(write_gz, ".gz", 28, 28);
    set_byte(name, 10, 0xff); /* the first deflate block: no such type, which zlib since 1.3.2 takes for the end */
    refused("idx", FS_TRAIN, 0, at(name), ZLIB_VERNUM < 0x1320 ? "invalid block type" : "truncated: ends after 0 bytes");
}

static void a_gz_file_with_trailing_bytes_inside_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[8 + 12 + 1] = {0};
    put_number(bytes, 0x801);
    put_number(bytes + 4, 12);
    write_idx(write_gz, ".gz", 28, 28);
    write_gz("train-labels-idx1-ubyte.gz", bytes, sizeof bytes);
    refused("idx", FS_TRAIN, 0, at("train-labels-idx1-ubyte.gz"), "trailing bytes after the data");
}

static void an_idx_file_that_cannot_be_opened_is_named(void **state)
{
    (void)state;
    const char *images = "train-images-idx3-ubyte", *labels = "train-labels-idx1-ubyte";
    refused("idx", FS_TRAIN, 0, at(labels), "no such file, neither plain nor .gz");
    write_idx(write_file, "", 28, 28);
    unlink(at(images));
    refused("idx", FS_TRAIN, 0, at(images), "no such file, neither plain nor .gz");
    mkdir(at(images), 0700);
    refused("idx", FS_TRAIN, 0, at(images), "is a folder");
    rmdir(at(images));
    assert_int_equal(symlink(images, at(images)), 0);
    refused("idx", FS_TRAIN, 0, at(images), "symbolic links"); /* ELOOP: any other failure than "no such file" */
    unlink(at("t10k-images-idx3-ubyte"));
    refused("idx", FS_TEST, 0, at("t10k-images-idx3-ubyte"), "no such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(images_of_28_by_28_are_padded_with_black_to_32_by_32),
        in_folder(images_of_other_sizes_stay_as_they_are),
        in_folder(the_forms_of_an_idx_set_give_the_same_data),
        in_folder(a_plain_file_is_preferred_and_a_gz_name_may_hold_one),
        in_folder(the_training_labels_give_k_to_both_splits),
        in_folder(a_limit_of_an_idx_set_keeps_the_first_images_and_still_checks_the_rest),
        in_folder(images_and_labels_that_differ_in_number_are_refused),
        in_folder(an_idx_header_out_of_range_is_refused_with_the_value),
        in_folder(a_plain_idx_file_of_another_length_is_refused),
        in_folder(a_header_that_promises_too_much_is_refused_before_allocation),
        in_folder(a_gz_file_cut_anywhere_is_refused),
        in_folder(a_gz_file_with_a_wrong_byte_is_refused),
        in_folder(a_gz_file_with_trailing_bytes_inside_is_refused),
        in_folder(an_idx_file_that_cannot_be_opened_is_named),
    };
    return cmocka_run_group_tests_name("idx_files", tests, NULL, NULL);
}
