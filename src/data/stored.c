/* Reading images where they lie in a file, without its library: any thread may, and nothing is unpacked. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filterscope/memory.h"
#include "filterscope/stream.h"

/* One image of a batch. */
struct piece {
    uint64_t offset;
    int place; /* in the batch */
};

static uint64_t offset_of(const fs_stored *at, int image)
{
    int row = at->row[image];
    return at->offset[row / at->chunk] + (uint64_t)(row % at->chunk) * at->image;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t left = ((const struct piece *)a)->offset, right = ((const struct piece *)b)->offset;
    return (left > right) - (left < right);
}

static fs_status read_bytes(const fs_stored *at, int file, uint64_t offset, size_t bytes, uint8_t *to)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(file, to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fs_fail(FS_ERROR, "%s: images cannot be read at byte %llu: %s", at->path,
                           (unsigned long long)(offset + done), got < 0 ? strerror(errno) : "the file has become shorter");
        done += (size_t)got;
    }
    return FS_OK;
}

/* How many of the pieces lie behind one another in the file and in the batch. */
static int run_length(const struct piece *piece, int count, size_t image)
{
    int length = 1;
    while (length < count && piece[length].offset == piece[0].offset + (uint64_t)length * image &&
           piece[length].place == piece[0].place + length)
        length++;
    return length;
}

/* The disk has all of them to do at once. */
static void announce(const fs_stored *at, int file, const struct piece *piece, int count)
{
    for (int first = 0, run; first < count; first += run) {
        run = run_length(piece + first, count - first, at->image);
        posix_fadvise(file, (off_t)piece[first].offset, (off_t)((size_t)run * at->image), POSIX_FADV_WILLNEED);
    }
}

static fs_status read_pieces(const fs_stored *at, int file, const struct piece *piece, int count, uint8_t *pixels)
{
    fs_status status = FS_OK;
    for (int first = 0, run; first < count && !status; first += run) {
        run = run_length(piece + first, count - first, at->image);
        status =
            read_bytes(at, file, piece[first].offset, (size_t)run * at->image, pixels + (size_t)piece[first].place * at->image);
    }
    return status;
}

fs_status fs_stored_read(const fs_stored *at, int file, int count, const int *image, uint8_t *pixels)
{
    struct piece *piece = fs_alloc((size_t)count, sizeof *piece, "places of images in a file");
    if (!piece)
        return FS_ERROR;
    for (int i = 0; i < count; i++)
        piece[i] = (struct piece){offset_of(at, image[i]), i};
    qsort(piece, (size_t)count, sizeof *piece, by_offset);
    announce(at, file, piece, count);
    fs_status status = read_pieces(at, file, piece, count, pixels);
    free(piece);
    return status;
}
