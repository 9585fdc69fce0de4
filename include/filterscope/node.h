/* Memory that the ranks of one node share, for what is the same on all of them and each can make a part of. */
#ifndef FILTERSCOPE_NODE_H
#define FILTERSCOPE_NODE_H

#include <mpi.h>
#include <stddef.h>

#include "filterscope/status.h"

typedef struct fs_shared {
    MPI_Comm comm; /* the ranks that share this memory; owned */
    int rank, ranks;
    float *data; /* [count], aligned to 64 bytes, zeroed at first */
    size_t bytes;
    int mapped; /* 0: this rank's alone */
} fs_shared;

/* Collective on comm. Memory of `count` floats that the ranks of comm on one node have in common; where the system does not let
 * them, each has its own (ranks = 1). FS_ERROR on every rank where one has no memory for it, with *shared released. */
fs_status fs_shared_create(MPI_Comm comm, size_t count, const char *what, fs_shared *shared);

/* Collective on shared->comm. Afterwards each of its ranks sees what all have written before. */
void fs_shared_meet(const fs_shared *shared);

/* Collective on shared->comm. Does nothing to a zeroed one. */
void fs_shared_free(fs_shared *shared);

/* Bytes that are the same on all ranks and change no more. */
typedef struct fs_common {
    void *data;
    size_t bytes;
    size_t mapped; /* to be released with munmap, so many bytes; 0: with free() */
    int file;      /* where mapped: fs_alloc_shareable's; -1: closed */
} fs_common;

/* Collective on comm. `common` is complete on rank 0 and zeroed elsewhere; afterwards all ranks have the bytes: those of a node
 * in common, read only but on the first, where the system lets them, else each its own. Takes no copy of rank 0's where these
 * are mapped. FS_ERROR on every rank where one has no memory; what a rank has by then stays its own. */
fs_status fs_common_share(MPI_Comm comm, const char *what, fs_common *common);

#endif
