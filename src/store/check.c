/* Every record, slot and table against its CRC. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "store/store.h"

struct check {
    fs_results *results;
    FILE *out;
    int damaged;
};

static void report(struct check *check, const char *what, const char *where, uint32_t recorded, uint32_t found)
{
    check->damaged++;
    fprintf(check->out, "damaged: %s (%s): recorded CRC %08x, found %08x\n", what, where, recorded, found);
}

static void describe_unit(const fs_results *results, int unit, char *what, char *where, size_t bytes)
{
    const fs_unit *u = &results->plan.unit[unit];
    int layer = results->plan.layer[u->index].layer;
    if (u->kind == FS_UNIT_PROBE) {
        snprintf(what, bytes, "unit %d, the probe of layer %d", unit, layer);
        snprintf(where, bytes, "/probe/%d/weight, /probe/history", layer);
    } else if (u->kind == FS_UNIT_BASELINE) {
        snprintf(what, bytes, "unit %d, the untouched network", unit);
        snprintf(where, bytes, "/knockout/baseline, /knockout/confusion");
    } else if (u->kind == FS_UNIT_KNOCKOUT) {
        snprintf(what, bytes, "unit %d, filters %d to %d of layer %d, knocked out", unit, u->first, u->first + u->count - 1,
                 layer);
        snprintf(where, bytes, "/knockout/%d/right, answers, changed, loss, work", layer);
    } else if (u->kind >= FS_UNIT_GROUPS) {
        const char *kind = u->kind == FS_UNIT_GROUPS ? "group" : "curve";
        snprintf(what, bytes, "unit %d, sets %d to %d of the %ss of layer %d", unit, u->first, u->first + u->count - 1, kind,
                 layer);
        snprintf(where, bytes, "/knockout/%d/%s_out, %s_right, changed, loss, work", layer, kind, kind);
    } else {
        snprintf(what, bytes, "unit %d, filters %d to %d of layer %d", unit, u->first, u->first + u->count - 1, layer);
        snprintf(where, bytes, "/silence/%d/field, /silence/%d/cluster, /silence/filters", layer, layer);
    }
}

static fs_status check_unit(struct check *check, int unit, const fs_unit_row *row)
{
    char what[128], where[128];
    uint32_t crc;
    if (row->state == 0)
        return FS_OK;
    fs_status status = fs_records_sum(check->results, unit, &crc);
    if (status)
        return status;
    describe_unit(check->results, unit, what, where, sizeof what);
    if (row->state != 1) {
        check->damaged++;
        fprintf(check->out, "damaged: %s (/units): recorded state %d is neither 0 nor 1\n", what, row->state);
    } else if (row->crc != crc) {
        report(check, what, where, row->crc, crc);
    }
    return FS_OK;
}

static fs_status check_units(struct check *check, const fs_unit_row *row)
{
    fs_status status = FS_OK;
    for (int unit = 0; unit < check->results->plan.units && !status; unit++)
        status = check_unit(check, unit, &row[unit]);
    return status;
}

/* The newest slot of a probe in training; and of a finished one, where it is no longer needed and no damage to the results. */
static void report_slot(struct check *check, int index, int slot, int done, const fs_slot_row *row, uint32_t crc)
{
    char what[128], where[128];
    int layer = check->results->plan.layer[index].layer;
    snprintf(what, sizeof what, "resume slot %d of layer %d", slot, layer);
    snprintf(where, sizeof where, "/resume/slots, /resume/%d/state", layer);
    if (done)
        fprintf(check->out, "no longer needed, but damaged: %s (%s): recorded CRC %08x, found %08x\n", what, where, row->crc,
                crc);
    else
        report(check, what, where, row->crc, crc);
}

/* Only the slot that its header calls the newest, and that is not given up, must be whole: the older one may be in the middle
 * of being overwritten, and stays so after a kill. While a sweep is writing, the newest may become the older one during the
 * check: look again. */
static fs_status check_slots(struct check *check, int index, int done)
{
    fs_slot_row before[2], after[2];
    int slot;
    uint32_t crc;
    fs_status status = fs_resume_read_headers(check->results, index, before, &slot);
    while (!status && slot >= 0) {
        int newest = before[slot].crc == FS_SLOT_GIVEN_UP && before[1 - slot].sequence > 0 ? 1 - slot : slot;
        status = fs_resume_sum(check->results, index, newest, &before[newest], &crc);
        if (status || crc == before[newest].crc)
            break;
        status = fs_resume_read_headers(check->results, index, after, &slot);
        if (!status && memcmp(before, after, sizeof before) == 0) {
            report_slot(check, index, newest, done, &before[newest], crc);
            break;
        }
        memcpy(before, after, sizeof before);
    }
    return status;
}

/* A slot that nobody wrote must be as creation left it. */
static void check_empty(struct check *check, int index, int done, const fs_slot_row headers[2])
{
    fs_slot_row empty;
    for (int slot = 0; slot < 2; slot++) {
        fs_known_row(FS_PLACE_SLOTS, &check->results->plan, 2 * (uint64_t)index + (uint64_t)slot, &empty);
        if (headers[slot].sequence == 0 && memcmp(&headers[slot], &empty, sizeof empty) != 0)
            report_slot(check, index, slot, done, &headers[slot], empty.crc);
    }
}

static int is_done(const fs_results *results, int index, const fs_unit_row *row)
{
    for (int unit = 0; unit < results->plan.units; unit++)
        if (results->plan.unit[unit].kind == FS_UNIT_PROBE && results->plan.unit[unit].index == index)
            return row[unit].state == 1;
    return 0;
}

/* What a probe in training has: its newest slot, and its history up to there. A finished one's history is its unit's. */
static fs_status check_training(struct check *check, int index, const fs_unit_row *row)
{
    int slot, done = is_done(check->results, index, row);
    fs_slot_row headers[2];
    uint32_t crc;
    fs_status status = check_slots(check, index, done);
    if (!status)
        status = fs_resume_read_headers(check->results, index, headers, &slot);
    if (!status)
        check_empty(check, index, done, headers);
    if (status || slot < 0 || done || headers[slot].epoch < 0 || headers[slot].epoch > check->results->plan.epochs)
        return status;
    status = fs_store_sum_history(check->results, index, headers[slot].epoch, &crc);
    if (!status && crc != headers[slot].history) {
        char what[128];
        snprintf(what, sizeof what, "the first %d epochs of layer %d", headers[slot].epoch,
                 check->results->plan.layer[index].layer);
        report(check, what, "/probe/history", headers[slot].history, crc);
    }
    return status;
}

static fs_status check_seals(struct check *check, fs_place_name name)
{
    const fs_place *place = fs_store_place(check->results, name, 0);
    char *row = fs_alloc(1, place->form->bytes, "a row");
    fs_status status = row ? FS_OK : FS_ERROR;
    for (uint64_t i = 0; i < place->size[0] && !status; i++) {
        uint32_t recorded, found;
        char what[64];
        status = fs_place_read(place, i, 1, row);
        snprintf(what, sizeof what, "row %llu, which tells how a run went", (unsigned long long)i);
        if (!status && !fs_seal_holds(place->form, row, &recorded, &found))
            report(check, what, place->path, recorded, found);
    }
    free(row);
    return status;
}

static fs_status check_tables(struct check *check, fs_place_name name, const char *what, const char *where)
{
    fs_state_row state = {0};
    uint32_t crc;
    if (!fs_form_exists(name, &check->results->plan, 0))
        return FS_OK;
    fs_status status = fs_tables_sum(check->results, name, &state, &crc);
    if (!status && !fs_tables_unfinished(&state) && (state.complete != 1 || state.crc != crc))
        report(check, what, where, state.crc, crc);
    return status;
}

fs_status fs_results_check(fs_results *results, FILE *out)
{
    struct check check = {.results = results, .out = out};
    fs_unit_row *row = fs_records_read(results);
    fs_status status = row ? check_units(&check, row) : FS_ERROR;
    for (int i = 0; i < results->plan.layers && !status; i++)
        status = check_training(&check, i, row);
    for (int name = 0; name < FS_PLACES_ONCE && !status; name++)
        if (fs_form_of((fs_place_name)name)->sealed)
            status = check_seals(&check, (fs_place_name)name);
    free(row);
    if (!status)
        status = check_tables(&check, FS_PLACE_STATE, "the layer tables", "/state, /silence/layers, /silence/cluster_sizes");
    if (!status)
        status = check_tables(&check, FS_PLACE_KNOCKED_OUT, "the tables of what is lost",
                              "/knockout/state, /knockout/filters, /knockout/layers");
    if (!status)
        status = check_tables(&check, FS_PLACE_GROUPS_STATE, "the table of groups", "/knockout/groups_state, /knockout/groups");
    if (!status)
        status = check_tables(&check, FS_PLACE_CURVES_STATE, "the table of curves", "/knockout/curves_state, /knockout/curves");
    if (!status && check.damaged)
        status = fs_fail(FS_MISMATCH, "%s: %d damaged record%s", results->path, check.damaged, check.damaged == 1 ? "" : "s");
    return status;
}
