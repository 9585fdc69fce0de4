/* The file that a command writes, by whatever name it was given, and whether that name still leads to it.
 *
 *     fs_target_find    where the name leads; refuses what cannot be kept apart from another's file
 *     fs_target_spare   refuses what would overwrite an input
 *     fs_target_hold    notes which file is there
 *     fs_target_take    notes the file that has just been put in its place
 *     fs_target_check   before each write, and before saying that it is complete
 *     fs_target_drop
 *
 * Lock, temporary file and rename belong to the file that the name leads to: a symbolic link stays one, and all names of a file
 * have one lock. Names that do not show that they are another file's are refused: hard links, and a file that is mounted by
 * itself. */
#ifndef FILTERSCOPE_TARGET_H
#define FILTERSCOPE_TARGET_H

#include <stdint.h>
#include <sys/stat.h>

#include "filterscope/lock.h"
#include "filterscope/path.h"
#include "filterscope/status.h"

typedef struct fs_target {
    const char *name;         /* that leads to it; borrowed */
    char path[FS_PATH_BYTES]; /* absolute, and no part of it a link */
    fs_lock_key lock;         /* its path is empty without a lock */
    int held;                 /* open on the file, so that its inode number is given to no other; -1: there is none */
    int whole;                /* its contents are compared, too */
    struct stat found;        /* of it when it was noted */
    uint32_t crc;             /* of its contents */
} fs_target;

/* Not collective. Fills in name and path. FS_MISMATCH: what is there is no regular file. FS_ERROR: see fs_path_resolve; the
 * file has several names (hard links) or is mounted by itself; the name leaves no room for its lock's. Nothing is opened that
 * could wait, such as a pipe. */
fs_status fs_target_find(const char *name, fs_target *target);

/* Not collective. Notes what is at target->path now, if anything is; whole: with its contents, for a file that nobody but this
 * process changes. FS_ERROR: it cannot be opened or read. */
fs_status fs_target_hold(fs_target *target, int whole);

/* Not collective. Notes the file instead, open for reading, that this process has renamed to target->path, and closes it in the
 * end: by its descriptor, as the name may lead elsewhere again by now. FS_ERROR: it cannot be read. */
fs_status fs_target_take(fs_target *target, int file);

/* Not collective. FS_OK while the lock is held and the name leads to what was noted. FS_ERROR: see fs_lock_check. FS_MISMATCH:
 * it leads to another file, to other contents, to none any more, or to one where there was none. */
fs_status fs_target_check(const fs_target *target);

/* Not collective. Releases what fs_target_hold keeps open. */
void fs_target_drop(fs_target *target);

/* A file that the command reads; a list of them ends with a row whose option is NULL. */
typedef struct fs_input {
    const char *option; /* that it was given as, without dashes */
    const char *path;   /* NULL: not given */
} fs_input;

/* Not collective. FS_USAGE where an input has a name that the target needs for its lock or while it is written. */
fs_status fs_target_spare(const fs_target *target, const fs_input *inputs);

#endif
