/* The options of filterscope train. */
#ifndef FILTERSCOPE_CLI_TRAIN_H
#define FILTERSCOPE_CLI_TRAIN_H

#include "cli/cli.h"
#include "filterscope/train.h"

struct fs_train_arguments {
    const char *arch, *out, *init, *layers, *pixels, *mean, *std;
    int alternating, identity; /* flips; first weights */
    int reserve;
    double stop_at; /* seconds since 1970; 0: never */
    fs_data_choice data;
    fs_train_settings settings;
    fs_launch launch; /* this start */
};

/* Not collective. What is not there is NaN or 0 in settings.recipe. FS_USAGE, or FS_STOPPED after --help. */
fs_status fs_train_read_arguments(int argc, char **argv, struct fs_train_arguments *a);

/* Not collective. What `own` leaves open is that of `recipe`, the architecture's. FS_USAGE: it warms up to its end. */
fs_status fs_train_fill_recipe(fs_recipe *own, const fs_recipe *recipe);

#endif
