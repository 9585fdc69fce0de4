/* filterscope status, export and check: commands that only read a file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "filterscope/lock.h"
#include "filterscope/memory.h"
#include "filterscope/model_file.h"

static const fs_option no_options[] = {{NULL}};

static fs_status finish(fs_status status, fs_results *results)
{
    fs_results_close(results);
    return status == FS_STOPPED ? FS_OK : status; /* --help */
}

/* A model file is read whole, under its CRC. */
static fs_status print_model(const char *path)
{
    fs_model model;
    fs_status status = fs_model_load(path, &model);
    if (!status)
        printf("%s: %d of %d epochs done; %s\n", model.net.arch, model.epoch, model.epochs,
               model.epoch == model.epochs ? "complete" : "the same train command goes on");
    fs_model_free(&model);
    return status;
}

/* Blocks of filters of layer `index`: all, and recorded ones. */
static void count_blocks(const fs_results_plan *plan, int index, const uint8_t *done, int *all, int *recorded)
{
    *all = *recorded = 0;
    for (int unit = 0; unit < plan->units; unit++)
        if (plan->unit[unit].kind == FS_UNIT_SILENCE && plan->unit[unit].index == index) {
            ++*all;
            *recorded += done[unit];
        }
}

static fs_status print_layer(fs_results *results, int index, const uint8_t *done)
{
    const fs_results_plan *plan = fs_results_plan_of(results);
    int epochs, all, recorded, probed = 0;
    fs_status status = fs_results_read_epochs(results, index, &epochs);
    if (status)
        return status;
    count_blocks(plan, index, done, &all, &recorded);
    for (int unit = 0; unit < plan->units; unit++)
        if (plan->unit[unit].kind == FS_UNIT_PROBE && plan->unit[unit].index == index)
            probed = done[unit];
    const char *state = probed && recorded == all ? "done" : epochs || probed ? "running" : "left";
    printf("%5d  %-8s %7d  %5d/%-5d  %4d/%-4d  %s\n", plan->layer[index].layer, plan->layer[index].name,
           plan->layer[index].filters, probed ? plan->epochs : epochs, plan->epochs, recorded, all, state);
    return FS_OK;
}

static fs_status print_status(fs_results *results)
{
    const fs_results_plan *plan = fs_results_plan_of(results);
    uint8_t *done = fs_alloc((size_t)plan->units, 1, "units");
    int complete = 0, count = 0;
    fs_status status = done ? fs_results_read_recorded(results, done) : FS_ERROR;
    if (!status)
        status = fs_results_read_complete(results, &complete, NULL);
    if (!status)
        printf("layer  name     filters  probe epochs  filter blocks\n");
    for (int i = 0; i < plan->layers && !status; i++)
        status = print_layer(results, i, done);
    for (int unit = 0; unit < plan->units && !status; unit++)
        count += done[unit];
    if (!status)
        printf("%d of %d units done; %s\n", count, plan->units, complete ? "complete" : "the same sweep command goes on");
    free(done);
    return status;
}

static void print_writer(const char *path)
{
    char holder[256];
    if (fs_lock_holder(path, holder, sizeof holder))
        printf("locked by %s\n", holder);
}

fs_status fs_cli_status(int argc, char **argv)
{
    fs_results *results = NULL;
    const char *path = NULL;
    fs_status status = fs_options_read(argc, argv, "status RESULTS.h5|MODEL.h5", no_options, &path);
    if (!status && fs_model_is(path)) {
        status = print_model(path);
    } else if (!status) {
        status = fs_results_open(path, MPI_COMM_NULL, &results);
        if (!status)
            status = print_status(results);
    }
    if (!status)
        print_writer(path);
    return finish(status, results);
}

fs_status fs_cli_check(int argc, char **argv)
{
    fs_results *results = NULL;
    const char *path = NULL;
    fs_status status = fs_options_read(argc, argv, "check RESULTS.h5|MODEL.h5", no_options, &path);
    if (!status && fs_model_is(path)) {
        status = print_model(path);
    } else if (!status) {
        status = fs_results_open(path, MPI_COMM_NULL, &results);
        if (!status)
            status = fs_results_check(results, stdout);
    }
    if (!status)
        printf("no damage found\n");
    return finish(status, results);
}

/* A double as R and pandas read it back to the last bit. */
static void print_double(double value)
{
    if (isnan(value))
        printf(",NaN");
    else if (isinf(value))
        printf(value > 0 ? ",Inf" : ",-Inf");
    else
        printf(",%.17g", value);
}

static fs_status export_layers(fs_results *results)
{
    const fs_results_plan *plan = fs_results_plan_of(results);
    fs_silence_layer_row *row = fs_alloc((size_t)plan->layers, sizeof *row, "layer rows");
    fs_status status = row ? fs_results_read_layers(results, row) : FS_ERROR;
    if (!status)
        printf("layer,filters,dead,clustered,sr,clusters,covered,noise,clusters_with,covered_with,noise_with,cluster_size,"
               "signal,noise_internal,noise_external,snr,share\n");
    for (int i = 0; i < plan->layers && !status; i++) {
        const fs_silence_layer_row *r = &row[i];
        const double values[] = {
            r->sr,         r->clusters,     r->covered, r->noise,          r->clusters_with,  r->covered_with,
            r->noise_with, r->cluster_size, r->signal,  r->noise_internal, r->noise_external, r->snr,
            r->share};
        printf("%d,%d,%d,%d", r->layer, r->filters, r->dead, r->clustered);
        for (size_t v = 0; v < sizeof values / sizeof *values; v++)
            print_double(values[v]);
        printf("\n");
    }
    free(row);
    return status;
}

static fs_status export_filters(fs_results *results)
{
    const fs_results_plan *plan = fs_results_plan_of(results);
    fs_status status = FS_OK;
    printf("layer,filter,clusters,covered,ones,noise,noise_internal,noise_external,dead,selected,share,sr,largest\n");
    for (int i = 0; i < plan->layers && !status; i++) {
        int filters = plan->layer[i].filters;
        fs_filter_row *row = fs_alloc((size_t)filters, sizeof *row, "filter rows");
        status = row ? fs_results_read_filters(results, i, 0, filters, NULL, NULL, row) : FS_ERROR;
        for (int f = 0; f < filters && !status; f++) {
            const fs_filter_row *r = &row[f];
            printf("%d,%d,%d,%d,%d,%d,%d,%d,%d,%d", r->layer, r->filter, r->clusters, r->covered, r->ones, r->noise,
                   r->noise_internal, r->noise_external, r->dead, r->selected);
            print_double(r->share);
            print_double(r->sr);
            print_double(r->largest);
            printf("\n");
        }
        free(row);
    }
    return status;
}

static fs_status export_probes(fs_results *results)
{
    const fs_results_plan *plan = fs_results_plan_of(results);
    fs_history_row *row = fs_alloc((size_t)plan->epochs, sizeof *row, "the history");
    fs_status status = row ? FS_OK : FS_ERROR;
    printf("layer,epoch,lr,train_loss,train_sr,test_sr\n");
    for (int i = 0; i < plan->layers && !status; i++) {
        status = fs_results_read_history(results, i, row);
        for (int e = 0; e < plan->epochs && !status; e++) {
            printf("%d,%d", row[e].layer, row[e].epoch);
            print_double(row[e].lr);
            print_double(row[e].train_loss);
            print_double(row[e].train_sr);
            print_double(row[e].test_sr);
            printf("\n");
        }
    }
    free(row);
    return status;
}

fs_status fs_cli_export(int argc, char **argv)
{
    static const struct {
        const char *name;
        fs_status (*print)(fs_results *results);
    } tables[] = {{"layers", export_layers}, {"filters", export_filters}, {"probes", export_probes}};
    const char *table = "layers";
    const fs_option options[] = {{"table", FS_OPTION_TEXT, &table, 0, 0, "layers, filters or probes (layers)"}, {NULL}};
    fs_results *results = NULL;
    const char *path = NULL;
    fs_status status = fs_options_read(argc, argv, "export RESULTS.h5 [--table layers|filters|probes]", options, &path);
    if (!status)
        status = fs_results_open(path, MPI_COMM_NULL, &results);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !status; i++)
        if (strcmp(tables[i].name, table) == 0)
            return finish(tables[i].print(results), results);
    if (!status)
        status = fs_fail(FS_USAGE, "--table: '%s' is none of layers, filters, probes", table);
    return finish(status, results);
}
