#include "model/arrays.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "filterscope/layers.h"

/* Names the array by the operation's kind and its number among those of its kind. */
static fs_array array_of(const char *group, const fs_op *op, int number, const char *name, float *values, size_t count)
{
    fs_array array = {.dimensions = 1, .size = {count}, .values = values, .count = count};
    snprintf(array.path, sizeof array.path, "/%s/%s%d.%s", group, op->kind->array, number, name);
    return array;
}

/* Weight and bias of one operation out of `values` (parameters or momentum). */
static fs_status visit_pair(const char *group, const fs_op *op, int number, float *values, fs_array_visit *visit, void *context)
{
    fs_array weight = array_of(group, op, number, op->kind->weight, values + op->weight, op->weights);
    if (op->kind->axes)
        weight.dimensions = op->kind->axes(op, weight.size);
    fs_status status = visit(&weight, context);
    if (status || !op->biases)
        return status;
    fs_array bias = array_of(group, op, number, op->kind->bias, values + op->bias, op->biases);
    return visit(&bias, context);
}

static fs_status visit_statistics(const char *group, const fs_op *op, int number, float *values, fs_array_visit *visit,
                                  void *context)
{
    size_t count = op->statistics / 2;
    fs_array mean = array_of(group, op, number, "mean", values, count);
    fs_array variance = array_of(group, op, number, "variance", values + count, count);
    variance.variance = 1;
    fs_status status = visit(&mean, context);
    return status ? status : visit(&variance, context);
}

int fs_op_number(const fs_network *net, const fs_op *op)
{
    int number = 0;
    for (const fs_op *other = net->op; other <= op; other++)
        number += other->kind == op->kind;
    return number;
}

fs_status fs_each_array(const fs_network *net, fs_array_visit *visit, void *context)
{
    fs_status status = FS_OK;
    for (int i = 0; i < net->ops && !status; i++) {
        const fs_op *op = &net->op[i];
        int number = fs_op_number(net, op);
        if (op->weights)
            status = visit_pair("parameter", op, number, net->parameter, visit, context);
        if (!status && op->weights)
            status = visit_pair("momentum", op, number, net->velocity, visit, context);
        if (!status && op->statistics)
            status = visit_statistics("statistic", op, number, net->statistic + op->statistic, visit, context);
    }
    return status;
}

fs_status fs_each_last_array(const fs_network *net, const fs_values *last, fs_array_visit *visit, void *context)
{
    fs_status status = FS_OK;
    for (int i = 0; last->parameter && i < net->ops && !status; i++) {
        const fs_op *op = &net->op[i];
        int number = fs_op_number(net, op);
        if (op->weights)
            status = visit_pair("last", op, number, last->parameter, visit, context);
        if (!status && op->statistics)
            status = visit_statistics("last", op, number, last->statistic + op->statistic, visit, context);
    }
    return status;
}

enum { PLACE_BYTES = 80 };

/* "[3, 0, 7]": the place of element `i`. */
static void print_place(const fs_array *array, size_t i, char text[PLACE_BYTES])
{
    size_t used = 0, rest = array->count;
    for (int d = 0; d < array->dimensions; d++) {
        rest /= array->size[d];
        used += (size_t)snprintf(text + used, PLACE_BYTES - used, "%s%zu", d ? ", " : "[", i / rest);
        i %= rest;
    }
    snprintf(text + used, PLACE_BYTES - used, "]");
}

/* An import with a smaller epsilon than ours has the difference in its variances, which may so be a little below 0. */
static fs_status check_array(const fs_array *array, void *origin)
{
    for (size_t i = 0; i < array->count; i++) {
        double value = (double)array->values[i];
        int negative = array->variance && value <= -FS_BATCHNORM_EPSILON;
        char place[PLACE_BYTES];
        if (isfinite(value) && !negative)
            continue;
        print_place(array, i, place);
        return fs_fail(FS_ERROR, "%s: %s%s is %g%s", (const char *)origin, array->path, place, value,
                       negative ? ": a variance is not negative" : "");
    }
    return FS_OK;
}

fs_status fs_check_last(const fs_network *net, const fs_values *last, const char *origin)
{
    return fs_each_last_array(net, last, check_array, (void *)origin);
}

fs_status fs_network_check(const fs_network *net, const char *origin)
{
    return fs_each_array(net, check_array, (void *)origin);
}
