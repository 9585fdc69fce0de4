#include "model/mask_file.h"

#include <stdio.h>

#include "base/hdf5_table.h"
#include "filterscope/mask.h"

static const char group[] = "/mask";

static int path_of(const fs_network *net, const fs_op *op, char path[64], hsize_t size[2])
{
    char name[FS_OP_NAME_BYTES];
    if (!op->kind->kernels)
        return 0;
    fs_op_name(net, op, name);
    snprintf(path, 64, "%s/%s", group, name);
    size[1] = fs_mask_row(op);
    size[0] = fs_mask_bytes(op) / size[1];
    return 1;
}

static int write_mask(hid_t file, const fs_network *net, const fs_op *op)
{
    char path[64];
    hsize_t size[2];
    path_of(net, op, path, size);
    hid_t space = H5Screate_simple(2, size, NULL);
    hid_t set = H5Dcreate2(file, path, H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int done = set >= 0 && H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, op->mask) >= 0;
    if (set >= 0)
        H5Dclose(set);
    H5Sclose(space);
    return done;
}

int fs_masks_write(hid_t file, const fs_network *net)
{
    if (!fs_network_masked(net))
        return 1;
    hid_t made = H5Gcreate2(file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int done = made >= 0 && H5Gclose(made) >= 0;
    for (const fs_op *op = net->op; op < net->op + net->ops && done; op++)
        done = !op->mask || write_mask(file, net, op);
    return done;
}

/* Bits behind the last channel are nobody's. */
static int is_sound(const fs_op *op)
{
    fs_kernels k;
    op->kind->kernels(op, &k);
    int rest = k.inputs % 8, sound = 1;
    size_t row = fs_mask_row(op);
    for (size_t o = 1; o <= (size_t)k.outputs && rest; o++)
        sound &= op->mask[o * row - 1] >> rest == 0;
    return sound;
}

static fs_status read_mask(hid_t file, const fs_network *net, fs_op *op)
{
    char path[64];
    hsize_t size[2];
    if (!path_of(net, op, path, size) || H5Lexists(file, path, H5P_DEFAULT) <= 0)
        return FS_OK;
    fs_status status = fs_mask_create(op);
    hid_t set = status ? -1 : fs_hdf5_open_shaped(file, path, 2, size);
    int read = set >= 0 && H5Dread(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, op->mask) >= 0;
    if (set >= 0)
        H5Dclose(set);
    return status || (read && is_sound(op)) ? status : fs_fail(FS_MISMATCH, "%s does not fit the architecture", path);
}

fs_status fs_masks_read(hid_t file, fs_network *net)
{
    fs_status status = FS_OK;
    if (H5Lexists(file, group, H5P_DEFAULT) <= 0)
        return FS_OK;
    for (int i = 0; i < net->ops && !status; i++)
        status = read_mask(file, net, &net->op[i]);
    return status || fs_network_masked(net) ? status : fs_fail(FS_MISMATCH, "%s has no mask of this architecture", group);
}
