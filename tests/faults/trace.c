/* Preloaded into filterscope by a test: appends to a file what each process does to the files below a folder, with the bytes,
 * so that the test can make of it what a power failure at any moment may leave.
 *
 *   TRACE_FOLDER  only files whose path begins so
 *   TRACE_FILE    a record for each call: struct record, the path, for renames and links the new path, the bytes written */
#undef _FILE_OFFSET_BITS /* else pwrite would be another name of pwrite64: both are wanted here */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { WRITE = 1, SIZE, GROW, SYNC_BEGINS, SYNC_ENDS, RENAME, LINK, UNLINK };

struct record {
    double time; /* seconds */
    int32_t kind, process;
    int64_t offset;         /* of a write; the new size */
    uint64_t content;       /* bytes written */
    uint32_t path, path_to; /* bytes of the names that follow */
};

#define NEXT(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static int is_watched(const char *path)
{
    const char *folder = getenv("TRACE_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

/* "" for what is not watched, and for a file without a name, of which a power failure leaves nothing. */
static const char *path_of(int file, char path[4096])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, 4095);
    path[length > 0 ? length : 0] = 0;
    struct stat about;
    if (!is_watched(path) || fstat(file, &about) != 0 || about.st_nlink == 0)
        path[0] = 0;
    return path;
}

static void note(enum kind kind, const char *path, const char *path_to, int64_t offset, const void *content, size_t bytes)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct record r = {.time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec,
                       .kind = kind,
                       .process = (int32_t)getpid(),
                       .offset = offset,
                       .content = bytes,
                       .path = (uint32_t)strlen(path),
                       .path_to = (uint32_t)strlen(path_to)};
    struct iovec parts[] = {{&r, sizeof r}, {(void *)path, r.path}, {(void *)path_to, r.path_to}, {(void *)content, bytes}};
    int file = NEXT(open, int, const char *, int, ...)(getenv("TRACE_FILE"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || writev(file, parts, 4) != (ssize_t)(sizeof r + r.path + r.path_to + bytes))
        abort();
    NEXT(close, int, int)(file);
}

static ssize_t noted(ssize_t done, int file, const void *bytes, off_t offset)
{
    char path[4096];
    if (done > 0 && *path_of(file, path))
        note(WRITE, path, "", offset, bytes, (size_t)done);
    return done;
}

ssize_t write(int file, const void *bytes, size_t count)
{
    off_t place = lseek(file, 0, SEEK_CUR);
    return noted(NEXT(write, ssize_t, int, const void *, size_t)(file, bytes, count), file, bytes, place);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset)
{
    return noted(NEXT(pwrite, ssize_t, int, const void *, size_t, off_t)(file, bytes, count, offset), file, bytes, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset)
{
    return pwrite(file, bytes, count, offset);
}

int fsync(int file)
{
    char path[4096];
    if (!*path_of(file, path))
        return NEXT(fsync, int, int)(file);
    note(SYNC_BEGINS, path, "", 0, "", 0);
    int done = NEXT(fsync, int, int)(file);
    note(SYNC_ENDS, path, "", 0, "", 0);
    return done;
}

static int sized(int done, enum kind kind, int file, off_t size)
{
    char path[4096];
    if (done == 0 && *path_of(file, path))
        note(kind, path, "", size, "", 0);
    return done;
}

int ftruncate(int file, off_t size)
{
    return sized(NEXT(ftruncate, int, int, off_t)(file, size), SIZE, file, size);
}

int ftruncate64(int file, off_t size)
{
    return ftruncate(file, size);
}

int fallocate64(int file, int mode, off_t offset, off_t bytes)
{
    return sized(NEXT(fallocate64, int, int, int, off_t, off_t)(file, mode, offset, bytes), GROW, file, offset + bytes);
}

int posix_fallocate64(int file, off_t offset, off_t bytes)
{
    return sized(NEXT(posix_fallocate64, int, int, off_t, off_t)(file, offset, bytes), GROW, file, offset + bytes);
}

static int named(int done, enum kind kind, const char *from, const char *to)
{
    if (done == 0 && is_watched(from))
        note(kind, from, to, 0, "", 0);
    return done;
}

int rename(const char *from, const char *to)
{
    return named(NEXT(rename, int, const char *, const char *)(from, to), RENAME, from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    int done = NEXT(renameat2, int, int, const char *, int, const char *, unsigned)(from_folder, from, to_folder, to, flags);
    return named(done, RENAME, from, to);
}

int link(const char *from, const char *to)
{
    return named(NEXT(link, int, const char *, const char *)(from, to), LINK, from, to);
}

int unlink(const char *path)
{
    return named(NEXT(unlink, int, const char *)(path), UNLINK, path, "");
}
