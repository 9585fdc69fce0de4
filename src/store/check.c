/* Every record, slot and table against its CRC. */
#include <stdlib.h>
#include <string.h>

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

static fs_status check_units(struct check *check)
{
    fs_unit_row *row = fs_records_read(check->results);
    fs_status status = row ? FS_OK : FS_ERROR;
    for (int unit = 0; unit < check->results->plan.units && !status; unit++)
        status = check_unit(check, unit, &row[unit]);
    free(row);
    return status;
}

/* Only the slot that its header calls the newest must be whole: the older one may be in the middle of being overwritten, and
 * stays so after a kill. While a sweep is writing, the newest may become the older one during the check: look again. */
static fs_status check_slots(struct check *check, int index)
{
    fs_slot_row before[2], after[2];
    int slot, layer = check->results->plan.layer[index].layer;
    uint32_t crc;
    fs_status status = fs_resume_read_headers(check->results, index, before, &slot);
    while (!status && slot >= 0) {
        int newest = slot;
        status = fs_resume_sum(check->results, index, newest, &before[newest], &crc);
        if (status || crc == before[newest].crc)
            break;
        status = fs_resume_read_headers(check->results, index, after, &slot);
        if (!status && memcmp(before, after, sizeof before) == 0) {
            char what[128], where[128];
            snprintf(what, sizeof what, "resume slot %d of layer %d", newest, layer);
            snprintf(where, sizeof where, "/resume/slots, /resume/%d/state", layer);
            report(check, what, where, before[newest].crc, crc);
            break;
        }
        memcpy(before, after, sizeof before);
    }
    return status;
}

static fs_status check_tables(struct check *check)
{
    fs_state_row state = {0};
    uint32_t crc;
    fs_status status = fs_tables_sum(check->results, &state, &crc);
    if (!status && state.complete != 0 && (state.complete != 1 || state.crc != crc))
        report(check, "the layer tables", "/state, /silence/layers, /silence/cluster_sizes", state.crc, crc);
    return status;
}

fs_status fs_results_check(fs_results *results, FILE *out)
{
    struct check check = {.results = results, .out = out};
    fs_status status = check_units(&check);
    for (int i = 0; i < results->plan.layers && !status; i++)
        status = check_slots(&check, i);
    if (!status)
        status = check_tables(&check);
    if (!status && check.damaged)
        status = fs_fail(FS_MISMATCH, "%s: %d damaged record%s", results->path, check.damaged, check.damaged == 1 ? "" : "s");
    return status;
}
