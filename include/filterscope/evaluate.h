/* What a network answers on a data set. */
#ifndef FILTERSCOPE_EVALUATE_H
#define FILTERSCOPE_EVALUATE_H

#include <mpi.h>

#include "filterscope/dataset.h"
#include "filterscope/network.h"

/* Takes the logits [images][K] of images first .. first+images-1; called on rank 0, in order. */
typedef void fs_logits_sink(void *context, const fs_dataset *data, int first, int images, const float *logits);

/* Collective on comm. Runs the network in inference mode over all images of `data`, without augmentation, in chunks of
 * space->images.
 *   confusion  out  [K][K]: images of label l (row) for which output unit k (column) is the largest, the lowest at a tie; the
 *                   same on every rank
 *   loss       out  summed cross-entropy in nats; the same bits at any rank count
 *   sink       in   NULL: nobody wants the logits
 * FS_OK; FS_ERROR (no memory); FS_STOPPED (fs_stop_wanted on some rank). The same on every rank. */
fs_status fs_confusion(MPI_Comm comm, const fs_network *net, const fs_dataset *data, fs_workspace *space, long long *confusion,
                       double *loss, fs_logits_sink *sink, void *context);

#endif
