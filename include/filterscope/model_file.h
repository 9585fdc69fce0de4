/* The model file: weights, momentum, progress and configuration in one HDF5 file, replaced atomically (filterscope-model).
 *
 *     /                  attributes format, format_version, arch, height, width, channels, labels, epochs, epoch, batch,
 *                        right, loss, crc (CRC-32C of all but the history); kinds, where it is known what it was trained on
 *     /architecture      one string: the network's layers (architecture.h)
 *     /scaling/NAME      float64; NAME = pixel [2], mean [channels], std [channels]: fs_scaling
 *     /config            table   key, value: the configuration that the weights depend on
 *     /label_names       fixed strings [labels]
 *     /label_numbers     int32 [labels], only where labels of the set were left out: what the set calls each, rising
 *     /history           table   a row a complete epoch: fs_train_row; attribute crc of its own, as its seconds vary. Only
 *                        format_version 5 has the columns behind seconds; others are NaN there
 *     /parameter/NAME    float32; NAME = conv1.weight [kernel y, kernel x, channel, filter], conv1.bias, bn1.gamma, bn1.beta,
 *                        fc1.weight [output, input], fc1.bias ...; conv, bn and fc are numbered each for itself, from 1; a
 *                        linear layer's input is flattened as (y, x, channel)
 *     /momentum/NAME     float32, of the same shapes
 *     /statistic/NAME    float32; bn1.mean, bn1.variance ...
 *     /mask/NAME         uint8 [outputs, bytes of a row], only in format_version 4 and 5: which kernels of conv2, fc1 ... are
 *                        kept (filterscope/mask.h); in the CRC behind all arrays: its operation's number, int32, and its bytes
 *     /last/NAME         float32, only in format_version 5, and there only where training keeps an average of the weights: then
 *                        /parameter and /statistic are the average, which is what everything but training takes, /last has the
 *                        weights and statistics that training stands at, by the same names, and /momentum is theirs; in the CRC
 *                        behind the masks
 *
 * The version is 3, with masks 4; 5 where there is an average or images were held back (`held-back` in /config), so that
 * programs that know neither refuse it. */
#ifndef FILTERSCOPE_MODEL_FILE_H
#define FILTERSCOPE_MODEL_FILE_H

#include "filterscope/config.h"
#include "filterscope/dataset.h"
#include "filterscope/network.h"
#include "filterscope/status.h"
#include "filterscope/target.h"

/* One epoch of phase one. */
typedef struct fs_train_row {
    int32_t epoch; /* from 1 */
    double lr;     /* of the convolution group */
    double fc_lr;
    double train_loss; /* mean cross-entropy over the epoch's augmented images, before each step */
    double train_sr;
    double test_sr;
    double seconds;
    double held_sr;      /* on the images held back; NaN without */
    double last_test_sr; /* with an average of the weights, whose test_sr and held_sr are: of the last weights; NaN without */
    double last_held_sr;
} fs_train_row;

/* Parameters [net.parameters] and running statistics [net.statistics] beside those of the network. */
typedef struct fs_values {
    float *parameter, *statistic;
} fs_values;

/* A network, how far its training is, and what it was trained with. */
typedef struct fs_model {
    fs_network net;
    /* NULL unless training keeps an average: net is the average, and this where training stands; amid training the other way
     * round (fs_model_exchange). */
    fs_values last;
    fs_scaling scaling; /* how the images were scaled that it was trained with */
    fs_config config;
    char kinds[256]; /* of the CPUs and BLAS kernels that it was trained on, the distinct ones with "; "; "": not known */
    char (*label_name)[FS_LABEL_NAME_BYTES]; /* [net.labels] */
    int32_t *label_number;                   /* [net.labels] fs_dataset's number: NULL where no label was left out */
    int epochs;                              /* planned; 0 where the network was trained elsewhere */
    int epoch;                               /* complete */
    int batch;                               /* batches done of the next one */
    long long right;                         /* right answers in those batches */
    double loss;                             /* summed loss of those batches */
    fs_train_row *history;                   /* [epochs], the first `epoch` rows are filled */
} fs_model;

/* Not collective; call on one rank. Writes PATH.tmp, fsyncs it, renames it over PATH and fsyncs the folder: at any moment
 * PATH is absent, the old model or the new one. FS_ERROR (disk full, no permission ...) leaves PATH as it was. */
fs_status fs_model_save(const char *path, const fs_model *model);

/* Not collective; call on one rank. The same for the file that `target` holds with its contents; before the rename, whether it
 * is still that file (fs_target_check, whose failures are returned), and after it the new one is held (fs_target_take). */
fs_status fs_model_replace(fs_target *target, const fs_model *model);

/* Not collective. 1 where the file calls itself a model file of this format version; nothing else is verified. */
int fs_model_is(const char *path);

/* Not collective. FS_ERROR: no such file; a weight, statistic or scaling that cannot be (not finite, a negative variance),
 * named with array and element. FS_MISMATCH: not a model file, truncated, shapes that do not fit its architecture, CRC that
 * differs. *model is zeroed after a failure; else release with fs_model_free. */
fs_status fs_model_load(const char *path, fs_model *model);

void fs_model_free(fs_model *model);

/* Not collective. model->last becomes a copy of the network's values: the average begins. FS_ERROR: no memory. */
fs_status fs_model_start_average(fs_model *model);

/* Not collective. What net has goes to last, and what last has to net; nothing without an average. */
void fs_model_exchange(fs_model *model);

/* Not collective. The average, or the network as it is, is all that stays. */
void fs_model_drop_last(fs_model *model);

#endif
