/* CIFAR-10 and CIFAR-100, binary version (Krizhevsky, 2009). A file is a sequence of records without a header: one
 * label byte (CIFAR-10) or two (CIFAR-100: coarse, fine), then the red, the green and the blue plane of 32 x 32 bytes
 * each. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "readers.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, CHANNELS = 3, LABEL_BYTES_MOST = 2, FILES_MOST = 5 };

typedef struct cifar_layout {
    int labels;
    int label_bytes;                 /* before the pixels of a record; the last one counts */
    const char *file[2][FILES_MOST]; /* of FS_TRAIN and FS_TEST, in order; NULL after the last */
} cifar_layout;

static const cifar_layout cifar10 = {
    10,
    1,
    {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}, {"test_batch.bin"}}};
static const cifar_layout cifar100 = {100, 2, {{"train.bin"}, {"test.bin"}}};

static int holds(const cifar_layout *layout, const char *name)
{
    for (int i = 0; i < FILES_MOST; i++)
        for (int split = FS_TRAIN; split <= FS_TEST; split++)
            if (layout->file[split][i] && strcmp(layout->file[split][i], name) == 0)
                return 1;
    return 0;
}

int fs_holds_cifar10(const char *name)
{
    return holds(&cifar10, name);
}

int fs_holds_cifar100(const char *name)
{
    return holds(&cifar100, name);
}

static size_t record_bytes(const cifar_layout *layout)
{
    return (size_t)layout->label_bytes + CHANNELS * PLANE;
}

/* From the file's size alone; nothing is read. */
static fs_status count_records(const cifar_layout *layout, const char *path, int *records)
{
    uint64_t bytes, size = record_bytes(layout);
    if (fs_data_file_size(path, &bytes) != FS_OK)
        return FS_ERROR;
    if (bytes % size)
        return fs_fail(FS_ERROR, "%s: %llu bytes are not a whole number of %llu-byte records (%llu records and %llu bytes)",
                       path, (unsigned long long)bytes, (unsigned long long)size, (unsigned long long)(bytes / size),
                       (unsigned long long)(bytes % size));
    if (bytes / size > INT_MAX / FILES_MOST) /* so that the sum over all files cannot overflow */
        return fs_fail(FS_ERROR, "%s: %llu records: at most %d can be read", path, (unsigned long long)(bytes / size),
                       INT_MAX / FILES_MOST);
    *records = (int)(bytes / size);
    return FS_OK;
}

static void interleave(const uint8_t *planes, uint8_t *pixels)
{
    for (int i = 0; i < PLANE; i++)
        for (int c = 0; c < CHANNELS; c++)
            pixels[i * CHANNELS + c] = planes[c * PLANE + i];
}

/* Image `image` of the split from record `record` of `file`. */
static fs_status read_record(const cifar_layout *layout, const char *path, FILE *file, int record, fs_dataset *data, int image)
{
    uint8_t bytes[LABEL_BYTES_MOST + CHANNELS * PLANE];
    errno = 0;
    if (fread(bytes, record_bytes(layout), 1, file) != 1)
        return fs_fail(FS_ERROR, "%s: record %d cannot be read: %s", path, record,
                       ferror(file) ? strerror(errno) : "the file has become shorter");
    int label = bytes[layout->label_bytes - 1];
    if (label >= layout->labels)
        return fs_fail(FS_ERROR, "%s: label %d in record %d: this set has %d labels", path, label, record, layout->labels);
    data->label[image] = (uint16_t)label;
    interleave(bytes + layout->label_bytes, data->pixels + (size_t)image * CHANNELS * PLANE);
    return FS_OK;
}

static fs_status read_file(const cifar_layout *layout, const char *path, int records, fs_dataset *data, int first)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    fs_status rc = FS_OK;
    for (int i = 0; i < records && rc == FS_OK; i++)
        rc = read_record(layout, path, file, i, data, first + i);
    fclose(file);
    return rc;
}

static int split_files(const char *const name[FILES_MOST])
{
    int files = 0;
    while (files < FILES_MOST && name[files])
        files++;
    return files;
}

/* All sizes are looked at before anything is read, whatever the limit: an incomplete copy shows at once. */
static fs_status read_cifar(const cifar_layout *layout, const char *folder, const fs_data_request *request, fs_dataset *data)
{
    char path[FS_PATH_BYTES];
    int records[FILES_MOST], available = 0, image = 0;
    const char *const *name = layout->file[request->split];
    int files = split_files(name);
    for (int i = 0; i < files; i++) {
        if (fs_data_path(folder, name[i], path) != FS_OK || count_records(layout, path, &records[i]) != FS_OK)
            return FS_ERROR;
        available += records[i];
    }
    data->height = SIDE;
    data->width = SIDE;
    data->channels = CHANNELS;
    data->labels = layout->labels;
    if (fs_data_allocate(folder, available, request, data) != FS_OK)
        return FS_ERROR;
    for (int i = 0; i < files && image < data->images; i++) {
        int left = data->images - image;
        int wanted = records[i] < left ? records[i] : left;
        if (fs_data_path(folder, name[i], path) != FS_OK || read_file(layout, path, wanted, data, image) != FS_OK)
            return FS_ERROR;
        image += wanted;
    }
    return FS_OK;
}

fs_status fs_read_cifar10(const char *folder, const fs_data_request *request, fs_dataset *data)
{
    return read_cifar(&cifar10, folder, request, data);
}

fs_status fs_read_cifar100(const char *folder, const fs_data_request *request, fs_dataset *data)
{
    return read_cifar(&cifar100, folder, request, data);
}
