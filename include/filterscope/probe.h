/* Phase two: new fully connected layers on the frozen trunk, all that a team trains from one forward pass. */
#ifndef FILTERSCOPE_PROBE_H
#define FILTERSCOPE_PROBE_H

#include "filterscope/dataset.h"
#include "filterscope/network.h"
#include "filterscope/rows.h"
#include "filterscope/slots.h"

typedef struct fs_probe_settings {
    int epochs;
    int batch;
    int test_every; /* measure the test SR after every so many epochs; always after the last */
    double lr;      /* multiplied by lr_decay at the start of every epoch, the first included (method, phase two) */
    double lr_decay;
    double momentum;
    double weight_decay;
    int views;    /* 0: a new augmented view of every image in every epoch (method, phase two); else epoch e sees view (e-1) mod
                     views, and features of the trunk are kept (ours) */
    double cache; /* GiB on each node of one team, for that: fs_probe_first_kept. Bits do not depend on it */
    uint64_t seed;
} fs_probe_settings;

/* One probe in training. */
typedef struct fs_probe {
    int layer;            /* number of the layer */
    size_t features;      /* height x width x filters of the probed map */
    fs_probe_state state; /* where it is; weight and momentum are owned by the caller */
} fs_probe;

/* Not collective. Initial weights, uniform in +-1/sqrt(features) from (seed, layer); momentum 0; epoch and batch 0. */
void fs_probe_initialise(fs_probe *probe, int labels, uint64_t seed);

/* Not collective. With settings->views: the first of probes[count], ordered by layer, whose features of all views of `images`
 * images are kept, as are those of all after it: the deepest that fit in settings->cache. `count` where there are none: without
 * views, with no epoch that sees one again, and where a map of net could depend in its last bits on the images beside it. Of a
 * probe only `features` is read. */
int fs_probe_first_kept(const fs_network *net, const fs_probe_settings *settings, int images, const fs_probe *probes,
                        int count);

/* What the caller wants to know. Called on every rank of the team, with the same arguments; a status other than FS_OK ends the
 * training with it. */
typedef struct fs_probe_events {
    void *context;
    /* An epoch of probes[which] is complete; `row` holds its numbers (layer, epoch, lr ...) and state its weights. */
    fs_status (*epoch)(void *context, int which, const fs_history_row *row, double seconds);
    /* In the middle of an epoch, before a stop or because poll asked for it: state tells where. */
    fs_status (*between)(void *context, int which);
    /* All probes that an epoch, or that, has brought further have been told. */
    fs_status (*settled)(void *context);
    /* Between batches; returns FS_PROBE_STOP, FS_PROBE_SAVE, both or 0. Only here the ranks of the team may return different
     * values; what one wants, all do. */
    int (*poll)(void *context);
} fs_probe_events;

enum { FS_PROBE_STOP = 1, FS_PROBE_SAVE = 2 };

/* Collective on own->comm (the team). Trains probes[count], ordered by layer, each from its state to settings->epochs. Probes
 * that are further than others wait for them. The results depend on own->slots, not on the ranks.
 * FS_OK; FS_STOPPED (poll on some rank); FS_ERROR (no memory, a loss that is not finite); what an event returned. */
fs_status fs_probe_train(const fs_slots *own, const fs_network *net, const fs_dataset *train, const fs_dataset *test,
                         const fs_probe_settings *settings, fs_probe *probes, int count, const fs_probe_events *events,
                         int speaks);

#endif
