/* Small datasets and attributes of an HDF5 file, whole. */
#ifndef FILTERSCOPE_BASE_HDF5_TABLE_H
#define FILTERSCOPE_BASE_HDF5_TABLE_H

#include <hdf5.h>

/* A string type of fixed size, null-padded; to be closed. */
hid_t fs_hdf5_string(size_t bytes);

/* 1 where it was written. */
int fs_hdf5_write_attribute(hid_t object, const char *name, hid_t type, const void *value);

/* Opens a dataset whose shape must be the one given; -1 where it is missing or shaped otherwise. */
hid_t fs_hdf5_open_shaped(hid_t file, const char *path, int dimensions, const hsize_t *size);

/* Elements of a dataset; 0 where there is none. */
hsize_t fs_hdf5_rows(hid_t file, const char *path);

/* A new one-dimensional dataset, or all of one that has so many rows; 1 where that was done. Both take over `type`. */
int fs_hdf5_write_table(hid_t file, const char *path, hid_t type, hsize_t rows, const void *values);
int fs_hdf5_read_table(hid_t file, const char *path, hid_t type, hsize_t rows, void *values);

#endif
