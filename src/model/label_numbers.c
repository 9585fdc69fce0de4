#include "model/label_numbers.h"

#include "base/hdf5_table.h"
#include "filterscope/crc32c.h"
#include "filterscope/memory.h"

static const char path[] = "/label_numbers";

int fs_label_numbers_write(hid_t file, const fs_model *model)
{
    return !model->label_number ||
           fs_hdf5_write_table(file, path, H5Tcopy(H5T_NATIVE_INT32), (hsize_t)model->net.labels, model->label_number);
}

fs_status fs_label_numbers_read(hid_t file, int labels, fs_model *model)
{
    if (H5Lexists(file, path, H5P_DEFAULT) <= 0)
        return FS_OK;
    model->label_number = fs_alloc((size_t)labels, sizeof *model->label_number, "numbers of labels");
    if (!model->label_number)
        return FS_ERROR;
    int sound = fs_hdf5_read_table(file, path, H5Tcopy(H5T_NATIVE_INT32), (hsize_t)labels, model->label_number);
    for (int k = 0, least = 0; sound && k < labels; k++) {
        sound = model->label_number[k] >= least && model->label_number[k] < FS_MAX_LABELS;
        least = model->label_number[k] + 1;
    }
    return sound ? FS_OK : fs_fail(FS_MISMATCH, "%s does not fit %d labels, or is damaged", path, labels);
}

uint32_t fs_label_numbers_sum(uint32_t crc, const fs_model *model)
{
    if (!model->label_number)
        return crc;
    return fs_crc32c(crc, model->label_number, (size_t)model->net.labels * sizeof *model->label_number);
}
