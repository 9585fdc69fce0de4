/* Small data sets on disk, for tests that read them. Include after cmocka.h; define _GNU_SOURCE for nftw. */
#ifndef FILTERSCOPE_TEST_SMALL_SETS_H
#define FILTERSCOPE_TEST_SMALL_SETS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "filterscope/dataset.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, CIFAR_PIXELS = 3 * PLANE };

/* ---- A folder of its own for every test ---- */

static char folder[64];

static inline int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/filterscope-data-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static inline int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path of `name` in the folder; valid until the call after the next. */
static const char *at(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static inline void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(at(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void write_gz(const char *name, const void *bytes, size_t size)
{
    gzFile file = gzopen(at(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

static inline void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static inline size_t file_size(const char *name)
{
    struct stat status;
    assert_int_equal(stat(at(name), &status), 0);
    return (size_t)status.st_size;
}

/* Lengthens (with zeros) or shortens a file. */
static inline void resize(const char *name, long change)
{
    assert_int_equal(truncate(at(name), (off_t)file_size(name) + change), 0);
}

static inline void set_byte(const char *name, size_t offset, int value)
{
    FILE *file = fopen(at(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fputc(value, file), value);
    assert_int_equal(fclose(file), 0);
}

/* ---- Small sets ---- */

static inline uint8_t pattern(int image, int channel, int y, int x)
{
    return (uint8_t)(image * 7 + channel * 85 + y * 3 + x * 5);
}

/* Records first .. first+count-1 of a set: image i has label i mod `labels`. */
static inline void write_cifar(const char *name, int label_bytes, int labels, int first, int count)
{
    size_t record = (size_t)label_bytes + CIFAR_PIXELS;
    uint8_t *bytes = calloc(count, record), *byte = bytes;
    for (int i = first; i < first + count; i++) {
        if (label_bytes == 2)
            *byte++ = 19;
        *byte++ = (uint8_t)(i % labels);
        for (int c = 0; c < 3; c++)
            for (int place = 0; place < PLANE; place++)
                *byte++ = pattern(i, c, place / SIDE, place % SIDE);
    }
    write_file(name, bytes, count * record);
    free(bytes);
}

enum { BATCH = 4 }; /* records in each file of the small CIFAR-10 */

static inline void write_cifar10(void)
{
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        write_cifar(name, 1, 10, i * BATCH, BATCH);
    }
    write_cifar("test_batch.bin", 1, 10, 100, 3);
}

static inline void put_number(uint8_t *bytes, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

typedef void writer(const char *name, const void *bytes, size_t size);

static inline void write_images(writer *write, const char *name, int count, int rows, int columns)
{
    size_t size = 16 + (size_t)count * rows * columns;
    uint8_t *bytes = calloc(size, 1), *byte = bytes + 16;
    put_number(bytes, 0x803);
    put_number(bytes + 4, count);
    put_number(bytes + 8, rows);
    put_number(bytes + 12, columns);
    for (int i = 0; i < count; i++)
        for (int place = 0; place < rows * columns; place++)
            *byte++ = pattern(i, 0, place / columns, place % columns);
    write(name, bytes, size);
    free(bytes);
}

/* Label i is i mod `labels`. */
static inline void write_labels(writer *write, const char *name, int count, int labels)
{
    uint8_t *bytes = calloc(8 + (size_t)count, 1);
    put_number(bytes, 0x801);
    put_number(bytes + 4, count);
    for (int i = 0; i < count; i++)
        bytes[8 + i] = (uint8_t)(i % labels);
    write(name, bytes, 8 + (size_t)count);
    free(bytes);
}

/* 12 training images with 4 labels, 5 test images with 3 of them. */
static inline void write_idx(writer *write, const char *suffix, int rows, int columns)
{
    char name[4][64];
    const char *stem[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                           "t10k-labels-idx1-ubyte"};
    for (int i = 0; i < 4; i++)
        snprintf(name[i], sizeof name[i], "%s%s", stem[i], suffix);
    write_images(write, name[0], 12, rows, columns);
    write_labels(write, name[1], 12, 4);
    write_images(write, name[2], 5, rows, columns);
    write_labels(write, name[3], 5, 3);
}

/* ---- Opening ---- */

static inline fs_status open_set(const char *format, fs_split split, int limit, fs_dataset *data)
{
    char spec[128];
    snprintf(spec, sizeof spec, "%s:%s", format, folder);
    memset(data, 0xee, sizeof *data); /* whatever was there is overwritten */
    return fs_dataset_open(spec, split, limit, data);
}

#define assert_opens(format, split, limit, data)                                                                               \
    do {                                                                                                                       \
        fs_status opened = open_set(format, split, limit, data);                                                               \
        if (opened != FS_OK)                                                                                                   \
            print_error("%s\n", fs_message());                                                                                 \
        assert_int_equal(opened, FS_OK);                                                                                       \
    } while (0)

static inline void message_has(const char *part)
{
    if (part && !strstr(fs_message(), part))
        fail_msg("\"%s\" is not in the message: %s", part, fs_message());
}

static inline void assert_zeroed(const fs_dataset *data)
{
    static const fs_dataset zero; /* static: its padding is zero, too */
    assert_memory_equal(data, &zero, sizeof zero);
}

/* The set is refused with FS_ERROR, the message has both parts, and nothing is left in the structure. */
static inline void refused(const char *format, fs_split split, int limit, const char *part, const char *other)
{
    fs_dataset data;
    fs_fail(FS_OK, "no message");
    assert_int_equal(open_set(format, split, limit, &data), FS_ERROR);
    message_has(part);
    message_has(other);
    assert_zeroed(&data);
}

static inline uint8_t pixel(const fs_dataset *data, int image, int y, int x, int channel)
{
    return data->pixels[(((size_t)image * data->height + y) * data->width + x) * data->channels + channel];
}

/* Image `image` of the set is number `number` of the pattern, inside a border of zeros. */
static inline void assert_pattern(const fs_dataset *data, int image, int number, int border)
{
    for (int y = 0; y < data->height; y++)
        for (int x = 0; x < data->width; x++)
            for (int c = 0; c < data->channels; c++) {
                int outside = y < border || x < border || y >= data->height - border || x >= data->width - border;
                int expected = outside ? 0 : pattern(number, c, y - border, x - border);
                assert_int_equal(pixel(data, image, y, x, c), expected);
            }
}

static inline void assert_shape(const fs_dataset *data, int images, int height, int width, int channels, int labels)
{
    assert_int_equal(data->images, images);
    assert_int_equal(data->height, height);
    assert_int_equal(data->width, width);
    assert_int_equal(data->channels, channels);
    assert_int_equal(data->labels, labels);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

#endif
