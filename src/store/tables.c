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

/* Tables that are written together, with the state that has their CRC. */
static const struct tables {
    fs_place_name state;
    int tables;
    fs_place_name table[2];
} all_tables[] = {{FS_PLACE_STATE, 2, {FS_PLACE_MEANS, FS_PLACE_SIZES}},
                  {FS_PLACE_KNOCKED_OUT, 2, {FS_PLACE_DROPS, FS_PLACE_LAYER_DROPS}},
                  {FS_PLACE_GROUPS_STATE, 1, {FS_PLACE_GROUPS}},
                  {FS_PLACE_CURVES_STATE, 1, {FS_PLACE_CURVES}}};

static const struct tables *tables_of(fs_place_name state)
{
    const struct tables *tables = all_tables;
    while (tables->state != state)
        tables++;
    return tables;
}

static uint64_t elements_of(const fs_place *place)
{
    uint64_t elements = 1;
    for (int d = 0; d < place->rank; d++)
        elements *= place->size[d];
    return elements;
}

static fs_status write_tables(fs_results *results, fs_place_name name, const void *const rows[2])
{
    const struct tables *tables = tables_of(name);
    fs_state_row state = {.complete = COMPLETE};
    fs_status status = fs_store_may_write(results);
    for (int t = 0; t < tables->tables && !status; t++) {
        const fs_place *place = fs_store_place(results, tables->table[t], 0);
        state.crc = fs_crc32c(state.crc, rows[t], elements_of(place) * place->form->bytes);
        status = fs_place_write(place, 0, elements_of(place), rows[t]);
    }
    return status ? status : fs_place_write(fs_store_place(results, name, 0), 0, 1, &state);
}

fs_status fs_results_write_layers(fs_results *results, const fs_silence_layer_row *row, const int32_t *sizes)
{
    return write_tables(results, FS_PLACE_STATE, (const void *const[2]){row, sizes});
}

fs_status fs_results_write_drops(fs_results *results, const fs_drop_row *filters, const fs_drop_layer_row *layers)
{
    return write_tables(results, FS_PLACE_KNOCKED_OUT, (const void *const[2]){filters, layers});
}

fs_status fs_results_write_groups(fs_results *results, const fs_group_row *row)
{
    return write_tables(results, FS_PLACE_GROUPS_STATE, (const void *const[2]){row});
}

fs_status fs_results_write_curves(fs_results *results, const fs_curve_row *row)
{
    return write_tables(results, FS_PLACE_CURVES_STATE, (const void *const[2]){row});
}

fs_status fs_tables_sum(fs_results *results, fs_place_name name, fs_state_row *state, uint32_t *crc)
{
    const struct tables *tables = tables_of(name);
    *crc = 0;
    fs_status status = fs_place_read(fs_store_place(results, name, 0), 0, 1, state);
    for (int t = 0; t < tables->tables && !status; t++) {
        const fs_place *place = fs_store_place(results, tables->table[t], 0);
        status = fs_place_sum(place, 0, elements_of(place), results->buffer, crc);
    }
    return status;
}

int fs_tables_unfinished(const fs_state_row *state)
{
    fs_state_row none = fs_unfinished();
    return state->complete == none.complete && state->crc == none.crc;
}

fs_status fs_tables_read_state(fs_results *results, fs_place_name name, int *complete, int *damaged)
{
    fs_state_row state = {0};
    uint32_t crc;
    fs_status status = fs_tables_sum(results, name, &state, &crc);
    *complete = !status && state.complete == COMPLETE && state.crc == crc;
    if (damaged)
        *damaged = !status && !*complete && !fs_tables_unfinished(&state);
    return status;
}

fs_status fs_results_read_complete(fs_results *results, int *complete, int *damaged)
{
    return fs_tables_read_state(results, FS_PLACE_STATE, complete, damaged);
}

fs_status fs_results_read_knocked_out(fs_results *results, int *complete, int *damaged)
{
    const fs_place_name names[] = {FS_PLACE_KNOCKED_OUT, FS_PLACE_GROUPS_STATE, FS_PLACE_CURVES_STATE};
    fs_status status = FS_OK;
    *complete = 1;
    if (damaged)
        *damaged = 0;
    for (int n = 0; n < 3 && !status; n++) {
        int whole, broken;
        if (!fs_form_exists(names[n], &results->plan, 0))
            continue;
        status = fs_tables_read_state(results, names[n], &whole, &broken);
        *complete = *complete && whole;
        if (damaged)
            *damaged = *damaged || broken;
    }
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
