/* What the steps of a sweep share. */
#ifndef FILTERSCOPE_SWEEP_INTERNAL_H
#define FILTERSCOPE_SWEEP_INTERNAL_H

#include <mpi.h>

#include "filterscope/knockout.h"
#include "filterscope/sets.h"
#include "filterscope/sweep.h"
#include "sweep/coordinator.h"

typedef struct fs_sweep_run {
    MPI_Comm world;
    int rank, ranks;
    const fs_sweep_input *input;
    fs_results *results;
    int launch;       /* row of this start in /provenance/launches */
    uint8_t *done;    /* [units], at the start of the phase */
    uint8_t *damaged; /* [units]: the record says done, the payload differs */
    fs_desk *desk;    /* open while units are handed out; else NULL */
} fs_sweep_run;

/* Collective on run->world. Phase two: trains the probes that are not done, bundles of layers handed out to teams. */
fs_status fs_sweep_probes(fs_sweep_run *run);

/* Collective on run->world. Phase three: the blocks of filters that are not done. */
fs_status fs_sweep_silence(fs_sweep_run *run);

/* Collective on run->world. Writes the layer tables from the filter tables, all of which are done. */
fs_status fs_sweep_summarise(fs_sweep_run *run);

/* Collective on run->world. Phase four: the untouched network, and the filters that have not been knocked out. */
fs_status fs_sweep_knockout(fs_sweep_run *run);

/* Collective on run->world. Writes the tables of what is lost without filters, all of which are done; nothing without a phase
 * four. */
fs_status fs_sweep_summarise_drops(fs_sweep_run *run);

/* Collective on run->world. The groups and curves of phase four that are not done, then their tables; nothing without any. What
 * they are made of is done, and the file was opened after that. */
fs_status fs_sweep_sets(fs_sweep_run *run);
fs_status fs_sweep_summarise_sets(fs_sweep_run *run);

/* Not collective. How many groups layer `index` has; the number, in the whole list of a file, of its group `number`. */
int fs_groups_of(const fs_set_choice *choice, int labels, int index);
int fs_find_group(const fs_set_choice *choice, int index, int number);

/* What one rank computes alone. */
typedef struct fs_job {
    int unit; /* its number, of whatever the caller numbers */
    double cost;
} fs_job;

typedef fs_status fs_run_unit(void *context, int unit);

/* Collective on run->world. Every rank takes one of jobs [count], which are the same on all, after the other, the longest
 * first, until none is left or some rank is to stop; a unit that fails ends the job (fs_sweep_abort). `jobs` is sorted. */
fs_status fs_sweep_hand_out(fs_sweep_run *run, fs_job *jobs, int count, fs_run_unit *run_unit, void *context);

/* Not collective; on rank 0 while they are handed out. The share of the cost of jobs [count] that is through: of the newest,
 * one a rank, half. */
double fs_sweep_share(const fs_sweep_run *run, const fs_job *jobs, int count);

/* Not collective. An fs_poll whose context is the run: serves the desk on rank 0. */
int fs_sweep_poll(void *context);

/* Not collective. The unit that is layer `index`'s probe. */
int fs_sweep_probe_unit(const fs_plan *plan, int index);

/* Not collective. For an error that the other teams cannot hear of: prints the message and ends the job at once. What is
 * recorded stays; the next start goes on from there. */
void fs_sweep_abort(fs_sweep_run *run, fs_status status) __attribute__((noreturn));

#endif
