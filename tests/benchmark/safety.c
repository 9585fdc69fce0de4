/* Linked around filterscope (the linker's --wrap) for a benchmark: what a sweep does only in order to lose nothing is timed,
 * or with WITHOUT_SAFETY set, not done: CRCs, records, resume slots, the look at the lock before a write, watching the
 * ranks, fsync, and the look at what was recorded. At its end each process prints "safety: S seconds". */
#define _GNU_SOURCE /* gettid */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filterscope/crc32c.h"
#include "filterscope/lock.h"
#include "filterscope/stop.h"
#include "filterscope/watch.h"
#include "store/store.h"

static int without, depth;
static double started, total;

__attribute__((constructor)) static void begin(void)
{
    without = getenv("WITHOUT_SAFETY") != NULL;
}

__attribute__((destructor)) static void end(void)
{
    printf("safety: %.6f seconds\n", total);
}

/* Of nested calls the outermost is timed; other threads than the main one are not. */
static void enter(void)
{
    if (gettid() == getpid() && depth++ == 0)
        started = fs_seconds();
}

static void leave(void)
{
    if (gettid() == getpid() && --depth == 0)
        total += fs_seconds() - started;
}

#define WRAP(type, name, parameters, arguments, instead)                                                                       \
    type __real_##name parameters;                                                                                             \
    type __wrap_##name parameters;                                                                                             \
    type __wrap_##name parameters                                                                                              \
    {                                                                                                                          \
        if (without)                                                                                                           \
            return instead;                                                                                                    \
        enter();                                                                                                               \
        type result = __real_##name arguments;                                                                                 \
        leave();                                                                                                               \
        return result;                                                                                                         \
    }

WRAP(uint32_t, fs_crc32c, (uint32_t crc, const void *data, size_t size), (crc, data, size), 0)
WRAP(fs_status, fs_results_write_state, (fs_results * results, int index, const fs_probe_state *state), (results, index, state),
     FS_OK)
WRAP(fs_status, fs_results_write_start, (fs_results * results, int unit, int launch, int rank), (results, unit, launch, rank),
     FS_OK)
WRAP(fs_status, fs_target_check, (const fs_target *target), (target), FS_OK)
WRAP(fs_watch *, fs_watch_start, (MPI_Comm comm), (comm), NULL)
WRAP(int, fsync, (int file), (file), 0)

fs_status __real_fs_place_write(const fs_place *place, uint64_t first, uint64_t count, const void *elements);
fs_status __wrap_fs_place_write(const fs_place *place, uint64_t first, uint64_t count, const void *elements);

/* Of the writes, the records only, each of one row: the others are results, or the file's creation. */
fs_status __wrap_fs_place_write(const fs_place *place, uint64_t first, uint64_t count, const void *elements)
{
    int record = count == 1 && (strcmp(place->path, "/units") == 0 || strcmp(place->path, "/provenance/units") == 0);
    if (record && without)
        return FS_OK;
    if (record)
        enter();
    fs_status status = __real_fs_place_write(place, first, count, elements);
    if (record)
        leave();
    return status;
}

fs_status __real_fs_results_read_done(fs_results *results, uint8_t *done, uint8_t *damaged);
fs_status __wrap_fs_results_read_done(fs_results *results, uint8_t *done, uint8_t *damaged);

/* At the end (damaged: NULL) a sweep without records is taken at its word. */
fs_status __wrap_fs_results_read_done(fs_results *results, uint8_t *done, uint8_t *damaged)
{
    enter();
    fs_status status = __real_fs_results_read_done(results, done, damaged);
    leave();
    if (without && !damaged)
        memset(done, 1, (size_t)results->plan.units);
    return status;
}
