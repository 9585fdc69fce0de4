/* Sets in one HDF5 file, from small files written here. */
#define _GNU_SOURCE /* nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hdf5.h>

#include "filterscope/dataset.h"
#include "small_sets.h"

enum { IMAGES = 12, TESTS = 5, HEIGHT = 6, WIDTH = 7, CHANNELS = 3 };

static const hsize_t images_size[4] = {IMAGES, HEIGHT, WIDTH, CHANNELS}, tests_size[4] = {TESTS, HEIGHT, WIDTH, CHANNELS};

/* A new dataset of `type`, with `values` of `memory` unless NULL. */
static void put(hid_t file, const char *name, int axes, const hsize_t *size, hid_t type, hid_t creation, hid_t memory,
                const void *values)
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE), space = H5Screate_simple(axes, size, NULL);
    H5Pset_create_intermediate_group(links, 1);
    hid_t set = H5Dcreate2(file, name, type, space, links, creation, H5P_DEFAULT);
    assert_true(set >= 0);
    if (values)
        assert_true(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(links);
}

static void put_images(hid_t file, const char *name, const hsize_t *size, hid_t creation)
{
    uint8_t values[IMAGES * HEIGHT * WIDTH * CHANNELS], *value = values;
    for (int i = 0; i < (int)size[0]; i++)
        for (int place = 0; place < HEIGHT * WIDTH; place++)
            for (int c = 0; c < CHANNELS; c++)
                *value++ = pattern(i, c, place / WIDTH, place % WIDTH);
    put(file, name, 4, size, H5T_STD_U8LE, creation, H5T_NATIVE_UINT8, values);
}

/* Label i is i mod `labels`. */
static void put_labels(hid_t file, const char *name, hsize_t count, int labels, hid_t type)
{
    int value[IMAGES];
    for (int i = 0; i < (int)count; i++)
        value[i] = i % labels;
    put(file, name, 1, &count, type, H5P_DEFAULT, H5T_NATIVE_INT, value);
}

static hid_t open_file(void)
{
    return H5Fopen(at("set.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
}

/* 12 training images with 4 labels, 5 test images with 3 of them; names with '_' or '/'. */
static void write_set(char between, hid_t creation, hid_t label_type)
{
    char name[4][32];
    for (int i = 0; i < 4; i++)
        snprintf(name[i], sizeof name[i], "%s%c%s", i < 2 ? "train" : "test", between, i % 2 ? "labels" : "images");
    hid_t file = H5Fcreate(at("set.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put_images(file, name[0], images_size, creation);
    put_labels(file, name[1], IMAGES, 4, label_type);
    put_images(file, name[2], tests_size, creation);
    put_labels(file, name[3], TESTS, 3, label_type);
    H5Fclose(file);
}

static void remove_link(const char *name)
{
    hid_t file = open_file();
    assert_true(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    H5Fclose(file);
}

/* Chunks of 5 images, a part of their width, packed. */
static hid_t packed(void)
{
    const hsize_t chunk[4] = {5, HEIGHT, 4, CHANNELS};
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 4, chunk);
    H5Pset_shuffle(creation);
    H5Pset_deflate(creation, 4);
    H5Pset_fletcher32(creation);
    return creation;
}

static fs_status open_h5(fs_split split, int limit, fs_dataset *data)
{
    char spec[128];
    snprintf(spec, sizeof spec, "hdf5:%s", at("set.h5"));
    memset(data, 0xee, sizeof *data);
    return fs_dataset_open(spec, split, limit, data);
}

static void refused_h5(fs_split split, int limit, const char *part, const char *other)
{
    fs_dataset data;
    fs_fail(FS_OK, "no message");
    assert_int_equal(open_h5(split, limit, &data), FS_ERROR);
    message_has(part);
    message_has(other);
    message_has("set.h5");
    assert_zeroed(&data);
}

static void assert_whole(fs_split split, int limit, int images)
{
    fs_dataset data;
    if (open_h5(split, limit, &data) != FS_OK)
        fail_msg("%s", fs_message());
    assert_shape(&data, images, HEIGHT, WIDTH, CHANNELS, 4);
    for (int i = 0; i < images; i++) {
        assert_pattern(&data, i, i, 0);
        assert_int_equal(data.label[i], i % (split == FS_TRAIN ? 4 : 3));
    }
    fs_dataset_close(&data);
}

static void flat_names_and_groups_plain_and_packed_give_the_same(void **state)
{
    (void)state;
    hid_t creations[] = {H5P_DEFAULT, packed()}, types[] = {H5T_STD_U8LE, H5T_STD_I64BE};
    for (int form = 0; form < 8; form++) {
        write_set(form & 1 ? '/' : '_', creations[form >> 1 & 1], types[form >> 2]);
        assert_whole(FS_TRAIN, 0, IMAGES);
        assert_whole(FS_TEST, 0, TESTS);
        assert_whole(FS_TRAIN, 7, 7);
        refused_h5(FS_TEST, 6, "limit of 6 images", "this split has 5");
    }
    H5Pclose(creations[1]);
}

/* Images that stay in the file are those that would be in memory, with labels left out and images held back, too. */
static void compare_stream(int32_t labels, double share)
{
    static const int32_t number[] = {0, 2, 3};
    const fs_data_request request = {.split = FS_TRAIN, .memory = 1};
    fs_dataset whole, stream, held[2];
    char spec[128];
    float x[2][HEIGHT * WIDTH * CHANNELS];
    snprintf(spec, sizeof spec, "hdf5:%s", at("set.h5"));
    assert_int_equal(fs_dataset_open(spec, FS_TRAIN, 0, &whole), FS_OK);
    if (fs_dataset_open_as(spec, &request, &stream) != FS_OK)
        fail_msg("%s", fs_message());
    assert_true(stream.stream && !stream.pixels && whole.pixels);
    if (labels < 4) {
        assert_int_equal(fs_dataset_keep_labels(&whole, labels, number), FS_OK);
        assert_int_equal(fs_dataset_keep_labels(&stream, labels, number), FS_OK);
    }
    assert_int_equal(fs_dataset_hold_back(&whole, share, &held[0]), FS_OK);
    assert_int_equal(fs_dataset_hold_back(&stream, share, &held[1]), FS_OK);
    assert_true(stream.images == whole.images && stream.crc == whole.crc && held[0].crc == held[1].crc);
    for (int first = 0; first < whole.images; first += 2) {
        int count = whole.images - first < 2 ? 1 : 2;
        assert_int_equal(fs_dataset_fetch(&stream, first, count), FS_OK);
        for (int image = first; image < first + count; image++) {
            fs_dataset_augment(&whole, image, 5, 1, x[0]);
            fs_dataset_augment(&stream, image, 5, 1, x[1]);
            assert_memory_equal(x[0], x[1], sizeof x[0]);
        }
    }
    fs_dataset_close(&whole);
    fs_dataset_close(&stream);
    fs_dataset_close(&held[0]);
    fs_dataset_close(&held[1]);
}

/* Chunks of five whole images. */
static hid_t in_chunks(void)
{
    const hsize_t chunk[4] = {5, HEIGHT, WIDTH, CHANNELS};
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 4, chunk);
    return creation;
}

static void images_that_stay_in_the_file_are_the_same(void **state)
{
    (void)state;
    hid_t creations[] = {H5P_DEFAULT, in_chunks()};
    for (int form = 0; form < 2; form++) {
        write_set('_', creations[form], H5T_STD_U8LE);
        compare_stream(4, 0.34);
        compare_stream(3, 0.34);
    }
    H5Pclose(creations[1]);
}

/* Batches come in the order in which they were asked for, however many are ahead, also after some were forgotten. */
static void batches_are_read_ahead(void **state)
{
    (void)state;
    const fs_data_request request = {.split = FS_TRAIN, .memory = 1};
    const int image[] = {11, 3, 4, 0, 7, 5};
    fs_dataset data;
    char spec[128];
    snprintf(spec, sizeof spec, "hdf5:%s", at("set.h5"));
    write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
    assert_int_equal(fs_dataset_open_as(spec, &request, &data), FS_OK);
    for (int round = 0, asked = 0, used = 0; round < 30; round++) {
        for (; fs_stream_ahead(data.stream, 1 + asked % 3, image + asked % 4); asked++)
            continue;
        assert_true(asked - used >= 2);
        for (int n = 0; n < 1 + round % 4; n++, used++) {
            assert_int_equal(fs_stream_next(data.stream), FS_OK);
            for (int i = 0; i < 1 + used % 3; i++)
                assert_int_equal(fs_stream_pixels(data.stream, image[used % 4 + i])[0], pattern(image[used % 4 + i], 0, 0, 0));
        }
        if (round % 7 == 6) {
            fs_stream_forget(data.stream);
            used = asked;
        }
    }
    assert_int_equal(truncate(at("set.h5"), 100), 0);
    fs_stream_forget(data.stream);
    assert_int_equal(fs_dataset_fetch(&data, 0, IMAGES), FS_ERROR);
    message_has("images cannot be read at byte");
    message_has("the file has become shorter");
    fs_dataset_close(&data);
}

static void refused_stream(const char *message)
{
    const fs_data_request request = {.split = FS_TRAIN, .memory = 1};
    fs_dataset data;
    char spec[128];
    snprintf(spec, sizeof spec, "hdf5:%s", at("set.h5"));
    assert_int_equal(fs_dataset_open_as(spec, &request, &data), FS_ERROR);
    message_has(message);
    message_has("train_images");
    assert_zeroed(&data);
}

static void images_that_cannot_stay_in_the_file_are_refused(void **state)
{
    (void)state;
    hid_t creation = packed();
    write_set('_', creation, H5T_STD_U8LE);
    refused_stream("unpacked and in chunks of whole images");
    H5Premove_filter(creation, H5Z_FILTER_ALL);
    write_set('_', creation, H5T_STD_U8LE); /* chunks of a part of each image */
    refused_stream("unpacked and in chunks of whole images");
    H5Pclose(creation);
}

/* Names of at most six bytes. */
static void put_names(const char names[][6], hsize_t count, int varying)
{
    const char *text[4] = {names[0], names[1], names[2], names[3]};
    hid_t type = H5Tcopy(H5T_C_S1), file = open_file();
    H5Tset_size(type, varying ? H5T_VARIABLE : 6);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    put(file, "label_names", 1, &count, type, H5P_DEFAULT, type, varying ? (const void *)text : names);
    H5Tclose(type);
    H5Fclose(file);
}

static void names_are_those_of_the_file(void **state)
{
    (void)state;
    static const char names[][6] = {"cat", "d\xc3\xb6g", "gannet", "x"}, bad[][6] = {"a", "b", "c\n", "d"};
    fs_dataset data;
    write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
    put_names(names, 4, 0);
    assert_int_equal(open_h5(FS_TEST, 0, &data), FS_OK);
    assert_string_equal(data.label_name[1], "d\xc3\xb6g");
    assert_string_equal(data.label_name[2], "gannet");
    fs_dataset_close(&data);
    const struct {
        const char (*names)[6];
        hsize_t count;
        int varying;
        const char *message;
    } rows[] = {
        {names, 3, 0, "has 3 names, this set 4 labels"}, {bad, 4, 0, "the name of label 2"}, {names, 4, 1, "numpy.array"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        remove_link("label_names");
        put_names(rows[i].names, rows[i].count, rows[i].varying);
        refused_h5(FS_TRAIN, 0, rows[i].message, "label_names");
    }
}

static void grey_images_need_no_fourth_axis(void **state)
{
    (void)state;
    const hsize_t size[3] = {IMAGES, 2, 3};
    uint8_t values[IMAGES * 2 * 3];
    fs_dataset data;
    for (int i = 0; i < (int)sizeof values; i++)
        values[i] = (uint8_t)i;
    write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
    remove_link("train_images");
    hid_t file = open_file();
    put(file, "train_images", 3, size, H5T_STD_U8LE, H5P_DEFAULT, H5T_NATIVE_UINT8, values);
    H5Fclose(file);
    assert_int_equal(open_h5(FS_TRAIN, 0, &data), FS_OK);
    assert_shape(&data, IMAGES, 2, 3, 1, 4);
    assert_memory_equal(data.pixels, values, sizeof values);
    fs_dataset_close(&data);
}

/* train_images is replaced by one of this shape and type, which is not written where `creation` does not allocate it. */
static void with_images(int axes, const hsize_t *size, hid_t type, hid_t creation, const char *message)
{
    write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
    remove_link("train_images");
    hid_t file = open_file();
    put(file, "train_images", axes, size, type, creation, type, NULL);
    H5Fclose(file);
    refused_h5(FS_TRAIN, 0, message, "train_images");
}

static void another_type_or_shape_of_images_is_refused_with_the_value(void **state)
{
    (void)state;
    const hsize_t flat[2] = {IMAGES, 9}, wide[4] = {IMAGES, HEIGHT, 513, CHANNELS}, deep[4] = {IMAGES, HEIGHT, WIDTH, 65},
                  none[4] = {0, HEIGHT, WIDTH, CHANNELS}, many[4] = {1ull << 31, 1, 1, 1};
    with_images(4, images_size, H5T_NATIVE_FLOAT, H5P_DEFAULT, "must be unsigned bytes");
    with_images(4, images_size, H5T_STD_I8LE, H5P_DEFAULT, "must be unsigned bytes");
    with_images(2, flat, H5T_STD_U8LE, H5P_DEFAULT, "has 2 axes");
    with_images(4, wide, H5T_STD_U8LE, H5P_DEFAULT, "width of 513: expected 1..512");
    with_images(4, deep, H5T_STD_U8LE, H5P_DEFAULT, "channels of 65: expected 1..64");
    with_images(4, none, H5T_STD_U8LE, H5P_DEFAULT, "count of 0");
    with_images(4, many, H5T_STD_U8LE, H5P_DEFAULT, "count of 2147483648");
}

static void what_was_not_written_is_refused_before_allocation(void **state)
{
    (void)state;
    const hsize_t huge[4] = {2000000000, 512, 512, 64}, fat[4] = {1000, 512, 512, 2}, one[4] = {1, HEIGHT, WIDTH, CHANNELS};
    with_images(4, huge, H5T_STD_U8LE, H5P_DEFAULT, "0 bytes are stored");
    hid_t creation = packed();
    with_images(4, huge, H5T_STD_U8LE, creation, "0 bytes are stored");
    H5Pset_chunk(creation, 4, fat);
    with_images(4, fat, H5T_STD_U8LE, creation, "0 bytes are stored");
    H5Pclose(creation);
    creation = H5Pcreate(H5P_DATASET_CREATE); /* all chunks written, of one image fewer than there are labels */
    H5Pset_chunk(creation, 4, one);
    H5Pset_deflate(creation, 1);
    write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
    remove_link("train_images");
    hid_t file = open_file();
    put_images(file, "train_images", (const hsize_t[]){IMAGES - 1, HEIGHT, WIDTH, CHANNELS}, creation);
    H5Fclose(file);
    refused_h5(FS_TRAIN, 0, "has 11 images", "12 labels");
    H5Pclose(creation);
}

static void chunks_that_are_missing_or_too_large_are_refused(void **state)
{
    (void)state;
    const hsize_t one[4] = {1, HEIGHT, WIDTH, CHANNELS}, start[4] = {0}, fat[4] = {1100, 512, 512, 1};
    uint8_t noise[HEIGHT * WIDTH * CHANNELS] = {1};
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 4, one);
    H5Pset_deflate(creation, 1);
    write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
    remove_link("train_images");
    hid_t file = open_file();
    put(file, "train_images", 4, images_size, H5T_STD_U8LE, creation, 0, NULL);
    hid_t set = H5Dopen2(file, "train_images", H5P_DEFAULT), space = H5Dget_space(set), memory = H5Screate_simple(4, one, NULL);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, one, NULL);
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT8, memory, space, H5P_DEFAULT, noise) >= 0);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(file);
    refused_h5(FS_TRAIN, 0, "/train_images: 1 of its 12 chunks were written", NULL);
    H5Pset_chunk(creation, 4, fat);
    remove_link("train_images");
    file = open_file();
    uint8_t *zeros = calloc(1100, 512 * 512);
    put(file, "train_images", 4, fat, H5T_STD_U8LE, creation, H5T_NATIVE_UINT8, zeros);
    free(zeros);
    H5Fclose(file);
    H5Pclose(creation);
    refused_h5(FS_TRAIN, 0, "/train_images: chunks of more than 256 MiB", NULL);
}

static void labels_out_of_range_of_another_number_or_type_are_refused(void **state)
{
    (void)state;
    const hsize_t count = TESTS;
    const int bad[] = {0, 1, 2, 3, 4}, negative[] = {0, 1, -1, 0, 1};
    const struct {
        const int *value;
        hsize_t count;
        hid_t type;
        const char *message;
    } rows[] = {{bad, count, H5T_STD_I32LE, "label 4 in record 4: expected 0..3"},
                {negative, count, H5T_STD_I64LE, "label -1 in record 2: expected 0..3"},
                {bad, count - 1, H5T_STD_U8LE, "/test_images has 5 images, but /test_labels 4 labels"},
                {bad, count, H5T_IEEE_F32LE, "labels must be whole numbers"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
        remove_link("test_labels");
        hid_t file = open_file();
        put(file, "test_labels", 1, &rows[i].count, rows[i].type, H5P_DEFAULT, H5T_NATIVE_INT, rows[i].value);
        H5Fclose(file);
        refused_h5(FS_TEST, 0, rows[i].message, "test_labels");
    }
    write_set('_', H5P_DEFAULT, H5T_STD_U8LE);
    remove_link("train_labels");
    refused_h5(FS_TEST, 0, "neither a dataset train_labels nor train/labels", NULL);
    hid_t file = open_file();
    put_labels(file, "train_labels", IMAGES, 1, H5T_STD_U8LE);
    H5Fclose(file);
    refused_h5(FS_TEST, 0, "/train_labels: all labels are 0", NULL);
}

static void what_leads_out_of_the_file_is_refused(void **state)
{
    (void)state;
    hid_t file, creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(creation, "/etc/passwd", 0, H5F_UNLIMITED);
    with_images(4, images_size, H5T_STD_U8LE, creation, "virtual or in an external file");
    H5Pclose(creation);
    creation = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(4, images_size, NULL);
    H5Pset_virtual(creation, space, "other.h5", "/x", space);
    H5Sclose(space);
    with_images(4, images_size, H5T_STD_U8LE, creation, "virtual or in an external file");
    H5Pclose(creation);
    for (int soft = 0; soft < 2; soft++) {
        write_set('/', H5P_DEFAULT, H5T_STD_U8LE);
        file = open_file();
        if (soft)
            H5Lcreate_soft("/train/images", file, "train_images", H5P_DEFAULT, H5P_DEFAULT);
        else
            H5Lcreate_external("other.h5", "/x", file, "train_images", H5P_DEFAULT, H5P_DEFAULT);
        H5Fclose(file);
        refused_h5(FS_TRAIN, 0, "/train_images: is reached by a soft or external link", NULL);
    }
    write_set('/', H5P_DEFAULT, H5T_STD_U8LE);
    file = open_file();
    hid_t group = H5Gcreate2(file, "train_images", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(group);
    H5Fclose(file);
    refused_h5(FS_TRAIN, 0, "/train_images: is no dataset", NULL);
}

static void a_file_that_is_cut_damaged_or_none_is_refused(void **state)
{
    (void)state;
    hid_t creation = packed();
    write_set('_', creation, H5T_STD_U8LE);
    H5Pclose(creation);
    hid_t file = open_file(), set = H5Dopen2(file, "train_images", H5P_DEFAULT), space = H5Dget_space(set);
    haddr_t place;
    hsize_t bytes;
    assert_true(H5Dget_chunk_info(set, space, 0, NULL, NULL, &place, &bytes) >= 0);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(file);
    set_byte("set.h5", (size_t)(place + bytes / 2), 0x5a);
    refused_h5(FS_TRAIN, 0, "/train_images: rows 0 to", "damaged");
    resize("set.h5", -1);
    refused_h5(FS_TRAIN, 0, "truncated", NULL);
    write_text("set.h5", "no HDF5");
    refused_h5(FS_TRAIN, 0, "is no HDF5 file", NULL);
    write_text("set.h5", "");
    refused_h5(FS_TRAIN, 0, "is empty", NULL);
    unlink(at("set.h5"));
    refused_h5(FS_TRAIN, 0, "No such file", NULL);
    assert_int_equal(mkfifo(at("set.h5"), 0600), 0);
    refused_h5(FS_TRAIN, 0, "is not a regular file", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(flat_names_and_groups_plain_and_packed_give_the_same),
        in_folder(images_that_stay_in_the_file_are_the_same),
        in_folder(batches_are_read_ahead),
        in_folder(images_that_cannot_stay_in_the_file_are_refused),
        in_folder(names_are_those_of_the_file),
        in_folder(grey_images_need_no_fourth_axis),
        in_folder(another_type_or_shape_of_images_is_refused_with_the_value),
        in_folder(what_was_not_written_is_refused_before_allocation),
        in_folder(chunks_that_are_missing_or_too_large_are_refused),
        in_folder(labels_out_of_range_of_another_number_or_type_are_refused),
        in_folder(what_leads_out_of_the_file_is_refused),
        in_folder(a_file_that_is_cut_damaged_or_none_is_refused),
    };
    return cmocka_run_group_tests_name("hdf5_files", tests, NULL, NULL);
}
