/* What follows a convolution, on a piece of its output that is in the cache. */
#ifndef FILTERSCOPE_NN_FINISH_H
#define FILTERSCOPE_NN_FINISH_H

#include "filterscope/conv.h"

/* Not collective. Addend, clip and activation of `after`, in place on floats first .. first + count - 1 of y. */
void fs_conv_finish(const fs_conv_after *after, size_t first, size_t count, float *y);

#endif
