/* What the readers share. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/readers.h"
#include "filterscope/crc32c.h"
#include "filterscope/memory.h"

fs_status fs_data_path(const char *folder, const char *name, char *path)
{
    int length = snprintf(path, FS_PATH_BYTES, "%s/%s", folder, name);
    if (length < 0 || length >= FS_PATH_BYTES)
        return fs_fail(FS_ERROR, "path of %s in its folder: longer than %d bytes", name, FS_PATH_BYTES - 1);
    return FS_OK;
}

fs_status fs_data_file_size(const char *path, uint64_t *bytes)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return fs_fail(FS_ERROR, "%s: is a folder where a file is expected", path);
    if (!S_ISREG(status.st_mode))
        return fs_fail(FS_ERROR, "%s: is not a regular file", path);
    if (status.st_size == 0)
        return fs_fail(FS_ERROR, "%s: is empty (0 bytes)", path);
    *bytes = (uint64_t)status.st_size;
    return FS_OK;
}

static size_t pixel_bytes(const fs_dataset *data)
{
    return (size_t)data->images * data->height * data->width * data->channels;
}

fs_status fs_data_allocate(const char *folder, int available, int limit, fs_dataset *data)
{
    if (limit > available)
        return fs_fail(FS_ERROR, "%s: limit of %d images: this split has %d", folder, limit, available);
    data->images = limit ? limit : available;
    data->pixels = fs_alloc(pixel_bytes(data), 1, "the pixels of a data set");
    data->label = fs_alloc(data->images, sizeof *data->label, "the labels of a data set");
    return data->pixels && data->label ? FS_OK : FS_ERROR;
}

uint32_t fs_data_checksum(const fs_dataset *data)
{
    uint32_t crc = fs_crc32c(0, data->pixels, pixel_bytes(data));
    return fs_crc32c(crc, data->label, data->images * sizeof *data->label);
}
