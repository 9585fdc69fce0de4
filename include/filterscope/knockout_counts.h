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

/* Of `n` filters. */
typedef struct fs_knockout {
    int32_t *right;   /* [n][K]: images of each label that are answered right */
    int32_t *answers; /* [n][K][K]: images of label l (row) that are answered k; NULL for K > FS_KNOCKOUT_MOST_ANSWERS */
    int32_t *changed; /* [n]: images whose answer is not the untouched network's */
    double *loss;     /* [n][K]: cross-entropy in nats, summed over the images of each label in their order */
    int32_t (*work)[FS_WORK_COLUMNS]; /* [n] */
} fs_knockout;

/* Not collective. FS_ERROR without memory. Zeroed after a failure; else release with fs_knockout_free. */
fs_status fs_knockout_create(int filters, int labels, fs_knockout *knockout);
void fs_knockout_free(fs_knockout *knockout);

#endif
