/* Inside src/model: the checksums of the model file, CRC-32C. */
#ifndef FILTERSCOPE_MODEL_MODEL_SUM_H
#define FILTERSCOPE_MODEL_MODEL_SUM_H

#include <stdint.h>

#include "filterscope/model_file.h"

/* Not collective. Of the history's complete epochs. It is by itself as its seconds are all that differs between two runs that
 * compute the same. */
uint32_t fs_model_sum_history(const fs_model *model);

/* Not collective. Of all else that the file says: architecture, attributes, configuration, label names, arrays, masks. */
uint32_t fs_model_sum(const fs_model *model);

#endif
