/* What is counted of filters that are knocked out of the trained network (ours; filterscope/knockout.h). */
#ifndef FILTERSCOPE_KNOCKOUT_COUNTS_H
#define FILTERSCOPE_KNOCKOUT_COUNTS_H

#include <stdint.h>

#include "filterscope/status.h"

/* Labels up to which all answers are counted, K x K numbers a filter; beyond, only the right ones are. */
enum { FS_KNOCKOUT_MOST_ANSWERS = 128 };

/* How the experiments of a filter went: run, or spared as the map was 0 (or the mean) already, or as nothing differed behind
 * the next ReLU. */
enum { FS_WORK_RUN, FS_WORK_SAME, FS_WORK_HIDDEN, FS_WORK_COLUMNS };

/* Of `n` filters, over any images. One block of memory: the losses, then all that is counted. */
typedef struct fs_knockout {
    int32_t *right;   /* [n][K]: images of each label that are answered right */
    int32_t *answers; /* [n][K][K]: images of label l (row) that are answered k; NULL for K > FS_KNOCKOUT_MOST_ANSWERS */
    int32_t *changed; /* [n]: images whose answer is not the untouched network's */
    double *loss;     /* [n][K]: cross-entropy in nats, see FS_LOSS_STEP, summed over the images of each label */
    int32_t (*work)[FS_WORK_COLUMNS]; /* [n] */
    size_t losses, counts;            /* of the block: doubles, then int32_t */
} fs_knockout;

/* The loss of an image is rounded to a multiple of this many nats, about what float32 logits leave of it: sums of such numbers
 * are exact up to 2^53 steps, 5e8 nats, and so the same in any order. */
#define FS_LOSS_STEP 0x1p-24

/* Not collective. FS_ERROR without memory. Zeroed after a failure; else release with fs_knockout_free. */
fs_status fs_knockout_create(int filters, int labels, fs_knockout *knockout);
void fs_knockout_free(fs_knockout *knockout);

/* Not collective. Adds what was counted of the same filters over other images. */
void fs_knockout_add(const fs_knockout *more, fs_knockout *sum);

/* Not collective. Bytes of the block, which begins at `loss`: what another rank needs of it. */
size_t fs_knockout_bytes(const fs_knockout *knockout);

#endif
