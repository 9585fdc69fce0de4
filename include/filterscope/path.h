/* Where the name of a file leads. */
#ifndef FILTERSCOPE_PATH_H
#define FILTERSCOPE_PATH_H

#include "filterscope/status.h"

enum { FS_PATH_BYTES = 4096 }; /* with the zero at its end, as in the kernel */

/* Not collective. path: where `name` leads, absolute, with links followed, also a last one whose target does not exist.
 * FS_ERROR: no such folder, links in a circle, too long. FS_MISMATCH: the name is a folder's ("runs/", "."). */
fs_status fs_path_resolve(const char *name, char path[FS_PATH_BYTES]);

/* The last component of `path`, in it; "" where it ends with a slash. */
const char *fs_path_base(const char *path);

/* folder: what is before that, without the slash between them; "" where there is nothing. */
void fs_path_folder(const char *path, char folder[FS_PATH_BYTES]);

/* Not collective. Makes room for a new file at `path`, a temporary name: what a crash left there is removed. FS_ERROR where
 * that is no regular file (a folder, a link, a pipe) or cannot be removed. */
fs_status fs_path_clear(const char *path);

/* Not collective. Renames, but never over a file that is there: 0, or -1 with errno (EEXIST: there is one). */
int fs_path_rename_new(const char *from, const char *to);

/* Not collective. The names in the folder of `path` go to the disk, where the file system can do that: 0, or -1 with errno
 * where the disk failed (EIO, ENOSPC, EDQUOT). */
int fs_path_sync_folder(const char *path);

#endif
