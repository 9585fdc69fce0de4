/* Taking out whole what masks have cut off: filters and units without any input, or that nothing reads any more (ours). */
#ifndef FILTERSCOPE_COMPACT_H
#define FILTERSCOPE_COMPACT_H

#include "filterscope/mask.h"

/* What became of the filters (and units) of one operation with kernels. */
typedef struct fs_compacted {
    int filters;  /* that it had */
    int unread;   /* taken out, since all kernels that read them are pruned ... */
    int silent;   /* ... or since all their own are, and what is left, the bias, becomes 0 behind a ReLU */
    int constant; /* that stay although all their own kernels are pruned: what they give is not 0 */
    int shared; /* that stay although nothing reads them: their channel is that of others, behind an add, or its place counts */
} fs_compacted;

/* Not collective. Makes *smaller of `net`, with its weights, momentum, statistics and masks, and the text that says so. Taking
 * out one filter may cut off others: these go, too. At least one stays. A filter goes where each operation between it and what
 * reads it takes its channels one by one (no add, no groups); the logits are the same, but for the order of sums.
 *   report  out  [net->ops]
 * FS_ERROR: no memory. *smaller is zeroed after a failure; else release with fs_network_free. */
fs_status fs_network_compact(const fs_network *net, fs_network *smaller, fs_compacted *report);

#endif
