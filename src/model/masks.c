#include "filterscope/mask.h"

#include <stdio.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "model/arrays.h"

void fs_op_name(const fs_network *net, const fs_op *op, char name[FS_OP_NAME_BYTES])
{
    snprintf(name, FS_OP_NAME_BYTES, "%s%d", op->kind->array, fs_op_number(net, op));
}

static fs_kernels kernels_of(const fs_op *op)
{
    fs_kernels k = {0};
    if (op->kind->kernels)
        op->kind->kernels(op, &k);
    return k;
}

size_t fs_mask_row(const fs_op *op)
{
    return ((size_t)kernels_of(op).inputs + 7) / 8;
}

size_t fs_mask_bytes(const fs_op *op)
{
    return (size_t)kernels_of(op).outputs * fs_mask_row(op);
}

fs_status fs_mask_create(fs_op *op)
{
    fs_kernels k = kernels_of(op);
    size_t row = fs_mask_row(op);
    if (op->mask)
        return FS_OK;
    if (!k.outputs)
        return fs_fail(FS_ERROR, "'%s' has no kernels", op->kind->word);
    op->mask = fs_alloc((size_t)k.outputs, row, "a mask");
    for (int o = 0; op->mask && o < k.outputs; o++)
        for (int i = 0; i < k.inputs; i++)
            op->mask[(size_t)o * row + (size_t)i / 8] |= (uint8_t)(1 << i % 8);
    return op->mask ? FS_OK : FS_ERROR;
}

void fs_mask_drop(fs_op *op, int output, int input)
{
    op->mask[(size_t)output * fs_mask_row(op) + (size_t)input / 8] &= (uint8_t) ~(1 << input % 8);
}

size_t fs_mask_kernels(const fs_op *op)
{
    fs_kernels k = kernels_of(op);
    return (size_t)k.outputs * (size_t)k.inputs;
}

size_t fs_mask_kept(const fs_op *op)
{
    size_t kept = 0;
    for (size_t i = 0; op->mask && i < fs_mask_bytes(op); i++)
        kept += (size_t)__builtin_popcount(op->mask[i]);
    return op->mask ? kept : fs_mask_kernels(op);
}

fs_status fs_network_copy_masks(const fs_network *from, fs_network *to)
{
    fs_status status = FS_OK;
    for (int i = 0; i < from->ops && !status; i++) {
        if (!from->op[i].mask)
            continue;
        status = fs_mask_create(&to->op[i]);
        if (!status)
            memcpy(to->op[i].mask, from->op[i].mask, fs_mask_bytes(&from->op[i]));
    }
    return status;
}

int fs_network_masked(const fs_network *net)
{
    for (int i = 0; i < net->ops; i++)
        if (net->op[i].mask)
            return 1;
    return 0;
}

size_t fs_network_pruned(const fs_network *net)
{
    size_t pruned = 0;
    for (const fs_op *op = net->op; op < net->op + net->ops; op++)
        pruned += (fs_mask_kernels(op) - fs_mask_kept(op)) * (size_t)kernels_of(op).places;
    return pruned;
}

/* Sets the pruned ones of one operation's weights to 0, by the axis along which they lie next to one another. */
static void apply(const fs_op *op, float *weight)
{
    const fs_kernels k = kernels_of(op);
    const size_t row = fs_mask_row(op);
    const int by_output = k.output > k.input, outer = by_output ? k.outputs : k.inputs,
              inner = by_output ? k.inputs : k.outputs;
    for (int p = 0; p < k.places; p++)
        for (int a = 0; a < outer; a++)
            for (int b = 0; b < inner; b++) {
                size_t o = (size_t)(by_output ? a : b), i = (size_t)(by_output ? b : a);
                if (!(op->mask[o * row + i / 8] >> i % 8 & 1))
                    weight[o * k.output + i * k.input + (size_t)p * k.place] = 0;
            }
}

void fs_network_apply_masks(fs_network *net)
{
    for (const fs_op *op = net->op; op < net->op + net->ops; op++) {
        if (!op->mask)
            continue;
        apply(op, net->parameter + op->weight);
        apply(op, net->velocity + op->weight);
    }
}

static fs_status check(const fs_network *net, const fs_op *op, const float *weight, const char *group, const char *origin)
{
    const fs_kernels k = kernels_of(op);
    char name[FS_OP_NAME_BYTES];
    for (int o = 0; o < k.outputs; o++)
        for (int i = 0; i < k.inputs; i++)
            for (int p = 0; p < k.places && !fs_mask_keeps(op, o, i); p++) {
                float value = weight[(size_t)o * k.output + (size_t)i * k.input + (size_t)p * k.place];
                if (value == 0)
                    continue;
                fs_op_name(net, op, name);
                return fs_fail(FS_ERROR, "%s: /%s/%s.%s is %g in the pruned kernel from channel %d to %d", origin, group, name,
                               op->kind->weight, (double)value, i, o);
            }
    return FS_OK;
}

fs_status fs_network_check_masks(const fs_network *net, const char *origin)
{
    fs_status status = FS_OK;
    for (const fs_op *op = net->op; op < net->op + net->ops && !status; op++) {
        if (!op->mask)
            continue;
        status = check(net, op, net->parameter + op->weight, "parameter", origin);
        if (!status)
            status = check(net, op, net->velocity + op->weight, "momentum", origin);
    }
    return status;
}

uint32_t fs_network_mask_crc(uint32_t crc, const fs_network *net)
{
    for (int32_t i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        if (op->mask)
            crc = fs_crc32c(fs_crc32c(crc, &i, sizeof i), op->mask, fs_mask_bytes(op));
    }
    return crc;
}
