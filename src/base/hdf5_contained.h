/* Whether an HDF5 file, which may be anybody's, is what it seems: nothing in it leads elsewhere. */
#ifndef FILTERSCOPE_BASE_HDF5_CONTAINED_H
#define FILTERSCOPE_BASE_HDF5_CONTAINED_H

#include <hdf5.h>

#include "filterscope/status.h"

/* Not collective. FS_OK where every object of the open file is a group or a dataset that a hard link leads to, and every
 * dataset lies in one piece within this very file, in no other's place. FS_MISMATCH: a soft, external or user-defined link,
 * external or virtual storage, chunks, filters, a compact or committed object, references, values of varying length, groups
 * deeper than any of ours (as in a loop). FS_ERROR: no memory. The message names the object. */
fs_status fs_hdf5_contained(hid_t file);

#endif
