/* Units: payload first, then where and when, then the record {done, CRC of the payload}.
 *
 * Each write of one rank is one pwrite, in program order. A process that is killed leaves a prefix of its writes: the record
 * is there only where the payload is. A power failure may reorder what had not reached the disk, and a kill may cut a write
 * in two; the CRC tells both. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "store/store.h"

enum { REORDER_BYTES = 4 << 20 };

/* Continues *crc over the layer's history as it stands in the file. */
static fs_status sum_history(fs_results *results, int index, int epochs, uint32_t *crc)
{
    return fs_place_sum(fs_store_place(results, FS_PLACE_HISTORY, 0), (uint64_t)index * (uint64_t)results->plan.epochs,
                        (uint64_t)epochs, results->buffer, crc);
}

fs_status fs_store_sum_history(fs_results *results, int index, int epochs, uint32_t *crc)
{
    *crc = 0;
    return sum_history(results, index, epochs, crc);
}

static fs_status sum_probe(fs_results *results, int index, uint32_t *crc)
{
    fs_status status = fs_place_sum(fs_store_place(results, FS_PLACE_WEIGHT, index), 0, fs_store_weights(results, index),
                                    results->buffer, crc);
    return status ? status : sum_history(results, index, results->plan.epochs, crc);
}

static fs_status sum_silence(fs_results *results, const fs_unit *unit, uint32_t *crc)
{
    int index = unit->index, first = unit->first, count = unit->count;
    fs_status status = fs_place_sum(fs_store_place(results, FS_PLACE_FIELD, index), fs_store_field(results, first),
                                    fs_store_field(results, count), results->buffer, crc);
    if (!status)
        status = fs_place_sum(fs_store_place(results, FS_PLACE_CLUSTER, index), fs_store_cluster(results, first),
                              fs_store_cluster(results, count), results->buffer, crc);
    if (!status)
        status = fs_place_sum(fs_store_place(results, FS_PLACE_FILTERS, 0), fs_store_filter(results, index, first),
                              (uint64_t)count, results->buffer, crc);
    return status;
}

fs_status fs_records_sum(fs_results *results, int unit, uint32_t *crc)
{
    const fs_unit *u = &results->plan.unit[unit];
    *crc = 0;
    if (u->kind == FS_UNIT_PROBE)
        return sum_probe(results, u->index, crc);
    return u->kind == FS_UNIT_SILENCE ? sum_silence(results, u, crc) : fs_knockout_sum(results, u, crc);
}

fs_status fs_results_read_done(fs_results *results, uint8_t *done, uint8_t *damaged)
{
    fs_unit_row *row = fs_records_read(results);
    fs_status status = row ? FS_OK : FS_ERROR;
    for (int unit = 0; unit < results->plan.units && !status; unit++) {
        uint32_t crc = 0;
        if (row[unit].state == FS_UNIT_DONE)
            status = fs_records_sum(results, unit, &crc);
        done[unit] = row[unit].state == FS_UNIT_DONE && row[unit].crc == crc;
        if (damaged)
            damaged[unit] = row[unit].state != 0 && !done[unit]; /* a state that is neither 0 nor 1 is damage, too */
    }
    free(row);
    return status;
}

/* One output unit's weights from (y, x, filter) to (filter, y, x), or back. */
static void to_file_order(const fs_layer_row *layer, const float *feature, float *file)
{
    size_t filters = (size_t)layer->filters, pixels = (size_t)layer->height * (size_t)layer->width;
    for (size_t f = 0; f < filters; f++)
        for (size_t p = 0; p < pixels; p++)
            file[f * pixels + p] = feature[p * filters + f];
}

static void to_feature_order(const fs_layer_row *layer, const float *file, float *feature)
{
    size_t filters = (size_t)layer->filters, pixels = (size_t)layer->height * (size_t)layer->width;
    for (size_t p = 0; p < pixels; p++)
        for (size_t f = 0; f < filters; f++)
            feature[p * filters + f] = file[f * pixels + p];
}

/* As many output units as REORDER_BYTES hold, one at least. */
static size_t outputs_at_once(const fs_results *results, size_t features)
{
    size_t labels = (size_t)results->plan.labels, most = REORDER_BYTES / (features * sizeof(float));
    return most < 1 ? 1 : most < labels ? most : labels;
}

static fs_status write_weight(fs_results *results, int index, const float *weight, uint32_t *crc)
{
    const fs_layer_row *layer = &results->plan.layer[index];
    size_t labels = (size_t)results->plan.labels, features = fs_store_weights(results, index) / labels;
    size_t most = outputs_at_once(results, features);
    float *file = fs_alloc(most * features, sizeof *file, "weights in file order");
    fs_status status = file ? FS_OK : FS_ERROR;
    for (size_t k = 0; k < labels && !status; k += most) {
        size_t count = labels - k < most ? labels - k : most;
        for (size_t i = 0; i < count; i++)
            to_file_order(layer, weight + (k + i) * features, file + i * features);
        *crc = fs_crc32c(*crc, file, count * features * sizeof *file);
        status = fs_place_write(fs_store_place(results, FS_PLACE_WEIGHT, index), k * features, count * features, file);
    }
    free(file);
    return status;
}

fs_status fs_results_read_weight(fs_results *results, int index, float *weight)
{
    fs_status status = fs_store_check_layer(results, index);
    if (status)
        return status;
    const fs_layer_row *layer = &results->plan.layer[index];
    size_t labels = (size_t)results->plan.labels, features = fs_store_weights(results, index) / labels;
    size_t most = outputs_at_once(results, features);
    float *file = fs_alloc(most * features, sizeof *file, "weights in file order");
    status = file ? FS_OK : FS_ERROR;
    for (size_t k = 0; k < labels && !status; k += most) {
        size_t count = labels - k < most ? labels - k : most;
        status = fs_place_read(fs_store_place(results, FS_PLACE_WEIGHT, index), k * features, count * features, file);
        for (size_t i = 0; i < count && !status; i++)
            to_feature_order(layer, file + i * features, weight + (k + i) * features);
    }
    free(file);
    return status;
}

fs_status fs_results_write_probe(fs_results *results, int unit, const float *weight)
{
    uint32_t crc = 0;
    fs_status status = fs_store_check_unit(results, unit, FS_UNIT_PROBE);
    if (!status)
        status = fs_store_may_write(results);
    if (status)
        return status;
    int index = results->plan.unit[unit].index;
    status = write_weight(results, index, weight, &crc);
    if (!status)
        status = sum_history(results, index, results->plan.epochs, &crc);
    if (!status)
        status = fs_records_finish(results, unit, crc);
    return status ? status : fs_results_settle(results);
}

fs_status fs_results_write_silence(fs_results *results, int unit, const float *field, const int32_t *cluster,
                                   const fs_filter_row *row)
{
    fs_status status = fs_store_check_unit(results, unit, FS_UNIT_SILENCE);
    if (!status)
        status = fs_store_may_write(results);
    if (status)
        return status;
    const fs_unit *u = &results->plan.unit[unit];
    const struct {
        fs_place_name name;
        uint64_t first, count;
        const void *elements;
        size_t bytes;
    } parts[] = {
        {FS_PLACE_FIELD, fs_store_field(results, u->first), fs_store_field(results, u->count), field, sizeof *field},
        {FS_PLACE_CLUSTER, fs_store_cluster(results, u->first), fs_store_cluster(results, u->count), cluster, sizeof *cluster},
        {FS_PLACE_FILTERS, fs_store_filter(results, u->index, u->first), (uint64_t)u->count, row, sizeof *row},
    };
    uint32_t crc = 0;
    for (int p = 0; p < 3 && !status; p++) {
        status =
            fs_place_write(fs_store_place(results, parts[p].name, u->index), parts[p].first, parts[p].count, parts[p].elements);
        crc = fs_crc32c(crc, parts[p].elements, parts[p].count * parts[p].bytes);
    }
    if (!status)
        status = fs_records_finish(results, unit, crc);
    return status ? status : fs_results_settle(results);
}

fs_status fs_results_read_filters(fs_results *results, int index, int first, int count, float *field, int32_t *cluster,
                                  fs_filter_row *row)
{
    fs_status status = fs_store_check_layer(results, index);
    if (!status && (first < 0 || count < 0 || count > results->plan.layer[index].filters - first))
        status = fs_fail(FS_ERROR, "%s: filters %d to %d of layer %d do not exist", results->path, first, first + count - 1,
                         results->plan.layer[index].layer);
    if (!status && field)
        status = fs_place_read(fs_store_place(results, FS_PLACE_FIELD, index), fs_store_field(results, first),
                               fs_store_field(results, count), field);
    if (!status && cluster)
        status = fs_place_read(fs_store_place(results, FS_PLACE_CLUSTER, index), fs_store_cluster(results, first),
                               fs_store_cluster(results, count), cluster);
    if (!status && row)
        status = fs_place_read(fs_store_place(results, FS_PLACE_FILTERS, 0), fs_store_filter(results, index, first),
                               (uint64_t)count, row);
    return status;
}
