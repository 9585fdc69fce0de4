/* Phase one: gradients of a whole batch over all ranks, and the training loop. */
#ifndef FILTERSCOPE_TRAIN_H
#define FILTERSCOPE_TRAIN_H

#include "filterscope/dataset.h"
#include "filterscope/model_file.h"
#include "filterscope/network.h"
#include "filterscope/slots.h"
#include "filterscope/target.h"

/* Activations and gradients of this rank's slots of a batch; all memory is planned once. */
typedef struct fs_backprop fs_backprop;

/* Collective on own->comm. Plans for batches of up to `batch` images. `net` and `own` are borrowed and must outlive the result.
 * NULL on every rank where one has no memory. Ranks of one node share the prepared weights, of which each makes a part. */
fs_backprop *fs_backprop_create(const fs_network *net, const fs_slots *own, int batch);
void fs_backprop_free(fs_backprop *b);

/* Not collective. Where the caller puts this rank's images of the batch, in batch order from its first slot's first image:
 * input [local images][height][width][channels], label [local images]. */
float *fs_backprop_input(fs_backprop *b);
uint16_t *fs_backprop_label(fs_backprop *b);

/* What all ranks know after a batch. */
typedef struct fs_batch_sums {
    double loss;  /* summed over the batch's images, in nats, before the step */
    double right; /* right answers */
} fs_batch_sums;

/* Collective on own->comm. Forward and backward pass over one batch of `images` images in training mode: batch
 * normalisation uses the whole batch's statistics and updates net->statistic.
 *   smoothing  in   of labels: see fs_softmax_loss
 *   sums       out  the same on every rank
 * Afterwards fs_backprop_gradient is the gradient of the mean loss, the same bits at any rank count, in this rank's part of it:
 * the steps of SGD are shared out, too.
 * Source: method, phase one; batch statistics summed over slots as in PyTorch's single process. */
void fs_backprop_run(fs_backprop *b, int images, double smoothing, fs_batch_sums *sums);

/* Not collective. [net->parameters], of which only this rank's part (fs_slots_sum_part) is defined. */
const float *fs_backprop_gradient(const fs_backprop *b);
fs_part fs_backprop_part(const fs_backprop *b);

/* Not collective. Of this rank's maps and their gradients. */
fs_map_sizes fs_backprop_maps(const fs_backprop *b);

/* Collective on comm. *right: right answers of the network over the whole of `data`, without augmentation, in chunks of
 * space->images. FS_OK; FS_STOPPED (fs_stop_wanted on some rank, asked between chunks). The same on every rank. */
fs_status fs_evaluate(MPI_Comm comm, const fs_network *net, const fs_dataset *data, fs_workspace *space, long long *right);

typedef struct fs_train_settings {
    fs_recipe recipe;
    int batch;
    int slots;
    double save_every; /* seconds after which the model is written amid an epoch, too, or a hundred times what that takes */
    uint64_t seed;
    double ema; /* 0: none; else after each batch average = d average + (1 - d) weights, of parameters and of batch norm's
                            running statistics, with d the lesser of `ema` and (1 + n) / (10 + n) after n batches
                            (TensorFlow's ExponentialMovingAverage; averages: Polyak and Juditsky 1992) */
    double norm_bias_lr; /* factor of the learning rate of batch norm's biases; their L2 is divided by it, so that they shrink
                            as before (Jordan 2024, arXiv:2404.00498, has 64); 0: as 1 */
    int mixed;           /* ranks have CPUs of different kinds: each epoch begins with rank 0's statistics on all of them */
} fs_train_settings;

/* Collective on own->comm. One batch of `images` images train[order[0]], train[order[1]] ... after `done` epochs (2.5 is amid
 * the third): loads this rank's, augmented; runs; takes the step of SGD on this rank's part of net, whose momentum
 * stays there, and hands its weights on to all. FS_ERROR, without a message and before the
 * step, where sums->loss is not finite. */
fs_status fs_train_batch(const fs_train_settings *settings, const fs_dataset *train, const int *order, int images, double done,
                         const fs_slots *own, fs_backprop *backprop, fs_network *net, fs_batch_sums *sums);

/* Collective on comm. `held`: images held back, whose SR goes to the history; NULL for none. With settings->ema, model->last on
 * rank 0 has the average when it is called and after it (fs_model_exchange), and the file has both. Trains model->net from
 * where model says to settings->recipe.epochs, writing the model file from rank 0 after every epoch, and in long ones every
 * settings->save_every seconds, and printing progress to standard output from rank 0. `target`, which rank 0 holds with its
 * contents, is held anew after each. FS_OK: all epochs are done. FS_STOPPED: fs_stop_wanted on some rank; the model file holds
 * the state after the last batch. FS_ERROR: the loss is not finite, or the file cannot be written; FS_MISMATCH: the file is no
 * longer what was last written (fs_target_check). The same status on every rank. */
fs_status fs_train(MPI_Comm comm, const fs_train_settings *settings, const fs_dataset *train, const fs_dataset *held,
                   const fs_dataset *test, fs_target *target, fs_model *model);

#endif
