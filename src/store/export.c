/* Tables as CSV: the rows that are complete, named by layer and label. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/csv.h"
#include "filterscope/memory.h"
#include "store/store.h"

struct rows {
    const fs_column *column;
    int columns;
    size_t bytes; /* of a row */
    uint64_t count;
    char *row; /* owned */
};

struct source {
    fs_results *results;
    const fs_results_plan *plan;
    uint8_t *recorded; /* [units] */
    int complete;      /* phase three's tables */
    fs_measures again; /* at another threshold, or NULLs */
};

typedef struct fs_probe_row {
    int32_t layer, filters, height, width, pooled;
    int32_t epochs; /* that are complete */
    double train_loss, train_sr, test_sr;
} fs_probe_row;

typedef struct fs_size_row {
    int32_t layer, size, clusters;
} fs_size_row;

static const fs_column probe_columns[] = {
    FS_COLUMN(fs_probe_row, layer, FS_INT32),        FS_COLUMN(fs_probe_row, filters, FS_INT32),
    FS_COLUMN(fs_probe_row, height, FS_INT32),       FS_COLUMN(fs_probe_row, width, FS_INT32),
    FS_COLUMN(fs_probe_row, pooled, FS_INT32),       FS_COLUMN(fs_probe_row, epochs, FS_INT32),
    FS_COLUMN(fs_probe_row, train_loss, FS_FLOAT64), FS_COLUMN(fs_probe_row, train_sr, FS_FLOAT64),
    FS_COLUMN(fs_probe_row, test_sr, FS_FLOAT64),
};

static const fs_column size_columns[] = {
    FS_COLUMN(fs_size_row, layer, FS_INT32),
    FS_COLUMN(fs_size_row, size, FS_INT32),
    FS_COLUMN(fs_size_row, clusters, FS_INT32),
};

static fs_status make_rows(struct rows *rows, const fs_column *column, int columns, size_t bytes, uint64_t most)
{
    *rows = (struct rows){column, columns, bytes, 0, fs_alloc(most, bytes, "rows")};
    return rows->row ? FS_OK : FS_ERROR;
}

/* `count` elements of a table: those that were measured again, or of the file. */
static fs_status read_table(const struct source *s, fs_place_name name, uint64_t count, void *out)
{
    const void *again = name == FS_PLACE_FILTERS ? (void *)s->again.filter
                        : name == FS_PLACE_MEANS ? (void *)s->again.layer
                        : name == FS_PLACE_SIZES ? (void *)s->again.sizes
                                                 : NULL;
    if (!again)
        return fs_place_read(fs_store_place(s->results, name, 0), 0, count, out);
    memcpy(out, again, count * fs_form_of(name)->bytes);
    return FS_OK;
}

/* All rows of a table. */
static fs_status read_rows(const struct source *s, fs_place_name name, struct rows *rows)
{
    const fs_form *form = fs_form_of(name);
    hsize_t count[FS_MOST_DIMENSIONS];
    fs_form_extent(name, s->plan, 0, count);
    fs_status status = make_rows(rows, form->column, form->columns, form->bytes, count[0]);
    if (!status)
        status = read_table(s, name, count[0], rows->row);
    rows->count = count[0];
    return status;
}

static void keep_row(struct rows *rows, uint64_t number)
{
    memmove(rows->row + rows->count++ * rows->bytes, rows->row + number * rows->bytes, rows->bytes);
}

static int silenced(const struct source *s, int index)
{
    for (int unit = 0; unit < s->plan->units; unit++)
        if (s->plan->unit[unit].index == index && s->plan->unit[unit].kind <= FS_UNIT_SILENCE && !s->recorded[unit])
            return 0;
    return 1;
}

static fs_status layer_rows(const struct source *s, struct rows *rows)
{
    fs_status status = read_rows(s, FS_PLACE_MEANS, rows);
    rows->count = 0;
    for (int i = 0; i < s->plan->layers; i++)
        if (s->complete && silenced(s, i))
            keep_row(rows, (uint64_t)i);
    return status;
}

/* All rows of a table of phase four, once it is complete, as `state` says; none where there is no such phase. */
static fs_status knockout_rows(const struct source *s, fs_place_name name, fs_place_name state, struct rows *rows)
{
    int complete;
    const fs_form *form = fs_form_of(name);
    if (!fs_form_exists(name, s->plan, 0))
        return make_rows(rows, form->column, form->columns, form->bytes, 1);
    fs_status status = read_rows(s, name, rows);
    if (!status)
        status = fs_tables_read_state(s->results, state, &complete, NULL);
    if (!status && !complete)
        rows->count = 0;
    return status;
}

static fs_status drop_rows(const struct source *s, struct rows *rows)
{
    return knockout_rows(s, FS_PLACE_DROPS, FS_PLACE_KNOCKED_OUT, rows);
}

static fs_status layer_drop_rows(const struct source *s, struct rows *rows)
{
    return knockout_rows(s, FS_PLACE_LAYER_DROPS, FS_PLACE_KNOCKED_OUT, rows);
}

static fs_status group_rows(const struct source *s, struct rows *rows)
{
    return knockout_rows(s, FS_PLACE_GROUPS, FS_PLACE_GROUPS_STATE, rows);
}

static fs_status curve_rows(const struct source *s, struct rows *rows)
{
    return knockout_rows(s, FS_PLACE_CURVES, FS_PLACE_CURVES_STATE, rows);
}

static fs_status filter_rows(const struct source *s, struct rows *rows)
{
    fs_status status = read_rows(s, FS_PLACE_FILTERS, rows);
    rows->count = 0;
    for (int unit = 0; unit < s->plan->units; unit++) {
        const fs_unit *u = &s->plan->unit[unit];
        if (u->kind == FS_UNIT_SILENCE && s->recorded[unit])
            for (int f = 0; f < u->count; f++)
                keep_row(rows, fs_store_filter(s->results, u->index, u->first + f));
    }
    return status;
}

static fs_status read_epochs(const struct source *s, int index, int *epochs)
{
    for (int unit = 0; unit < s->plan->units; unit++)
        if (s->plan->unit[unit].kind == FS_UNIT_PROBE && s->plan->unit[unit].index == index && s->recorded[unit]) {
            *epochs = s->plan->epochs;
            return FS_OK;
        }
    return fs_results_read_epochs(s->results, index, epochs);
}

static fs_status history_rows(const struct source *s, struct rows *rows)
{
    int epochs;
    fs_status status = read_rows(s, FS_PLACE_HISTORY, rows);
    rows->count = 0;
    for (int i = 0; i < s->plan->layers && !status; i++) {
        status = read_epochs(s, i, &epochs);
        for (int e = 0; e < epochs && !status; e++)
            keep_row(rows, (uint64_t)i * (uint64_t)s->plan->epochs + (uint64_t)e);
    }
    return status;
}

static fs_status probe_row(const struct source *s, int index, fs_history_row *history, fs_probe_row *row)
{
    const fs_layer_row *l = &s->plan->layer[index];
    const double none = (double)NAN;
    *row = (fs_probe_row){l->layer, l->filters, l->height, l->width, l->pooled, 0, none, none, none};
    fs_status status = read_epochs(s, index, &row->epochs);
    if (!status && row->epochs)
        status = fs_results_read_history(s->results, index, history);
    if (!status && row->epochs) {
        const fs_history_row *last = &history[row->epochs - 1];
        row->train_loss = last->train_loss;
        row->train_sr = last->train_sr;
        row->test_sr = last->test_sr;
    }
    return status;
}

static fs_status probe_rows(const struct source *s, struct rows *rows)
{
    const int columns = sizeof probe_columns / sizeof *probe_columns;
    fs_history_row *history = fs_alloc((size_t)s->plan->epochs, sizeof *history, "the history");
    fs_status status = make_rows(rows, probe_columns, columns, sizeof(fs_probe_row), (uint64_t)s->plan->layers);
    if (!history)
        status = FS_ERROR;
    for (int i = 0; i < s->plan->layers && !status; i++) {
        status = probe_row(s, i, history, (fs_probe_row *)rows->row + i);
        rows->count++;
    }
    free(history);
    return status;
}

static fs_status size_rows(const struct source *s, struct rows *rows)
{
    const int columns = sizeof size_columns / sizeof *size_columns;
    size_t width = (size_t)s->plan->labels + 1, layers = (size_t)s->plan->layers;
    int32_t *sizes = fs_alloc(layers * width, sizeof *sizes, "cluster sizes");
    fs_status status = make_rows(rows, size_columns, columns, sizeof(fs_size_row), layers * (width - 1));
    if (!sizes)
        status = FS_ERROR;
    if (!status)
        status = read_table(s, FS_PLACE_SIZES, layers * width, sizes);
    for (int i = 0; i < s->plan->layers && !status; i++)
        for (int size = 1; s->complete && silenced(s, i) && size <= s->plan->labels; size++)
            ((fs_size_row *)rows->row)[rows->count++] =
                (fs_size_row){s->plan->layer[i].layer, size, sizes[(size_t)i * width + (size_t)size]};
    free(sizes);
    return status;
}

static const struct {
    const char *name;
    fs_status (*read)(const struct source *s, struct rows *rows);
    int clipped; /* depends on the threshold */
} tables[] = {{"layers", layer_rows, 1},
              {"filters", filter_rows, 1},
              {"probes", probe_rows, 0},
              {"history", history_rows, 0},
              {"cluster_sizes", size_rows, 1},
              {"knockout_filters", drop_rows, 0},
              {"knockout_layers", layer_drop_rows, 0},
              {"knockout_groups", group_rows, 0},
              {"knockout_curves", curve_rows, 0}};

/* 17 digits: all that a double has. */
static void print_double(FILE *out, double value)
{
    if (isnan(value))
        fprintf(out, "NaN");
    else if (isinf(value))
        fprintf(out, value > 0 ? "Inf" : "-Inf");
    else
        fprintf(out, "%.17g", value);
}

/* Where and how rows are printed. */
struct sheet {
    FILE *out;
    const fs_results_plan *plan;
    int safe;
};

static void print_layer(const struct sheet *sheet, int32_t layer)
{
    const fs_results_plan *plan = sheet->plan;
    int index = 0;
    while (index < plan->layers - 1 && plan->layer[index].layer != layer)
        index++;
    fputc(',', sheet->out);
    fs_csv_text(sheet->out, plan->layer[index].name, sizeof plan->layer[index].name, sheet->safe);
}

static void print_label(const struct sheet *sheet, int32_t label)
{
    fputc(',', sheet->out);
    if (label >= 0 && label < sheet->plan->labels)
        fs_csv_text(sheet->out, sheet->plan->label_name[label], FS_LABEL_NAME_BYTES, sheet->safe);
}

/* 1 for a column of labels' numbers, whose names follow. */
static int is_label(const char *column)
{
    return strcmp(column, "selected") == 0 || strcmp(column, "worst") == 0 || strcmp(column, "own") == 0;
}

static void print_cell(const struct sheet *sheet, const fs_column *column, const char *row)
{
    int32_t whole = 0;
    double value = 0;
    if (column->kind == FS_INT32) {
        memcpy(&whole, row + column->offset, sizeof whole);
        fprintf(sheet->out, "%d", whole);
    } else if (column->kind == FS_TEXT) {
        fs_csv_text(sheet->out, row + column->offset, column->bytes, sheet->safe);
    } else {
        memcpy(&value, row + column->offset, sizeof value);
        print_double(sheet->out, value);
    }
    if (strcmp(column->name, "layer") == 0)
        print_layer(sheet, whole);
    else if (is_label(column->name))
        print_label(sheet, whole);
}

static void print_head(const struct sheet *sheet, const struct rows *rows)
{
    for (int c = 0; c < rows->columns; c++) {
        const char *name = rows->column[c].name;
        fprintf(sheet->out, "%s%s", c ? "," : "", name);
        if (strcmp(name, "layer") == 0)
            fprintf(sheet->out, ",name");
        else if (is_label(name))
            fprintf(sheet->out, ",%s_label", name);
    }
    fputc('\n', sheet->out);
}

/* Ends where nothing can be written any more. */
static void print_rows(const struct sheet *sheet, const struct rows *rows)
{
    print_head(sheet, rows);
    for (uint64_t r = 0; r < rows->count && !ferror(sheet->out); r++) {
        for (int c = 0; c < rows->columns; c++) {
            if (c)
                fputc(',', sheet->out);
            print_cell(sheet, &rows->column[c], rows->row + r * rows->bytes);
        }
        fputc('\n', sheet->out);
    }
}

static fs_status find_table(const char *table, size_t *number)
{
    char names[192] = "";
    const size_t count = sizeof tables / sizeof *tables;
    for (*number = 0; *number < count; ++*number) {
        if (strcmp(tables[*number].name, table) == 0)
            return FS_OK;
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", *number ? ", " : "", tables[*number].name);
    }
    return fs_fail(FS_USAGE, "--table: '%s' is none of %s", table, names);
}

static fs_status measure_again(struct source *s, double threshold)
{
    for (int i = 0; i < s->plan->layers; i++)
        if (!silenced(s, i))
            return fs_fail(FS_ERROR, "%s: no table at another threshold: the fields of layer %d are not all there yet",
                           s->results->path, s->plan->layer[i].layer);
    s->complete = 1;
    return fs_measures_at(s->results, threshold, &s->again);
}

fs_status fs_results_export(fs_results *results, const char *table, double threshold, int safe, FILE *out)
{
    const fs_results_plan *plan = fs_results_plan_of(results);
    struct source source = {results, plan, fs_alloc((size_t)plan->units, 1, "units"), 0, {NULL, NULL, NULL}};
    struct rows rows = {0};
    size_t number;
    fs_status status = source.recorded ? find_table(table, &number) : FS_ERROR;
    if (!status && !isnan(threshold) && !tables[number].clipped)
        status = fs_fail(FS_USAGE, "--threshold: the table %s does not depend on it", table);
    if (!status)
        status = fs_results_read_recorded(results, source.recorded);
    if (!status && isnan(threshold))
        status = fs_results_read_complete(results, &source.complete, NULL);
    else if (!status)
        status = measure_again(&source, threshold);
    if (!status)
        status = tables[number].read(&source, &rows);
    if (!status)
        print_rows(&(struct sheet){out, plan, safe}, &rows);
    fs_measures_free(&source.again);
    free(rows.row);
    free(source.recorded);
    return status;
}
