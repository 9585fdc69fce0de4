/* What both halves of Winograd's convolution know: the tile sizes, and how transformed weights U lie in memory. */
#ifndef FILTERSCOPE_WINOGRAD_WEIGHTS_H
#define FILTERSCOPE_WINOGRAD_WEIGHTS_H

#include <stddef.h>

#include "filterscope/conv.h"
#include "nn/winograd_passes.h"

extern const fs_winograd_form fs_winograd_form4; /* F(4x4, 3x3) */
extern const fs_winograd_form fs_winograd_form2; /* a whole 2x2 map between zero borders */

/* Not collective, like everything here. The form for `shape`, and its places: P x P. */
const fs_winograd_form *fs_winograd_form_of(const fs_conv_shape *shape);
size_t fs_winograd_places(const fs_winograd_form *form);

/* Where U(row, column) of one place is: row-major, or in panels of so many columns for fs_gemm, the last filled up. */
typedef struct {
    size_t rows, columns;
    size_t panel; /* 0: row-major */
} fs_winograd_order;

fs_winograd_order fs_winograd_order_of(size_t rows, size_t columns);

/* Floats of one place. */
size_t fs_winograd_pairs(const fs_winograd_order *o);

/* Gradients dU [P x P][rows][per_u_row], of which `columns` count, into rows of dweight, whose taps are `per_tap` and
 * whose rows `per_row` floats apart. */
void fs_winograd_weights_back(const fs_winograd_form *form, const float *u, size_t rows, size_t columns, size_t per_u_row,
                              float *dweight, size_t per_tap, size_t per_row);

#endif
