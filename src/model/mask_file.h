/* Inside src/model: the masks of a pruned network in its model file. */
#ifndef FILTERSCOPE_MODEL_MASK_FILE_H
#define FILTERSCOPE_MODEL_MASK_FILE_H

#include <hdf5.h>

#include "filterscope/network.h"

/* Not collective. Writes /mask/NAME of each operation that has one; 1 where that was done. */
int fs_masks_write(hid_t file, const fs_network *net);

/* Not collective. Reads them where the file has any. FS_MISMATCH: one that does not fit the architecture, or none in /mask.
 * FS_ERROR: no memory. */
fs_status fs_masks_read(hid_t file, fs_network *net);

#endif
