/* What a sweep consists of: a pure function of network and settings, the same on every rank and at every start. */
#ifndef FILTERSCOPE_PLAN_H
#define FILTERSCOPE_PLAN_H

#include "filterscope/cut.h"
#include "filterscope/network.h"
#include "filterscope/results.h"

enum { FS_MOST_LAYERS = 256 }; /* that one sweep probes: more than ResNet-152 or DenseNet-201 have */

typedef struct fs_plan {
    int layers;
    fs_layer_row layer[FS_MOST_LAYERS]; /* the probed layers, ascending */
    int units;
    fs_unit *unit; /* [units]: the probes, then the blocks of filters, both by layer; then those of phase four */
    int own_units; /* without these */
    fs_cut_cost cut[FS_MOST_LAYERS];   /* of the layers whose filters are knocked out, one by one ... */
    fs_cut_cost whole[FS_MOST_LAYERS]; /* ... and many together, where they are */
} fs_plan;

/* Not collective, like everything here. `layers` is "all" or a list as "1,3,5". FS_USAGE names a word that is no layer of the
 * network, or they are more than FS_MOST_LAYERS. FS_ERROR: no memory. Zeroed after a failure; else release with
 * fs_plan_free. */
fs_status fs_plan_create(const fs_network *net, const char *layers, int filters_per_unit, fs_plan *plan);
void fs_plan_free(fs_plan *plan);

/* Adds phase four for `layers`, "all" those of the plan or some of them: the untouched network, then blocks of filters that
 * cost about as much as FS_KNOCKOUT_PASSES passes of the whole network, so that a block's own part, what lies before its layer,
 * is little of it. FS_USAGE names a word that is no layer of the plan. FS_ERROR: no memory. */
enum { FS_KNOCKOUT_PASSES = 4 };
fs_status fs_plan_add_knockout(const fs_network *net, const char *layers, fs_plan *plan);

/* 1 where filters of layer `index` are knocked out. */
int fs_plan_has_knockout(const fs_plan *plan, int index);

/* Multiply-adds for one image of a block of phase four. */
double fs_plan_knockout_cost(const fs_plan *plan, int unit);

/* Of the probed layer that has the most. */
int fs_plan_most_filters(const fs_plan *plan);

/* Height x width x filters of probed layer `index`. */
size_t fs_plan_features(const fs_plan *plan, int index);

/* Multiply-adds for one image: the forward pass up to layer `index`, and a training step of its probe. */
double fs_plan_trunk_cost(const fs_network *net, const fs_plan *plan, int index);
double fs_plan_probe_cost(const fs_network *net, const fs_plan *plan, int index);

/* Shares layers 0 .. count-1 of `index` (ascending) out to at most `teams` bundles so that the most expensive one is as cheap
 * as possible; a bundle costs the trunk up to its deepest layer plus its probes. bundle[count] becomes each layer's bundle,
 * 0 for the most expensive. Returns the number of bundles. Bundles are runs of neighbouring layers: any other choice pays the
 * deeper trunk twice. O(teams x count^2). */
int fs_plan_bundles(const fs_network *net, const fs_plan *plan, const int *index, int count, int teams, int *bundle);

#endif
