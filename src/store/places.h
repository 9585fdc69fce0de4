/* One open dataset as a row of elements in file order, of which any range can be read, written or summed. */
#ifndef FILTERSCOPE_STORE_PLACES_H
#define FILTERSCOPE_STORE_PLACES_H

#include "store/layout.h"

typedef struct fs_place {
    const char *file; /* path, for messages; borrowed */
    const fs_form *form;
    int descriptor;  /* of the file, borrowed: what is read comes by it */
    uint64_t offset; /* of the dataset in the file */
    hid_t set;
    hid_t type;
    int rank;
    hsize_t size[FS_MOST_DIMENSIONS];
    char path[FS_PLACE_PATH_BYTES];
} fs_place;

enum { FS_SUM_BYTES = 1 << 20 }; /* buffer of fs_place_sum */

/* Not collective, like everything here. Stops HDF5's own printing: each failure becomes one message. */
void fs_hdf5_quiet(void);

/* Returns `status`, or FS_ERROR where a system call failed, the message being "FILE: cannot WHAT: CAUSE" with the innermost
 * cause that HDF5 knows. Call it before any other HDF5 function: the next one clears the cause. `what` is as printf. */
fs_status fs_hdf5_fail(fs_status status, const char *file, const char *what, ...) __attribute__((format(printf, 3, 4)));

/* File access properties that a file is created and opened with; negative after a failure; the caller closes them. */
hid_t fs_file_access(void);

/* Names and shapes the place; opens nothing. */
void fs_place_describe(fs_place *place, const char *file, fs_place_name name, const fs_results_plan *plan, int index);

/* Opens a described place of the file that `descriptor` has open, too. FS_MISMATCH where it is missing, shaped or typed
 * otherwise, not contiguous or not wholly within the first `file_bytes` bytes of the file. */
fs_status fs_place_open(fs_place *place, hid_t file, int descriptor, uint64_t file_bytes);

/* Closes what is open; a zeroed place is allowed. FS_ERROR where that fails. */
fs_status fs_place_close(fs_place *place);

/* Elements first .. first+count-1 in file order. Exactly their bytes are touched. Writing goes through HDF5 and MPI-IO, reading
 * past both, as OMPIO calls a read that failed a success, for which HDF5 gives zeros. */
fs_status fs_place_read(const fs_place *place, uint64_t first, uint64_t count, void *elements);
fs_status fs_place_write(const fs_place *place, uint64_t first, uint64_t count, const void *elements);

/* Continues *crc over these elements' bytes, FS_SUM_BYTES at a time through `buffer`. */
fs_status fs_place_sum(const fs_place *place, uint64_t first, uint64_t count, void *buffer, uint32_t *crc);

/* The CRC over the fixed bytes of all rows of a place that has some, and the one that was recorded when it was created.
 * FS_MISMATCH where none was. */
fs_status fs_place_sum_fixed(const fs_place *place, void *buffer, uint32_t *found, uint32_t *recorded);

#endif
