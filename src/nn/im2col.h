/* The rows of conv_im2col.c. */
#ifndef FILTERSCOPE_NN_IM2COL_H
#define FILTERSCOPE_NN_IM2COL_H

#include "filterscope/conv.h"

/* Not collective. The windows of output pixels first .. first + rows - 1 of the batch, of the channels of group `group`, into
 * column [rows][kernel y][kernel x][channels/groups], zeros for what is outside the map. */
void fs_im2col_gather(const fs_conv_shape *shape, int group, const float *x, size_t first, size_t rows, float *column);

#endif
