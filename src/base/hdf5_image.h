/* An HDF5 file that is built in memory. */
#ifndef FILTERSCOPE_BASE_HDF5_IMAGE_H
#define FILTERSCOPE_BASE_HDF5_IMAGE_H

#include <hdf5.h>

/* Not collective. A new file of HDF5's 1.8 format, whose metadata are under checksums; -1 where HDF5 fails. Its H5Fclose sets
 * *image to the file's bytes, to be released with free(); fs_superblock_end_of tells how many they are. */
hid_t fs_hdf5_create_image(void **image);

#endif
