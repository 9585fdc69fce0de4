/* What is in a results file: one description that creation, opening, checking and size estimates share. */
#ifndef FILTERSCOPE_STORE_LAYOUT_H
#define FILTERSCOPE_STORE_LAYOUT_H

#include <hdf5.h>
#include <stdint.h>

#include "filterscope/results.h"

/* The datasets. From FS_PLACE_WEIGHT on there is one for each layer; those of phase four only where the plan has its units. */
typedef enum fs_place_name {
    FS_PLACE_CONFIG,
    FS_PLACE_LABELS,
    FS_PLACE_LAYERS,
    FS_PLACE_HISTORY,
    FS_PLACE_FILTERS,
    FS_PLACE_MEANS,
    FS_PLACE_SIZES,
    FS_PLACE_UNITS,
    FS_PLACE_STATE,
    FS_PLACE_SLOTS,
    FS_PLACE_LAUNCHES,
    FS_PLACE_RUNS,
    FS_PLACE_SECONDS,
    FS_PLACE_BASELINE,
    FS_PLACE_CONFUSION,
    FS_PLACE_DROPS,
    FS_PLACE_LAYER_DROPS,
    FS_PLACE_KNOCKED_OUT,
    FS_PLACE_GROUPS,
    FS_PLACE_GROUPS_STATE,
    FS_PLACE_CURVES,
    FS_PLACE_CURVES_STATE,
    FS_PLACES_ONCE,
    FS_PLACE_WEIGHT = FS_PLACES_ONCE,
    FS_PLACE_FIELD,
    FS_PLACE_CLUSTER,
    FS_PLACE_TRAINING,
    FS_PLACE_RIGHT,
    FS_PLACE_ANSWERS,
    FS_PLACE_CHANGED,
    FS_PLACE_LOSS,
    FS_PLACE_WORK,
    FS_PLACE_GROUP_OUT,
    FS_PLACE_GROUP_RIGHT,
    FS_PLACE_GROUP_CHANGED,
    FS_PLACE_GROUP_LOSS,
    FS_PLACE_GROUP_WORK,
    FS_PLACE_CURVE_OUT, /* the same five, in the same order */
    FS_PLACE_CURVE_RIGHT,
    FS_PLACE_CURVE_CHANGED,
    FS_PLACE_CURVE_LOSS,
    FS_PLACE_CURVE_WORK,
    FS_PLACE_NAMES,
    FS_PLACES_PER_LAYER = FS_PLACE_NAMES - FS_PLACES_ONCE
} fs_place_name;

#define FS_FORMAT "filterscope-results"
enum { FS_FORMAT_VERSION = 3, FS_MOST_DIMENSIONS = 4, FS_PLACE_PATH_BYTES = 64 };

/* Bounds of a plan: a damaged number must not become an allocation. */
enum { FS_MOST_EXTENT = 65535, FS_MOST_PLAN_LAYERS = 1024, FS_MOST_PLAN_EPOCHS = 1 << 20, FS_MOST_PLAN_UNITS = 1 << 24 };

/* Rows that only the store knows; the other tables' rows are in results.h. */
typedef struct fs_unit_row {
    int32_t kind;
    int32_t layer; /* number of the layer */
    int32_t first;
    int32_t count;
    int32_t state; /* 1: done */
    uint32_t crc;
} fs_unit_row;

typedef struct fs_state_row {
    int32_t complete;
    uint32_t crc;
} fs_state_row;

typedef struct fs_slot_row {
    int32_t epoch;
    int32_t batch;
    double loss;
    int32_t right;
    uint32_t sequence; /* 0: empty */
    uint32_t history;  /* CRC of the layer's history up to `epoch` */
    uint32_t crc;      /* last, so that what precedes it is what it covers */
} fs_slot_row;

/* As a slot's crc: it is being written over, and the other slot counts. Where a sum happens to be this, nothing is lost. */
enum { FS_SLOT_GIVEN_UP = 0 };

typedef struct fs_epoch_row {
    int32_t layer;
    int32_t epoch;
    double seconds;
    int32_t rank;
    uint32_t crc;
} fs_epoch_row;

typedef enum fs_value { FS_INT32, FS_UINT32, FS_FLOAT32, FS_FLOAT64, FS_TEXT } fs_value;

typedef struct fs_column {
    const char *name;
    fs_value kind;
    size_t offset;
    size_t bytes;
} fs_column;

#define FS_COLUMN(row, member, kind)                                                                                           \
    {                                                                                                                          \
#member, kind, offsetof(row, member), sizeof(((row *)0)->member)                                                       \
    }

typedef struct fs_form {
    const char *group; /* of one that each layer has; NULL for the others */
    const char *name;  /* in group/LAYER, or the whole path */
    const char *shape; /* a letter a dimension, see fs_form_extent */
    const char *axes;  /* the attribute; NULL for none */
    const fs_column *column;
    int columns;       /* of a table; 0 where an element is the one value that `column` describes */
    size_t bytes;      /* of an element, in memory as in the file: rows have no padding */
    int zeroed;        /* floats begin as 0, not as NaN */
    size_t fixed;      /* leading bytes of a row that never change; the attribute `crc` is their sum over all rows */
    int sealed;        /* the last column is the CRC of the row's other bytes */
    fs_unit_kind kind; /* of phase four: is there where (a layer) has units of this kind; 0: always */
    int answers;       /* likewise: where answers are counted */
} fs_form;

/* Not collective, like everything here. */
const fs_form *fs_form_of(fs_place_name name);

/* Writes the path of `name` for the layer with number `layer` (ignored where the place isn't a layer's). */
void fs_form_path(fs_place_name name, int layer, char path[FS_PLACE_PATH_BYTES]);

/* 1 where a file of this plan has the dataset (of layer `index`). */
int fs_form_exists(fs_place_name name, const fs_results_plan *plan, int index);

/* size[rank] for layer `index` of the plan (ignored where the place isn't a layer's); returns the rank. */
int fs_form_extent(fs_place_name name, const fs_results_plan *plan, int index, hsize_t size[FS_MOST_DIMENSIONS]);

/* Bytes of the dataset; UINT64_MAX where the product overflows. */
uint64_t fs_form_bytes(fs_place_name name, const fs_results_plan *plan, int index);

/* The element's type, in file and memory; the caller closes it. Negative after a failure. */
hid_t fs_form_type(const fs_form *form);

/* What an element is until it is computed. */
void fs_form_fill(const fs_form *form, void *element);

/* /state of a sweep that is not complete. */
fs_state_row fs_unfinished(void);

/* 1 where rows of `name` hold something from the beginning. */
int fs_known(fs_place_name name);

/* Row `number` of `name` as it is before anything is computed. */
void fs_known_row(fs_place_name name, const fs_results_plan *plan, uint64_t number, void *row);

/* Continues the CRC over the fixed bytes of `count` rows. */
uint32_t fs_fixed_sum(const fs_form *form, uint32_t crc, const void *rows, uint64_t count);

/* Of a row of a sealed form: writes its CRC; 1 where the CRC holds. */
void fs_seal(const fs_form *form, void *row);
int fs_seal_holds(const fs_form *form, const void *row, uint32_t *recorded, uint32_t *found);

/* Fixed-length, null-padded text of `bytes` bytes; the caller closes it. */
hid_t fs_text_type(size_t bytes);

/* FS_OK where every number of the plan is in range; else `status`, the message naming `path` and the number. */
fs_status fs_plan_check(const fs_results_plan *plan, fs_status status, const char *path);

#endif
