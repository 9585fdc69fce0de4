/* Resume state: two slots a layer. Its invariant: a slot that is written to is not the only one that would be there after a
 * power failure. Once a slot is durable (synced, see fs_store_sync) the other takes every state until it is, too; before that,
 * they are written in turn. So a kill at any moment leaves a state: the arrays are overwritten first, and only then the header
 * says that the slot is the newer one. The arrays being torn under the old header, that header's CRC fails, as it should: the
 * slot is nothing until its new header stands. */
#include <stddef.h>

#include "filterscope/crc32c.h"
#include "filterscope/stop.h"
#include "store/store.h"

/* The header up to its CRC. */
static uint32_t sum_header(uint32_t crc, const fs_slot_row *row)
{
    return fs_crc32c(crc, row, offsetof(fs_slot_row, crc));
}

fs_status fs_resume_sum(fs_results *results, int index, int slot, const fs_slot_row *row, uint32_t *crc)
{
    uint64_t both = 2 * fs_store_weights(results, index);
    *crc = 0;
    fs_status status =
        fs_place_sum(fs_store_place(results, FS_PLACE_TRAINING, index), (uint64_t)slot * both, both, results->buffer, crc);
    *crc = sum_header(*crc, row);
    return status;
}

fs_status fs_resume_read_headers(fs_results *results, int index, fs_slot_row rows[2], int *slot)
{
    fs_status status = fs_place_read(fs_store_place(results, FS_PLACE_SLOTS, 0), 2 * (uint64_t)index, 2, rows);
    *slot = rows[1].sequence > rows[0].sequence;
    if (rows[*slot].sequence == 0)
        *slot = -1;
    return status;
}

/* *holds: the history up to the slot's epoch is what it was when the slot was written. */
static fs_status has_history(fs_results *results, int index, const fs_slot_row *row, int *holds)
{
    uint32_t crc = 0;
    *holds = row->epoch >= 0 && row->epoch <= results->plan.epochs;
    fs_status status = *holds ? fs_store_sum_history(results, index, row->epoch, &crc) : FS_OK;
    *holds = *holds && crc == row->history;
    return status;
}

/* Reads both headers and, newer first, the arrays until a CRC agrees. */
static fs_status find_newest(fs_results *results, int index)
{
    fs_newest *newest = &results->newest[index];
    fs_slot_row rows[2] = {{0}};
    int slot = -1;
    fs_status status = newest->known ? FS_OK : fs_resume_read_headers(results, index, rows, &slot);
    if (newest->known || status)
        return status;
    *newest = (fs_newest){.slot = -1, .durable = -1, .sequence = slot < 0 ? 0 : rows[slot].sequence};
    for (int tries = 0; tries < 2 && slot >= 0 && newest->slot < 0 && !status; tries++, slot = 1 - slot) {
        uint32_t crc;
        int sound = 0;
        status = fs_resume_sum(results, index, slot, &rows[slot], &crc);
        if (!status && rows[slot].sequence > 0 && rows[slot].crc == crc)
            status = has_history(results, index, &rows[slot], &sound);
        if (!status && sound) {
            newest->slot = newest->durable = slot; /* opening the file synced it */
            newest->sequence = rows[slot].sequence;
            newest->row = rows[slot];
        }
    }
    newest->known = !status;
    return status;
}

fs_status fs_results_read_state(fs_results *results, int index, fs_probe_state *state, int *found)
{
    *found = 0;
    fs_status status = fs_store_check_layer(results, index);
    if (!status)
        status = find_newest(results, index);
    if (status || results->newest[index].slot < 0)
        return status;
    const fs_newest *newest = &results->newest[index];
    const fs_place *place = fs_store_place(results, FS_PLACE_TRAINING, index);
    uint64_t weights = fs_store_weights(results, index), first = 2 * (uint64_t)newest->slot * weights;
    status = fs_place_read(place, first, weights, state->weight);
    if (!status)
        status = fs_place_read(place, first + weights, weights, state->momentum);
    if (status)
        return status;
    state->epoch = newest->row.epoch;
    state->batch = newest->row.batch;
    state->right = newest->row.right;
    state->loss = newest->row.loss;
    *found = 1;
    return FS_OK;
}

fs_status fs_results_read_epochs(fs_results *results, int index, int *epochs)
{
    fs_slot_row rows[2];
    int slot;
    *epochs = 0;
    fs_status status = fs_store_check_layer(results, index);
    if (!status)
        status = fs_resume_read_headers(results, index, rows, &slot);
    if (!status && slot >= 0 && rows[slot].epoch >= 0 && rows[slot].epoch <= results->plan.epochs)
        *epochs = rows[slot].epoch;
    return status;
}

static int choose_slot(const fs_newest *newest)
{
    if (newest->slot < 0)
        return 0;
    return 1 - (newest->durable < 0 ? newest->slot : newest->durable);
}

static fs_status write_header(fs_results *results, int index, int slot, const fs_slot_row *row)
{
    return fs_place_write(fs_store_place(results, FS_PLACE_SLOTS, 0), 2 * (uint64_t)index + (uint64_t)slot, 1, row);
}

/* Of the newest slot, which is to be written over: its header says so, lest a kill would look like damage. */
static fs_status give_up(fs_results *results, int index)
{
    fs_slot_row row = results->newest[index].row;
    row.crc = FS_SLOT_GIVEN_UP;
    return write_header(results, index, results->newest[index].slot, &row);
}

static fs_status write_slot(fs_results *results, int index, int slot, const fs_probe_state *state)
{
    fs_newest *newest = &results->newest[index];
    const fs_place *place = fs_store_place(results, FS_PLACE_TRAINING, index);
    uint64_t weights = fs_store_weights(results, index);
    fs_slot_row row = {.epoch = state->epoch,
                       .batch = state->batch,
                       .loss = state->loss,
                       .right = (int32_t)state->right,
                       .sequence = newest->sequence < UINT32_MAX ? newest->sequence + 1 : 1};
    fs_status status = fs_store_sum_history(results, index, state->epoch, &row.history);
    if (!status && slot == newest->slot)
        status = give_up(results, index);
    if (status)
        return status;
    uint32_t crc = fs_crc32c(0, state->weight, weights * sizeof *state->weight);
    row.crc = sum_header(fs_crc32c(crc, state->momentum, weights * sizeof *state->momentum), &row);
    status = fs_place_write(place, 2 * (uint64_t)slot * weights, weights, state->weight);
    if (!status)
        status = fs_place_write(place, (2 * (uint64_t)slot + 1) * weights, weights, state->momentum);
    if (!status)
        status = write_header(results, index, slot, &row);
    if (!status)
        *newest = (fs_newest){1, slot, newest->durable, row.sequence, row};
    return status;
}

fs_status fs_results_write_state(fs_results *results, int index, const fs_probe_state *state)
{
    double started = fs_seconds();
    fs_status status = fs_store_check_layer(results, index);
    if (!status)
        status = fs_store_may_write(results);
    if (!status)
        status = find_newest(results, index);
    if (!status)
        status = write_slot(results, index, choose_slot(&results->newest[index]), state);
    results->writing += fs_seconds() - started;
    return status;
}
