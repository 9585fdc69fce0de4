/* An open file: which layers, units and datasets it has, where a row or an element is, whether it may be written to, and when
 * it reaches the disk. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file_watch.h"
#include "filterscope/stop.h"
#include "store/store.h"

const fs_place *fs_store_place(const fs_results *results, fs_place_name name, int index)
{
    if (name < FS_PLACES_ONCE)
        return &results->place[name];
    return &results->place[FS_PLACES_ONCE + index * FS_PLACES_PER_LAYER + name - FS_PLACES_ONCE];
}

fs_status fs_store_check_layer(const fs_results *results, int index)
{
    if (index >= 0 && index < results->plan.layers)
        return FS_OK;
    return fs_fail(FS_ERROR, "%s: layer %d of %d (from 0) does not exist", results->path, index, results->plan.layers);
}

fs_status fs_store_check_unit(const fs_results *results, int unit, fs_unit_kind kind)
{
    if (unit < 0 || unit >= results->plan.units)
        return fs_fail(FS_ERROR, "%s: unit %d of %d (from 0) does not exist", results->path, unit, results->plan.units);
    if (results->plan.unit[unit].kind == (int32_t)kind)
        return FS_OK;
    return fs_fail(FS_ERROR, "%s: unit %d is %s", results->path, unit, kind == FS_UNIT_PROBE ? "no probe" : "of another kind");
}

uint64_t fs_store_weights(const fs_results *results, int index)
{
    const fs_layer_row *layer = &results->plan.layer[index];
    return (uint64_t)results->plan.labels * (uint64_t)layer->filters * (uint64_t)layer->height * (uint64_t)layer->width;
}

uint64_t fs_store_filter(const fs_results *results, int index, int filter)
{
    uint64_t row = (uint64_t)filter;
    for (int i = 0; i < index; i++)
        row += (uint64_t)results->plan.layer[i].filters;
    return row;
}

uint64_t fs_store_field(const fs_results *results, int filter)
{
    return (uint64_t)filter * (uint64_t)results->plan.labels * (uint64_t)results->plan.labels;
}

uint64_t fs_store_cluster(const fs_results *results, int filter)
{
    return (uint64_t)filter * (uint64_t)results->plan.labels;
}

/* What the system cannot store in the end (a full NFS server, a failing disk) it reports to fsync of a descriptor that was
 * open when it was written. */
fs_status fs_store_sync(fs_results *results)
{
    results->synced = fs_seconds();
    fs_file_watch_begin(results->path, "flush");
    int failed = fsync(results->descriptor);
    fs_file_watch_end();
    if (failed)
        return fs_fail(FS_ERROR, "%s: the last bytes could not be written: %s", results->path, strerror(errno));
    for (int i = 0; i < results->plan.layers; i++)
        if (results->newest[i].known)
            results->newest[i].durable = results->newest[i].slot;
    return FS_OK;
}

/* Syncing takes a hundredth of the time at the most. */
int fs_results_is_due(const fs_results *results)
{
    double wait = results->every > 100 * results->cost ? results->every : 100 * results->cost;
    return fs_seconds() - results->synced >= wait;
}

fs_status fs_results_settle(fs_results *results)
{
    fs_status status = FS_OK;
    if (fs_results_is_due(results)) {
        status = fs_store_sync(results);
        results->cost = results->writing + fs_seconds() - results->synced;
    }
    results->writing = 0;
    return status;
}

void fs_results_sync_every(fs_results *results, double seconds)
{
    results->every = seconds;
}

void fs_results_guard(fs_results *results, const fs_target *target)
{
    results->target = target;
}

fs_status fs_store_may_write(const fs_results *results)
{
    return results->target ? fs_target_check(results->target) : FS_OK;
}

const fs_results_plan *fs_results_plan_of(const fs_results *results)
{
    return &results->plan;
}
