/* The operations of a network as the steps in which they run: some take along what follows them. */
#ifndef FILTERSCOPE_MODEL_STEPS_H
#define FILTERSCOPE_MODEL_STEPS_H

#include "filterscope/network.h"

/* Who reads the output of a step: how many inputs of steps it is, and the last of these steps; the number of steps where it is
 * the network's own output. */
typedef struct fs_readers {
    int count, last;
} fs_readers;

/* Not collective. The steps of inference or, with the most images of a slot, those of training.
 *   use      in   of inference: what must be the output of a step
 *   step     out  [net->ops] at the most
 *   readers  out  [net->ops], zeroed before: of each step
 * Returns their number; 0 without memory. */
int fs_steps_list(const fs_network *net, int slot_images, fs_use use, fs_step *step, fs_readers *readers);

#endif
