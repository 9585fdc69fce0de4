/* Images that stay in their file and are read ahead of need: a data set beyond memory. */
#ifndef FILTERSCOPE_STREAM_H
#define FILTERSCOPE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/path.h"
#include "filterscope/status.h"

/* Where the images of a data set lie in a file: row r is `image` bytes at offset[r / chunk] + r % chunk * image. */
typedef struct fs_stored {
    char path[FS_PATH_BYTES];
    uint64_t file_bytes; /* of the file */
    size_t image;        /* bytes of one */
    int images;
    int32_t *row; /* [images] of the file, for each image of the set; owned */
    int chunk;    /* rows that lie behind one another */
    int chunks;
    uint64_t *offset; /* [chunks] bytes; owned */
} fs_stored;

/* Not collective. Reads image[count] into pixels [count][image]: in the order of the file, neighbours at a time. FS_ERROR,
 * naming file and place, where that cannot be. */
fs_status fs_stored_read(const fs_stored *at, int file, int count, const int *image, uint8_t *pixels);

/* Batches that are being read, in a thread of the rank, and one that is in use. */
typedef struct fs_stream fs_stream;

/* Not collective. Opens the file; *at becomes the stream's, after a failure, too. FS_ERROR: it cannot be opened, or is not as
 * long as at->file_bytes. fs_stream_close takes NULL, too. */
fs_status fs_stream_open(fs_stored *at, fs_stream **stream);
void fs_stream_close(fs_stream *stream);

const fs_stored *fs_stream_stored(const fs_stream *stream);

/* Not collective. Changes at->row and at->images; nothing is being read. */
fs_stored *fs_stream_choose(fs_stream *stream);

/* Not collective, by the main thread. Reads image[count] at once, outside of all batches, into pixels [count][image]. */
fs_status fs_stream_read(const fs_stream *stream, int count, const int *image, uint8_t *pixels);

/* Not collective, by the main thread. A batch of images image[count] is read from now on, behind those that were asked for
 * before. 0: enough are: to be asked for again after fs_stream_next. */
int fs_stream_ahead(fs_stream *stream, int count, const int *image);

/* Not collective, by the main thread. Waits for the first batch that was asked for, which is in use until the next call.
 * FS_ERROR: it could not be read; all after it are forgotten. Where a file system does not answer for 120 s
 * (FILTERSCOPE_FILE_SECONDS), the process says so and ends with FS_LOST. */
fs_status fs_stream_next(fs_stream *stream);

/* Not collective, by the main thread. Forgets all batches. */
void fs_stream_forget(fs_stream *stream);

/* Not collective, by the main thread. Pixels of an image of the batch in use. */
const uint8_t *fs_stream_pixels(fs_stream *stream, int image);

#endif
