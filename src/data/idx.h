/* Inside src/data: which files an IDX set has. */
#ifndef FILTERSCOPE_DATA_IDX_H
#define FILTERSCOPE_DATA_IDX_H

#include <limits.h>

#include "readers.h"

enum { FS_IDX_SET_BYTES = 64 };

typedef enum fs_idx_what { FS_IDX_IMAGES, FS_IDX_LABELS } fs_idx_what;

/* One of the sets in a folder. */
typedef struct fs_idx_set {
    char folder[FS_PATH_BYTES];
    char name[FS_IDX_SET_BYTES]; /* what its files' names begin with; "" for none */
} fs_idx_set;

/* `place` is FOLDER or FOLDER/SET. FS_ERROR, listing them, where FOLDER has several sets, or not the one that is named. */
fs_status fs_idx_choose(const char *place, fs_idx_set *set);

/* The file of that split, the best where there are several; *found is 0 where there is none, and `path` is then MNIST's own
 * name for it. FS_ERROR: that is too long. */
fs_status fs_idx_find(const fs_idx_set *set, fs_split split, fs_idx_what what, char path[FS_PATH_BYTES], int *found);

#endif
