/* A dataset of a data set's HDF5 file, there as a whole: what leads out of the file, was not written to its end, is packed
 * with a filter that this HDF5 lacks, or promises more than the file can hold, is refused before memory is allocated for it. */
#ifndef FILTERSCOPE_DATA_HDF5_SET_H
#define FILTERSCOPE_DATA_HDF5_SET_H

#include <hdf5.h>
#include <stdint.h>

#include "filterscope/dataset.h"
#include "filterscope/status.h"

typedef struct fs_hdf5_set {
    const char *path; /* of the file */
    char name[32];    /* in it */
    hid_t set;        /* -1: not open */
    int axes;
    hsize_t size[4];
    hsize_t chunk; /* of axis 0; 1 where it is contiguous */
} fs_hdf5_set;

/* Not collective, like everything here. FS_ERROR, and the message "PATH: /NAME: WHAT". */
fs_status fs_hdf5_set_refuse(const fs_hdf5_set *s, const char *what);

/* What `file` has by this name. 1: a hard link; 0: nothing; -1: a link that leads elsewhere. */
int fs_hdf5_set_link(hid_t file, const char *name);

/* Finds, checks and opens SPLIT_images or SPLIT/images, uint8 [N][height][width][channels] or [N][height][width], where
 * `images` is 1, else SPLIT_labels or SPLIT/labels, whole numbers [N]; SPLIT is train or test. Close it also after FS_ERROR. */
fs_status fs_hdf5_set_open(const char *path, hid_t file, fs_split which, int images, fs_hdf5_set *s);

/* Whether all elements, of so many bytes each, lie in the file; finds s->chunk. For a set that was opened by hand. */
fs_status fs_hdf5_set_check_stored(fs_hdf5_set *s, hid_t creation, size_t element, uint64_t file_bytes);

uint64_t fs_hdf5_set_elements(const fs_hdf5_set *s);

/* Rows first .. first+count-1 of axis 0, as elements of `type`. */
fs_status fs_hdf5_set_read(const fs_hdf5_set *s, hsize_t first, hsize_t count, hid_t type, void *values);

void fs_hdf5_set_close(fs_hdf5_set *s);

#endif
