/* Edits of a results file, half done: it opens and every reader ends, or there is a refusal. */
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/results.h"
#include "fuzz.h"

enum { K = 3, EPOCHS = 2, FILTERS = 2, SIDE = 2, UNITS = 4, WEIGHTS = K * FILTERS * SIDE * SIDE };

static const char names[K][FS_LABEL_NAME_BYTES] = {"cat", "dog", "fox"};
static const fs_layer_row layers[] = {{1, "conv1", FILTERS, SIDE, SIDE, 1}, {2, "conv2", FILTERS, SIDE, SIDE, 0}};
static const fs_unit units[UNITS] = {{FS_UNIT_PROBE, 0, 0, FILTERS},
                                     {FS_UNIT_PROBE, 1, 0, FILTERS},
                                     {FS_UNIT_SILENCE, 0, 0, FILTERS},
                                     {FS_UNIT_SILENCE, 1, 0, FILTERS}};
static const fs_config config = {.count = 2, .entry = {{"epochs", "2"}, {"slots", "4"}}};
static const fs_results_plan plan = {K, names, 2, layers, EPOCHS, UNITS, units, &config};
static char path[128];
static FILE *nowhere;

/* Layer 1 is done, layer 2 has a slot. */
static fs_status fill(fs_results *results)
{
    static float weight[WEIGHTS], momentum[WEIGHTS], field[FILTERS * K * K];
    static const int32_t cluster[FILTERS * K] = {1, 1, 0};
    static const fs_filter_row row[FILTERS] = {{.layer = 1, .filter = 0}, {.layer = 1, .filter = 1}};
    fs_launch launch = {.time = 1, .ranks = 1, .teams = 1};
    int number;
    fs_status status = fs_results_write_launch(results, &launch, &number);
    for (int unit = 0; unit < 3 && !status; unit++)
        status = fs_results_write_start(results, unit, number, 0);
    for (int layer = 0; layer < 2; layer++)
        for (int epoch = 1; epoch <= EPOCHS - layer && !status; epoch++) {
            fs_history_row history = {layer + 1, epoch, 0.01, 0.5, 0.5, 0.5};
            fs_probe_state state = {.epoch = epoch, .weight = weight, .momentum = momentum};
            status = fs_results_write_history(results, layer, &history, 1);
            if (!status)
                status = fs_results_write_state(results, layer, &state);
        }
    if (!status)
        status = fs_results_write_probe(results, 0, weight);
    return status ? status : fs_results_write_silence(results, 2, field, cluster, row);
}

static void finalize(void)
{
    MPI_Finalize();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fs_results *results;
    snprintf(path, sizeof path, "%s", fuzz_path("sweep.h5"));
    fuzz_expect(fs_results_create(path, &plan) == FS_OK);
    MPI_Init(argc, argv);
    atexit(finalize);
    fuzz_expect(fs_results_open(path, MPI_COMM_SELF, &results) == FS_OK);
    fuzz_expect(fill(results) == FS_OK);
    fuzz_expect(fs_results_close(results) == FS_OK);
    fuzz_base(path);
    nowhere = fopen("/dev/null", "w");
    return 0;
}

static void read_layer(fs_results *results, const fs_results_plan *p, int index)
{
    size_t filters = (size_t)p->layer[index].filters, labels = (size_t)p->labels;
    size_t weights = labels * filters * (size_t)p->layer[index].height * (size_t)p->layer[index].width;
    fs_probe_state state = {.weight = calloc(weights, sizeof(float)), .momentum = calloc(weights, sizeof(float))};
    fs_history_row *history = calloc((size_t)p->epochs, sizeof *history);
    float *field = calloc(filters * labels * labels, sizeof *field);
    int32_t *cluster = calloc(filters * labels, sizeof *cluster);
    fs_filter_row *row = calloc(filters, sizeof *row);
    int found, epochs;
    fuzz_expect(state.weight && state.momentum && history && field && cluster && row);
    fs_results_read_state(results, index, &state, &found);
    fs_results_read_epochs(results, index, &epochs);
    fs_results_read_history(results, index, history);
    fs_results_read_weight(results, index, state.weight);
    fs_results_read_filters(results, index, 0, (int)filters, field, cluster, row);
    free(state.weight);
    free(state.momentum);
    free(history);
    free(field);
    free(cluster);
    free(row);
}

static void read_all(fs_results *results)
{
    const fs_results_plan *p = fs_results_plan_of(results);
    uint8_t *done = calloc((size_t)p->units, 1), *damaged = calloc((size_t)p->units, 1);
    fs_silence_layer_row *row = calloc((size_t)p->layers, sizeof *row);
    int complete, bad;
    fs_results_read_done(results, done, damaged);
    for (int unit = 0; unit < p->units; unit++)
        fuzz_expect(done[unit] <= 1 && damaged[unit] <= 1 && !(done[unit] && damaged[unit]));
    fs_results_read_recorded(results, done);
    fs_results_read_complete(results, &complete, &bad);
    fs_results_read_layers(results, row);
    for (int index = 0; index < p->layers; index++)
        read_layer(results, p, index);
    fs_status status = fs_results_check(results, nowhere);
    if (status)
        fuzz_expect_refusal(status);
    status = fs_results_match(path, p, &plan);
    if (status)
        fuzz_expect_refusal(status);
    free(done);
    free(damaged);
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fs_results *results;
    fuzz_edit(data, size);
    fs_status status = fs_results_open(path, MPI_COMM_NULL, &results);
    if (status) {
        fuzz_expect_refusal(status);
        fuzz_expect(!results);
    } else {
        read_all(results);
        fs_results_close(results);
    }
    fuzz_restore();
    return 0;
}
