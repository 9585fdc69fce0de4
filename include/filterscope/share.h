/* One rank reads, every rank has: data sets and models from rank 0 to the others. */
#ifndef FILTERSCOPE_SHARE_H
#define FILTERSCOPE_SHARE_H

#include <mpi.h>

#include "filterscope/dataset.h"
#include "filterscope/model_file.h"

/* Collective on comm. `data` and `model` are complete on rank 0 and zeroed elsewhere; afterwards they are the same everywhere,
 * each rank owning its copy, but for model->last, which training alone shares, and for pixels: the ranks of a node have them in
 * common where they can, and where they stay in a file, each opens it. FS_ERROR on every rank where one has no memory. */
fs_status fs_share_dataset(MPI_Comm comm, fs_dataset *data);
fs_status fs_share_model(MPI_Comm comm, fs_model *model);

#endif
