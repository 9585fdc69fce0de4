/* Experiments of phase four on all ranks: units of filters (knockouts.c) or of sets of filters (together.c), handed out one by
 * one or, where they are few for the ranks, cut by images into several jobs.
 *
 *     fs_experiments_open      lists the units that are not done
 *     fs_experiments_measure   the untouched network, on all ranks together
 *     fs_experiments_run       the jobs
 *     fs_experiments_close */
#ifndef FILTERSCOPE_SWEEP_EXPERIMENTS_H
#define FILTERSCOPE_SWEEP_EXPERIMENTS_H

#include "phases/progress.h"
#include "sweep/pieces.h"

typedef struct fs_experiments fs_experiments;

/* Of some kind of units; neither is collective. */
typedef struct fs_experiments_kind {
    /* Runs a unit with the images of `input` into `counts`, zeroed, as fs_knockout_filters. */
    fs_status (*run)(fs_experiments *e, const fs_knockout_input *input, int unit, fs_knockout *counts);
    /* Records a unit with all images. */
    fs_status (*record)(fs_experiments *e, int unit, const fs_knockout *counts);
} fs_experiments_kind;

struct fs_experiments {
    fs_sweep_run *run;
    const fs_experiments_kind *kind;
    int index[FS_MOST_LAYERS]; /* of the plan, of the layers whose filters are knocked out */
    int layer[FS_MOST_LAYERS]; /* their numbers */
    fs_knockout_input input;
    fs_untouched untouched;
    fs_knockout_room room;
    fs_job *jobs; /* [count]: numbers of units, then of parts */
    int count;
    struct fs_unit_part *part; /* [count] */
    fs_pieces pieces;
    double sets[FS_UNIT_CURVES + 1]; /* filters, or sets of them, in all jobs, by kind of unit */
    fs_progress progress;
};

/* Collective on run->world. The units of kinds `first` .. `last` that are not done are the jobs, e->count of them, maybe none.
 * FS_ERROR on every rank without memory; release in any case. */
fs_status fs_experiments_open(fs_sweep_run *run, const fs_experiments_kind *kind, fs_unit_kind first, fs_unit_kind last,
                              fs_experiments *e);

/* Collective on run->world. e->untouched; as fs_untouched_measure. */
fs_status fs_experiments_measure(fs_experiments *e);

/* Collective on run->world. As fs_sweep_hand_out. */
fs_status fs_experiments_run(fs_experiments *e);
void fs_experiments_close(fs_experiments *e);

/* Not collective. The place of the plan's layer `index` among e->layer. */
int fs_experiments_which(const fs_experiments *e, int index);

/* Not collective. Percent of the experiments of a unit of `count` that went as FS_WORK_... `column`. */
double fs_experiments_percent(const fs_experiments *e, const fs_knockout *counts, int count, int column);

/* Not collective. An fs_poll whose context is an fs_experiments: serves the desk, takes pieces, tells of progress. */
int fs_experiments_poll(void *context);

#endif
