/* Inside src/model: the checksums of the model file, CRC-32C. */
#ifndef FILTERSCOPE_MODEL_MODEL_SUM_H
#define FILTERSCOPE_MODEL_MODEL_SUM_H

#include <stdint.h>

#include "filterscope/model_file.h"

/* A file with masks has a version of its own: a program that knows none would train pruned weights. And so has one with an
 * average of the weights, which such a program would go on from, or with images held back, on which it would train. */
enum { FS_MODEL_VERSION = 3, FS_MODEL_VERSION_MASKED = 4, FS_MODEL_VERSION_LONG = 5 };

/* Not collective. The version that the model's file has. */
int fs_model_version(const fs_model *model);

/* Not collective. Of the history's complete epochs. It is by itself as its seconds are all that differs between two runs that
 * compute the same. */
uint32_t fs_model_sum_history(const fs_model *model);

/* Not collective. Of all else that the file says: architecture, attributes, configuration, label names, arrays, masks. */
uint32_t fs_model_sum(const fs_model *model);

#endif
