/* Inside src/model: the labels of the set that a network was trained on, in its model file. */
#ifndef FILTERSCOPE_MODEL_LABEL_NUMBERS_H
#define FILTERSCOPE_MODEL_LABEL_NUMBERS_H

#include <hdf5.h>

#include "filterscope/model_file.h"

/* Not collective. Writes /label_numbers, int32 [labels], where the model has any; 1 where that was done. */
int fs_label_numbers_write(hid_t file, const fs_model *model);

/* Not collective. Reads them where the file has any. FS_MISMATCH: they don't rise, or aren't [labels]. FS_ERROR: no memory. */
fs_status fs_label_numbers_read(hid_t file, int labels, fs_model *model);

/* Not collective. Continues the CRC of the model over them. */
uint32_t fs_label_numbers_sum(uint32_t crc, const fs_model *model);

#endif
