/* An open results file, as the files of this folder see it. */
#ifndef FILTERSCOPE_STORE_STORE_H
#define FILTERSCOPE_STORE_STORE_H

#include "store/places.h"

/* What is known of a layer's two resume slots. */
typedef struct fs_newest {
    int known;         /* 0: look into the file */
    int slot;          /* the newest valid one; -1: neither is */
    int durable;       /* the newest valid one that is on the disk, whatever happens to the machine; -1: neither is */
    uint32_t sequence; /* of that one; else the highest there is */
    fs_slot_row row;   /* of that one */
} fs_newest;

struct fs_results {
    char *path;
    int rank;       /* of the comm that opened it; 0 without one */
    int descriptor; /* open for the whole session, see fs_results_close */
    uint64_t bytes; /* of the file */
    hid_t file;
    fs_results_plan plan; /* of what the next four own */
    fs_config config;
    char (*label_name)[FS_LABEL_NAME_BYTES];
    fs_layer_row *layer;
    fs_unit *unit;
    int places;
    fs_place *place;         /* [places] */
    fs_newest *newest;       /* [layers] */
    double *begun;           /* [units]: fs_seconds() when this process started it; 0: it has not */
    void *buffer;            /* FS_SUM_BYTES */
    const fs_target *target; /* NULL: not guarded */
    double every;            /* seconds between two syncs, at the least */
    double synced, cost;     /* when the last one began (fs_seconds), and what it took with the states written for it */
    double writing;          /* seconds spent on states since fs_results_settle */
};

/* A file of this process could not be closed: see fs_results_cannot_end. */
void fs_store_set_cannot_end(void);

/* What of the file this node still holds in memory goes to the disk: all newest slots are durable after it. */
fs_status fs_store_sync(fs_results *results);

/* Not collective, like everything here. The open dataset; `index` is ignored where the place isn't a layer's. */
const fs_place *fs_store_place(const fs_results *results, fs_place_name name, int index);

/* fs_target_check, where the file is guarded. */
fs_status fs_store_may_write(const fs_results *results);

/* FS_ERROR, with a message, where the file has no such layer, unit, or unit of that kind. */
fs_status fs_store_check_layer(const fs_results *results, int index);
fs_status fs_store_check_unit(const fs_results *results, int unit, fs_unit_kind kind);

/* K x features of layer `index`: weights of its probe. */
uint64_t fs_store_weights(const fs_results *results, int index);

/* Row of /silence/filters of layer `index`'s filter `filter`. */
uint64_t fs_store_filter(const fs_results *results, int index, int filter);

/* The element of /silence/.../field or cluster where `filter` begins. */
uint64_t fs_store_field(const fs_results *results, int filter);
uint64_t fs_store_cluster(const fs_results *results, int filter);

/* CRC of the first `epochs` rows of layer `index`'s history, as they stand in the file. */
fs_status fs_store_sum_history(fs_results *results, int index, int epochs, uint32_t *crc);

/* The newest slot of layer `index` as its header says, unverified; *slot = -1 without one. rows: both. */
fs_status fs_resume_read_headers(fs_results *results, int index, fs_slot_row rows[2], int *slot);

/* CRC of slot `slot` whose header is `row`. */
fs_status fs_resume_sum(fs_results *results, int index, int slot, const fs_slot_row *row, uint32_t *crc);

/* CRC of what unit `unit` has in the file. */
fs_status fs_records_sum(fs_results *results, int unit, uint32_t *crc);

/* Likewise of a unit of phase four. */
fs_status fs_knockout_sum(fs_results *results, const fs_unit *unit, uint32_t *crc);

/* After the payload, whose CRC it is: when the unit was finished, then that it is. */
fs_status fs_records_finish(fs_results *results, int unit, uint32_t crc);

enum { FS_UNIT_DONE = 1 }; /* its state in /units */

/* All rows of /units; released with free(). NULL after a failure. */
fs_unit_row *fs_records_read(fs_results *results);

/* 1 where /state says that the sweep is not complete. */
int fs_tables_unfinished(const fs_state_row *state);

/* A state, and the CRC of the tables that belong to it. */
fs_status fs_tables_sum(fs_results *results, fs_place_name name, fs_state_row *state, uint32_t *crc);

/* *complete: these tables are written and undamaged; *damaged (NULL: not wanted): they are written and damaged. */
fs_status fs_tables_read_state(fs_results *results, fs_place_name name, int *complete, int *damaged);

/* The tables of phase three as the file has them, but at another threshold. */
typedef struct fs_measures {
    fs_filter_row *filter;       /* [filters of all layers] */
    fs_silence_layer_row *layer; /* [layers] */
    int32_t *sizes;              /* [layers][K + 1] */
} fs_measures;

/* Measures the averaged fields, all of which are there. `m` is released with fs_measures_free, after a failure, too. */
fs_status fs_measures_at(fs_results *results, double threshold, fs_measures *m);
void fs_measures_free(fs_measures *m);

#endif
