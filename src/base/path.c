#define _GNU_SOURCE /* renameat2 */

#include "filterscope/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_LINKS = 40 }; /* as in the kernel */

const char *fs_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void fs_path_folder(const char *path, char folder[FS_PATH_BYTES])
{
    size_t length = (size_t)(fs_path_base(path) - path);
    memcpy(folder, path, length);
    folder[length > 1 ? length - 1 : length] = 0;
}

static fs_status fail_length(const char *name)
{
    return fs_fail(FS_ERROR, "%.64s...: its path is longer than %d bytes", name, FS_PATH_BYTES - 1);
}

/* path: its folder's real path, then its last component, as that is. */
static fs_status resolve_folder(const char *name, char path[FS_PATH_BYTES])
{
    char folder[FS_PATH_BYTES], real[PATH_MAX], joined[FS_PATH_BYTES];
    const char *base = fs_path_base(path);
    if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return fs_fail(FS_MISMATCH, "'%s' is the name of a folder, not of a file", name);
    fs_path_folder(path, folder);
    if (!realpath(*folder ? folder : ".", real))
        return fs_fail(FS_ERROR, "%s: its folder: %s", name, strerror(errno));
    if (snprintf(joined, sizeof joined, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base) >= FS_PATH_BYTES)
        return fail_length(name);
    strcpy(path, joined);
    return FS_OK;
}

/* path: where the link of that path points. */
static fs_status follow(const char *name, char path[FS_PATH_BYTES], const char *target)
{
    char folder[FS_PATH_BYTES];
    fs_path_folder(path, folder);
    int length =
        target[0] == '/' ? snprintf(path, FS_PATH_BYTES, "%s", target) : snprintf(path, FS_PATH_BYTES, "%s/%s", folder, target);
    return length < FS_PATH_BYTES ? FS_OK : fail_length(name);
}

/* Not realpath(): the last component need not exist. */
fs_status fs_path_resolve(const char *name, char path[FS_PATH_BYTES])
{
    char target[FS_PATH_BYTES];
    if (snprintf(path, FS_PATH_BYTES, "%s", name) >= FS_PATH_BYTES)
        return fail_length(name);
    for (int links = 0; links <= MOST_LINKS; links++) {
        fs_status status = resolve_folder(name, path);
        ssize_t length = status ? -1 : readlink(path, target, sizeof target - 1);
        if (length < 0)
            return status;
        target[length] = 0;
        status = follow(name, path, target);
        if (status)
            return status;
    }
    return fs_fail(FS_ERROR, "%s: %s", name, strerror(ELOOP));
}

/* Unlinked, never truncated: it may be a second name of a file that has been moved. */
fs_status fs_path_clear(const char *path)
{
    struct stat found;
    if (lstat(path, &found) != 0)
        return errno == ENOENT ? FS_OK : fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return fs_fail(FS_ERROR, "%s: is in the way and no file; remove it", path);
    return unlink(path) == 0 ? FS_OK : fs_fail(FS_ERROR, "%s: cannot be removed: %s", path, strerror(errno));
}

/* link() is the same promise for file systems without RENAME_NOREPLACE (NFS), and a look beforehand is all there is for those
 * that cannot link either (FAT). */
int fs_path_rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST)
        return -1;
    if (link(from, to) == 0)
        return unlink(from);
    struct stat found;
    if (errno == EEXIST || lstat(to, &found) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

int fs_path_sync_folder(const char *path)
{
    char folder[FS_PATH_BYTES];
    fs_path_folder(path, folder);
    int directory = open(*folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), failure = 0;
    if (directory < 0)
        return 0;
    if (fsync(directory) != 0)
        failure = errno;
    close(directory);
    errno = failure;
    return failure == EIO || failure == ENOSPC || failure == EDQUOT ? -1 : 0;
}
