/* Inside src/phases: answers of experiments, counted as fs_knockout has them. */
#ifndef FILTERSCOPE_PHASES_TALLY_H
#define FILTERSCOPE_PHASES_TALLY_H

#include "filterscope/knockout.h"

/* Not collective, like everything here. Images first .. first+images-1 with filter number `f` of `knockout` out, which are
 * added in order: answer and loss [images]. */
void fs_tally(const fs_knockout_input *in, const fs_untouched *untouched, int first, int images, const int32_t *answer,
              const double *loss, int f, fs_knockout *knockout);

/* The answer to image `image` and its cross-entropy, from its logits [K]. */
int32_t fs_answer(const fs_knockout_input *in, int image, const float *logits, double *loss);

/* [count]: filters first .. first+count-1, each a set of its own; one block, released with free(). NULL: no memory. */
fs_filter_set *fs_single_filters(int first, int count);

/* Images first .. first+images-1 as the network's input. */
void fs_load_images(const fs_knockout_input *in, int first, int images, float *x);

#endif
