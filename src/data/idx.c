/* The IDX format of MNIST (LeCun, Cortes and Burges). A file is a magic number (0, 0, the type of an element, the number of
 * axes), one 32-bit size for each axis, all big-endian, then the elements, the last axis running fastest. Pixels are unsigned
 * bytes, with a fourth axis for channels where there are several; labels are unsigned bytes, shorts or ints. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#include "filterscope/memory.h"
#include "readers.h"

enum { AXES_MOST = 4, SIDE_MOST = 512, DEFLATE_RATIO_MOST = 1032, BUFFER_BYTES = 1 << 17 };

typedef struct idx_kind {
    const char *what;   /* as in the file's name and in messages */
    const char *ending; /* of the file's name */
    uint32_t magic;
    int axes;
    unsigned bytes; /* of an element */
} idx_kind;

/* In the order in which they are looked for; the lists end with a row of NULL. */
static const idx_kind image_kinds[] = {
    {"images", "idx3-ubyte", 0x00000803, 3, 1}, {"images", "idx4-ubyte", 0x00000804, 4, 1}, {0}};
static const idx_kind label_kinds[] = {{"labels", "idx1-ubyte", 0x00000801, 1, 1},
                                       {"labels", "idx1-short", 0x00000b01, 1, 2},
                                       {"labels", "idx1-int", 0x00000c01, 1, 4},
                                       {0}};

/* A file open for reading, past its header. */
typedef struct idx_file {
    char path[FS_PATH_BYTES];
    const idx_kind *kind;
    gzFile stream;            /* zlib passes files that are not compressed through as they are */
    uint64_t bytes;           /* on disk */
    uint64_t total;           /* header and data, uncompressed, as the header has it */
    uint32_t size[AXES_MOST]; /* number of images or labels, rows, columns, channels */
} idx_file;

/* The first name that exists: MNIST's mirrors write either a hyphen or a dot before "idx", and pack the file or not. *found is
 * 0 where there is none. */
static fs_status find_kind(const char *folder, const char *split, const idx_kind *kind, char *path, int *found)
{
    static const struct {
        const char *separator, *suffix;
    } form[] = {{"-", ""}, {"-", ".gz"}, {".", ""}, {".", ".gz"}};
    char name[64];
    struct stat status;
    *found = 0;
    for (size_t i = 0; i < sizeof form / sizeof *form && !*found; i++) {
        snprintf(name, sizeof name, "%s-%s%s%s%s", split, kind->what, form[i].separator, kind->ending, form[i].suffix);
        if (fs_data_path(folder, name, path) != FS_OK)
            return FS_ERROR;
        *found = stat(path, &status) == 0;
        if (!*found && errno != ENOENT)
            return fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    }
    return FS_OK;
}

static fs_status find_file(const char *folder, const char *split, const idx_kind *kinds, idx_file *file)
{
    for (file->kind = kinds; file->kind->what; file->kind++) {
        int found;
        fs_status status = find_kind(folder, split, file->kind, file->path, &found);
        if (status || found)
            return status;
    }
    return fs_fail(FS_ERROR, "%s/%s-%s-%s: no such file, neither plain nor .gz", folder, split, kinds->what, kinds->ending);
}

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

/* count <= INT_MAX, which is what gzread can return. */
static fs_status read_bytes(const idx_file *file, uint8_t *bytes, unsigned count)
{
    return gzread(file->stream, bytes, count) == (int)count ? FS_OK : fail_stream(file);
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

static fs_status read_header(idx_file *file)
{
    static const char *const axis[AXES_MOST] = {"count", "rows", "columns", "channels"};
    static const uint32_t most_of_axis[AXES_MOST] = {INT_MAX, SIDE_MOST, SIDE_MOST, FS_MOST_CHANNELS};
    const idx_kind *kind = file->kind;
    uint32_t magic;
    if (read_number(file, &magic) != FS_OK)
        return FS_ERROR;
    if (magic != kind->magic)
        return fs_fail(FS_ERROR, "%s: magic number 0x%08x: a file of %s has 0x%08x", file->path, magic, kind->what,
                       kind->magic);
    uint64_t data = kind->bytes;
    for (int i = 0; i < kind->axes; i++) {
        uint32_t most = most_of_axis[i];
        if (read_number(file, &file->size[i]) != FS_OK)
            return FS_ERROR;
        if (file->size[i] < 1 || file->size[i] > most)
            return fs_fail(FS_ERROR, "%s: %s of %s is %u in the header: expected 1..%u", file->path, axis[i], kind->what,
                           file->size[i], most);
        data *= file->size[i];
    }
    file->total = 4 + 4 * (uint64_t)kind->axes + data;
    return check_total(file);
}

/* After a failure, too, the caller closes with close_file. */
static fs_status open_file(const char *folder, const char *split, const idx_kind *kinds, idx_file *file)
{
    if (find_file(folder, split, kinds, file) != FS_OK || fs_data_file_size(file->path, &file->bytes) != FS_OK)
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

/* A file of labels, whole. Zero-initialise; release `label` with free(), after a failure too. */
typedef struct idx_labels {
    idx_file file;
    uint16_t *label;
    int count;
} idx_labels;

/* The elements of the file, most significant byte first. */
static fs_status read_elements(idx_labels *labels)
{
    enum { AT_ONCE = 4096 };
    uint8_t buffer[AT_ONCE * 4];
    unsigned size = labels->file.kind->bytes;
    for (int i = 0; i < labels->count; i += AT_ONCE) {
        int now = labels->count - i < AT_ONCE ? labels->count - i : AT_ONCE;
        if (read_bytes(&labels->file, buffer, (unsigned)now * size) != FS_OK)
            return FS_ERROR;
        for (int n = 0; n < now; n++) {
            uint32_t value = 0;
            for (unsigned byte = 0; byte < size; byte++)
                value = value << 8 | buffer[(unsigned)n * size + byte];
            if (value >= FS_MAX_LABELS)
                return fs_fail(FS_ERROR, "%s: label %u in record %d: expected 0..%d", labels->file.path, value, i + n,
                               FS_MAX_LABELS - 1);
            labels->label[i + n] = (uint16_t)value;
        }
    }
    return FS_OK;
}

static fs_status read_labels(const char *folder, const char *split, idx_labels *labels)
{
    fs_status rc = FS_ERROR;
    if (open_file(folder, split, label_kinds, &labels->file) != FS_OK)
        goto cleanup;
    labels->count = (int)labels->file.size[0];
    labels->label = fs_alloc(labels->count, sizeof *labels->label, "the labels of an IDX file");
    if (!labels->label || read_elements(labels) != FS_OK)
        goto cleanup;
    rc = finish_file(&labels->file);
cleanup:
    close_file(&labels->file);
    return rc;
}

/* K from the training labels. */
static fs_status count_labels(const idx_labels *train, int *labels)
{
    int largest = 0;
    for (int i = 0; i < train->count; i++)
        largest = train->label[i] > largest ? train->label[i] : largest;
    if (largest == 0)
        return fs_fail(FS_ERROR, "%s: all %d labels are 0: a set needs at least 2 labels", train->file.path, train->count);
    *labels = largest + 1;
    return FS_OK;
}

static fs_status check_labels(const idx_labels *test, int labels)
{
    for (int i = 0; i < test->count; i++)
        if (test->label[i] >= labels)
            return fs_fail(FS_ERROR, "%s: label %d in record %d: this set has %d labels", test->file.path, test->label[i], i,
                           labels);
    return FS_OK;
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

/* The images of `split`, whose labels are `labels`. */
static fs_status read_images(const char *folder, const char *split, const idx_labels *labels, int limit, int plain,
                             fs_dataset *data)
{
    fs_status rc = FS_ERROR;
    idx_file file = {0};
    if (open_file(folder, split, image_kinds, &file) != FS_OK)
        goto cleanup;
    if ((int)file.size[0] != labels->count) {
        fs_fail(FS_ERROR, "%s: %u images, but %d labels in %s", file.path, file.size[0], labels->count, labels->file.path);
        goto cleanup;
    }
    data->height = (int)file.size[1] + 2 * border(&file, plain);
    data->width = (int)file.size[2] + 2 * border(&file, plain);
    data->channels = file.kind->axes == 4 ? (int)file.size[3] : 1;
    if (fs_data_allocate(folder, labels->count, limit, data) != FS_OK)
        goto cleanup;
    for (int i = 0; i < data->images; i++)
        data->label[i] = labels->label[i];
    rc = read_pixels(&file, data);
cleanup:
    close_file(&file);
    return rc;
}

static fs_status read_idx(const char *folder, fs_split split, int limit, int plain, fs_dataset *data)
{
    fs_status rc = FS_ERROR;
    idx_labels train = {0}, test = {0};
    if (read_labels(folder, "train", &train) != FS_OK || count_labels(&train, &data->labels) != FS_OK)
        goto cleanup;
    if (split == FS_TRAIN) {
        rc = read_images(folder, "train", &train, limit, plain, data);
        goto cleanup;
    }
    if (read_labels(folder, "t10k", &test) != FS_OK || check_labels(&test, data->labels) != FS_OK)
        goto cleanup;
    rc = read_images(folder, "t10k", &test, limit, plain, data);
cleanup:
    free(train.label);
    free(test.label);
    return rc;
}

fs_status fs_read_idx(const char *folder, fs_split split, int limit, fs_dataset *data)
{
    return read_idx(folder, split, limit, 0, data);
}

fs_status fs_read_idx_plain(const char *folder, fs_split split, int limit, fs_dataset *data)
{
    return read_idx(folder, split, limit, 1, data);
}
