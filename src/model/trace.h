/* Inside src: which channels of earlier maps a channel goes back to, through what acts on each channel alone, adds or joins. */
#ifndef FILTERSCOPE_MODEL_TRACE_H
#define FILTERSCOPE_MODEL_TRACE_H

#include "filterscope/network.h"

/* Not collective. Sees channel `channel` of the output of `map`, NULL for the images. Says whether the way ends there, goes on
 * through the inputs of `map`, or cannot be told. From an operation with kernels, and from the images, nothing goes on. */
typedef enum fs_trace_answer { FS_TRACE_ENDS, FS_TRACE_GOES_ON, FS_TRACE_UNKNOWN } fs_trace_answer;
typedef fs_trace_answer fs_trace_visit(void *context, const fs_op *map, int channel);

/* Not collective. Visits `map` at `channel`, then what that is made of; behind an addition these are several, behind added
 * channels of zeros none. 1 where no visit was answered with FS_TRACE_UNKNOWN. */
int fs_trace(const fs_op *map, int channel, fs_trace_visit *visit, void *context);

/* Not collective. Freezes all operations but those of `trained` [ops]: one that acts on each channel, as a batch norm, is
 * frozen unless some channel of it goes back to one that trains. */
void fs_freeze_others(fs_network *net, const unsigned char *trained);

/* Not collective. Marks in trained [ops] the operations with masks and those whose maps they read. */
void fs_find_neighbours(const fs_network *net, unsigned char *trained);

#endif
