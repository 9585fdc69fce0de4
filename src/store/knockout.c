/* Units of phase four: the untouched network, blocks of filters that are knocked out, and blocks of sets of filters. */
#include "filterscope/crc32c.h"
#include "store/store.h"

/* What a unit has in one dataset: elements first .. first+count-1. */
struct part {
    fs_place_name name;
    uint64_t first, count;
    const void *elements; /* NULL where they are only to be found */
};

enum { MOST_PARTS = 5 };

/* Lists the parts that the file has; returns how many. rows: of the baseline, or which filters of sets are out. */
static int list_parts(const fs_results *results, const fs_unit *unit, const void *rows, const fs_knockout *k,
                      struct part parts[MOST_PARTS])
{
    uint64_t labels = (uint64_t)results->plan.labels, first = (uint64_t)unit->first, count = (uint64_t)unit->count,
             square = labels * labels;
    const struct part baseline[] = {{FS_PLACE_BASELINE, 0, labels, rows},
                                    {FS_PLACE_CONFUSION, 0, square, k ? k->answers : NULL}};
    const struct part filters[MOST_PARTS] = {
        {FS_PLACE_RIGHT, first * labels, count * labels, k ? k->right : NULL},
        {FS_PLACE_ANSWERS, first * square, count * square, k ? k->answers : NULL},
        {FS_PLACE_CHANGED, first, count, k ? k->changed : NULL},
        {FS_PLACE_LOSS, first * labels, count * labels, k ? k->loss : NULL},
        {FS_PLACE_WORK, first * FS_WORK_COLUMNS, count * FS_WORK_COLUMNS, k ? k->work : NULL},
    };
    const int curves = unit->kind == FS_UNIT_CURVES ? FS_PLACE_CURVE_OUT - FS_PLACE_GROUP_OUT : 0;
    const uint64_t width = (uint64_t)results->plan.layer[unit->index].filters;
    const struct part sets[MOST_PARTS] = {
        {FS_PLACE_GROUP_OUT + curves, first * width, count * width, rows},
        {FS_PLACE_GROUP_RIGHT + curves, first * labels, count * labels, k ? k->right : NULL},
        {FS_PLACE_GROUP_CHANGED + curves, first, count, k ? k->changed : NULL},
        {FS_PLACE_GROUP_LOSS + curves, first * labels, count * labels, k ? k->loss : NULL},
        {FS_PLACE_GROUP_WORK + curves, first * FS_WORK_COLUMNS, count * FS_WORK_COLUMNS, k ? k->work : NULL},
    };
    const struct part *from = unit->kind == FS_UNIT_BASELINE ? baseline : unit->kind == FS_UNIT_KNOCKOUT ? filters : sets;
    int all = unit->kind == FS_UNIT_BASELINE ? 2 : MOST_PARTS, listed = 0;
    for (int p = 0; p < all; p++)
        if (fs_form_exists(from[p].name, &results->plan, unit->index))
            parts[listed++] = from[p];
    return listed;
}

fs_status fs_knockout_sum(fs_results *results, const fs_unit *unit, uint32_t *crc)
{
    struct part part[MOST_PARTS];
    int parts = list_parts(results, unit, NULL, NULL, part);
    fs_status status = FS_OK;
    for (int p = 0; p < parts && !status; p++)
        status = fs_place_sum(fs_store_place(results, part[p].name, unit->index), part[p].first, part[p].count, results->buffer,
                              crc);
    return status;
}

/* Of `most` that there are. */
static fs_status read_unit(fs_results *results, const fs_unit *wanted, int most, void *rows, fs_knockout *counts)
{
    struct part part[MOST_PARTS];
    fs_status status = FS_OK;
    if (wanted->first < 0 || wanted->count < 0 || wanted->count > most - wanted->first)
        status = fs_fail(FS_ERROR, "%s: no knocked out %s %d to %d of layer %d", results->path,
                         wanted->kind == FS_UNIT_KNOCKOUT ? "filters" : "sets of filters", wanted->first,
                         wanted->first + wanted->count - 1, results->plan.layer[wanted->index].layer);
    int parts = status ? 0 : list_parts(results, wanted, rows, counts, part);
    for (int p = 0; p < parts && !status; p++)
        if (part[p].elements)
            status = fs_place_read(fs_store_place(results, part[p].name, wanted->index), part[p].first, part[p].count,
                                   (void *)part[p].elements);
    return status;
}

fs_status fs_results_read_knockout(fs_results *results, int index, int first, int count, fs_knockout *counts)
{
    const fs_unit wanted = {FS_UNIT_KNOCKOUT, index, first, count};
    fs_status status = fs_store_check_layer(results, index);
    int most = !status && fs_form_exists(FS_PLACE_RIGHT, &results->plan, index) ? results->plan.layer[index].filters : 0;
    return status ? status : read_unit(results, &wanted, most, NULL, counts);
}

fs_status fs_results_read_sets(fs_results *results, fs_unit_kind kind, int index, int first, int count, int32_t *out,
                               fs_knockout *counts)
{
    const fs_unit wanted = {(int32_t)kind, index, first, count};
    fs_status status = fs_store_check_layer(results, index);
    return status ? status : read_unit(results, &wanted, fs_results_sets(&results->plan, kind, index), out, counts);
}

fs_status fs_results_read_baseline(fs_results *results, fs_baseline_row *row)
{
    return fs_place_read(fs_store_place(results, FS_PLACE_BASELINE, 0), 0, (uint64_t)results->plan.labels, row);
}

static fs_status write_unit(fs_results *results, int unit, fs_unit_kind kind, const void *rows, const fs_knockout *k)
{
    fs_status status = fs_store_check_unit(results, unit, kind);
    if (!status)
        status = fs_store_may_write(results);
    if (status)
        return status;
    const fs_unit *u = &results->plan.unit[unit];
    struct part part[MOST_PARTS];
    int parts = list_parts(results, u, rows, k, part);
    uint32_t crc = 0;
    for (int p = 0; p < parts && !status; p++) {
        const fs_place *place = fs_store_place(results, part[p].name, u->index);
        status = fs_place_write(place, part[p].first, part[p].count, part[p].elements);
        crc = fs_crc32c(crc, part[p].elements, part[p].count * place->form->bytes);
    }
    if (!status)
        status = fs_records_finish(results, unit, crc);
    return status ? status : fs_results_settle(results);
}

fs_status fs_results_write_baseline(fs_results *results, int unit, const fs_baseline_row *row, const fs_knockout *untouched)
{
    return write_unit(results, unit, FS_UNIT_BASELINE, row, untouched);
}

fs_status fs_results_write_knockout(fs_results *results, int unit, const fs_knockout *knockout)
{
    return write_unit(results, unit, FS_UNIT_KNOCKOUT, NULL, knockout);
}

fs_status fs_results_write_sets(fs_results *results, int unit, const int32_t *out, const fs_knockout *counts)
{
    fs_unit_kind kind = FS_UNIT_GROUPS;
    if (unit >= 0 && unit < results->plan.units && results->plan.unit[unit].kind == FS_UNIT_CURVES)
        kind = FS_UNIT_CURVES;
    return write_unit(results, unit, kind, out, counts);
}
