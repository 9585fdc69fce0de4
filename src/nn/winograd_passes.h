/* Winograd's passes over a map, from and to the places of its tiles, and over weights: one source (winograd_passes_body.h,
 * winograd_weights_body.h), a version for each number of channels that a vector has. Letters as at the top of winograd.c. */
#ifndef FILTERSCOPE_WINOGRAD_PASSES_H
#define FILTERSCOPE_WINOGRAD_PASSES_H

#include <stddef.h>

#include "filterscope/conv.h"

/* One algorithm: its tile sizes. */
typedef struct {
    int in;     /* input tile in x in */
    int out;    /* output tile out x out */
    int points; /* P: transformed tile P x P */
    int border; /* the input tile begins so many pixels before the output tile */
} fs_winograd_form;

/* Tiles of a batch: a grid on each image. */
typedef struct {
    int height, width; /* of the map */
    int rows, columns; /* of tiles on one image */
    size_t tiles;      /* of all images */
} fs_winograd_grid;

/* How places lie in memory: element (place, tile, channel) is at place * per_place + tile * per_tile + channel, or, in panels
 * of so many channels for fs_gemm's right side, at place * per_place + channel / panel * per_panel + tile * panel + rest. */
typedef struct {
    size_t per_place, per_tile, panel, per_panel;
} fs_winograd_order_of_places;

/* Not collective, like everything here. Tiles first .. first+count-1 of `map` [..][channels] into places [P x P].
 *   channels  in  as many as a vector has at least
 *   zeros     in  [channels] of them, for the pixels outside the map */
typedef void fs_winograd_take(const fs_winograd_form *form, const float *map, const fs_winograd_grid *g, int channels,
                              size_t first, size_t count, const fs_winograd_order_of_places *at, const float *zeros,
                              float *places);

/* Places [P x P][count][filters] in rows to output tiles: bias, then what follows as told. y is none of the other arrays. */
typedef void fs_winograd_give(const fs_winograd_form *form, const float *places, const fs_winograd_grid *g, int filters,
                              size_t first, size_t count, const fs_winograd_order_of_places *at, const float *bias,
                              const fs_conv_after *after, float *y);

/* Where U(row, column) of one place is: row-major, or in panels of so many columns for fs_gemm, the last filled up. */
typedef struct {
    size_t rows, columns;
    size_t panel; /* 0: row-major */
    size_t apart; /* floats from one place to the next */
} fs_winograd_order;

/* Columns begin .. end-1, whole panels, of U from weight [3][3][rows][columns], or with `flipped` from weight [3][3][columns]
 * [rows] turned by half a circle, into prepared [P x P] of `o`. */
typedef void fs_winograd_weigh(const fs_winograd_form *form, const float *weight, const fs_winograd_order *o, int flipped,
                               size_t begin, size_t end, float *prepared);

/* Gradients dU [P x P][rows][per_u_row], the places `apart`, of which `columns` count, into rows of dweight, whose taps are
 * `per_tap` and whose rows `per_row` floats apart. */
typedef void fs_winograd_weigh_back(const fs_winograd_form *form, const float *u, size_t apart, size_t rows, size_t columns,
                                    size_t per_u_row, float *dweight, size_t per_tap, size_t per_row);

typedef struct fs_winograd_passes {
    int lanes;                            /* channels of a vector */
    fs_winograd_take *inputs;             /* V of x */
    fs_winograd_take *gradients;          /* A dy A' */
    fs_winograd_give *outputs;            /* y of M */
    fs_winograd_weigh *weights;           /* U of w */
    fs_winograd_weigh_back *weights_back; /* dw of dU */
} fs_winograd_passes;

extern const fs_winograd_passes fs_winograd_passes4, fs_winograd_passes8, fs_winograd_passes16;

#endif
