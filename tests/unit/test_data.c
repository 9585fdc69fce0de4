/* Data sets read from small files written here, and how an image becomes the network's input. */
#define _GNU_SOURCE /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "filterscope/crc32c.h"
#include "filterscope/dataset.h"
#include "filterscope/random.h"
#include "small_sets.h"

/* ---- CIFAR ---- */

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

/* ---- IDX ---- */

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
            refused("idx", FS_TRAIN, 0, at(name[i]), size > 1 ? "unexpected end of file" : NULL);
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
    set_byte(name, 10, 0xff); /* the first deflate block: no such type */
    refused("idx", FS_TRAIN, 0, at(name), "invalid block type");
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

/* ---- Specs ---- */

static void an_unknown_spec_is_a_usage_error(void **state)
{
    (void)state;
    const char *spec[] = {"", "cifar10", "cifar10:", "cifar100:", "idx:", "mnist:/data", "CIFAR10:/data", "/data", ":"};
    for (size_t i = 0; i < sizeof spec / sizeof *spec; i++) {
        fs_dataset data = {.images = 1};
        assert_int_equal(fs_dataset_open(spec[i], FS_TRAIN, 0, &data), FS_USAGE);
        message_has(spec[i]);
        message_has("cifar10:DIR, cifar100:DIR, idx:DIR or idx-plain:DIR");
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

/* ---- Checksum ---- */

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

/* ---- Input of the network ---- */

/* A set in memory with pixel values 0..255 in no simple order. */
static fs_dataset make_set(int images, int height, int width, int channels)
{
    fs_dataset data = {.images = images, .height = height, .width = width, .channels = channels, .labels = 2};
    size_t bytes = (size_t)images * height * width * channels;
    data.pixels = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data.pixels[i] = (uint8_t)(i * 2654435761u >> 16);
    return data;
}

static size_t image_values(const fs_dataset *data)
{
    return (size_t)data->height * data->width * data->channels;
}

static void bytes_are_scaled_to_minus_one_to_one(void **state)
{
    (void)state;
    fs_dataset data = {.images = 2, .height = 16, .width = 16, .channels = 1};
    uint8_t pixels[512];
    float x[256];
    for (int i = 0; i < 512; i++)
        pixels[i] = (uint8_t)i;
    data.pixels = pixels;
    fs_dataset_scale(&data, 1, x);
    assert_true(x[0] == -1.0f && x[255] == 1.0f);
    for (int p = 0; p < 256; p++)
        assert_true(fabs(x[p] - (2.0 * p - 255.0) / 255.0) <= 0x1p-25); /* half a unit in the last place, at most */

    pixels[256] = 255; /* the second image's first pixel */
    fs_dataset_scale(&data, 1, x);
    assert_true(x[0] == 1.0f);
}

/* By definition, pixel by pixel. */
static void naive_augment(const fs_dataset *data, int image, uint64_t seed, uint32_t epoch, float *x)
{
    uint32_t word[4];
    fs_random4(seed, FS_RANDOM_AUGMENT, epoch, (uint32_t)image, 0, word);
    int flip = word[0] & 1, shift_x = (int)(word[1] % 9) - 4, shift_y = (int)(word[2] % 9) - 4;
    for (int y = 0; y < data->height; y++)
        for (int column = 0; column < data->width; column++)
            for (int c = 0; c < data->channels; c++) {
                int from_y = y - shift_y, from_x = column - shift_x;
                int inside = from_y >= 0 && from_y < data->height && from_x >= 0 && from_x < data->width;
                if (flip)
                    from_x = data->width - 1 - from_x;
                *x++ = inside ? (float)(2.0 * pixel(data, image, from_y, from_x, c) / 255.0 - 1.0) : 0.0f;
            }
}

static void augmentation_equals_its_definition_on_any_shape(void **state)
{
    (void)state;
    static const int shape[][3] = {{32, 32, 3}, {32, 32, 1}, {9, 5, 3}, {5, 9, 1}, {4, 4, 3}, {3, 2, 1}, {1, 1, 3}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        fs_dataset data = make_set(300, shape[i][0], shape[i][1], shape[i][2]);
        size_t bytes = image_values(&data) * sizeof(float);
        float *x = malloc(bytes), *expected = malloc(bytes);
        for (int image = 0; image < data.images; image++) {
            memset(x, 0xff, bytes);
            fs_dataset_augment(&data, image, 5, 2, x);
            naive_augment(&data, image, 5, 2, expected);
            assert_memory_equal(x, expected, bytes);
        }
        free(x);
        free(expected);
        fs_dataset_close(&data);
    }
}

/* No byte is scaled to 0, since 255 is odd: the zeros are exactly the vacated pixels. */
static void vacated_pixels_are_exactly_zero(void **state)
{
    (void)state;
    fs_dataset data = make_set(200, 32, 32, 3);
    static float x[CIFAR_PIXELS];
    for (int image = 0; image < data.images; image++) {
        uint32_t word[4];
        fs_random4(9, FS_RANDOM_AUGMENT, 0, (uint32_t)image, 0, word);
        int shift_x = abs((int)(word[1] % 9) - 4), shift_y = abs((int)(word[2] % 9) - 4);
        int zeros = 0;
        fs_dataset_augment(&data, image, 9, 0, x);
        for (int i = 0; i < CIFAR_PIXELS; i++)
            zeros += x[i] == 0.0f;
        assert_int_equal(zeros, 3 * (PLANE - (SIDE - shift_x) * (SIDE - shift_y)));
    }
    fs_dataset_close(&data);
}

static void augmentation_is_a_pure_function_of_seed_epoch_and_image(void **state)
{
    (void)state;
    fs_dataset data = make_set(2, 32, 32, 3);
    static float first[CIFAR_PIXELS], other[CIFAR_PIXELS];
    int same[3] = {0};
    memcpy(data.pixels + CIFAR_PIXELS, data.pixels, CIFAR_PIXELS); /* two images alike */
    for (uint32_t epoch = 0; epoch < 100; epoch++) {
        fs_dataset_augment(&data, 0, 1, epoch, first);
        fs_dataset_augment(&data, 0, 1, epoch + 1000, other);
        same[0] += memcmp(first, other, sizeof first) == 0;
        fs_dataset_augment(&data, 0, 1 + (1ull << 32), epoch, other);
        same[1] += memcmp(first, other, sizeof first) == 0;
        fs_dataset_augment(&data, 1, 1, epoch, other);
        same[2] += memcmp(first, other, sizeof first) == 0;
        fs_dataset_augment(&data, 0, 1, epoch, other);
        assert_memory_equal(first, other, sizeof first);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(same[i], 0, 6); /* two draws agree with p = 1/162 */
    fs_dataset_close(&data);
}

/* Every pixel of a 16 x 16 image says where it was, so flip and shift can be read off the output's middle. */
static void flips_come_in_half_and_all_81_shifts_alike(void **state)
{
    (void)state;
    enum { IMAGES = 8100 };
    fs_dataset data = {.images = IMAGES, .height = 16, .width = 16, .channels = 1};
    data.pixels = malloc(IMAGES * 256);
    for (int i = 0; i < IMAGES * 256; i++)
        data.pixels[i] = (uint8_t)i;
    int flips = 0, seen[9][9] = {{0}};
    for (int image = 0; image < IMAGES; image++) {
        float x[256];
        fs_dataset_augment(&data, image, 3, 1, x);
        int middle = (int)((x[8 * 16 + 8] + 1) * 127.5f + 0.5f), right = (int)((x[8 * 16 + 9] + 1) * 127.5f + 0.5f);
        int flip = right < middle;
        int shift_y = 8 - middle / 16, shift_x = 8 - (flip ? 15 - middle % 16 : middle % 16);
        assert_int_equal(abs(right - middle), 1);
        assert_true(abs(shift_y) <= 4 && abs(shift_x) <= 4);
        flips += flip;
        seen[shift_y + 4][shift_x + 4]++;
    }
    assert_in_range(flips, IMAGES / 2 - 225, IMAGES / 2 + 225); /* five standard deviations */
    for (int i = 0; i < 81; i++)
        assert_in_range(seen[i / 9][i % 9], 50, 150); /* 100 expected; five standard deviations */
    free(data.pixels);
}

/* ---- The real sets, where they are ---- */

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
        in_folder(an_unknown_spec_is_a_usage_error),
        in_folder(a_folder_that_is_none_is_refused),
        in_folder(a_path_that_is_too_long_is_refused),
        in_folder(the_checksum_covers_pixels_then_labels),
        cmocka_unit_test(bytes_are_scaled_to_minus_one_to_one),
        cmocka_unit_test(augmentation_equals_its_definition_on_any_shape),
        cmocka_unit_test(vacated_pixels_are_exactly_zero),
        cmocka_unit_test(augmentation_is_a_pure_function_of_seed_epoch_and_image),
        cmocka_unit_test(flips_come_in_half_and_all_81_shifts_alike),
        cmocka_unit_test(the_real_test_images_of_cifar10_are_1000_a_label),
        cmocka_unit_test(the_real_test_images_of_cifar100_are_100_a_label),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
