#define _GNU_SOURCE /* O_PATH */

#include "filterscope/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "filterscope/crc32c.h"

/* The mount that a path is in; -1 where the system doesn't tell. */
static int mount_of(const char *path)
{
    char info[64], line[256];
    int id = -1, file = open(path, O_PATH | O_CLOEXEC);
    snprintf(info, sizeof info, "/proc/self/fdinfo/%d", file);
    FILE *lines = file < 0 ? NULL : fopen(info, "re");
    while (lines && id < 0 && fgets(line, sizeof line, lines))
        if (sscanf(line, "mnt_id: %d", &id) != 1)
            id = -1;
    if (lines)
        fclose(lines);
    if (file >= 0)
        close(file);
    return id;
}

static int is_mounted_alone(const char *path)
{
    char folder[FS_PATH_BYTES];
    fs_path_folder(path, folder);
    int mount = mount_of(path);
    return mount >= 0 && mount != mount_of(folder);
}

static fs_status check_length(const fs_target *o)
{
    char folder[FS_PATH_BYTES];
    fs_path_folder(o->path, folder);
    long most = pathconf(folder, _PC_NAME_MAX);
    size_t base = strlen(fs_path_base(o->path)), whole = strlen(o->path);
    if (whole + FS_LOCK_SUFFIX_BYTES >= FS_PATH_BYTES)
        return fs_fail(FS_ERROR, "%s: its path has %zu bytes; %d at most, as its lock's is longer", o->name, whole,
                       FS_PATH_BYTES - 1 - FS_LOCK_SUFFIX_BYTES);
    if (most > 0 && base + FS_LOCK_SUFFIX_BYTES > (size_t)most)
        return fs_fail(FS_ERROR, "%s: its name has %zu bytes; %ld at most, as its lock's is longer", o->name, base,
                       most - FS_LOCK_SUFFIX_BYTES);
    return FS_OK;
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static int is_same(const struct stat *left, const struct stat *right)
{
    return left->st_dev == right->st_dev && left->st_ino == right->st_ino;
}

/* What is there already must have no other name that a second writer could come by. */
static fs_status check_names(const fs_target *o, const struct stat *named)
{
    struct stat found;
    if (lstat(o->path, &found) != 0 || !is_same(&found, named))
        return fs_fail(FS_ERROR, "%s: the file has no name that could be told (is it deleted?)", o->name);
    if (found.st_nlink > 1)
        return fs_fail(
            FS_ERROR,
            "%s: the file has %ld names (hard links), and a job that comes by another would not meet this one: make a "
            "copy of it, or remove the others",
            o->name, (long)found.st_nlink);
    if (is_mounted_alone(o->path))
        return fs_fail(
            FS_ERROR,
            "%s: the file is mounted by itself, and a job that comes by its other name would not meet this one: mount "
            "its folder",
            o->name);
    return FS_OK;
}

fs_status fs_target_find(const char *name, fs_target *target)
{
    struct stat named;
    *target = (fs_target){.name = name, .held = -1};
    int exists = stat(name, &named) == 0;
    if (exists && !S_ISREG(named.st_mode))
        return fs_fail(FS_MISMATCH, "%s: is %s, not a file", name, kind_of(named.st_mode));
    fs_status status = fs_path_resolve(name, target->path);
    if (!status)
        status = check_length(target);
    return !status && exists ? check_names(target, &named) : status;
}

static int sum_file(int file, uint32_t *crc)
{
    char buffer[1 << 16];
    ssize_t bytes;
    *crc = 0;
    for (off_t offset = 0; (bytes = pread(file, buffer, sizeof buffer, offset)) > 0; offset += bytes)
        *crc = fs_crc32c(*crc, buffer, (size_t)bytes);
    return bytes == 0;
}

static fs_status note(fs_target *o)
{
    if (fstat(o->held, &o->found) == 0 && (!o->whole || sum_file(o->held, &o->crc)))
        return FS_OK;
    return fs_fail(FS_ERROR, "%s: cannot read it: %s", o->name, strerror(errno));
}

/* A file that will be written in place is opened so: some file systems in layers (overlay) give it another inode then. */
fs_status fs_target_hold(fs_target *target, int whole)
{
    fs_target_drop(target);
    target->whole = whole;
    target->held = open(target->path, (whole ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
    if (target->held >= 0)
        return note(target);
    return errno == ENOENT ? FS_OK : fs_fail(FS_ERROR, "%s: cannot open it: %s", target->name, strerror(errno));
}

fs_status fs_target_take(fs_target *target, int file)
{
    fs_target_drop(target);
    target->held = file;
    return note(target);
}

/* A time alone says nothing: people touch files to keep them from being tidied away. */
static int is_changed(const fs_target *o, const struct stat *now)
{
    uint32_t crc;
    const struct timespec *then = &o->found.st_mtim, *last = &now->st_mtim;
    if (now->st_size != o->found.st_size)
        return 1;
    if (last->tv_sec == then->tv_sec && last->tv_nsec == then->tv_nsec)
        return 0;
    return !sum_file(o->held, &crc) || crc != o->crc;
}

fs_status fs_target_check(const fs_target *target)
{
    struct stat now;
    fs_status status = target->lock.path[0] ? fs_lock_check(&target->lock) : FS_OK;
    if (status)
        return status;
    if (stat(target->name, &now) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return fs_fail(FS_ERROR, "%s: %s", target->name, strerror(errno));
        return target->held < 0
                   ? FS_OK
                   : fs_fail(FS_MISMATCH, "%s: has been removed or renamed while this job was at work on it", target->name);
    }
    const char *what = target->held < 0                            ? "has been made by another program"
                       : !is_same(&now, &target->found)            ? "has been replaced by another file"
                       : target->whole && is_changed(target, &now) ? "has been changed by another program"
                                                                   : NULL;
    return what ? fs_fail(FS_MISMATCH, "%s: %s while this job was at work on it", target->name, what) : FS_OK;
}

void fs_target_drop(fs_target *target)
{
    if (target->held >= 0)
        close(target->held);
    target->held = -1;
}

/* Whether `input` is the target's path with the suffix. */
static int is_beside(const fs_target *o, const char *suffix, const char *input)
{
    char path[FS_PATH_BYTES];
    size_t length = strlen(o->path);
    return fs_path_resolve(input, path) == FS_OK && strncmp(path, o->path, length) == 0 && strcmp(path + length, suffix) == 0;
}

fs_status fs_target_spare(const fs_target *target, const fs_input *inputs)
{
    for (; inputs->option; inputs++)
        if (inputs->path && (is_beside(target, ".tmp", inputs->path) || is_beside(target, ".lock", inputs->path)))
            return fs_fail(FS_USAGE, "--%s: %s is a name that --out %s needs while it is written: rename it", inputs->option,
                           inputs->path, target->name);
    return FS_OK;
}
