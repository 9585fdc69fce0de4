/* The sums of phase three: each filter's map times what the probe's weights have for that filter, filter by filter. */
#ifndef FILTERSCOPE_PHASES_PRODUCTS_H
#define FILTERSCOPE_PHASES_PRODUCTS_H

#include <stddef.h>

enum {
    FS_PRODUCTS_LANES = 16,  /* filters side by side */
    FS_PRODUCTS_ROWS = 24,   /* at the most, and of ... */
    FS_PRODUCTS_UNITS = 128, /* ... so many units: weights and maps are read once for all of them */
    FS_PRODUCTS_H = FS_PRODUCTS_UNITS * FS_PRODUCTS_ROWS * FS_PRODUCTS_LANES
};

/* Not collective, like everything here. Of which filters, for which rows (images, or labels) and units. */
typedef struct fs_products {
    int filters, pixels; /* of the layer */
    int first;           /* of FS_PRODUCTS_LANES filters, or 0 and all where the layer has fewer */
    int rows, units;     /* 1 .. FS_PRODUCTS_ROWS, 1 .. FS_PRODUCTS_UNITS */
} fs_products;

/* h[unit][row][lane] = sum over the pixels, in ascending order, of map[row][pixel][first + lane] * weight[unit][pixel][first +
 * lane]; h [FS_PRODUCTS_UNITS][FS_PRODUCTS_ROWS][FS_PRODUCTS_LANES], undefined elsewhere. */
void fs_products_of_images(const fs_products *p, const float *map, const float *weight, float *h);

/* The same in double precision, of maps that are in it. */
void fs_products_of_means(const fs_products *p, const double *map, const float *weight, double *h);

#endif
