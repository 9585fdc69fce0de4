/* The arrays of a network, by name and shape: the one list that what is written, read, summed and checked goes by. */
#ifndef FILTERSCOPE_MODEL_ARRAYS_H
#define FILTERSCOPE_MODEL_ARRAYS_H

#include "filterscope/model_file.h"

typedef struct fs_array {
    char path[64]; /* in the model file: /parameter/conv1.weight, /momentum/conv1.weight, /statistic/bn1.mean ... */
    int dimensions;
    size_t size[4];
    float *values;
    size_t count;
    int variance; /* may not be negative */
} fs_array;

typedef fs_status fs_array_visit(const fs_array *array, void *context);

/* Not collective. How many operations up to this one have its kind: its number in names of arrays. */
int fs_op_number(const fs_network *net, const fs_op *op);

/* Not collective. Calls `visit` with each array, in the order of the operations, until it fails; returns its status. */
fs_status fs_each_array(const fs_network *net, fs_array_visit *visit, void *context);

/* The same for /last/NAME: parameters and statistics beside those of the network; none where last->parameter is NULL. */
fs_status fs_each_last_array(const fs_network *net, const fs_values *last, fs_array_visit *visit, void *context);

/* FS_ERROR as fs_network_check. */
fs_status fs_check_last(const fs_network *net, const fs_values *last, const char *origin);

#endif
