/* Phases two to four over all ranks into one results file. */
#ifndef FILTERSCOPE_SWEEP_H
#define FILTERSCOPE_SWEEP_H

#include "filterscope/dataset.h"
#include "filterscope/knockout.h"
#include "filterscope/network.h"
#include "filterscope/plan.h"
#include "filterscope/probe.h"
#include "filterscope/results.h"
#include "filterscope/sets.h"

typedef struct fs_sweep_settings {
    fs_probe_settings probe;
    double threshold; /* of step 4 */
    int slots;
    int team;                   /* most ranks of a team, 1 .. slots */
    double save_every;          /* seconds, see fs_results_sync_every. Bits do not depend on it */
    double field_memory;        /* GiB of a node for phase three's fields, see fs_silence_fitting. Bits do not depend on it */
    int literal;                /* silence weights, and knock out filters, by definition: run the test set for each filter */
    fs_replacement replacement; /* of filters in phase four; FS_REPLACE_NONE: there is none */
    int knockout_images;        /* the first so many test images, in phase four */
    fs_set_choice sets;         /* groups and curves of phase four */
} fs_sweep_settings;

/* Everything a sweep works on; the same on every rank; borrowed. */
typedef struct fs_sweep_input {
    const fs_network *net;
    const fs_dataset *train;
    const fs_dataset *test;
    const fs_plan *plan;
    const fs_sweep_settings *settings;
    const fs_launch *launch; /* the row to add to /provenance/launches */
    const fs_target *target; /* the results file, held (fs_target_hold) by every rank */
} fs_sweep_input;

/* Collective on comm. Computes what is not finished in the results file, which exists and fits the plan: every unit once, every
 * finished one recorded at once. Units whose payload is damaged are named on standard error and computed again. Prints progress
 * to standard output. FS_OK: complete, as the file that the name leads to says when it is read anew (also where nothing was
 * left). FS_STOPPED: stopped cleanly with work left. FS_ERROR, FS_MISMATCH: the message says why. The same status on every
 * rank; where a team alone meets an error that the others cannot hear of, it prints the message and ends the job with fs_abort
 * and that status. */
fs_status fs_sweep(MPI_Comm comm, const fs_sweep_input *input);

#endif
