/* What the sub-commands sweep and plan share. */
#ifndef FILTERSCOPE_CLI_SWEEP_H
#define FILTERSCOPE_CLI_SWEEP_H

#include "cli/cli.h"
#include "filterscope/model_file.h"
#include "filterscope/sweep.h"

struct fs_sweep_arguments {
    const char *model, *out, *layers, *knockout, *knockout_layers, *groups, *curve;
    int filters_per_unit, reserve, mixed, draws; /* draws: -1 where the option is not there */
    double stop_at;                              /* seconds since 1970; 0: never */
    fs_data_choice data;
    fs_sweep_settings settings;
};

/* What both commands work on. */
struct fs_sweep_job {
    struct fs_sweep_arguments a;
    fs_target target;
    fs_model model;
    fs_dataset train, test;
    fs_plan plan;
    fs_config config;
    fs_launch launch; /* this start */
    fs_unit *unit;    /* those of some parts of phase four, for the plan of a file */
};

/* Not collective. The options of both. FS_USAGE, or FS_STOPPED after --help. */
fs_status fs_sweep_read_arguments(int argc, char **argv, const char *usage, int needs_out, struct fs_sweep_arguments *a);

/* Collective on MPI_COMM_WORLD. Model, data and plan on every rank; fs_sweep_release, not collective, gives them back. */
fs_status fs_sweep_load(struct fs_sweep_job *job);
void fs_sweep_release(struct fs_sweep_job *job);

/* Not collective. Without --slots: those of a file's configuration, or the default; stored may be NULL. */
void fs_sweep_take_slots(struct fs_sweep_job *job, const fs_config *stored);

/* Not collective. The parts of phase four that the command asks for: bits. */
int fs_sweep_parts(const struct fs_sweep_job *job);

/* Not collective. The results file's plan with these parts; writes job->config and job->unit anew, which it borrows. */
fs_results_plan fs_sweep_describe(struct fs_sweep_job *job, int parts);

#endif
