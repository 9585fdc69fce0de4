/* What is there after a power failure: reads names of results and model files from standard input and prints a line for each.
 *
 *     results OPENED CHECKED COMPLETE DONE LAYER:EPOCH:BATCH:CRC ...    DONE: a 0 or 1 a unit; a state a layer, EPOCH -1: none
 *     model   OPENED EPOCH:BATCH
 *
 * OPENED and CHECKED are exit codes. A name that ends in .model is a model's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/model_file.h"
#include "filterscope/results.h"

static FILE *nowhere;

static void judge_model(const char *path)
{
    fs_model model;
    fs_status status = fs_model_load(path, &model);
    printf("model %d %d:%d\n", status, status ? -1 : model.epoch, status ? -1 : model.batch);
    if (!status)
        fs_model_free(&model);
}

static void judge_layer(fs_results *results, const fs_results_plan *plan, int index)
{
    const fs_layer_row *layer = &plan->layer[index];
    size_t bytes = sizeof(float) * (size_t)plan->labels * (size_t)layer->filters * (size_t)layer->height * (size_t)layer->width;
    fs_probe_state state = {.epoch = -1, .weight = malloc(bytes), .momentum = malloc(bytes)};
    int found;
    fs_status status = fs_results_read_state(results, index, &state, &found);
    uint32_t crc = status || !found ? 0 : fs_crc32c(fs_crc32c(0, state.weight, bytes), state.momentum, bytes);
    printf(" %d:%d:%d:%08x", layer->layer, state.epoch, state.batch, crc);
    free(state.weight);
    free(state.momentum);
}

static void judge_results(const char *path)
{
    fs_results *results;
    fs_status opened = fs_results_open(path, MPI_COMM_NULL, &results);
    if (opened) {
        printf("results %d\n", opened);
        return;
    }
    const fs_results_plan *plan = fs_results_plan_of(results);
    uint8_t *done = malloc((size_t)plan->units);
    int complete = 0;
    fs_status checked = fs_results_check(results, nowhere), status = fs_results_read_done(results, done, NULL);
    if (!status)
        status = fs_results_read_complete(results, &complete, NULL);
    printf("results %d %d %d ", status, checked, complete);
    for (int unit = 0; unit < plan->units; unit++)
        putchar('0' + done[unit]);
    for (int i = 0; i < plan->layers; i++)
        judge_layer(results, plan, i);
    putchar('\n');
    free(done);
    fs_results_close(results);
}

int main(void)
{
    char path[4096];
    nowhere = fopen("/dev/null", "w");
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = 0;
        if (strstr(path, ".model"))
            judge_model(path);
        else
            judge_results(path);
        fflush(stdout);
    }
    return 0;
}
