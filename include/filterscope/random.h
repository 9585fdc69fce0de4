/* Counter-based random numbers (Philox4x32-10; Salmon et al., SC'11): a pure function of its key and counter, so any
 * rank can draw the numbers of any image of any epoch without having drawn those before. */
#ifndef FILTERSCOPE_RANDOM_H
#define FILTERSCOPE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Separate streams; the values are part of what makes results repeatable and are never renumbered. */
typedef enum fs_purpose {
    FS_RANDOM_WEIGHTS = 1,   /* initial weights of the network; a = operation, b = unused */
    FS_RANDOM_SHUFFLE = 2,   /* order of the training images; a = epoch */
    FS_RANDOM_AUGMENT = 3,   /* flip and shift; a = epoch, 0 for the first of alternating flips, b = image */
    FS_RANDOM_PROBE = 4,     /* initial weights of a probe; a = layer */
    FS_RANDOM_BOOTSTRAP = 5, /* samples of filters; a = layer, b = sample */
    FS_RANDOM_GROUPS = 6,    /* random groups of filters; a = layer, b = FS_MOST_DRAWS x group + draw */
    FS_RANDOM_CURVES = 7,    /* random orders of filters; a = layer, b = draw */
    FS_RANDOM_KERNELS = 8,   /* which kernels of equal worth are kept; a = operation */
    FS_RANDOM_LABELS = 9,    /* labels dealt to filters; a = layer, b = filter */
    FS_RANDOM_HELD = 10      /* images that are held back; a = label */
} fs_purpose;

/* Not collective. Four independent words for (seed, purpose, a, b, counter), each uniform over all 32-bit values. */
void fs_random4(uint64_t seed, fs_purpose purpose, uint32_t a, uint32_t b, uint32_t counter, uint32_t out[4]);

/* Not collective. Fills values[count] uniformly in [-bound, bound). */
void fs_random_uniform(uint64_t seed, fs_purpose purpose, uint32_t a, float bound, float *values, size_t count);

/* Not collective. order[count] becomes a permutation of 0..count-1 keyed by (seed, purpose, a, b): Fisher-Yates. */
void fs_random_permutation(uint64_t seed, fs_purpose purpose, uint32_t a, uint32_t b, int *order, int count);

/* The same for the images of an epoch. */
void fs_random_order(uint64_t seed, uint32_t epoch, int *order, int count);

#endif
