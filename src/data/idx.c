/* The IDX format of MNIST (LeCun, Cortes and Burges). A file is a magic number (0, 0, the type of an element, the number of
 * axes), one 32-bit size for each axis, all big-endian, then the elements, the last axis running fastest. Pixels are unsigned
 * bytes, with a fourth axis for channels where there are several; labels are unsigned bytes, shorts or ints. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "filterscope/memory.h"
#include "idx.h"

enum { AXES_MOST = 4, SIDE_MOST = 512, DEFLATE_RATIO_MOST = 1032, BUFFER_BYTES = 1 << 17 };

typedef struct idx_kind {
    uint32_t magic;
    int axes;
    unsigned bytes; /* of an element */
} idx_kind;

/* What a file may be, by its header; the first is MNIST's own. The lists end with a row of 0. */
static const idx_kind kinds[][5] = {
    [FS_IDX_IMAGES] = {{0x00000803, 3, 1}, {0x00000804, 4, 1}, {0}},
    [FS_IDX_LABELS] = {{0x00000801, 1, 1}, {0x00000b01, 1, 2}, {0x00000c01, 1, 4}, {0x00000c02, 2, 4}, {0}},
};

static const char *const whats[] = {[FS_IDX_IMAGES] = "images", [FS_IDX_LABELS] = "labels"};

/* A file open for reading, past its header. */
typedef struct idx_file {
    char path[FS_PATH_BYTES];
    fs_idx_what what;
    const idx_kind *kind;
    gzFile stream;            /* zlib passes files that are not compressed through as they are */
    uint64_t bytes;           /* on disk */
    uint64_t total;           /* header and data, uncompressed, as the header has it */
    uint32_t size[AXES_MOST]; /* images, rows, columns, channels; labels and, QMNIST's, numbers of each */
} idx_file;

/* zlib's message begins with the path; position and size tell how far the file is good. */
static fs_status fail_stream(const idx_file *file)
{
    int code;
    const char *message = gzerror(file->stream, &code);
    long long position = (long long)gztell(file->stream);
    if (code != Z_OK && code != Z_STREAM_END)
        return fs_fail(FS_ERROR, "%s (after %lld bytes of data)", message, position);
    return fs_fail(FS_ERROR, "%s: truncated: ends after %lld bytes", file->path, position);
}

/* count <= INT_MAX, which is what gzread can return. zlib since 1.3.2 tells of an end that came too early once only: also where
 * all bytes asked for were there before it. */
static fs_status read_bytes(const idx_file *file, uint8_t *bytes, unsigned count)
{
    int code, got = gzread(file->stream, bytes, count);
    gzerror(file->stream, &code);
    return got == (int)count && (code == Z_OK || code == Z_STREAM_END) ? FS_OK : fail_stream(file);
}

static fs_status read_number(const idx_file *file, uint32_t *number)
{
    uint8_t b[4];
    if (read_bytes(file, b, sizeof b) != FS_OK)
        return FS_ERROR;
    *number = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return FS_OK;
}

/* Compares the sizes in the header with the bytes on disk, before memory is allocated for what the header promises. Of
 * a compressed file only a bound is known: deflate packs at most 258 bytes into two bits. */
static fs_status check_total(const idx_file *file)
{
    unsigned long long bytes = file->bytes, total = file->total;
    if (gzdirect(file->stream) && bytes != total)
        return fs_fail(FS_ERROR, "%s: %llu bytes, where its header makes them %llu: %s", file->path, bytes, total,
                       bytes < total ? "truncated" : "trailing bytes after the data");
    if (total / DEFLATE_RATIO_MOST > bytes)
        return fs_fail(FS_ERROR, "%s: truncated: %llu bytes cannot unpack to the %llu of its header", file->path, bytes, total);
    return FS_OK;
}

/* By its magic number. */
static fs_status find_kind(idx_file *file)
{
    uint32_t magic;
    if (read_number(file, &magic) != FS_OK)
        return FS_ERROR;
    for (file->kind = kinds[file->what]; file->kind->magic; file->kind++)
        if (file->kind->magic == magic)
            return FS_OK;
    return fs_fail(FS_ERROR, "%s: magic number 0x%08x: a file of %s has 0x%08x", file->path, magic, whats[file->what],
                   kinds[file->what]->magic);
}

static fs_status read_header(idx_file *file)
{
    static const char *const axis[AXES_MOST] = {"count", "rows", "columns", "channels"};
    static const uint32_t most_of_axis[AXES_MOST] = {INT_MAX, SIDE_MOST, SIDE_MOST, FS_MOST_CHANNELS};
    if (find_kind(file) != FS_OK)
        return FS_ERROR;
    uint64_t data = file->kind->bytes;
    for (int i = 0; i < file->kind->axes; i++) {
        uint32_t most = most_of_axis[i];
        if (read_number(file, &file->size[i]) != FS_OK)
            return FS_ERROR;
        if (file->size[i] < 1 || file->size[i] > most)
            return fs_fail(FS_ERROR, "%s: %s of %s is %u in the header: expected 1..%u", file->path, axis[i], whats[file->what],
                           file->size[i], most);
        data *= file->size[i];
    }
    file->total = 4 + 4 * (uint64_t)file->kind->axes + data;
    return check_total(file);
}

/* After a failure, too, the caller closes with close_file. */
static fs_status open_file(const fs_idx_set *set, fs_split split, fs_idx_what what, idx_file *file)
{
    int found;
    file->what = what;
    if (fs_idx_find(set, split, what, file->path, &found) != FS_OK)
        return FS_ERROR;
    if (!found)
        return fs_fail(FS_ERROR, "%s: no such file, neither plain nor .gz", file->path);
    if (fs_data_file_size(file->path, &file->bytes) != FS_OK)
        return FS_ERROR;
    errno = 0; /* stays 0 where zlib has no memory */
    file->stream = gzopen(file->path, "rbe");
    if (!file->stream)
        return fs_fail(FS_ERROR, "%s: %s", file->path, strerror(errno ? errno : ENOMEM));
    gzbuffer(file->stream, BUFFER_BYTES);
    return read_header(file);
}

static void close_file(idx_file *file)
{
    if (file->stream)
        gzclose(file->stream);
    file->stream = NULL;
}

/* Nothing may follow the data. Trying to read on also makes zlib verify the checksum that ends a .gz file. */
static fs_status finish_file(idx_file *file)
{
    uint8_t byte;
    int code;
    int got = gzread(file->stream, &byte, 1);
    if (got > 0)
        return fs_fail(FS_ERROR, "%s: trailing bytes after the data, which its header ends at byte %llu", file->path,
                       (unsigned long long)file->total);
    gzerror(file->stream, &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
        return fail_stream(file);
    code = gzclose(file->stream);
    file->stream = NULL;
    return code == Z_OK ? FS_OK : fs_fail(FS_ERROR, "%s: closing failed (zlib code %d)", file->path, code);
}

/* Both files of a split, past their headers. Zero-initialise; close with close_split, after a failure too. */
typedef struct idx_split {
    idx_file labels, images;
} idx_split;

static void close_split(idx_split *split)
{
    close_file(&split->labels);
    close_file(&split->images);
}

/* A header of a few bytes may promise gigabytes: what both say is compared before anything is unpacked. */
static fs_status open_split(const fs_idx_set *set, fs_split which, idx_split *split)
{
    if (open_file(set, which, FS_IDX_LABELS, &split->labels) != FS_OK ||
        open_file(set, which, FS_IDX_IMAGES, &split->images) != FS_OK)
        return FS_ERROR;
    if (split->images.size[0] != split->labels.size[0])
        return fs_fail(FS_ERROR, "%s: %u images, but %u labels in %s", split->images.path, split->images.size[0],
                       split->labels.size[0], split->labels.path);
    return FS_OK;
}

/* The label that starts at `bytes`, most significant byte first. */
static uint32_t label_at(const uint8_t *bytes, unsigned size)
{
    uint32_t value = 0;
    for (unsigned byte = 0; byte < size; byte++)
        value = value << 8 | bytes[byte];
    return value;
}

/* All labels of the file, of which the first `keep` go to label[keep], and the largest to *largest. */
static fs_status read_labels(idx_file *file, int keep, uint16_t *label, int *largest)
{
    enum { AT_ONCE = 1024, COLUMNS_MOST = 16 };
    uint8_t buffer[AT_ONCE * COLUMNS_MOST * 4];
    unsigned size = file->kind->bytes, columns = file->kind->axes > 1 ? file->size[1] : 1;
    int count = (int)file->size[0];
    *largest = 0;
    if (columns > COLUMNS_MOST)
        return fs_fail(FS_ERROR, "%s: %u numbers of each label: at most %d", file->path, columns, COLUMNS_MOST);
    for (int i = 0; i < count; i += AT_ONCE) {
        int now = count - i < AT_ONCE ? count - i : AT_ONCE;
        if (read_bytes(file, buffer, (unsigned)now * size * columns) != FS_OK)
            return FS_ERROR;
        for (int n = 0; n < now; n++) {
            uint32_t value = label_at(buffer + (size_t)n * size * columns, size);
            if (value >= FS_MAX_LABELS)
                return fs_fail(FS_ERROR, "%s: label %u in record %d: expected 0..%d", file->path, value, i + n,
                               FS_MAX_LABELS - 1);
            *largest = (int)value > *largest ? (int)value : *largest;
            if (i + n < keep)
                label[i + n] = (uint16_t)value;
        }
    }
    return finish_file(file);
}

static fs_status set_labels(const char *path, int count, int largest, int *labels)
{
    *labels = largest + 1;
    if (largest == 0)
        return fs_fail(FS_ERROR, "%s: all %d labels are 0: a set needs at least 2 labels", path, count);
    return FS_OK;
}

/* K from the training labels, for the test split, or `known` where they cannot be had and that is not 0. */
static fs_status count_labels(const fs_idx_set *set, int known, int *labels)
{
    idx_split split = {0};
    char path[FS_PATH_BYTES];
    int largest, has_images;
    fs_status status = fs_idx_find(set, FS_TRAIN, FS_IDX_IMAGES, path, &has_images);
    if (!status)
        status = has_images ? open_split(set, FS_TRAIN, &split) : open_file(set, FS_TRAIN, FS_IDX_LABELS, &split.labels);
    if (!status)
        status = read_labels(&split.labels, 0, NULL, &largest);
    if (!status)
        status = set_labels(split.labels.path, (int)split.labels.size[0], largest, labels);
    close_split(&split);
    if (!status || !known)
        return status;
    *labels = known;
    return FS_OK;
}

static fs_status check_labels(const char *path, const fs_dataset *data, int largest)
{
    for (int i = 0; largest >= data->labels && i < data->images; i++)
        if (data->label[i] >= data->labels)
            return fs_fail(FS_ERROR, "%s: label %d in record %d: this set has %d labels", path, data->label[i], i,
                           data->labels);
    return largest < data->labels ? FS_OK
                                  : fs_fail(FS_ERROR, "%s: has label %d: this set has %d labels", path, largest, data->labels);
}

/* Black around 28 x 28 pixels makes the 32 x 32 that the built-in architectures are drawn for; other sizes stay. */
static int border(const idx_file *file, int plain)
{
    return !plain && file->size[1] == 28 && file->size[2] == 28 ? 2 : 0;
}

/* bytes [rows][columns][channels] into the middle of image `image`, whose border is black already. */
static void place_image(const idx_file *file, const uint8_t *bytes, fs_dataset *data, int image)
{
    size_t rows = file->size[1], line = file->size[2] * (size_t)data->channels, width = data->width * (size_t)data->channels;
    size_t edge = ((size_t)data->height - rows) / 2;
    uint8_t *pixels = data->pixels + (size_t)image * data->height * width;
    for (size_t y = 0; y < rows; y++)
        memcpy(pixels + (y + edge) * width + edge * data->channels, bytes + y * line, line);
}

/* Keeps the first data->images images and reads the others only to see that the file is whole. */
static fs_status read_pixels(idx_file *file, fs_dataset *data)
{
    fs_status rc = FS_ERROR;
    unsigned bytes = file->size[1] * file->size[2] * (unsigned)data->channels;
    uint8_t *buffer = fs_alloc(bytes, 1, "one image");
    if (!buffer)
        goto cleanup;
    for (int i = 0; i < (int)file->size[0]; i++) {
        if (read_bytes(file, buffer, bytes) != FS_OK)
            goto cleanup;
        if (i < data->images)
            place_image(file, buffer, data, i);
    }
    rc = finish_file(file);
cleanup:
    free(buffer);
    return rc;
}

static void set_shape(const idx_file *images, int plain, fs_dataset *data)
{
    data->height = (int)images->size[1] + 2 * border(images, plain);
    data->width = (int)images->size[2] + 2 * border(images, plain);
    data->channels = images->kind->axes == 4 ? (int)images->size[3] : 1;
}

/* `folder` is FOLDER or FOLDER/SET. */
static fs_status read_idx(const char *folder, const fs_data_request *request, int plain, fs_dataset *data)
{
    fs_idx_set set;
    idx_split split = {0};
    int largest = 0, train = request->split == FS_TRAIN;
    fs_status status = fs_idx_choose(folder, &set);
    if (!status)
        status = open_split(&set, request->split, &split);
    if (!status && !train)
        status = count_labels(&set, request->labels, &data->labels);
    if (!status) {
        set_shape(&split.images, plain, data);
        status = fs_data_allocate(folder, (int)split.images.size[0], request, data);
    }
    if (!status)
        status = read_labels(&split.labels, data->images, data->label, &largest);
    if (!status && train)
        status = set_labels(split.labels.path, (int)split.labels.size[0], largest, &data->labels);
    if (!status)
        status = check_labels(split.labels.path, data, largest);
    if (!status)
        status = read_pixels(&split.images, data);
    close_split(&split);
    return status;
}

fs_status fs_read_idx(const char *folder, const fs_data_request *request, fs_dataset *data)
{
    return read_idx(folder, request, 0, data);
}

fs_status fs_read_idx_plain(const char *folder, const fs_data_request *request, fs_dataset *data)
{
    return read_idx(folder, request, 1, data);
}
