/* filterscope status, export and check: commands that only read a file. */
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "filterscope/lock.h"
#include "filterscope/mask.h"
#include "filterscope/model_file.h"

static const fs_option no_options[] = {{NULL}};

static fs_status finish(fs_status status, fs_results *results)
{
    fs_results_close(results);
    return status == FS_STOPPED ? FS_OK : status; /* --help */
}

/* A model file is read whole, under its CRC. */
static fs_status print_model(const char *path, int *complete)
{
    fs_model model;
    fs_status status = fs_model_load(path, &model);
    *complete = !status && model.epoch == model.epochs;
    if (!status && model.epochs == 0)
        printf("%s: trained elsewhere; complete\n", model.net.arch);
    else if (!status)
        printf("%s: %d of %d epochs done; %s\n", model.net.arch, model.epoch, model.epochs,
               *complete ? "complete" : "the same train command goes on");
    if (!status && model.last.parameter)
        printf("the weights are an average (--ema); /last has those that training goes on from\n");
    if (!status && fs_network_masked(&model.net))
        printf("pruned: %zu of %zu parameters are kept\n", model.net.parameters - fs_network_pruned(&model.net),
               model.net.parameters);
    fs_model_free(&model);
    return status;
}

static void print_writer(const char *path, int complete)
{
    char holder[256];
    if (fs_lock_holder(path, holder, sizeof holder))
        printf("locked by %s\n", holder);
    else if (!complete)
        printf("no job is at work on it\n");
}

/* What is at `path`, now; *complete: nothing is left to do. */
static fs_status print_status(const char *path, int *complete)
{
    fs_results *results = NULL;
    fs_status status = FS_OK;
    if (fs_model_is(path))
        return print_model(path, complete);
    status = fs_results_open(path, MPI_COMM_NULL, &results);
    if (!status)
        status = fs_print_progress(results, complete);
    fs_results_close(results);
    return status;
}

static void print_time(const char *path)
{
    char text[32];
    time_t now = time(NULL);
    strftime(text, sizeof text, "%F %T", localtime(&now));
    printf("%s  %s\n", text, path);
}

/* A terminal is cleared before each; elsewhere, in a log, one follows the other. */
static fs_status watch(const char *path, int interval)
{
    int complete = 0, terminal = isatty(STDOUT_FILENO);
    for (int count = 0; !complete; count++) {
        if (count)
            sleep((unsigned)interval);
        fs_output_clear();
        if (count && !terminal)
            printf("\n");
        print_time(path);
        fs_status status = print_status(path, &complete);
        if (status)
            return status;
        print_writer(path, complete);
        status = fs_output_check();
        if (status)
            return status;
    }
    return FS_OK;
}

fs_status fs_cli_status(int argc, char **argv)
{
    const char *path = NULL;
    int watching = 0, interval = 5, complete;
    const fs_option options[] = {{"watch", FS_OPTION_FLAG, &watching, 0, 0, "again and again until all is complete"},
                                 {"interval", FS_OPTION_INT, &interval, 1, 86400, "seconds between two looks of --watch (5)"},
                                 {NULL}};
    fs_status status = fs_options_read(argc, argv, "status RESULTS.h5|MODEL.h5 [--watch]", options, &path);
    if (!status && watching)
        return watch(path, interval);
    if (!status)
        status = print_status(path, &complete);
    if (!status)
        print_writer(path, complete);
    return finish(status, NULL);
}

fs_status fs_cli_check(int argc, char **argv)
{
    fs_results *results = NULL;
    const char *path = NULL;
    int complete;
    fs_status status = fs_options_read(argc, argv, "check RESULTS.h5|MODEL.h5", no_options, &path);
    if (!status && fs_model_is(path)) {
        status = print_model(path, &complete);
    } else if (!status) {
        status = fs_results_open(path, MPI_COMM_NULL, &results);
        if (!status)
            status = fs_results_check(results, stdout);
    }
    if (!status)
        printf("no damage found\n");
    return finish(status, results);
}

fs_status fs_cli_export(int argc, char **argv)
{
    const char *table = "layers", *path = NULL;
    double threshold = (double)NAN;
    int safe = 0;
    const fs_option options[] = {
        {"table", FS_OPTION_TEXT, &table, 0, 0,
         "layers, filters, probes, history, cluster_sizes, knockout_filters, knockout_layers, knockout_groups or "
         "knockout_curves (layers)"},
        {"threshold", FS_OPTION_NUMBER, &threshold, 0, 1,
         "layers, filters or cluster_sizes at another clipping threshold (the sweep's)"},
        {"safe", FS_OPTION_FLAG, &safe, 0, 0, "for spreadsheets: a ' before names that begin with = + - or @"},
        {NULL}};
    fs_results *results = NULL;
    fs_status status =
        fs_options_read(argc, argv, "export RESULTS.h5 [--table TABLE] [--threshold X] [--safe]", options, &path);
    if (!status)
        status = fs_results_open(path, MPI_COMM_NULL, &results);
    if (!status)
        status = fs_results_export(results, table, threshold, safe, stdout);
    return finish(status, results);
}
