/* History, layer tables and launches. */
#include <stddef.h>
#include <stdlib.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "store/store.h"

enum { COMPLETE = 1 };

fs_status fs_results_read_history(fs_results *results, int index, fs_history_row *history)
{
    uint64_t epochs = (uint64_t)results->plan.epochs;
    fs_status status = fs_store_check_layer(results, index);
    if (status)
        return status;
    return fs_place_read(fs_store_place(results, FS_PLACE_HISTORY, 0), (uint64_t)index * epochs, epochs, history);
}

/* The seconds first: the row is what counts. */
fs_status fs_results_write_history(fs_results *results, int index, const fs_history_row *row, double seconds)
{
    fs_status status = fs_store_check_layer(results, index);
    if (!status)
        status = fs_store_may_write(results);
    if (status)
        return status;
    if (row->layer != results->plan.layer[index].layer || row->epoch < 1 || row->epoch > results->plan.epochs)
        return fs_fail(FS_ERROR, "%s: epoch %d of layer %d is no row of layer %d's history, which has %d epochs", results->path,
                       row->epoch, row->layer, results->plan.layer[index].layer, results->plan.epochs);
    uint64_t place = (uint64_t)index * (uint64_t)results->plan.epochs + (uint64_t)row->epoch - 1;
    fs_epoch_row epoch = {.layer = row->layer, .epoch = row->epoch, .seconds = seconds, .rank = results->rank};
    fs_seal(fs_form_of(FS_PLACE_SECONDS), &epoch);
    status = fs_place_write(fs_store_place(results, FS_PLACE_SECONDS, 0), place, 1, &epoch);
    return status ? status : fs_place_write(fs_store_place(results, FS_PLACE_HISTORY, 0), place, 1, row);
}

fs_status fs_results_read_layers(fs_results *results, fs_silence_layer_row *row)
{
    return fs_place_read(fs_store_place(results, FS_PLACE_MEANS, 0), 0, (uint64_t)results->plan.layers, row);
}

/* Elements of /silence/cluster_sizes. */
static uint64_t sizes_of(const fs_results *results)
{
    return (uint64_t)results->plan.layers * ((uint64_t)results->plan.labels + 1);
}

fs_status fs_results_write_layers(fs_results *results, const fs_silence_layer_row *row, const int32_t *sizes)
{
    uint64_t layers = (uint64_t)results->plan.layers;
    fs_state_row state = {.complete = COMPLETE};
    state.crc = fs_crc32c(fs_crc32c(0, row, layers * sizeof *row), sizes, sizes_of(results) * sizeof *sizes);
    fs_status status = fs_store_may_write(results);
    if (!status)
        status = fs_place_write(fs_store_place(results, FS_PLACE_MEANS, 0), 0, layers, row);
    if (!status)
        status = fs_place_write(fs_store_place(results, FS_PLACE_SIZES, 0), 0, sizes_of(results), sizes);
    return status ? status : fs_place_write(fs_store_place(results, FS_PLACE_STATE, 0), 0, 1, &state);
}

fs_status fs_tables_sum(fs_results *results, fs_state_row *state, uint32_t *crc)
{
    uint64_t layers = (uint64_t)results->plan.layers;
    *crc = 0;
    fs_status status = fs_place_read(fs_store_place(results, FS_PLACE_STATE, 0), 0, 1, state);
    if (!status)
        status = fs_place_sum(fs_store_place(results, FS_PLACE_MEANS, 0), 0, layers, results->buffer, crc);
    if (!status)
        status = fs_place_sum(fs_store_place(results, FS_PLACE_SIZES, 0), 0, sizes_of(results), results->buffer, crc);
    return status;
}

int fs_tables_unfinished(const fs_state_row *state)
{
    fs_state_row none = fs_unfinished();
    return state->complete == none.complete && state->crc == none.crc;
}

fs_status fs_results_read_complete(fs_results *results, int *complete, int *damaged)
{
    fs_state_row state = {0};
    uint32_t crc;
    fs_status status = fs_tables_sum(results, &state, &crc);
    *complete = !status && state.complete == COMPLETE && state.crc == crc;
    if (damaged)
        *damaged = !status && !*complete && !fs_tables_unfinished(&state);
    return status;
}

fs_status fs_results_read_seconds(fs_results *results, int index, double *seconds)
{
    uint64_t epochs = (uint64_t)results->plan.epochs;
    fs_epoch_row *row = fs_alloc(epochs, sizeof *row, "the epochs' times");
    fs_status status = row ? fs_store_check_layer(results, index) : FS_ERROR;
    if (!status)
        status = fs_place_read(fs_store_place(results, FS_PLACE_SECONDS, 0), (uint64_t)index * epochs, epochs, row);
    for (uint64_t e = 0; e < epochs && !status; e++)
        seconds[e] = row[e].seconds;
    free(row);
    return status;
}

/* Rows are taken in order, so that the first free one ends a search by halves: *taken of the first `rows` are. */
static fs_status count_launches(const fs_place *place, uint64_t rows, uint64_t *taken)
{
    uint64_t free_from = rows;
    *taken = 0;
    while (*taken < free_from) {
        uint64_t middle = (*taken + free_from) / 2;
        fs_launch there;
        fs_status status = fs_place_read(place, middle, 1, &there);
        if (status)
            return status;
        if (there.time == 0)
            free_from = middle;
        else
            *taken = middle + 1;
    }
    return FS_OK;
}

fs_status fs_results_read_launch(fs_results *results, fs_launch *launch, int *number)
{
    const fs_place *place = fs_store_place(results, FS_PLACE_LAUNCHES, 0);
    uint64_t taken;
    fs_status status = count_launches(place, FS_LAUNCHES, &taken);
    if (!status && taken)
        status = fs_place_read(place, taken - 1, 1, launch);
    *number = status ? -1 : (int)taken - 1;
    return status;
}

fs_status fs_results_write_launch(fs_results *results, const fs_launch *launch, int *number)
{
    const fs_place *place = fs_store_place(results, FS_PLACE_LAUNCHES, 0);
    fs_launch row = *launch;
    uint64_t taken;
    fs_status status = fs_store_may_write(results);
    if (!status)
        status = count_launches(place, FS_LAUNCHES - 1, &taken); /* the last row is written in any case */
    if (status)
        return status;
    *number = (int)taken;
    fs_seal(place->form, &row);
    return fs_place_write(place, taken, 1, &row);
}
