/* Inside src/data: one reader a file format, and what the readers share. */
#ifndef FILTERSCOPE_DATA_READERS_H
#define FILTERSCOPE_DATA_READERS_H

#include <stdint.h>

#include "filterscope/dataset.h"

enum { FS_PATH_BYTES = 4096 };

/* A reader takes the folder's path, the split and the limit as fs_dataset_open does, and fills everything in `data` but
 * label_name and crc. What it allocated before a failure stays in `data`, for the caller to release. FS_OK, FS_ERROR. */
typedef fs_status fs_reader(const char *folder, fs_split split, int limit, fs_dataset *data);

fs_reader fs_read_cifar10;
fs_reader fs_read_cifar100;
fs_reader fs_read_idx;
fs_reader fs_read_idx_plain;

/* Writes FOLDER/NAME to path[FS_PATH_BYTES]. FS_ERROR where it does not fit. */
fs_status fs_data_path(const char *folder, const char *name, char *path);

/* Size of a regular file that is not empty, in bytes. FS_ERROR where `path` is anything else, naming it. Called before
 * a file is opened, since opening a pipe would wait for ever. */
fs_status fs_data_file_size(const char *path, uint64_t *bytes);

/* Sets data->images from `available` (>= 1) and `limit`, then allocates pixels and label; the shape is in `data`
 * already. FS_ERROR where limit is larger than available, or without memory. */
fs_status fs_data_allocate(const char *folder, int available, int limit, fs_dataset *data);

#endif
