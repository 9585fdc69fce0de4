/* Phase three: each filter's averaged field, its SR alone and the output unit it selects. */
#ifndef FILTERSCOPE_SILENCE_H
#define FILTERSCOPE_SILENCE_H

#include <mpi.h>
#include <stdint.h>

#include "filterscope/dataset.h"
#include "filterscope/network.h"
#include "filterscope/slots.h"

/* One probed layer with its trained probe. */
typedef struct fs_silence_layer {
    int layer;           /* number of the layer */
    int filters;         /* N_f */
    int pixels;          /* height x width of the probed map */
    const float *weight; /* [K][pixels][filters]; borrowed */
} fs_silence_layer;

/* What is gathered about filters; n = filters of the layer or of the block. */
typedef struct fs_fields {
    float *field;    /* [n][K][K]: V_f[input label, output unit], method steps 1 and 2, before normalisation */
    int32_t *right;  /* [n]: test images whose label is argmax_k h_fk (ours, step 9) */
    int32_t *chosen; /* [n][K]: test images on which output unit k is argmax_k h_fk, the lowest at a tie (ours, step 9) */
} fs_fields;

/* Not collective. FS_ERROR without memory. Zeroed after a failure; else release with fs_fields_free. */
fs_status fs_fields_create(int filters, int labels, fs_fields *fields);
void fs_fields_free(fs_fields *fields);

/* Not collective. FS_ERROR where a label of `test` has no image: its averaged field would be 0/0. */
fs_status fs_silence_check_labels(const fs_dataset *test);

/* Not collective. Bytes of a node with `on_node` of `ranks` ranks for the fields of so many filters in one pass of fs_silence:
 * their rows, and all of the layer with `most` filters, as rank 0 gathers them. */
double fs_silence_bytes(int labels, int ranks, int on_node, long filters, int most);

/* Collective on comm. FS_ERROR on every rank where the fields of a layer of that many filters are larger than the memory of a
 * node: to be told before the hours that the probes take. */
fs_status fs_silence_check_memory(MPI_Comm comm, int labels, int filters);

/* Asked between batches; 1 to stop. */
typedef int fs_poll(void *context);

/* Takes the fields of layers[which]; called on rank 0 only, layer after layer. */
typedef fs_status fs_fields_sink(void *context, int which, const fs_fields *fields);

/* Collective on comm. How many of layers[count], from the first on, have fields that fit `memory` GiB of each node together (0:
 * half of what it has free): 1 at the least, since a layer is the least that a pass is made for. */
int fs_silence_fitting(MPI_Comm comm, int labels, double memory, const fs_silence_layer *layers, int count);

/* Collective on comm. All filters of layers[count] (ordered by layer) from one forward pass over `test`, in chunks of up to
 * `batch` images of one label. Rank r takes labels r, r + ranks, ..., so that each row of a field is computed by one rank, and
 * is the same whatever the ranks: V_f[l,k] = sum_uv W[k,f,u,v] mean_l a_f[u,v] (method, last paragraph of phase three), the
 * mean summed in double in image order. K > ranks keeps all ranks busy.
 * FS_OK; FS_STOPPED (poll on some rank; nothing was given to sink); FS_ERROR (no memory); what sink returned. */
fs_status fs_silence(MPI_Comm comm, const fs_network *net, const fs_dataset *test, int batch, const fs_silence_layer *layers,
                     int count, fs_poll *poll, fs_fields_sink *sink, void *context, int speaks);

/* Not collective. The experiment as the paper describes it: for each of the filters first .. first+count-1, all other weights
 * of the probe are set to 0 and the whole test set is run. `fields` has room for `count` filters.
 * FS_OK; FS_STOPPED (poll); FS_ERROR (no memory). */
fs_status fs_silence_literal(const fs_network *net, const fs_dataset *test, int batch, const fs_silence_layer *layer, int first,
                             int count, fs_poll *poll, void *context, fs_fields *fields);

#endif
