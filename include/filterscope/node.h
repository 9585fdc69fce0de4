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

#endif
