/* Labelled images in memory, and how an image becomes the network's input. */
#ifndef FILTERSCOPE_DATASET_H
#define FILTERSCOPE_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/status.h"
#include "filterscope/stream.h"

enum { FS_LABEL_NAME_BYTES = 32, FS_MAX_LABELS = 65535, FS_MOST_CHANNELS = 64 };

/* From a pixel p in 0..255 to the network's input: x = (low + (high - low) p / 255 - mean) / std, mean and std of p's channel.
 * Pixel range 0 .. 1 with a mean and std each is torchvision's ToTensor and Normalize. */
typedef struct fs_scaling {
    double pixel[2]; /* low, high: what 0 and 255 become before mean and std */
    double mean[FS_MOST_CHANNELS];
    double std[FS_MOST_CHANNELS];
} fs_scaling;

/* Not collective. The method's: pixels -1 .. 1, mean 0, std 1, so that x = 2p/255 - 1. */
void fs_scaling_default(fs_scaling *scaling);

/* Not collective. FS_ERROR: a value that is not finite, a pixel range that is none, a std that is not positive, or inputs
 * beyond float32, naming value and channel. */
fs_status fs_scaling_check(const fs_scaling *scaling, int channels);

/* One split (training or test) of a data set. Zero-initialise before use; release with fs_dataset_close. */
typedef struct fs_dataset {
    int images;                              /* >= 1 */
    int height;                              /* pixels; IDX images of 28x28 are padded to 32x32 with black (0) */
    int width;                               /* pixels */
    int channels;                            /* 3 (red, green, blue), 1 (grey), or what an IDX or HDF5 file says */
    int labels;                              /* K >= 2; every label is in 0..K-1 */
    int set_labels;                          /* of the set as it is on disk: more where labels are left out */
    int32_t *number;                         /* [labels] rising: what the set calls each label; NULL: the same */
    uint8_t *pixels;                         /* [images][height][width][channels], 0..255 */
    size_t mapped;                           /* bytes of pixels in memory that other ranks of the node share; 0: none does */
    int file;                                /* where mapped: that memory's (fs_alloc_shareable); -1: it is handed on */
    fs_stream *stream;                       /* pixels stay in their file, and this is how they come; NULL: pixels has them */
    uint16_t *label;                         /* [images] */
    char (*label_name)[FS_LABEL_NAME_BYTES]; /* [labels], zero-padded; "0", "1", ... where the set names none */
    uint32_t crc;                            /* CRC-32C of pixels, then label: what a resume compares */
    float *scaled;                           /* [channels][256]: input for each pixel value; NULL: x = 2p/255 - 1 */
    int alternating;                         /* fs_dataset_augment flips an image in every other epoch */
} fs_dataset;

/* What fs_dataset_open reads, for help and messages. */
#define FS_DATASET_SPECS "cifar10:DIR, cifar100:DIR, idx:DIR, idx-plain:DIR or hdf5:FILE"

typedef enum fs_split { FS_TRAIN, FS_TEST } fs_split;

/* Not collective. Reads one split from `spec`:
 *     cifar10:DIR    data_batch_1.bin .. data_batch_5.bin or test_batch.bin, 3073-byte records; names in batches.meta.txt
 *     cifar100:DIR   train.bin or test.bin, 3074-byte records, the fine label counts; names in fine_label_names.txt
 *     idx:DIR        [SET-]train- or [SET-]t10k- images-idx3-ubyte and labels-idx1-ubyte, plain or .gz (MNIST, Fashion-MNIST,
 *                    EMNIST, KMNIST): also "test" for "t10k", dots or low lines for hyphens, capitals, each file in a folder of
 *                    its name. A plain file is taken before a packed one, MNIST's own names before others, idx3 before
 *                    images-idx4-ubyte, [images][height][width][channels], and idx1-ubyte before labels-idx1-short or -int for
 *                    more than 256 labels or QMNIST's labels-idx2-int, whose first column counts
 *     idx:DIR/SET    one of several sets in a folder, such as emnist-letters
 *     idx-plain:DIR  the same, but 28x28 images stay 28x28
 *     hdf5:FILE      one HDF5 file: train_images and test_images, uint8 [N][height][width][channels] or [N][height][width], and
 *                    train_labels and test_labels, whole numbers [N]; or images and labels in groups train and test; names
 *                    in label_names, text of one length [K], if it is there
 * DIR is the folder with these files, or one whose subfolders, or theirs, have them in one place only.
 *   limit  in   >= 0: the first `limit` images only; 0 means all. More than there are: FS_ERROR with both numbers. All
 *               files of the split must still be there with a valid size; of CIFAR, records behind the limit are not read
 *   data   out  owned by the caller after FS_OK; zeroed after any failure.
 * A CIFAR file may hold any number of records >= 1. The name files are optional; fs_label_names_read has what may be in them,
 * as many as the set has labels. K of an IDX or HDF5 set is (largest label of the training labels file) + 1 for both splits, so
 * that the test split needs these, too. Both headers of a split agree before anything is unpacked; what is
 * no .gz behind the last part of one is ignored, as gunzip does.
 * Returns FS_OK; FS_USAGE (unknown spec, negative limit); FS_ERROR (missing, truncated or oversized file, bad magic, label
 * out of range, empty set, images and labels that differ in number, several sets, no memory), the message naming file, record
 * (from 0) and value. */
fs_status fs_dataset_open(const char *spec, fs_split split, int limit, fs_dataset *data);

/* The same where more is known than a spec tells. */
typedef struct fs_data_request {
    fs_split split;
    int limit;
    int labels;      /* K of an IDX or HDF5 set without training labels; 0: that is an error */
    int unnamed;     /* 1: leave the set's own file of label names aside, good or bad */
    int shared;      /* 1: pixels in memory that can be shared, where there is such */
    uint64_t memory; /* bytes of pixels; images of an HDF5 file that take more stay there (data->stream). 0: no limit */
} fs_data_request;

fs_status fs_dataset_open_as(const char *spec, const fs_data_request *request, fs_dataset *data);

/* Not collective. The labels that have both a training and a test image: number[*labels], rising, to be released with free().
 * FS_ERROR: no memory. */
fs_status fs_dataset_used_labels(const fs_dataset *train, const fs_dataset *test, int32_t **number, int *labels);

/* Not collective. Leaves out all labels but number[labels] (rising), with their images; the others become 0..labels-1 and keep
 * their names. `data` has all its labels yet. FS_MISMATCH: the set has fewer. FS_ERROR: no memory, no image left. */
fs_status fs_dataset_keep_labels(fs_dataset *data, int labels, const int32_t *number);

/* Not collective. Moves a share of each label's images, rounded to the nearest number, from `data` into `held`, to be released
 * with fs_dataset_close; it has neither names nor numbers of labels. Which, depends on `data` alone, never on a seed of
 * training: the first of a random permutation of the label's images (ours). Both keep their images' order and have CRCs of
 * their own; `data` is not scaled yet. FS_USAGE: a label would keep no training image, or no image at all would be held back.
 * FS_ERROR: no memory. */
fs_status fs_dataset_hold_back(fs_dataset *data, double share, fs_dataset *held);

/* Not collective. Label names from a text file, one a line, for the caller to release with free(): UTF-8, with or without a
 * byte order mark, lines ending in LF, CR or both; blank lines do not count, blanks around a name neither, and what is longer
 * than 31 bytes is cut at a whole character. FS_ERROR, naming file, label and byte: no UTF-8; a character that controls a
 * terminal or ends a line; no name at all; the file cannot be read. */
fs_status fs_label_names_read(const char *path, char (**name)[FS_LABEL_NAME_BYTES], int *count);

/* Not collective. Names the labels of `data`: one name for each, or for each of the set's with those that are left out.
 * FS_ERROR, naming `path` and both numbers, where there are more or fewer. */
fs_status fs_dataset_set_names(fs_dataset *data, const char *path, int count, const char (*name)[FS_LABEL_NAME_BYTES]);

/* Not collective. The first two labels with one and the same name (such sets exist); -1 and -1 where all differ. FS_ERROR: no
 * memory. */
fs_status fs_label_names_alike(int labels, const char (*name)[FS_LABEL_NAME_BYTES], int *first, int *second);

/* Not collective. Releases what fs_dataset_open gave and zeroes `data`. */
void fs_dataset_close(fs_dataset *data);

/* Not collective. How images are scaled from now on. FS_ERROR: no memory; what fs_scaling_check refuses. */
fs_status fs_dataset_set_scaling(fs_dataset *data, const fs_scaling *scaling);

/* Not collective. Where data->stream, images first .. first+count-1 become what fs_dataset_scale and fs_dataset_augment find;
 * of others these know nothing then. FS_ERROR: they cannot be read. */
fs_status fs_dataset_fetch(const fs_dataset *data, int first, int count);

/* Not collective. Input of the network for one image: x = 2p/255 - 1 (method, phase one) or as fs_dataset_set_scaling said,
 * [height][width][channels]. */
void fs_dataset_scale(const fs_dataset *data, int image, float *x);

/* Not collective. The same with the method's augmentation: horizontal flip with p = 0.5, then integer shifts uniform in
 * -4..4 along both axes (positive: to the right, down), vacated pixels 0 after scaling. Where data->alternating, a flip is
 * drawn once for each image, for even epochs, and odd epochs have it the other way round, so that two epochs in a row see each
 * image both ways (alternating flip: Jordan 2024, arXiv:2404.00498); shifts stay as they are. A pure function of (seed, epoch,
 * image). */
void fs_dataset_augment(const fs_dataset *data, int image, uint64_t seed, uint32_t epoch, float *x);

#endif
