/* A ring of batches: asked for, read by a thread of the rank's own, used, and free again.
 *
 *     asked ->  | b+3 | b+2 | b+1 |  b  |  -> in use
 *                       ^ being read
 *
 * The caller alone moves `first` and `asked`, the reader alone `read`; all three count batches since the beginning, under the
 * lock. A batch's buffer belongs to the reader from asked to read, to the caller otherwise. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_watch.h"
#include "filterscope/memory.h"
#include "filterscope/stream.h"

enum {
    BATCHES = 8,             /* in use and ahead: what a disk is asked for while a batch is computed */
    BYTES_AHEAD = 128 << 20, /* of large images fewer batches are read ahead, */
    LEAST_AHEAD = 2,         /* but so many */
    SLAB_BYTES = 16 << 20
};

struct batch {
    int count, room; /* images; what the buffers are for */
    int *image;      /* [count] as they were asked for */
    uint8_t *pixels; /* [count][image bytes] */
    fs_status status;
    char message[FS_MESSAGE_BYTES];
};

struct fs_stream {
    fs_stored at;
    int file;
    pthread_t reader;
    pthread_mutex_t lock;
    pthread_cond_t asks, reads;
    long asked, read, first; /* numbers of batches; `first` is the one in use, if any was taken */
    int taken, drops, ends;
    struct batch batch[BATCHES];
    int hint; /* place of the image that was looked up last */
};

/* ---- The file ---- */

static void free_stored(fs_stored *at)
{
    free(at->row);
    free(at->offset);
}

static fs_status open_file(const fs_stored *at, int *file)
{
    struct stat found;
    *file = open(at->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would wait for ever */
    if (*file < 0 || fstat(*file, &found) != 0)
        return fs_fail(FS_ERROR, "%s: %s", at->path, strerror(errno));
    if (!S_ISREG(found.st_mode) || (uint64_t)found.st_size != at->file_bytes)
        return fs_fail(FS_ERROR, "%s: has %lld bytes on this rank, %llu on rank 0: is it the same file?", at->path,
                       (long long)found.st_size, (unsigned long long)at->file_bytes);
    posix_fadvise(*file, 0, 0, POSIX_FADV_RANDOM); /* what is behind an image is another batch's */
    return FS_OK;
}

const fs_stored *fs_stream_stored(const fs_stream *stream)
{
    return &stream->at;
}

fs_stored *fs_stream_choose(fs_stream *stream)
{
    return &stream->at;
}

fs_status fs_stream_read(const fs_stream *s, int count, const int *image, uint8_t *pixels)
{
    int slab = SLAB_BYTES / s->at.image > 0 ? (int)(SLAB_BYTES / s->at.image) : 1;
    fs_status status = FS_OK;
    for (int done = 0; done < count && !status; done += slab) {
        fs_file_watch_begin(s->at.path, "read");
        status = fs_stored_read(&s->at, s->file, count - done < slab ? count - done : slab, image + done,
                                pixels + (size_t)done * s->at.image);
        fs_file_watch_end();
    }
    return status;
}

/* ---- The reader ---- */

static void keep_message(struct batch *b)
{
    snprintf(b->message, sizeof b->message, "%s", fs_message());
}

static void read_batch(const fs_stream *s, struct batch *b)
{
    b->status = fs_stored_read(&s->at, s->file, b->count, b->image, b->pixels);
    if (b->status)
        keep_message(b);
}

static void *run_reader(void *context)
{
    fs_stream *s = context;
    pthread_mutex_lock(&s->lock);
    while (!s->ends) {
        if (s->read == s->asked) {
            pthread_cond_wait(&s->asks, &s->lock);
            continue;
        }
        struct batch *b = &s->batch[s->read % BATCHES];
        if (!s->drops && !b->status) {
            pthread_mutex_unlock(&s->lock);
            read_batch(s, b);
            pthread_mutex_lock(&s->lock);
        }
        s->read++;
        pthread_cond_signal(&s->reads);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Signals are the main thread's. */
static fs_status start(fs_stream *s)
{
    sigset_t all, before;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->asks, NULL);
    pthread_cond_init(&s->reads, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&s->reader, NULL, run_reader, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? fs_fail(FS_ERROR, "%s: no thread can be started to read it: %s", s->at.path, strerror(failed)) : FS_OK;
}

fs_status fs_stream_open(fs_stored *at, fs_stream **stream)
{
    fs_stream *s = fs_alloc(1, sizeof *s, "batches to be read");
    int file = -1;
    fs_status status = s ? open_file(at, &file) : FS_ERROR;
    if (!status) {
        s->at = *at;
        s->file = file;
        status = start(s);
    }
    *stream = status ? NULL : s;
    if (!status)
        return FS_OK;
    if (file >= 0)
        close(file);
    free_stored(at);
    free(s);
    return status;
}

void fs_stream_close(fs_stream *s)
{
    if (!s)
        return;
    fs_stream_forget(s);
    pthread_mutex_lock(&s->lock);
    s->ends = 1;
    pthread_cond_signal(&s->asks);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->reader, NULL);
    close(s->file);
    for (int i = 0; i < BATCHES; i++) {
        free(s->batch[i].image);
        free(s->batch[i].pixels);
    }
    free_stored(&s->at);
    free(s);
}

/* ---- The caller ---- */

static fs_status make_room(const fs_stream *s, int count, struct batch *b)
{
    if (count <= b->room)
        return FS_OK;
    free(b->image);
    free(b->pixels);
    b->image = fs_alloc((size_t)count, sizeof *b->image, "numbers of images to be read");
    b->pixels = fs_alloc((size_t)count, s->at.image, "images to be read");
    b->room = b->image && b->pixels ? count : 0;
    return b->room ? FS_OK : FS_ERROR;
}

static int is_enough(const fs_stream *s, int count)
{
    long ahead = s->asked - s->first;
    return ahead == BATCHES || (ahead > LEAST_AHEAD && (size_t)ahead * (size_t)count * s->at.image > BYTES_AHEAD);
}

int fs_stream_ahead(fs_stream *s, int count, const int *image)
{
    if (is_enough(s, count))
        return 0;
    struct batch *b = &s->batch[s->asked % BATCHES];
    b->status = make_room(s, count, b);
    b->count = b->status ? 0 : count;
    if (b->status)
        keep_message(b);
    else if (count)
        memcpy(b->image, image, (size_t)count * sizeof *image);
    pthread_mutex_lock(&s->lock);
    s->asked++;
    pthread_cond_signal(&s->asks);
    pthread_mutex_unlock(&s->lock);
    return 1;
}

/* Until all batches before number `end` are read. */
static void wait_for(fs_stream *s, long end)
{
    pthread_mutex_lock(&s->lock);
    if (s->read < end) {
        fs_file_watch_begin(s->at.path, "read");
        while (s->read < end)
            pthread_cond_wait(&s->reads, &s->lock);
        fs_file_watch_end();
    }
    pthread_mutex_unlock(&s->lock);
}

void fs_stream_forget(fs_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->drops = 1;
    pthread_mutex_unlock(&s->lock);
    wait_for(s, s->asked);
    s->drops = 0; /* the reader waits */
    s->first = s->asked;
    s->taken = 0;
}

fs_status fs_stream_next(fs_stream *s)
{
    s->first += s->taken;
    assert(s->first < s->asked);
    wait_for(s, s->first + 1);
    s->taken = 1;
    s->hint = 0;
    const struct batch *b = &s->batch[s->first % BATCHES];
    fs_status status = b->status ? fs_fail(b->status, "%s", b->message) : FS_OK;
    if (status)
        fs_stream_forget(s);
    return status;
}

const uint8_t *fs_stream_pixels(fs_stream *s, int image)
{
    const struct batch *b = &s->batch[s->first % BATCHES];
    assert(s->taken);
    for (int tried = 0; tried < b->count; tried++, s->hint++) { /* in the order of the batch: found at once */
        s->hint = s->hint < b->count ? s->hint : 0;
        if (b->image[s->hint] == image)
            return b->pixels + (size_t)s->hint * s->at.image;
    }
    abort(); /* nobody asked for it */
}
