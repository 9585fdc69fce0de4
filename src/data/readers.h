/* Inside src/data: one reader a file format, and what the readers share. */
#ifndef FILTERSCOPE_DATA_READERS_H
#define FILTERSCOPE_DATA_READERS_H

#include <stdint.h>

#include "filterscope/dataset.h"
#include "filterscope/path.h"

/* A reader takes the folder's path and the request as fs_dataset_open_as does, and fills everything in `data` but set_labels,
 * crc and, where no name is in the file itself or the request is unnamed, label_name. What it allocated before a failure stays
 * in `data`, for the caller to release. FS_OK or FS_ERROR. */
typedef fs_status fs_reader(const char *folder, const fs_data_request *request, fs_dataset *data);

fs_reader fs_read_cifar10;
fs_reader fs_read_cifar100;
fs_reader fs_read_idx;
fs_reader fs_read_idx_plain;
fs_reader fs_read_hdf5; /* its folder is the file */

/* 1 where a file of this name, without its folder, is one of the set's. */
typedef int fs_data_holds(const char *name);

fs_data_holds fs_holds_cifar10;
fs_data_holds fs_holds_cifar100;
fs_data_holds fs_holds_idx;

/* The folder at or, two levels deep, below `place` that has such files: *found is 1, or 0 where there is none, and `folder` is
 * then `place`. FS_ERROR where there are several. */
fs_status fs_data_find_folder(const char *place, fs_data_holds *holds, char folder[FS_PATH_BYTES], int *found);

/* FS_ERROR, saying what to do, where `place`, which has no files of the set, is no folder or has an archive or another version
 * of it; else FS_OK. */
fs_status fs_data_advise(const char *place);

/* Writes FOLDER/NAME to path[FS_PATH_BYTES]. FS_ERROR where it does not fit. */
fs_status fs_data_path(const char *folder, const char *name, char *path);

/* Size of a regular file that is not empty, in bytes. FS_ERROR where `path` is anything else, naming it. Called before
 * a file is opened, since opening a pipe would wait for ever. */
fs_status fs_data_file_size(const char *path, uint64_t *bytes);

/* Sets data->images from `available` (>= 1) and the request's limit, then allocates label and, unless they take more than
 * request->memory, pixels; the shape is in `data` already. FS_ERROR where limit is larger than available, or without memory. */
fs_status fs_data_allocate(const char *folder, int available, const fs_data_request *request, fs_dataset *data);

/* Copies a name of `length` bytes, cut to what fits, but never inside a character. */
void fs_data_set_name(const char *name, size_t length, char entry[FS_LABEL_NAME_BYTES]);

/* data->crc: CRC-32C of pixels, then label. FS_ERROR where pixels stay in their file, and cannot be read. */
fs_status fs_data_sum(fs_dataset *data);

/* Image `from` becomes image `to`, which is not behind it; pixels and label. */
void fs_data_move(fs_dataset *data, int from, int to);

#endif
