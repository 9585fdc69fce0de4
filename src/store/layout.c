#include "store/layout.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* One type serves file and memory, so that a CRC over memory is the CRC of the file and HDF5 converts nothing. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "results files are little-endian");

#define TABLE(row, list) .column = list, .columns = sizeof list / sizeof *list, .bytes = sizeof(row)
#define VALUES(value, size) .column = &value, .bytes = size

static const fs_column config_columns[] = {
    FS_COLUMN(fs_config_entry, key, FS_TEXT),
    FS_COLUMN(fs_config_entry, value, FS_TEXT),
};

static const fs_column layer_columns[] = {
    FS_COLUMN(fs_layer_row, layer, FS_INT32),   FS_COLUMN(fs_layer_row, name, FS_TEXT),
    FS_COLUMN(fs_layer_row, filters, FS_INT32), FS_COLUMN(fs_layer_row, height, FS_INT32),
    FS_COLUMN(fs_layer_row, width, FS_INT32),   FS_COLUMN(fs_layer_row, pooled, FS_INT32),
};

static const fs_column history_columns[] = {
    FS_COLUMN(fs_history_row, layer, FS_INT32),      FS_COLUMN(fs_history_row, epoch, FS_INT32),
    FS_COLUMN(fs_history_row, lr, FS_FLOAT64),       FS_COLUMN(fs_history_row, train_loss, FS_FLOAT64),
    FS_COLUMN(fs_history_row, train_sr, FS_FLOAT64), FS_COLUMN(fs_history_row, test_sr, FS_FLOAT64),
};

static const fs_column filter_columns[] = {
    FS_COLUMN(fs_filter_row, layer, FS_INT32),          FS_COLUMN(fs_filter_row, filter, FS_INT32),
    FS_COLUMN(fs_filter_row, clusters, FS_INT32),       FS_COLUMN(fs_filter_row, covered, FS_INT32),
    FS_COLUMN(fs_filter_row, ones, FS_INT32),           FS_COLUMN(fs_filter_row, noise, FS_INT32),
    FS_COLUMN(fs_filter_row, noise_internal, FS_INT32), FS_COLUMN(fs_filter_row, noise_external, FS_INT32),
    FS_COLUMN(fs_filter_row, dead, FS_INT32),           FS_COLUMN(fs_filter_row, selected, FS_INT32),
    FS_COLUMN(fs_filter_row, share, FS_FLOAT64),        FS_COLUMN(fs_filter_row, sr, FS_FLOAT64),
    FS_COLUMN(fs_filter_row, largest, FS_FLOAT64),
};

static const fs_column means_columns[] = {
    FS_COLUMN(fs_silence_layer_row, layer, FS_INT32),
    FS_COLUMN(fs_silence_layer_row, filters, FS_INT32),
    FS_COLUMN(fs_silence_layer_row, dead, FS_INT32),
    FS_COLUMN(fs_silence_layer_row, clustered, FS_INT32),
    FS_COLUMN(fs_silence_layer_row, sr, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, clusters, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, covered, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, noise, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, clusters_with, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, covered_with, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, noise_with, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, cluster_size, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, signal, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, noise_internal, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, noise_external, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, snr, FS_FLOAT64),
    FS_COLUMN(fs_silence_layer_row, share, FS_FLOAT64),
};

static const fs_column unit_columns[] = {
    FS_COLUMN(fs_unit_row, kind, FS_INT32),  FS_COLUMN(fs_unit_row, layer, FS_INT32), FS_COLUMN(fs_unit_row, first, FS_INT32),
    FS_COLUMN(fs_unit_row, count, FS_INT32), FS_COLUMN(fs_unit_row, state, FS_INT32), FS_COLUMN(fs_unit_row, crc, FS_UINT32),
};

static const fs_column state_columns[] = {
    FS_COLUMN(fs_state_row, complete, FS_INT32),
    FS_COLUMN(fs_state_row, crc, FS_UINT32),
};

static const fs_column slot_columns[] = {
    FS_COLUMN(fs_slot_row, epoch, FS_INT32),     FS_COLUMN(fs_slot_row, batch, FS_INT32),
    FS_COLUMN(fs_slot_row, loss, FS_FLOAT64),    FS_COLUMN(fs_slot_row, right, FS_INT32),
    FS_COLUMN(fs_slot_row, sequence, FS_UINT32), FS_COLUMN(fs_slot_row, history, FS_UINT32),
    FS_COLUMN(fs_slot_row, crc, FS_UINT32),
};

static const fs_column launch_columns[] = {
    FS_COLUMN(fs_launch, time, FS_FLOAT64), FS_COLUMN(fs_launch, ranks, FS_INT32),    FS_COLUMN(fs_launch, teams, FS_INT32),
    FS_COLUMN(fs_launch, version, FS_TEXT), FS_COLUMN(fs_launch, libraries, FS_TEXT), FS_COLUMN(fs_launch, blas_core, FS_TEXT),
    FS_COLUMN(fs_launch, hosts, FS_TEXT),   FS_COLUMN(fs_launch, job, FS_TEXT),       FS_COLUMN(fs_launch, command, FS_TEXT),
    FS_COLUMN(fs_launch, kinds, FS_TEXT),   FS_COLUMN(fs_launch, commit, FS_TEXT),    FS_COLUMN(fs_launch, compiler, FS_TEXT),
    FS_COLUMN(fs_launch, flags, FS_TEXT),   FS_COLUMN(fs_launch, pid, FS_INT32),      FS_COLUMN(fs_launch, crc, FS_UINT32),
};

static const fs_column run_columns[] = {
    FS_COLUMN(fs_run_row, attempt, FS_INT32),   FS_COLUMN(fs_run_row, rank, FS_INT32),
    FS_COLUMN(fs_run_row, started, FS_FLOAT64), FS_COLUMN(fs_run_row, finished, FS_FLOAT64),
    FS_COLUMN(fs_run_row, seconds, FS_FLOAT64), FS_COLUMN(fs_run_row, launch, FS_INT32),
    FS_COLUMN(fs_run_row, crc, FS_UINT32),
};

static const fs_column epoch_columns[] = {
    FS_COLUMN(fs_epoch_row, layer, FS_INT32),     FS_COLUMN(fs_epoch_row, epoch, FS_INT32),
    FS_COLUMN(fs_epoch_row, seconds, FS_FLOAT64), FS_COLUMN(fs_epoch_row, rank, FS_INT32),
    FS_COLUMN(fs_epoch_row, crc, FS_UINT32),
};

static const fs_column baseline_columns[] = {
    FS_COLUMN(fs_baseline_row, label, FS_INT32),  FS_COLUMN(fs_baseline_row, images, FS_INT32),
    FS_COLUMN(fs_baseline_row, right, FS_INT32),  FS_COLUMN(fs_baseline_row, answered, FS_INT32),
    FS_COLUMN(fs_baseline_row, loss, FS_FLOAT64),
};

static const fs_column drop_columns[] = {
    FS_COLUMN(fs_drop_row, layer, FS_INT32),         FS_COLUMN(fs_drop_row, filter, FS_INT32),
    FS_COLUMN(fs_drop_row, right, FS_INT32),         FS_COLUMN(fs_drop_row, changed, FS_INT32),
    FS_COLUMN(fs_drop_row, run, FS_INT32),           FS_COLUMN(fs_drop_row, same, FS_INT32),
    FS_COLUMN(fs_drop_row, hidden, FS_INT32),        FS_COLUMN(fs_drop_row, worst, FS_INT32),
    FS_COLUMN(fs_drop_row, drop, FS_FLOAT64),        FS_COLUMN(fs_drop_row, loss, FS_FLOAT64),
    FS_COLUMN(fs_drop_row, worst_drop, FS_FLOAT64),  FS_COLUMN(fs_drop_row, drop_clustered, FS_FLOAT64),
    FS_COLUMN(fs_drop_row, drop_others, FS_FLOAT64), FS_COLUMN(fs_drop_row, auc, FS_FLOAT64),
    FS_COLUMN(fs_drop_row, correlation, FS_FLOAT64),
};

static const fs_column layer_drop_columns[] = {
    FS_COLUMN(fs_drop_layer_row, layer, FS_INT32),
    FS_COLUMN(fs_drop_layer_row, filters, FS_INT32),
    FS_COLUMN(fs_drop_layer_row, harmless, FS_INT32),
    FS_COLUMN(fs_drop_layer_row, compared, FS_INT32),
    FS_COLUMN(fs_drop_layer_row, drop, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, worst_drop, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, drop_clustered, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, drop_others, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, correlation, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, auc, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, auc_low, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, auc_high, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, r_clusters, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, r_covered, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, r_noise, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, r_share, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, r_sr, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, run, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, same, FS_FLOAT64),
    FS_COLUMN(fs_drop_layer_row, hidden, FS_FLOAT64),
};

static const fs_column group_columns[] = {
    FS_COLUMN(fs_group_row, layer, FS_INT32),      FS_COLUMN(fs_group_row, group, FS_INT32),
    FS_COLUMN(fs_group_row, own, FS_INT32),        FS_COLUMN(fs_group_row, form, FS_INT32),
    FS_COLUMN(fs_group_row, draw, FS_INT32),       FS_COLUMN(fs_group_row, filters, FS_INT32),
    FS_COLUMN(fs_group_row, right, FS_INT32),      FS_COLUMN(fs_group_row, changed, FS_INT32),
    FS_COLUMN(fs_group_row, drop, FS_FLOAT64),     FS_COLUMN(fs_group_row, loss, FS_FLOAT64),
    FS_COLUMN(fs_group_row, drop_own, FS_FLOAT64), FS_COLUMN(fs_group_row, drop_others, FS_FLOAT64),
    FS_COLUMN(fs_group_row, above, FS_FLOAT64),
};

static const fs_column curve_columns[] = {
    FS_COLUMN(fs_curve_row, layer, FS_INT32),   FS_COLUMN(fs_curve_row, order, FS_TEXT),
    FS_COLUMN(fs_curve_row, draw, FS_INT32),    FS_COLUMN(fs_curve_row, out, FS_INT32),
    FS_COLUMN(fs_curve_row, left, FS_INT32),    FS_COLUMN(fs_curve_row, right, FS_INT32),
    FS_COLUMN(fs_curve_row, changed, FS_INT32), FS_COLUMN(fs_curve_row, sr, FS_FLOAT64),
    FS_COLUMN(fs_curve_row, drop, FS_FLOAT64),  FS_COLUMN(fs_curve_row, loss, FS_FLOAT64),
};

static const fs_column label_value = {NULL, FS_TEXT, 0, FS_LABEL_NAME_BYTES};
static const fs_column int32_value = {NULL, FS_INT32, 0, 4};
static const fs_column float32_value = {NULL, FS_FLOAT32, 0, 4};
static const fs_column float64_value = {NULL, FS_FLOAT64, 0, 8};

static const fs_form forms[FS_PLACE_NAMES] = {
    [FS_PLACE_CONFIG] = {.name = "/config",
                         .shape = "C",
                         TABLE(fs_config_entry, config_columns),
                         .fixed = sizeof(fs_config_entry)},
    [FS_PLACE_LABELS] = {.name = "/labels",
                         .shape = "K",
                         VALUES(label_value, FS_LABEL_NAME_BYTES),
                         .fixed = FS_LABEL_NAME_BYTES},
    [FS_PLACE_LAYERS] = {.name = "/layers", .shape = "L", TABLE(fs_layer_row, layer_columns), .fixed = sizeof(fs_layer_row)},
    [FS_PLACE_HISTORY] = {.name = "/probe/history", .shape = "H", TABLE(fs_history_row, history_columns)},
    [FS_PLACE_FILTERS] = {.name = "/silence/filters", .shape = "A", TABLE(fs_filter_row, filter_columns)},
    [FS_PLACE_MEANS] = {.name = "/silence/layers", .shape = "L", TABLE(fs_silence_layer_row, means_columns)},
    [FS_PLACE_SIZES] = {.name = "/silence/cluster_sizes", .shape = "LS", .axes = "layer, cluster size", VALUES(int32_value, 4)},
    [FS_PLACE_UNITS] = {.name = "/units",
                        .shape = "U",
                        TABLE(fs_unit_row, unit_columns),
                        .fixed = offsetof(fs_unit_row, state)},
    [FS_PLACE_STATE] = {.name = "/state", .shape = "1", TABLE(fs_state_row, state_columns)},
    [FS_PLACE_SLOTS] = {.name = "/resume/slots", .shape = "D", TABLE(fs_slot_row, slot_columns)},
    [FS_PLACE_LAUNCHES] =
        {.name = "/provenance/launches", .shape = "P", TABLE(fs_launch, launch_columns), .zeroed = 1, .sealed = 1},
    [FS_PLACE_RUNS] = {.name = "/provenance/units", .shape = "U", TABLE(fs_run_row, run_columns), .sealed = 1},
    [FS_PLACE_SECONDS] = {.name = "/provenance/epochs", .shape = "H", TABLE(fs_epoch_row, epoch_columns), .sealed = 1},
    [FS_PLACE_BASELINE] = {.name = "/knockout/baseline",
                           .shape = "K",
                           TABLE(fs_baseline_row, baseline_columns),
                           .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_CONFUSION] = {.name = "/knockout/confusion",
                            .shape = "KK",
                            .axes = "label, answer",
                            VALUES(int32_value, 4),
                            .kind = FS_UNIT_KNOCKOUT,
                            .answers = 1},
    [FS_PLACE_DROPS] = {.name = "/knockout/filters", .shape = "B", TABLE(fs_drop_row, drop_columns), .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_LAYER_DROPS] = {.name = "/knockout/layers",
                              .shape = "M",
                              TABLE(fs_drop_layer_row, layer_drop_columns),
                              .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_KNOCKED_OUT] = {.name = "/knockout/state",
                              .shape = "1",
                              TABLE(fs_state_row, state_columns),
                              .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_GROUPS] = {.name = "/knockout/groups", .shape = "G", TABLE(fs_group_row, group_columns), .kind = FS_UNIT_GROUPS},
    [FS_PLACE_GROUPS_STATE] = {.name = "/knockout/groups_state",
                               .shape = "1",
                               TABLE(fs_state_row, state_columns),
                               .kind = FS_UNIT_GROUPS},
    [FS_PLACE_CURVES] = {.name = "/knockout/curves", .shape = "J", TABLE(fs_curve_row, curve_columns), .kind = FS_UNIT_CURVES},
    [FS_PLACE_CURVES_STATE] = {.name = "/knockout/curves_state",
                               .shape = "1",
                               TABLE(fs_state_row, state_columns),
                               .kind = FS_UNIT_CURVES},
    [FS_PLACE_WEIGHT] = {"/probe", "weight", "KFYX", "output unit, filter, y, x", VALUES(float32_value, 4)},
    [FS_PLACE_FIELD] = {"/silence", "field", "FKK", "filter, input label, output unit", VALUES(float32_value, 4)},
    [FS_PLACE_CLUSTER] = {"/silence", "cluster", "FK", "filter, label", VALUES(int32_value, 4)},
    [FS_PLACE_TRAINING] = {"/resume", "state", "22KV", "slot, weight or momentum, output unit, feature (y, x, filter)",
                           VALUES(float32_value, 4)},
    [FS_PLACE_RIGHT] = {"/knockout", "right", "FK", "filter, label", VALUES(int32_value, 4), .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_ANSWERS] = {"/knockout", "answers", "FKK", "filter, label, answer", VALUES(int32_value, 4),
                          .kind = FS_UNIT_KNOCKOUT, .answers = 1},
    [FS_PLACE_CHANGED] = {"/knockout", "changed", "F", "filter", VALUES(int32_value, 4), .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_LOSS] = {"/knockout", "loss", "FK", "filter, label", VALUES(float64_value, 8), .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_WORK] = {"/knockout", "work", "FW", "filter, run or same or hidden", VALUES(int32_value, 4),
                       .kind = FS_UNIT_KNOCKOUT},
    [FS_PLACE_GROUP_OUT] = {"/knockout", "group_out", "NF", "set, filter", VALUES(int32_value, 4), .kind = FS_UNIT_GROUPS},
    [FS_PLACE_GROUP_RIGHT] = {"/knockout", "group_right", "NK", "set, label", VALUES(int32_value, 4), .kind = FS_UNIT_GROUPS},
    [FS_PLACE_GROUP_CHANGED] = {"/knockout", "group_changed", "N", "set", VALUES(int32_value, 4), .kind = FS_UNIT_GROUPS},
    [FS_PLACE_GROUP_LOSS] = {"/knockout", "group_loss", "NK", "set, label", VALUES(float64_value, 8), .kind = FS_UNIT_GROUPS},
    [FS_PLACE_GROUP_WORK] = {"/knockout", "group_work", "NW", "set, run or same or hidden", VALUES(int32_value, 4),
                             .kind = FS_UNIT_GROUPS},
    [FS_PLACE_CURVE_OUT] = {"/knockout", "curve_out", "IF", "set, filter", VALUES(int32_value, 4), .kind = FS_UNIT_CURVES},
    [FS_PLACE_CURVE_RIGHT] = {"/knockout", "curve_right", "IK", "set, label", VALUES(int32_value, 4), .kind = FS_UNIT_CURVES},
    [FS_PLACE_CURVE_CHANGED] = {"/knockout", "curve_changed", "I", "set", VALUES(int32_value, 4), .kind = FS_UNIT_CURVES},
    [FS_PLACE_CURVE_LOSS] = {"/knockout", "curve_loss", "IK", "set, label", VALUES(float64_value, 8), .kind = FS_UNIT_CURVES},
    [FS_PLACE_CURVE_WORK] = {"/knockout", "curve_work", "IW", "set, run or same or hidden", VALUES(int32_value, 4),
                             .kind = FS_UNIT_CURVES},
};

const fs_form *fs_form_of(fs_place_name name)
{
    return &forms[name];
}

void fs_form_path(fs_place_name name, int layer, char path[FS_PLACE_PATH_BYTES])
{
    const fs_form *form = &forms[name];
    if (form->group)
        snprintf(path, FS_PLACE_PATH_BYTES, "%s/%d/%s", form->group, layer, form->name);
    else
        snprintf(path, FS_PLACE_PATH_BYTES, "%s", form->name);
}

static hsize_t all_filters(const fs_results_plan *plan)
{
    hsize_t count = 0;
    for (int i = 0; i < plan->layers; i++)
        count += (hsize_t)plan->layer[i].filters;
    return count;
}

/* Layers whose filters are knocked out, and their filters. */
static hsize_t knocked_out(const fs_results_plan *plan, int filters)
{
    hsize_t count = 0;
    for (int i = 0; i < plan->layers; i++)
        if (fs_form_exists(FS_PLACE_RIGHT, plan, i))
            count += filters ? (hsize_t)plan->layer[i].filters : 1;
    return count;
}

int fs_results_sets(const fs_results_plan *plan, fs_unit_kind kind, int index)
{
    int sets = 0;
    for (int unit = plan->units - 1; unit >= 0 && plan->unit[unit].kind >= FS_UNIT_GROUPS; unit--) {
        const fs_unit *u = &plan->unit[unit];
        if (u->kind == (int32_t)kind && u->index == index && u->first + u->count > sets)
            sets = u->first + u->count;
    }
    return sets;
}

/* Of all layers. */
static hsize_t all_sets(const fs_results_plan *plan, fs_unit_kind kind)
{
    hsize_t sets = 0;
    for (int i = 0; i < plan->layers; i++)
        sets += (hsize_t)fs_results_sets(plan, kind, i);
    return sets;
}

static hsize_t extent(char letter, const fs_results_plan *plan, int index)
{
    const fs_layer_row *layer = &plan->layer[index];
    switch (letter) {
    case '1':
        return 1;
    case '2':
        return 2;
    case 'A':
        return all_filters(plan);
    case 'B':
        return knocked_out(plan, 1);
    case 'C':
        return (hsize_t)plan->config->count;
    case 'D':
        return 2 * (hsize_t)plan->layers;
    case 'F':
        return (hsize_t)layer->filters;
    case 'G':
        return all_sets(plan, FS_UNIT_GROUPS);
    case 'H':
        return (hsize_t)plan->layers * (hsize_t)plan->epochs;
    case 'I':
        return (hsize_t)fs_results_sets(plan, FS_UNIT_CURVES, index);
    case 'J':
        return all_sets(plan, FS_UNIT_CURVES);
    case 'K':
        return (hsize_t)plan->labels;
    case 'L':
        return (hsize_t)plan->layers;
    case 'M':
        return knocked_out(plan, 0);
    case 'N':
        return (hsize_t)fs_results_sets(plan, FS_UNIT_GROUPS, index);
    case 'P':
        return FS_LAUNCHES;
    case 'S':
        return (hsize_t)plan->labels + 1;
    case 'U':
        return (hsize_t)plan->units;
    case 'W':
        return FS_WORK_COLUMNS;
    case 'V':
        return (hsize_t)layer->height * (hsize_t)layer->width * (hsize_t)layer->filters;
    case 'X':
        return (hsize_t)layer->width;
    case 'Y':
        return (hsize_t)layer->height;
    }
    assert(!"a letter of a shape");
    return 0;
}

int fs_form_exists(fs_place_name name, const fs_results_plan *plan, int index)
{
    const fs_form *form = &forms[name];
    if (!form->kind)
        return 1;
    if (form->answers && plan->labels > FS_KNOCKOUT_MOST_ANSWERS)
        return 0;
    for (int unit = plan->units - 1; unit >= 0 && plan->unit[unit].kind >= FS_UNIT_BASELINE; unit--)
        if (plan->unit[unit].kind == (int32_t)form->kind && (!form->group || plan->unit[unit].index == index))
            return 1;
    return 0;
}

int fs_form_extent(fs_place_name name, const fs_results_plan *plan, int index, hsize_t size[FS_MOST_DIMENSIONS])
{
    const char *shape = forms[name].shape;
    int rank = (int)strlen(shape);
    for (int d = 0; d < rank; d++)
        size[d] = extent(shape[d], plan, forms[name].group ? index : 0);
    return rank;
}

uint64_t fs_form_bytes(fs_place_name name, const fs_results_plan *plan, int index)
{
    hsize_t size[FS_MOST_DIMENSIONS];
    uint64_t bytes = forms[name].bytes;
    int rank = fs_form_extent(name, plan, index, size);
    for (int d = 0; d < rank; d++)
        if (__builtin_mul_overflow(bytes, (uint64_t)size[d], &bytes))
            return UINT64_MAX;
    return bytes;
}

hid_t fs_text_type(size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, bytes);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    return type;
}

static hid_t value_type(const fs_column *column)
{
    switch (column->kind) {
    case FS_INT32:
        return H5Tcopy(H5T_STD_I32LE);
    case FS_UINT32:
        return H5Tcopy(H5T_STD_U32LE);
    case FS_FLOAT32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case FS_FLOAT64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case FS_TEXT:
        return fs_text_type(column->bytes);
    }
    return -1;
}

hid_t fs_form_type(const fs_form *form)
{
    if (!form->columns)
        return value_type(form->column);
    hid_t table = H5Tcreate(H5T_COMPOUND, form->bytes);
    size_t end = 0;
    for (int i = 0; i < form->columns; i++) {
        const fs_column *column = &form->column[i];
        hid_t type = value_type(column);
        assert(column->offset == end); /* no padding: a row in memory is a row in the file */
        end = column->offset + column->bytes;
        H5Tinsert(table, column->name, column->offset, type);
        H5Tclose(type);
    }
    assert(end == form->bytes);
    return table;
}

void fs_form_fill(const fs_form *form, void *element)
{
    const float narrow = NAN;
    const double wide = (double)NAN;
    memset(element, 0, form->bytes);
    for (int i = 0; i == 0 || i < form->columns; i++) {
        const fs_column *column = &form->column[i];
        if (!form->zeroed && (column->kind == FS_FLOAT32 || column->kind == FS_FLOAT64))
            memcpy((char *)element + column->offset, column->kind == FS_FLOAT32 ? (const void *)&narrow : &wide, column->bytes);
    }
}

uint64_t fs_results_bytes(const fs_results_plan *plan)
{
    uint64_t sum = 0;
    for (int name = 0; name < FS_PLACE_NAMES; name++)
        for (int i = 0; i == 0 || (i < plan->layers && forms[name].group); i++)
            if (fs_form_exists((fs_place_name)name, plan, i) &&
                __builtin_add_overflow(sum, fs_form_bytes((fs_place_name)name, plan, i), &sum))
                return UINT64_MAX;
    return sum;
}
