/* What a plan may hold, and whether two are one. The same rules serve a plan that is to be stored and one that was read. */
#include <stdio.h>
#include <string.h>

#include "store/layout.h"

/* Where a complaint goes. */
struct judge {
    fs_status status;
    const char *path;
};

static fs_status range(const struct judge *judge, const char *what, int row, long value, long least, long most)
{
    if (value >= least && value <= most)
        return FS_OK;
    return fs_fail(judge->status, "%s: %s of row %d is %ld, not in %ld .. %ld", judge->path, what, row, value, least, most);
}

static fs_status text(const struct judge *judge, const char *what, int row, const char *characters, size_t bytes)
{
    if (memchr(characters, 0, bytes))
        return FS_OK;
    return fs_fail(judge->status, "%s: %s of row %d has no end within %zu bytes", judge->path, what, row, bytes);
}

static fs_status check_counts(const struct judge *judge, const fs_results_plan *plan)
{
    const struct {
        const char *what;
        long value, least, most;
    } counts[] = {
        {"number of labels", plan->labels, 1, FS_MAX_LABELS},
        {"number of layers", plan->layers, 1, FS_MOST_PLAN_LAYERS},
        {"number of epochs", plan->epochs, 1, FS_MOST_PLAN_EPOCHS},
        {"number of units", plan->units, 1, FS_MOST_PLAN_UNITS},
        {"number of configuration entries", plan->config->count, 0, FS_CONFIG_ENTRIES},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value < counts[i].least || counts[i].value > counts[i].most)
            return fs_fail(judge->status, "%s: %s is %ld, not in %ld .. %ld", judge->path, counts[i].what, counts[i].value,
                           counts[i].least, counts[i].most);
    return FS_OK;
}

static fs_status check_texts(const struct judge *judge, const fs_results_plan *plan)
{
    fs_status status = FS_OK;
    for (int i = 0; i < plan->config->count && !status; i++) {
        const fs_config_entry *entry = &plan->config->entry[i];
        status = text(judge, "/config: key", i, entry->key, sizeof entry->key);
        if (!status)
            status = text(judge, "/config: value", i, entry->value, sizeof entry->value);
    }
    for (int k = 0; k < plan->labels && !status; k++)
        status = text(judge, "/labels: name", k, plan->label_name[k], sizeof plan->label_name[k]);
    return status;
}

static fs_status check_layer(const struct judge *judge, const fs_layer_row *row, int index, int least)
{
    fs_status status = range(judge, "/layers: layer", index, row->layer, least, FS_MOST_EXTENT);
    if (!status)
        status = text(judge, "/layers: name", index, row->name, sizeof row->name);
    if (!status)
        status = range(judge, "/layers: filters", index, row->filters, 1, FS_MOST_EXTENT);
    if (!status)
        status = range(judge, "/layers: height", index, row->height, 1, FS_MOST_EXTENT);
    if (!status)
        status = range(judge, "/layers: width", index, row->width, 1, FS_MOST_EXTENT);
    return status ? status : range(judge, "/layers: pooled", index, row->pooled, 0, 1);
}

static fs_status check_unit(const struct judge *judge, const fs_results_plan *plan, int unit)
{
    const fs_unit *u = &plan->unit[unit];
    fs_status status = range(judge, "/units: kind", unit, u->kind, FS_UNIT_PROBE, FS_UNIT_CURVES);
    if (!status)
        status = range(judge, "/units: index of the layer", unit, u->index, 0, plan->layers - 1);
    if (status)
        return status;
    int filters = u->kind >= FS_UNIT_GROUPS ? FS_MOST_SETS : plan->layer[u->index].filters;
    int whole = u->kind == FS_UNIT_PROBE || u->kind == FS_UNIT_BASELINE;
    status = range(judge, "/units: first", unit, u->first, 0, whole ? 0 : filters - 1);
    return status ? status : range(judge, "/units: count", unit, u->count, whole ? filters : 1, filters - u->first);
}

fs_status fs_plan_check(const fs_results_plan *plan, fs_status status_of_a_fault, const char *path)
{
    const struct judge judge = {status_of_a_fault, path};
    fs_status status = check_counts(&judge, plan);
    if (!status)
        status = check_texts(&judge, plan);
    for (int i = 0; i < plan->layers && !status; i++) /* ascending, so that no two layers share a group of the file */
        status = check_layer(&judge, &plan->layer[i], i, i ? plan->layer[i - 1].layer + 1 : 1);
    for (int unit = 0; unit < plan->units && !status; unit++)
        status = check_unit(&judge, plan, unit);
    if (!status && fs_results_bytes(plan) > INT64_MAX)
        status = fs_fail(judge.status, "%s: the layers, labels and epochs need more than 2^63 bytes", path);
    return status;
}

static fs_status other(const char *path, const char *what, int number, const char *stored, const char *now)
{
    return fs_fail(FS_MISMATCH, "%s: was made with another plan: %s %d: file has %s, this command has %s", path, what, number,
                   stored, now);
}

static void print_layer(const fs_layer_row *row, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s (number %d) with %d maps of %dx%d%s", row->name, row->layer, row->filters, row->height,
             row->width, row->pooled ? ", pooled" : "");
}

static void print_unit(const fs_unit *unit, char *text, size_t bytes)
{
    static const char *const kinds[] = {
        [FS_UNIT_PROBE] = "the probe",        [FS_UNIT_SILENCE] = "the silencing", [FS_UNIT_BASELINE] = "the untouched network",
        [FS_UNIT_KNOCKOUT] = "the knock-out", [FS_UNIT_GROUPS] = "the groups",     [FS_UNIT_CURVES] = "the curves"};
    snprintf(text, bytes, "%s of layer row %d, %s %d to %d", kinds[unit->kind], unit->index,
             unit->kind >= FS_UNIT_GROUPS ? "sets" : "filters", unit->first, unit->first + unit->count - 1);
}

static fs_status match_rows(const char *path, const fs_results_plan *stored, const fs_results_plan *now)
{
    char left[256], right[256];
    for (int k = 0; k < now->labels; k++)
        if (strcmp(stored->label_name[k], now->label_name[k]) != 0)
            return other(path, "label", k, stored->label_name[k], now->label_name[k]);
    for (int i = 0; i < now->layers; i++) {
        print_layer(&stored->layer[i], left, sizeof left);
        print_layer(&now->layer[i], right, sizeof right);
        if (strcmp(left, right) != 0)
            return other(path, "layer row", i, left, right);
    }
    for (int i = 0; i < now->units; i++) {
        print_unit(&stored->unit[i], left, sizeof left);
        print_unit(&now->unit[i], right, sizeof right);
        if (strcmp(left, right) != 0)
            return other(path, "unit", i, left, right);
    }
    return FS_OK;
}

fs_status fs_results_match(const char *path, const fs_results_plan *stored, const fs_results_plan *now)
{
    fs_status status = fs_config_match(path, stored->config, now->config);
    if (status)
        return status;
    if (stored->labels != now->labels || stored->layers != now->layers || stored->units != now->units ||
        stored->epochs != now->epochs)
        return fs_fail(
            FS_MISMATCH,
            "%s: was made with another plan: file has %d labels, %d layers, %d units, %d epochs, this command has %d, "
            "%d, %d, %d",
            path, stored->labels, stored->layers, stored->units, stored->epochs, now->labels, now->layers, now->units,
            now->epochs);
    return match_rows(path, stored, now);
}
