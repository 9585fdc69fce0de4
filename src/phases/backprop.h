/* What the forward and backward pass of a batch need, in one place: made by backprop_create.c, walked by backprop.c. */
#ifndef FILTERSCOPE_PHASES_BACKPROP_H
#define FILTERSCOPE_PHASES_BACKPROP_H

#include "filterscope/node.h"
#include "filterscope/train.h"
#include "model/steps.h"

enum {
    FS_BACKPROP_DEPTH = 13,    /* log2(FS_MOST_SLOTS) + 1 */
    FS_BACKPROP_LOSS_SUMS = 2, /* of a slot: loss, right answers */
};

/* What a step has of its own. */
struct fs_backprop_room {
    float *output;         /* [local images][outputs]; its input's, where it works in place */
    int owns_output;       /* is not another's */
    float *delta;          /* likewise: the gradient of its output, in a buffer that it shares with others */
    uint8_t *kept;         /* [local images][kind->kept] */
    float *moments;        /* [kind->sums] */
    double *totals;        /* [kind->sums] */
    size_t prepared_place; /* where its weights begin among the prepared ones */
};

struct fs_backprop {
    const fs_network *net;
    const fs_slots *own;
    int images;      /* of the batch in work, over all ranks */
    int most_images; /* of a slot */
    int steps;
    int first;           /* that trains: the backward pass ends there */
    fs_step *step;       /* [steps] */
    fs_readers *readers; /* [steps] */
    fs_map_sizes maps;
    struct fs_backprop_room *room; /* [steps] */
    float *input;                  /* [local images][inputs] */
    uint16_t *label;               /* [local images] */
    int deltas;
    float **delta;      /* [deltas]: buffers for the gradients of the maps */
    float *addend;      /* [local images][largest map with several readers]: what a further reader adds to its gradient */
    float *scratch;     /* of the convolutions */
    fs_shared prepared; /* weights of all convolutions: of the forward pass, then of the backward pass */
    double *slot_sums;  /* [local slots][most sums] */
    float *gradient;    /* [parameters] */
    fs_part part;       /* of the gradient: what this rank has the totals of */
    float *partial[FS_BACKPROP_DEPTH]; /* gradient of one operation, for each level of the tree over local slots */
};

#endif
