/* A network cut at one probed map, for experiments that change some of its filters and ask what the network then answers.
 *
 *     fs_cut_create
 *     fs_cut_before     a chunk of images up to the map, once for all experiments with them
 *     fs_cut_choose     the filters that the next experiments change
 *     fs_cut_pack       one of these images, with those filters changed, becomes one of the experiments of a batch
 *     fs_cut_behind     the rest of the network over a batch of experiments with any filters
 *     fs_cut_free
 *
 * What does not depend on the map (in a network with branches, not only what lies before it) is computed by fs_cut_before
 * alone. Where the one step that reads the map is linear in it, a convolution or fully connected layer, that step is computed
 * once, too: z' = z - w[f] * (a_f - its replacement), for each filter f that is changed, is what an experiment begins with. */
#ifndef FILTERSCOPE_CUT_H
#define FILTERSCOPE_CUT_H

#include "filterscope/network.h"

typedef struct fs_cut {
    const fs_network *net; /* borrowed */
    fs_workspace space;    /* its input is for the caller to fill */
    int point;             /* the step whose output is the map */
    int linear;            /* the step that reads it, see above; -1: there is none, or there are several, or FS_CUT_WHOLE */
    uint8_t *behind;       /* [steps]: 1 where the step runs for each experiment */
    float **kept;          /* [steps]: [images][map] of a step that is not behind, for fs_cut_pack; NULL: not needed */
    float **packed;        /* [steps]: [experiments][map] of one that steps behind read; NULL: they don't */
    float *sum;            /* of the linear step: [images][map] before what it takes along (ReLU, pool) */
    float *changed;        /* [map]: one of these in an experiment */
    float *weight;         /* [chosen][weights of a channel] of the linear step */
    float *difference;     /* [pixels]: of one filter, from its replacement */
    const int *filter;     /* [chosen]; borrowed */
    int chosen;
    const float *replacement; /* [filters][pixels]; NULL: 0; borrowed */
} fs_cut;

/* What an experiment came to. */
typedef enum fs_packed {
    FS_CUT_PACKED, /* it is in the batch */
    FS_CUT_SAME,   /* the map is what it was to be replaced by: the answer is the untouched network's */
    FS_CUT_HIDDEN  /* nothing differs behind the linear step and what it takes along: likewise */
} fs_packed;

/* What an experiment begins with. Each filter that is changed costs a share of the linear step; that step whole is faster, and
 * what is left of a map is exact, where many are. */
typedef enum fs_cut_form { FS_CUT_LINEAR, FS_CUT_WHOLE } fs_cut_form;

/* Not collective, like everything here. For chunks and batches of up to `images` images, at the map of convolution `layer`,
 * which is probed. FS_ERROR without memory. Zeroed after a failure; else release with fs_cut_free. */
fs_status fs_cut_create(const fs_network *net, int layer, int images, fs_cut_form form, fs_cut *cut);
void fs_cut_free(fs_cut *cut);

/* Over cut->space.input [images][height][width][channels]. */
void fs_cut_before(fs_cut *cut, int images);

/* filter [count], from 0, count <= filters of the map; replacement [filters of the map][pixels], NULL for 0. Both are borrowed
 * until the next choice. */
void fs_cut_choose(fs_cut *cut, const int *filter, int count, const float *replacement);

/* Image `image` of the chunk as experiment `place` of the batch. Where it is not FS_CUT_PACKED, the place is still free. */
fs_packed fs_cut_pack(fs_cut *cut, int image, int place);

/* Returns the logits [experiments][K], valid until the next call of any of these functions. */
const float *fs_cut_behind(fs_cut *cut, int experiments);

/* What a cut costs. */
typedef struct fs_cut_cost {
    double before; /* multiply-adds for an image ... */
    double behind; /* ... and for an experiment: with FS_CUT_LINEAR, one that changes one filter */
    size_t floats; /* that fs_cut_create allocates for each image, beside the workspace */
} fs_cut_cost;

/* FS_ERROR without memory. */
fs_status fs_cut_find_cost(const fs_network *net, int layer, fs_cut_form form, fs_cut_cost *cost);

#endif
