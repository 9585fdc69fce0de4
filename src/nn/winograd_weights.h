/* What both halves of Winograd's convolution know: the tile sizes, and how transformed weights U lie in memory. */
#ifndef FILTERSCOPE_WINOGRAD_WEIGHTS_H
#define FILTERSCOPE_WINOGRAD_WEIGHTS_H

#include <stddef.h>

#include "filterscope/conv.h"

/* One algorithm: its tile sizes. */
typedef struct {
    int in;     /* input tile in x in */
    int out;    /* output tile out x out */
    int points; /* P: transformed tile P x P */
    int border; /* the input tile begins so many pixels before the output tile */
} fs_winograd_form;

extern const fs_winograd_form fs_winograd_form4; /* F(4x4, 3x3) */
extern const fs_winograd_form fs_winograd_form2; /* a whole 2x2 map between zero borders */

/* Not collective, like everything here. The form for `shape`, and its places: P x P. */
const fs_winograd_form *fs_winograd_form_of(const fs_conv_shape *shape);
size_t fs_winograd_places(const fs_winograd_form *form);

/* Where U(row, column) of one place is: row-major, or in panels of so many columns for fs_gemm. */
typedef struct {
    size_t rows, columns;
    size_t panel; /* 0: row-major */
} fs_winograd_order;

fs_winograd_order fs_winograd_order_of(size_t rows, size_t columns);

/* Gradients dU [P x P][rows][columns] into rows of dweight, whose taps are `per_tap` and whose rows `per_row` floats apart. */
void fs_winograd_weights_back(const fs_winograd_form *form, const float *u, size_t rows, size_t columns, float *dweight,
                              size_t per_tap, size_t per_row);

#endif
