/* Puts a file in its place, whole or not at all. */
#include "base/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A new file, open, with all bytes on the disk; -1 with errno. */
static int write_bytes(const char *path, const char *bytes, size_t size)
{
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666), done = file >= 0;
    while (done && size) {
        ssize_t written = write(file, bytes, size);
        done = written > 0 || (written < 0 && errno == EINTR);
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    if (done && fsync(file) == 0)
        return file;
    int failure = errno;
    if (file >= 0)
        close(file);
    errno = failure;
    return -1;
}

fs_status fs_publish(const char *path, fs_target *target, const void *bytes, size_t size)
{
    char temporary[FS_PATH_BYTES];
    if (snprintf(temporary, sizeof temporary, "%s.tmp", path) >= FS_PATH_BYTES)
        return fs_fail(FS_ERROR, "%s: its path is too long", path);
    fs_status status = fs_path_clear(temporary);
    if (status)
        return status;
    int file = write_bytes(temporary, bytes, size);
    if (file < 0)
        status = fs_fail(FS_ERROR, "%s: cannot be written: %s", temporary, strerror(errno));
    if (!status && target)
        status = fs_target_check(target);
    if (!status && rename(temporary, path) != 0)
        status = fs_fail(FS_ERROR, "%s: cannot be renamed: %s", temporary, strerror(errno));
    if (status)
        unlink(temporary);
    else if (fs_path_sync_folder(path) != 0)
        status = fs_fail(FS_ERROR, "%s: its folder cannot be synced: %s", path, strerror(errno));
    if (!status && target)
        return fs_target_take(target, file);
    if (file >= 0)
        close(file);
    return status;
}
