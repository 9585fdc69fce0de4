/* What the rows of a table hold before anything is computed, and the sums that guard what no unit's record covers. */
#include <stddef.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "store/layout.h"

/* The numbers that follow from the plan; `row` comes filled with what is written where nothing is known. */
typedef void known_row(const fs_results_plan *plan, uint64_t number, void *row);

static void config_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    memcpy(row, &plan->config->entry[number], sizeof *plan->config->entry);
}

static void label_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    memcpy(row, plan->label_name[number], sizeof *plan->label_name);
}

static void layer_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    memcpy(row, &plan->layer[number], sizeof *plan->layer);
}

static void history_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    fs_history_row *history = row;
    history->layer = plan->layer[number / (uint64_t)plan->epochs].layer;
    history->epoch = (int32_t)(number % (uint64_t)plan->epochs) + 1;
}

static void epoch_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    fs_epoch_row *epoch = row;
    epoch->layer = plan->layer[number / (uint64_t)plan->epochs].layer;
    epoch->epoch = (int32_t)(number % (uint64_t)plan->epochs) + 1;
}

static void filter_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    fs_filter_row *filter = row;
    int index = 0;
    for (; number >= (uint64_t)plan->layer[index].filters; index++)
        number -= (uint64_t)plan->layer[index].filters;
    filter->layer = plan->layer[index].layer;
    filter->filter = (int32_t)number;
}

static void means_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    fs_silence_layer_row *means = row;
    means->layer = plan->layer[number].layer;
    means->filters = plan->layer[number].filters;
}

static void baseline_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    (void)plan;
    ((fs_baseline_row *)row)->label = (int32_t)number;
}

/* The layer of number `number` of those whose filters are knocked out, counted by filters or by layers; *rest: from its first.
 * */
static int knocked_out(const fs_results_plan *plan, uint64_t number, int filters, uint64_t *rest)
{
    int index = 0;
    for (;; index++) {
        uint64_t rows = !fs_form_exists(FS_PLACE_RIGHT, plan, index) ? 0 : filters ? (uint64_t)plan->layer[index].filters : 1;
        if (number < rows)
            break;
        number -= rows;
    }
    *rest = number;
    return index;
}

static void drop_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    uint64_t filter;
    fs_drop_row *drop = row;
    drop->layer = plan->layer[knocked_out(plan, number, 1, &filter)].layer;
    drop->filter = (int32_t)filter;
}

static void layer_drop_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    uint64_t rest;
    fs_drop_layer_row *drop = row;
    const fs_layer_row *layer = &plan->layer[knocked_out(plan, number, 0, &rest)];
    drop->layer = layer->layer;
    drop->filters = layer->filters;
}

static void unit_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    const fs_unit *unit = &plan->unit[number];
    *(fs_unit_row *)row =
        (fs_unit_row){.kind = unit->kind, .layer = plan->layer[unit->index].layer, .first = unit->first, .count = unit->count};
}

/* Not all zeros, like /state below: a page that a disk lost must not look like a sweep that begins. */
static void slot_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    (void)plan;
    (void)number;
    memset(row, 0, sizeof(fs_slot_row));
    uint32_t crc = fs_crc32c(0, row, offsetof(fs_slot_row, crc));
    memcpy((char *)row + offsetof(fs_slot_row, crc), &crc, sizeof crc);
}

static void state_row(const fs_results_plan *plan, uint64_t number, void *row)
{
    (void)plan;
    (void)number;
    *(fs_state_row *)row = fs_unfinished();
}

fs_state_row fs_unfinished(void)
{
    fs_state_row state = {.complete = 0};
    state.crc = fs_crc32c(0, &state.complete, sizeof state.complete);
    return state;
}

static known_row *const known_rows[FS_PLACES_ONCE] = {
    [FS_PLACE_CONFIG] = config_row,
    [FS_PLACE_LABELS] = label_row,
    [FS_PLACE_LAYERS] = layer_row,
    [FS_PLACE_HISTORY] = history_row,
    [FS_PLACE_FILTERS] = filter_row,
    [FS_PLACE_MEANS] = means_row,
    [FS_PLACE_UNITS] = unit_row,
    [FS_PLACE_SECONDS] = epoch_row,
    [FS_PLACE_STATE] = state_row,
    [FS_PLACE_SLOTS] = slot_row,
    [FS_PLACE_BASELINE] = baseline_row,
    [FS_PLACE_DROPS] = drop_row,
    [FS_PLACE_LAYER_DROPS] = layer_drop_row,
    [FS_PLACE_KNOCKED_OUT] = state_row,
    [FS_PLACE_GROUPS_STATE] = state_row,
    [FS_PLACE_CURVES_STATE] = state_row,
};

int fs_known(fs_place_name name)
{
    return name < FS_PLACES_ONCE && (known_rows[name] || fs_form_of(name)->sealed);
}

void fs_known_row(fs_place_name name, const fs_results_plan *plan, uint64_t number, void *row)
{
    const fs_form *form = fs_form_of(name);
    fs_form_fill(form, row);
    if (known_rows[name])
        known_rows[name](plan, number, row);
    if (form->sealed)
        fs_seal(form, row);
}

uint32_t fs_fixed_sum(const fs_form *form, uint32_t crc, const void *rows, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        crc = fs_crc32c(crc, (const char *)rows + i * form->bytes, form->fixed);
    return crc;
}

static uint32_t sum_row(const fs_form *form, const void *row)
{
    return fs_crc32c(0, row, form->bytes - sizeof(uint32_t));
}

void fs_seal(const fs_form *form, void *row)
{
    uint32_t crc = sum_row(form, row);
    memcpy((char *)row + form->bytes - sizeof crc, &crc, sizeof crc);
}

int fs_seal_holds(const fs_form *form, const void *row, uint32_t *recorded, uint32_t *found)
{
    memcpy(recorded, (const char *)row + form->bytes - sizeof *recorded, sizeof *recorded);
    *found = sum_row(form, row);
    return *recorded == *found;
}
