/* What both halves of Winograd's convolution know: the tile sizes, and how transformed weights U lie in memory. */
#ifndef FILTERSCOPE_WINOGRAD_WEIGHTS_H
#define FILTERSCOPE_WINOGRAD_WEIGHTS_H

#include <stddef.h>

#include "filterscope/conv.h"
#include "nn/winograd_passes.h"

/* Not collective, like everything here. The form for `shape`, and its places: P x P. */
const fs_winograd_form *fs_winograd_form_of(const fs_conv_shape *shape);
size_t fs_winograd_places(const fs_winograd_form *form);

fs_winograd_order fs_winograd_order_of(size_t rows, size_t columns);

/* Places of U and of dU are that many floats further apart than they are long: an odd number of cache lines, since lengths are
 * mostly powers of two, and lines so far apart take the same few sets of a cache. */
enum { FS_WINOGRAD_BETWEEN = 17 * 16 };

#endif
