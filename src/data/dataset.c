#include "filterscope/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "readers.h"

typedef struct data_format {
    const char *prefix; /* of the spec, with its colon */
    const char *names;  /* file with one label name a line; NULL where the format has none */
    fs_reader *read;
} data_format;

static const data_format formats[] = {
    {"cifar10:", "batches.meta.txt", fs_read_cifar10},
    {"cifar100:", "fine_label_names.txt", fs_read_cifar100},
    {"idx:", NULL, fs_read_idx},
    {"idx-plain:", NULL, fs_read_idx_plain},
};

/* The format whose prefix starts `spec`; *folder becomes the rest of `spec`. NULL where there is no such format or no
 * rest. */
static const data_format *find_format(const char *spec, const char **folder)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        *folder = spec + strlen(formats[i].prefix);
        if (strncmp(spec, formats[i].prefix, strlen(formats[i].prefix)) == 0 && **folder)
            return &formats[i];
    }
    return NULL;
}

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

static fs_status check_folder(const char *folder)
{
    struct stat status;
    if (stat(folder, &status) != 0)
        return fs_fail(FS_ERROR, "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return fs_fail(FS_ERROR, "%s: is not a folder", folder);
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

/* Copies `name`, cut to what fits, but never inside a UTF-8 character: a reader of the results file would refuse half a
 * one. The entry is zeroed first, since it holds the label's number. */
static void set_name(const char *name, size_t length, char entry[FS_LABEL_NAME_BYTES])
{
    if (length >= FS_LABEL_NAME_BYTES) {
        length = FS_LABEL_NAME_BYTES - 1;
        while (length > 0 && ((unsigned char)name[length] & 0xC0) == 0x80)
            length--;
    }
    memset(entry, 0, FS_LABEL_NAME_BYTES);
    memcpy(entry, name, length);
}

/* Blank lines do not count: the official batches.meta.txt ends in one. *names becomes the number of all other lines. */
static fs_status read_lines(FILE *file, const char *path, fs_dataset *data, int *names)
{
    char *line = NULL;
    size_t room = 0;
    *names = 0;
    while (getline(&line, &room, file) >= 0) {
        size_t length = strcspn(line, "\r\n");
        if (length == 0)
            continue;
        if (*names < data->labels)
            set_name(line, length, data->label_name[*names]);
        ++*names;
    }
    fs_status rc = feof(file) ? FS_OK : fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    free(line);
    return rc;
}

static fs_status read_names(const char *folder, const char *name, fs_dataset *data)
{
    char path[FS_PATH_BYTES];
    uint64_t bytes;
    int names;
    if (fs_data_path(folder, name, path) != FS_OK)
        return FS_ERROR;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return FS_OK; /* optional: the numbers stay */
    if (fs_data_file_size(path, &bytes) != FS_OK)
        return FS_ERROR;
    FILE *file = fopen(path, "re");
    if (!file)
        return fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    fs_status rc = read_lines(file, path, data, &names);
    fclose(file);
    if (rc == FS_OK && names != data->labels)
        return fs_fail(FS_ERROR, "%s: %d names: this set has %d labels", path, names, data->labels);
    return rc;
}

static fs_status name_labels(const char *folder, const data_format *format, fs_dataset *data)
{
    data->label_name = fs_alloc(data->labels, sizeof *data->label_name, "the label names of a data set");
    if (!data->label_name)
        return FS_ERROR;
    for (int i = 0; i < data->labels; i++)
        snprintf(data->label_name[i], sizeof data->label_name[i], "%d", i);
    return format->names ? read_names(folder, format->names, data) : FS_OK;
}

static uint32_t checksum(const fs_dataset *data)
{
    uint32_t crc = fs_crc32c(0, data->pixels, pixel_bytes(data));
    return fs_crc32c(crc, data->label, data->images * sizeof *data->label);
}

fs_status fs_dataset_open(const char *spec, fs_split split, int limit, fs_dataset *data)
{
    fs_status rc = FS_ERROR;
    const char *folder;
    memset(data, 0, sizeof *data);
    const data_format *format = find_format(spec, &folder);
    if (!format)
        return fs_fail(FS_USAGE, "data set '%s': expected cifar10:DIR, cifar100:DIR, idx:DIR or idx-plain:DIR", spec);
    if (limit < 0)
        return fs_fail(FS_USAGE, "limit of %d images: expected a positive number, or 0 for all", limit);
    if (check_folder(folder) != FS_OK)
        goto cleanup;
    if (format->read(folder, split, limit, data) != FS_OK)
        goto cleanup;
    if (name_labels(folder, format, data) != FS_OK)
        goto cleanup;
    data->crc = checksum(data);
    rc = FS_OK;
cleanup:
    if (rc != FS_OK)
        fs_dataset_close(data);
    return rc;
}

void fs_dataset_close(fs_dataset *data)
{
    free(data->pixels);
    free(data->label);
    free(data->label_name);
    free(data->scaled);
    memset(data, 0, sizeof *data);
}
