/* Masks: which kernels of an operation are kept. The weights of the others are 0, +0 to the bit, and stay so in training.
 *
 * A mask has a row of whole bytes for each channel of the output, in it a bit for each channel of the input (of its group), the
 * lowest of a byte first, 1 for kept; bits behind the last channel are 0:
 *
 *     output 0    bit 0 1 2 3 4 5 6 7   8 9 .. inputs - 1, 0 0 0
 *     output 1    ... */
#ifndef FILTERSCOPE_MASK_H
#define FILTERSCOPE_MASK_H

#include <stddef.h>

#include "filterscope/network.h"
#include "filterscope/status.h"

enum { FS_OP_NAME_BYTES = 24 };

/* Not collective, like everything here. "conv3", "fc1": the operation's name in the model file, from 1 among its kind. */
void fs_op_name(const fs_network *net, const fs_op *op, char name[FS_OP_NAME_BYTES]);

/* Bytes of a row, and of the operation's mask; 0 where it has no kernels. */
size_t fs_mask_row(const fs_op *op);
size_t fs_mask_bytes(const fs_op *op);

/* Gives the operation a mask that keeps all kernels, unless it has one. FS_ERROR: no memory, or it has no kernels. */
fs_status fs_mask_create(fs_op *op);

/* 1 where the kernel is kept; without a mask all are. */
static inline int fs_mask_keeps(const fs_op *op, int output, int input)
{
    return !op->mask || op->mask[(size_t)output * fs_mask_row(op) + (size_t)input / 8] >> input % 8 & 1;
}

/* Takes the kernel out of the mask; its weights stay as they are. */
void fs_mask_drop(fs_op *op, int output, int input);

/* Kernels of the operation, and how many are kept. */
size_t fs_mask_kernels(const fs_op *op);
size_t fs_mask_kept(const fs_op *op);

/* Gives `to`, which has the same operations, the masks of `from`. FS_ERROR: no memory. */
fs_status fs_network_copy_masks(const fs_network *from, fs_network *to);

/* 1 where some operation has a mask. */
int fs_network_masked(const fs_network *net);

/* Weights that are pruned, of all operations. */
size_t fs_network_pruned(const fs_network *net);

/* Sets the pruned weights and their momentum to 0. */
void fs_network_apply_masks(fs_network *net);

/* FS_ERROR where a weight that is pruned, or its momentum, is not 0, naming `origin`, array and kernel. */
fs_status fs_network_check_masks(const fs_network *net, const char *origin);

/* Continues a CRC-32C over all masks, each with the number of its operation; `crc` itself where there are none. */
uint32_t fs_network_mask_crc(uint32_t crc, const fs_network *net);

#endif
