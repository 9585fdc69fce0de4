/* What the readers share. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

static void allocate_pixels(int shared, fs_dataset *data)
{
    size_t bytes = pixel_bytes(data);
    data->pixels = shared ? fs_alloc_shareable(bytes, &data->file) : NULL;
    data->mapped = data->pixels ? bytes : 0;
    if (!data->pixels)
        data->pixels = fs_alloc(bytes, 1, "the pixels of a data set");
}

fs_status fs_data_allocate(const char *folder, int available, const fs_data_request *request, fs_dataset *data)
{
    if (request->limit > available)
        return fs_fail(FS_ERROR, "%s: limit of %d images: this split has %d", folder, request->limit, available);
    data->images = request->limit ? request->limit : available;
    int stays = request->memory && pixel_bytes(data) > request->memory;
    if (!stays)
        allocate_pixels(request->shared, data);
    data->label = fs_alloc(data->images, sizeof *data->label, "the labels of a data set");
    return (stays || data->pixels) && data->label ? FS_OK : FS_ERROR;
}

/* Of the pixels that stay in their file, in pieces. */
static fs_status sum_stream(const fs_dataset *data, uint32_t *crc)
{
    enum { AT_ONCE = 4096 };
    size_t image = fs_stream_stored(data->stream)->image;
    int number[AT_ONCE];
    uint8_t *pixels = fs_alloc(AT_ONCE, image, "images to be summed");
    fs_status status = pixels ? FS_OK : FS_ERROR;
    for (int first = 0; first < data->images && !status; first += AT_ONCE) {
        int count = data->images - first < AT_ONCE ? data->images - first : AT_ONCE;
        for (int i = 0; i < count; i++)
            number[i] = first + i;
        status = fs_stream_read(data->stream, count, number, pixels);
        *crc = fs_crc32c(*crc, pixels, (size_t)count * image);
    }
    free(pixels);
    return status;
}

fs_status fs_data_sum(fs_dataset *data)
{
    uint32_t crc = 0;
    fs_status status = FS_OK;
    if (data->stream)
        status = sum_stream(data, &crc);
    else
        crc = fs_crc32c(0, data->pixels, pixel_bytes(data));
    data->crc = fs_crc32c(crc, data->label, data->images * sizeof *data->label);
    return status;
}

void fs_data_move(fs_dataset *data, int from, int to)
{
    size_t bytes = (size_t)data->height * data->width * data->channels;
    data->label[to] = data->label[from];
    if (from == to)
        return;
    if (data->stream)
        fs_stream_choose(data->stream)->row[to] = fs_stream_stored(data->stream)->row[from];
    else
        memcpy(data->pixels + (size_t)to * bytes, data->pixels + (size_t)from * bytes, bytes);
}

fs_status fs_dataset_fetch(const fs_dataset *data, int first, int count)
{
    int *number = data->stream ? fs_alloc((size_t)count, sizeof *number, "numbers of images") : NULL;
    if (!number)
        return data->stream ? FS_ERROR : FS_OK;
    for (int i = 0; i < count; i++)
        number[i] = first + i;
    fs_stream_forget(data->stream);
    fs_stream_ahead(data->stream, count, number);
    free(number);
    return fs_stream_next(data->stream);
}
