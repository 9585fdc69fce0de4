/* The results file: one parallel HDF5 file whose metadata never changes after its creation (filterscope-results).
 *
 *     fs_results_create   rank 0: everything preallocated at PATH.tmp, then renamed
 *     fs_results_open     all ranks, each through MPI-IO by itself; or one process, read-only
 *     fs_results_read_*   what a resume, status, export and check need
 *     fs_results_write_*  payload first, then its record; each an independent overwrite of a fixed place
 *     fs_results_close
 *
 * Layout. Little-endian; tables are one-dimensional packed compound datasets of int32, uint32, float64 and null-padded
 * strings. Arrays of several dimensions have an attribute `axes` that names them, slowest first.
 *
 *     /                           attributes format = "filterscope-results", format_version = 2
 *     /config                     table   key, value: the configuration that the results depend on
 *     /labels                     fixed strings [K]
 *     /layers                     table   layer, name, filters, height, width, pooled
 *     /probe/history              table   layer, epoch, lr, train_loss, train_sr, test_sr: a row a layer and epoch
 *     /probe/<layer>/weight       float32 [K, filters, height, width]
 *     /silence/<layer>/field      float32 [filters, K, K]   (filter, input label, output unit)
 *     /silence/<layer>/cluster    int32   [filters, K]      cluster number of each label from 1, 0 for none
 *     /silence/filters            table   a row a filter, layers in order
 *     /silence/layers             table   a row a layer
 *     /silence/cluster_sizes      int32   [layers, K + 1]   clusters of each size
 *     /knockout/baseline          table   label, images, right, answered, loss; all of /knockout where filters are knocked out
 *     /knockout/confusion         int32   [K, K]            (label, answer) of the untouched network, for K <= 128
 *     /knockout/filters           table   a row a filter that is knocked out
 *     /knockout/layers            table   a row a layer that has some
 *     /knockout/state             table   as /state, of these two
 *     /knockout/<layer>/right     int32   [filters, K]
 *     /knockout/<layer>/answers   int32   [filters, K, K]   (filter, label, answer), for K <= 128
 *     /knockout/<layer>/changed   int32   [filters]
 *     /knockout/<layer>/loss      float64 [filters, K]
 *     /knockout/<layer>/work      int32   [filters, 3]      (filter; run, same, hidden)
 *     /knockout/groups            table   a row a group, its complement, each random one; these where there are groups
 *     /knockout/groups_state      table   as /state, of this one
 *     /knockout/<layer>/group_out int32   [sets, filters]   1: the filter is out
 *     /knockout/<layer>/group_right, group_changed, group_loss, group_work    as right ... work, of sets
 *     /knockout/curves            table   a row a point of a curve; all where there are curves
 *     /knockout/curves_state      table   as /state, of this one
 *     /knockout/<layer>/curve_out, curve_right, curve_changed, curve_loss, curve_work    likewise
 *     /units                      table   kind, layer, first, count, state (1: done), crc
 *     /state                      table   one row: complete (1), crc
 *     /resume/slots               table   [layers x 2] epoch, batch, loss, right, sequence, history, crc; sequence 0: empty
 *     /resume/<layer>/state       float32 [2, 2, K, height x width x filters]   (slot; weight, momentum)
 *     /provenance/launches        table   one row a start of the program; time 0: a free row
 *     /provenance/units           table   attempt, rank, started, finished, seconds, launch of each unit; times since 1970
 *     /provenance/epochs          table   layer, epoch, seconds, rank: a row a layer and epoch
 *
 * <layer> is the convolution's number in the network, from 1, in decimal. Two complete runs of one configuration differ
 * under /resume and /provenance only, whatever their rank counts. Until they are computed, floats are NaN and the rest 0
 * (in /provenance/launches, floats too); layer, epoch and filter numbers are there from the beginning, but in groups
 * and curves.
 *
 * CRCs are CRC-32C over bytes as they are in the file:
 *     a probe            /probe/<layer>/weight, then the layer's rows of /probe/history in order of epochs
 *     a block of filters its parts of /silence/<layer>/field, of /silence/<layer>/cluster, of /silence/filters
 *     a knocked-out one  its parts of /knockout/<layer>/right, answers, changed, loss, work
 *     a block of sets    its parts of /knockout/<layer>/group_out, group_right ... group_work, or of curve_...
 *     the untouched      /knockout/baseline, then /knockout/confusion
 *     /state             /silence/layers, then /silence/cluster_sizes; before the end, of its 0
 *     /knockout/state    /knockout/filters, then /knockout/layers; before the end, of its 0
 *     /knockout/groups_state, curves_state    /knockout/groups, /knockout/curves; before the end, of its 0
 *     a slot             its weight, its momentum, then its row of /resume/slots without crc, whose column history is the
 *                        CRC of the layer's rows of /probe/history up to its epoch
 *     /config, /labels, /layers, /units (its first four columns)    all rows: the dataset's attribute crc
 *     /provenance/...    a row each, in its column crc */
#ifndef FILTERSCOPE_RESULTS_H
#define FILTERSCOPE_RESULTS_H

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>

#include "filterscope/config.h"
#include "filterscope/dataset.h"
#include "filterscope/rows.h"
#include "filterscope/status.h"
#include "filterscope/target.h"

typedef enum fs_unit_kind {
    FS_UNIT_PROBE = 1,
    FS_UNIT_SILENCE = 2,
    FS_UNIT_BASELINE = 3,
    FS_UNIT_KNOCKOUT = 4,
    FS_UNIT_GROUPS = 5,
    FS_UNIT_CURVES = 6
} fs_unit_kind;

/* One unit of work: a layer's probe (first = 0, count = filters), or the block first .. first+count-1 of its filters, silenced
 * or knocked out; or the untouched network, in one unit before the blocks to be knocked out (as a probe, of the first layer
 * whose filters are knocked out). Behind these come blocks of sets of filters that are knocked out together, all of groups,
 * then all of curves: first and count are sets of the layer then. */
typedef struct fs_unit {
    int32_t kind;  /* fs_unit_kind */
    int32_t index; /* which of the probed layers, from 0 */
    int32_t first;
    int32_t count;
} fs_unit;

enum { FS_MOST_SETS = 1 << 20 }; /* of groups, or of curves, of a layer */

typedef struct fs_layer_row {
    int32_t layer; /* number of the layer in the network, from 1 (fs_network.layers) */
    char name[FS_LABEL_NAME_BYTES];
    int32_t filters; /* N_f */
    int32_t height;  /* of the probed map, after the pool where one follows */
    int32_t width;
    int32_t pooled; /* 1 where a pool follows the convolution */
} fs_layer_row;

/* What a file is made for; everything is borrowed. */
typedef struct fs_results_plan {
    int labels;                                    /* K */
    const char (*label_name)[FS_LABEL_NAME_BYTES]; /* [labels] */
    int layers;                                    /* probed layers */
    const fs_layer_row *layer;                     /* [layers] */
    int epochs;                                    /* of each probe */
    int units;
    const fs_unit *unit; /* [units] */
    const fs_config *config;
} fs_results_plan;

/* One start of the program. Strings are zero-padded. */
typedef struct fs_launch {
    double time; /* seconds since 1970 */
    int32_t ranks;
    int32_t teams;
    char version[32];
    char libraries[160]; /* MPI, HDF5 and BLAS with their versions */
    char blas_core[32];  /* kernels of the BLAS */
    char hosts[160];
    char job[32]; /* what the scheduler calls it, "" outside one */
    char command[512];
    char kinds[256]; /* of the ranks' CPUs and BLAS kernels, the distinct ones with "; " */
    char commit[48]; /* that the program was built of; with "-dirty" where there were other changes; "unknown" */
    char compiler[48];
    char flags[256]; /* the compiler's */
    int32_t pid;     /* of rank 0 */
    uint32_t crc;    /* the store's */
} fs_launch;

/* How a unit was computed; times are seconds since 1970, NaN where it hasn't been. */
typedef struct fs_run_row {
    int32_t attempt; /* starts */
    int32_t rank;    /* that works on it; of a probe, the first of its team */
    double started;
    double finished;
    double seconds;
    int32_t launch; /* row of /provenance/launches */
    uint32_t crc;   /* the store's */
} fs_run_row;

enum { FS_LAUNCHES = 1000 }; /* rows of /provenance/launches; a later launch overwrites the last row */

typedef struct fs_results fs_results;

/* Not collective (call on one rank; needs no MPI_Init). Creates the file at PATH.tmp: contiguous, unfiltered, allocated early
 * and filled; closes, fsyncs, renames, fsyncs the folder. What a crash left at PATH.tmp is replaced. FS_ERROR when `path`
 * exists already, when a number of the plan is out of range, or on any failed call (disk full, no folder, no permission), the
 * message naming path and cause and PATH.tmp removed. An existing result is never touched. */
fs_status fs_results_create(const char *path, const fs_results_plan *plan);

/* Not collective; call on one rank that holds the lock. Adds what `plan` has more than the file at target->path: entries of
 * the configuration, and units; those that the file has come in the same order. The larger file is created at PATH.tmp, as by
 * fs_results_create, with all that the old one holds, and takes its name when it is on the disk: until then the old one stays
 * as it is. FS_ERROR as fs_results_create; FS_MISMATCH: the file is another's (fs_target_check), or damaged. */
fs_status fs_results_extend(const fs_target *target, const fs_results_plan *plan);

/* Not collective. Bytes that fs_results_create will allocate, without the metadata (about 12 KiB and 2 KiB a layer). */
uint64_t fs_results_bytes(const fs_results_plan *plan);

/* Not collective; call on one rank that holds the lock, while nobody has the file open for writing. Writes what a damaged file
 * needs to be opened again, where `plan` is provably what it was created with: a table of /config, /labels, /layers and /units
 * whose rows do not have the CRC that was recorded for them, while the plan's have it. Each is named on standard error; a
 * unit whose row was damaged is not done any more. FS_OK: all four tables are sound now. FS_MISMATCH, FS_ERROR: they aren't,
 * and are as they were. */
fs_status fs_results_repair(const char *path, const fs_results_plan *plan);

/* Not collective. FS_OK where work under plan `now` may go on in the file at `path`, whose plan is `stored`. FS_MISMATCH:
 * another configuration, the message listing each differing key with both values; or other labels, layers or units, as another
 * version of the program may plan them, the message naming the first. */
fs_status fs_results_match(const char *path, const fs_results_plan *stored, const fs_results_plan *now);

/* Collective on comm where comm is not MPI_COMM_NULL: each rank opens the file for writing, through MPI-IO, or none does. With
 * MPI_COMM_NULL: not collective, without MPI_Init if need be, read-only, also while a sweep is writing. FS_ERROR: no such file,
 * no permission. FS_MISMATCH: not an HDF5 file, truncated, not a filterscope results file, another format version, or lengths
 * and numbers that do not agree, the message naming the object. A file that is refused is not changed. *results is NULL after a
 * failure. All ranks return the same status and message. */
fs_status fs_results_open(const char *path, MPI_Comm comm, fs_results **results);

/* Not collective. NULL is allowed. A session that wrote ends with an fsync. FS_ERROR where bytes could not be written;
 * `results` is released all the same. */
fs_status fs_results_close(fs_results *results);

/* Not collective. 1 after a file of this process could not be closed: HDF5 1.10 then crashes in MPI_Finalize, so the program
 * must end with fs_abort instead. */
int fs_results_cannot_end(void);

/* Not collective. From now on each fs_results_write_* first sees that the lock is still held for this job and that the name
 * still leads to this file, and fails as fs_target_check does: what a rank of a job that was taken for dead would write, it
 * doesn't. `target` is borrowed. */
void fs_results_guard(fs_results *results, const fs_target *target);

/* Not collective. What a failure of power or of the machine may cost: what was written has reached the disk (fsync) when so
 * many seconds have passed, or a hundred times what that takes where this is longer. */
#define FS_SYNC_SECONDS 30.0 /* without this call */
void fs_results_sync_every(fs_results *results, double seconds);

/* Not collective. 1 where that time has passed since the last fsync of this process. */
int fs_results_is_due(const fs_results *results);

/* Not collective. To be called when a set of states has been written: fsync, where it is due. fs_results_write_probe and
 * fs_results_write_silence end with it. FS_ERROR where bytes could not be written. */
fs_status fs_results_settle(fs_results *results);

/* Not collective, here and for all that follow. The plan that is in the file; owned by `results`. `index` is a layer's place
 * in plan->layer, `unit` a unit's in plan->unit; one that the plan doesn't have is FS_ERROR, as is a failed read or write. */
const fs_results_plan *fs_results_plan_of(const fs_results *results);

/* done[units] becomes 1 where the unit's record says done AND its payload has the recorded CRC, else 0; damaged[units]
 * (NULL: not wanted) becomes 1 where the record says done and the payload differs. Reads every finished payload. */
fs_status fs_results_read_done(fs_results *results, uint8_t *done, uint8_t *damaged);

/* Gives each damaged row of /provenance (its CRC does not hold) back its first state: how a run went is forgotten, no result
 * depends on it. `out`: a line for each. Not while others write. */
fs_status fs_results_reset_provenance(fs_results *results, FILE *out);

/* recorded[units] becomes 1 where the record says done, without reading payloads (status). */
fs_status fs_results_read_recorded(fs_results *results, uint8_t *recorded);

/* *complete: the sweep finished and /state's CRC matches the layer tables; *damaged (NULL: not wanted): it finished and the
 * CRC does not match. */
fs_status fs_results_read_complete(fs_results *results, int *complete, int *damaged);

/* The newest valid slot of layer `index` into `state`, whose arrays the caller allocated. Without one (none yet, or both
 * fail their CRC) *found is 0 and state is left as it was. */
fs_status fs_results_read_state(fs_results *results, int index, fs_probe_state *state, int *found);

/* Epochs complete in layer `index`'s newest slot, headers only (status); 0 without one. */
fs_status fs_results_read_epochs(fs_results *results, int index, int *epochs);

/* history: [epochs] rows of layer `index`. */
fs_status fs_results_read_history(fs_results *results, int index, fs_history_row *history);

/* weight: [K][height x width x filters] in feature order (y, x, filter), from /probe/<layer>/weight. */
fs_status fs_results_read_weight(fs_results *results, int index, float *weight);

/* field: [count][K][K]; cluster: int32 [count][K]; row: [count]; any may be NULL. */
fs_status fs_results_read_filters(fs_results *results, int index, int first, int count, float *field, int32_t *cluster,
                                  fs_filter_row *row);

/* counts: room for `count` filters of layer `index`, whose filters were knocked out, NULL for what is not wanted; baseline: row
 * [K]. */
fs_status fs_results_read_knockout(fs_results *results, int index, int first, int count, fs_knockout *counts);
fs_status fs_results_read_baseline(fs_results *results, fs_baseline_row *row);

/* How many sets of groups or curves, which is `kind`, layer `index` has. */
int fs_results_sets(const fs_results_plan *plan, fs_unit_kind kind, int index);

/* out: int32 [count][filters of the layer], 1 for a filter that is out; counts: room for `count` sets, whose answers are not
 * recorded. NULL for what is not wanted. */
fs_status fs_results_read_sets(fs_results *results, fs_unit_kind kind, int index, int first, int count, int32_t *out,
                               fs_knockout *counts);

/* *complete: phase four finished, where there is one, and the CRCs of all its tables are those of /knockout/state,
 * groups_state and curves_state; *damaged likewise. */
fs_status fs_results_read_knocked_out(fs_results *results, int *complete, int *damaged);

/* row: [layers]. */
fs_status fs_results_read_layers(fs_results *results, fs_silence_layer_row *row);

/* row: [units]. */
fs_status fs_results_read_runs(fs_results *results, fs_run_row *row);

/* seconds: [epochs] of layer `index`'s probe, on the first rank of its team; NaN for what has not been. */
fs_status fs_results_read_seconds(fs_results *results, int index, double *seconds);

/* The newest launch and its number; *number is -1 where there is none. */
fs_status fs_results_read_launch(fs_results *results, fs_launch *launch, int *number);

/* Prints a table as CSV with a header, doubles with all their 17 digits. `table`: layers, filters, probes, history,
 * cluster_sizes, knockout_filters, _layers, _groups or _curves; FS_USAGE for another. Rows that are not complete are left out.
 *   threshold  in   NaN: the tables as they are in the file. Else layers, filters and cluster_sizes as a sweep with this
 *                   threshold has them, measured anew from the averaged fields (ours); FS_USAGE for another table, FS_ERROR
 *                   where a layer's fields are not all there.
 *   safe       in   1: names that a spreadsheet would compute get a ' before them (fs_csv_text)
 * What cannot be written shows in ferror(out). */
fs_status fs_results_export(fs_results *results, const char *table, double threshold, int safe, FILE *out);

/* Adds a row, whose time is not 0, to /provenance/launches, and tells its number in *number. On one rank at a time. */
fs_status fs_results_write_launch(fs_results *results, const fs_launch *launch, int *number);

/* The unit's record is taken back, if it had one: what is being computed again is unfinished, not damaged. Then notes in
 * /provenance/units that `rank` of launch `launch` (fs_results_write_launch) starts on it now; its attempt goes up by one.
 * Before anything else is written of the unit. */
fs_status fs_results_write_start(fs_results *results, int unit, int launch, int rank);

/* Writes `state` into one of layer `index`'s two slots: not into the one that is the newest on the disk, so that neither a kill
 * nor a power failure leaves none. Arrays first, then the header with the CRC of both. One process at a time writes a layer's
 * slots, and no other has since it opened the file. */
fs_status fs_results_write_state(fs_results *results, int index, const fs_probe_state *state);

/* One row of layer `index`'s history, at its epoch, and the epoch's wall time on this rank. */
fs_status fs_results_write_history(fs_results *results, int index, const fs_history_row *row, double seconds);

/* Finishes a probe unit: weight (feature order (y, x, filter), as fs_probe_state) into /probe/<layer>/weight, then the
 * record with the CRC of what was written and of the layer's history rows as they stand in the file. */
fs_status fs_results_write_probe(fs_results *results, int unit, const float *weight);

/* Finishes a silence unit: field [count][K][K], cluster [count][K] and row [count], then the record. */
fs_status fs_results_write_silence(fs_results *results, int unit, const float *field, const int32_t *cluster,
                                   const fs_filter_row *row);

/* Finish a unit of phase four: the untouched network, row [K] and its answers in `untouched`; the filters of a block. */
fs_status fs_results_write_baseline(fs_results *results, int unit, const fs_baseline_row *row, const fs_knockout *untouched);
fs_status fs_results_write_knockout(fs_results *results, int unit, const fs_knockout *knockout);

/* Finishes a unit of groups or curves: out int32 [count][filters of the layer], and what was counted. */
fs_status fs_results_write_sets(fs_results *results, int unit, const int32_t *out, const fs_knockout *counts);

/* Finishes phase four: filters [those of all layers that have some knocked out], layers [of these], then /knockout/state. */
fs_status fs_results_write_drops(fs_results *results, const fs_drop_row *filters, const fs_drop_layer_row *layers);

/* Finish groups, or curves: rows of all layers that have some, layers in order, then /knockout/groups_state or curves_state. */
fs_status fs_results_write_groups(fs_results *results, const fs_group_row *row);
fs_status fs_results_write_curves(fs_results *results, const fs_curve_row *row);

/* Finishes the sweep: row [layers], sizes int32 [layers][K + 1], then /state. */
fs_status fs_results_write_layers(fs_results *results, const fs_silence_layer_row *row, const int32_t *sizes);

/* Verifies every record, slot and /state against its payload; prints a line for each damaged one to `out` (what, where,
 * recorded and found CRC). FS_OK without damage, FS_MISMATCH with. An unfinished file is not damaged, nor is the older slot
 * of a layer, which a kill leaves half overwritten. A row that a kill cut in two looks like damage; the next sweep mends it. */
fs_status fs_results_check(fs_results *results, FILE *out);

#endif
