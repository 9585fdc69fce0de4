/* The rows of units, apart from what they have: that one is done, and when and where it was. */
#include <stdlib.h>
#include <time.h>

#include "filterscope/memory.h"
#include "filterscope/stop.h"
#include "store/store.h"

fs_unit_row *fs_records_read(fs_results *results)
{
    size_t units = (size_t)results->plan.units;
    fs_unit_row *row = fs_alloc(units, sizeof *row, "units");
    if (row && fs_place_read(fs_store_place(results, FS_PLACE_UNITS, 0), 0, units, row)) {
        free(row);
        row = NULL;
    }
    return row;
}

fs_status fs_results_read_recorded(fs_results *results, uint8_t *recorded)
{
    fs_unit_row *row = fs_records_read(results);
    for (int unit = 0; row && unit < results->plan.units; unit++)
        recorded[unit] = row[unit].state == FS_UNIT_DONE;
    free(row);
    return row ? FS_OK : FS_ERROR;
}

fs_status fs_results_read_runs(fs_results *results, fs_run_row *row)
{
    return fs_place_read(fs_store_place(results, FS_PLACE_RUNS, 0), 0, (uint64_t)results->plan.units, row);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static fs_status write_record(fs_results *results, int unit, int32_t state, uint32_t crc)
{
    const fs_unit *u = &results->plan.unit[unit];
    const fs_unit_row row = {u->kind, results->plan.layer[u->index].layer, u->first, u->count, state, crc};
    return fs_place_write(fs_store_place(results, FS_PLACE_UNITS, 0), (uint64_t)unit, 1, &row);
}

/* The record goes first: a unit that is computed once more (its payload was damaged) isn't done while its payload changes,
 * and after a kill it is unfinished rather than damaged, so that a probe goes on at its slot. */
fs_status fs_results_write_start(fs_results *results, int unit, int launch, int rank)
{
    if (unit < 0 || unit >= results->plan.units)
        return fs_store_check_unit(results, unit, FS_UNIT_PROBE);
    const fs_place *place = fs_store_place(results, FS_PLACE_RUNS, 0);
    fs_run_row row, unknown;
    fs_status status = fs_store_may_write(results);
    if (!status)
        status = write_record(results, unit, 0, 0);
    if (!status)
        status = fs_place_read(place, (uint64_t)unit, 1, &row);
    if (status)
        return status;
    fs_form_fill(place->form, &unknown);
    unknown.attempt = row.attempt + 1;
    unknown.rank = rank;
    unknown.started = now();
    results->begun[unit] = fs_seconds();
    unknown.launch = launch;
    fs_seal(place->form, &unknown);
    return fs_place_write(place, (uint64_t)unit, 1, &unknown);
}

fs_status fs_records_finish(fs_results *results, int unit, uint32_t crc)
{
    const fs_place *place = fs_store_place(results, FS_PLACE_RUNS, 0);
    fs_run_row row;
    fs_status status = fs_place_read(place, (uint64_t)unit, 1, &row);
    if (status)
        return status;
    row.finished = now();
    row.seconds = fs_seconds() - results->begun[unit];
    fs_seal(place->form, &row);
    status = fs_place_write(place, (uint64_t)unit, 1, &row);
    return status ? status : write_record(results, unit, FS_UNIT_DONE, crc);
}
