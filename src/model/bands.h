/* How inference goes through a network: step by step with the whole batch where maps are small, and where they are large in
 * bands, runs of steps that take a few images through all of them before the next few, so that what one step writes is still in
 * the cache when the next one reads it. Maps that are read inside their band alone hold these few images only:
 *
 *     step            0     1     2     3     4          (a batch of 4)
 *     band            [ 1 image a time ] [ all 4 ]
 *     map holds       1     1     4     4     4
 */
#ifndef FILTERSCOPE_MODEL_BANDS_H
#define FILTERSCOPE_MODEL_BANDS_H

#include "filterscope/network.h"
#include "model/lives.h"
#include "model/steps.h"

/* Not collective. Divides `steps` steps, which are not 0, into bands for a batch of up to `images` images.
 *   use      in   of inference: for probes, a probed map is the last of its band
 *   band     out  [steps] at the most
 * Returns their number. Where a step does not stand alone (fs_conv_stands_alone), it takes the whole batch: bands never show in
 * results. */
int fs_bands_list(const fs_step *step, int steps, int images, fs_use use, fs_band *band);

/* The lives of the maps of all steps, and in whole[s] whether that of step s holds the whole batch. */
void fs_bands_lives(const fs_step *step, const fs_readers *readers, const fs_band *band, int bands, int images, fs_life *life,
                    int *whole);

#endif
