/* The first bytes of an HDF5 file. */
#ifndef FILTERSCOPE_BASE_SUPERBLOCK_H
#define FILTERSCOPE_BASE_SUPERBLOCK_H

#include <stdint.h>

#include "filterscope/status.h"

enum { FS_SUPERBLOCK_BYTES = 48 };

/* End of the file as the superblock of an open file has it; 0 where it is no superblock of ours. Ours is of version 2 (HDF5's
 * format 1.8), in which all metadata are under checksums: those of older ones lead HDF5 1.10 astray where they are damaged. */
uint64_t fs_superblock_end(int descriptor);

/* The same of a superblock in memory, of at least 48 bytes. */
uint64_t fs_superblock_end_of(const void *block);

/* 1 where `path` is a file of the length that its superblock, one of ours, says. */
int fs_superblock_fits(const char *path);

/* `status`, and where it calls the file `path` damaged although a read of it has failed since errno was 0, FS_ERROR and why:
 * HDF5 does not tell the two apart. */
fs_status fs_unless_unread(const char *path, fs_status status);

#endif
