#include "filterscope/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "filterscope/memory.h"
#include "readers.h"

typedef struct data_format {
    const char *prefix;   /* of the spec, with its colon */
    const char *names;    /* file with one label name a line; NULL where the format has none */
    fs_data_holds *holds; /* NULL: the place is the file itself */
    fs_reader *read;
    int streams; /* pixels may stay there */
} data_format;

static const data_format formats[] = {
    {"cifar10:", "batches.meta.txt", fs_holds_cifar10, fs_read_cifar10},
    {"cifar100:", "fine_label_names.txt", fs_holds_cifar100, fs_read_cifar100},
    {"idx:", NULL, fs_holds_idx, fs_read_idx},
    {"idx-plain:", NULL, fs_holds_idx, fs_read_idx_plain},
    {"hdf5:", NULL, NULL, fs_read_hdf5, 1},
};

enum { FORMATS = sizeof formats / sizeof *formats };

/* The format whose prefix starts `spec`; *folder becomes the rest of `spec`. NULL where there is no such format or no
 * rest. */
static const data_format *find_format(const char *spec, const char **folder)
{
    for (int i = 0; i < FORMATS; i++) {
        *folder = spec + strlen(formats[i].prefix);
        if (strncmp(spec, formats[i].prefix, strlen(formats[i].prefix)) == 0 && **folder)
            return &formats[i];
    }
    return NULL;
}

/* DIR of idx:DIR/SET, where there is no such folder as DIR/SET; `set` then begins with the slash before SET. 0 for any other
 * place. */
static int split_set(const data_format *format, const char *place, char parent[FS_PATH_BYTES], const char **set)
{
    struct stat status;
    *set = strrchr(place, '/');
    if (format->holds != fs_holds_idx || !*set || *set == place || !(*set)[1] || stat(place, &status) == 0)
        return 0;
    snprintf(parent, FS_PATH_BYTES, "%.*s", (int)(*set - place), place);
    return stat(parent, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The format whose files are at `place`; NULL where there is none or no telling. */
static const data_format *recognise(const char *place)
{
    char folder[FS_PATH_BYTES];
    int found;
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].holds && fs_data_find_folder(place, formats[i].holds, folder, &found) == FS_OK && found)
            return &formats[i];
    return NULL;
}

/* The folder that the reader looks in, which need not have the files: then the reader says which is missing. */
static fs_status find_folder(const data_format *format, const char *place, char folder[FS_PATH_BYTES])
{
    char parent[FS_PATH_BYTES], where[FS_PATH_BYTES];
    const char *set;
    if (!format->holds) {
        int length = snprintf(folder, FS_PATH_BYTES, "%s", place);
        return length < FS_PATH_BYTES ? FS_OK
                                      : fs_fail(FS_ERROR, "path of a data set: longer than %d bytes", FS_PATH_BYTES - 1);
    }
    int found, splits = split_set(format, place, parent, &set);
    fs_status status = fs_data_find_folder(splits ? parent : place, format->holds, splits ? where : folder, &found);
    if (!status && !found)
        status = fs_data_advise(place);
    const data_format *other = status || found ? NULL : recognise(place);
    if (other)
        return fs_fail(FS_ERROR, "%s: has files of another kind: is it %s%s?", place, other->prefix, place);
    return !status && found && splits ? fs_data_path(where, set + 1, folder) : status;
}

static fs_status read_names(const char *folder, const char *file, fs_dataset *data)
{
    char path[FS_PATH_BYTES], (*name)[FS_LABEL_NAME_BYTES];
    int names;
    if (fs_data_path(folder, file, path) != FS_OK)
        return FS_ERROR;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return FS_OK; /* optional: the numbers stay */
    fs_status status = fs_label_names_read(path, &name, &names);
    if (!status)
        status = fs_dataset_set_names(data, path, names, (const char(*)[FS_LABEL_NAME_BYTES])name);
    free(name);
    return status;
}

static fs_status name_labels(const char *folder, const data_format *format, int unnamed, fs_dataset *data)
{
    if (data->label_name)
        return FS_OK;
    data->label_name = fs_alloc(data->labels, sizeof *data->label_name, "the label names of a data set");
    if (!data->label_name)
        return FS_ERROR;
    for (int i = 0; i < data->labels; i++)
        snprintf(data->label_name[i], sizeof data->label_name[i], "%d", i);
    return format->names && !unnamed ? read_names(folder, format->names, data) : FS_OK;
}

fs_status fs_dataset_open_as(const char *spec, const fs_data_request *request, fs_dataset *data)
{
    const char *place;
    char folder[FS_PATH_BYTES];
    memset(data, 0, sizeof *data);
    const data_format *format = find_format(spec, &place);
    if (!format)
        return fs_fail(FS_USAGE, "data set '%s': expected " FS_DATASET_SPECS, spec);
    if (request->limit < 0)
        return fs_fail(FS_USAGE, "limit of %d images: expected a positive number, or 0 for all", request->limit);
    fs_data_request own = *request;
    own.memory = format->streams ? request->memory : 0;
    fs_status status = find_folder(format, place, folder);
    if (!status)
        status = format->read(folder, &own, data);
    if (!status)
        status = name_labels(folder, format, request->unnamed, data);
    if (!status)
        status = fs_data_sum(data);
    if (status) {
        fs_dataset_close(data);
        return status;
    }
    data->set_labels = data->labels;
    return FS_OK;
}

fs_status fs_dataset_open(const char *spec, fs_split split, int limit, fs_dataset *data)
{
    const fs_data_request request = {.split = split, .limit = limit};
    return fs_dataset_open_as(spec, &request, data);
}

static void release_pixels(fs_dataset *data)
{
    if (!data->mapped) {
        free(data->pixels);
        return;
    }
    munmap(data->pixels, data->mapped);
    if (data->file >= 0)
        close(data->file);
}

void fs_dataset_close(fs_dataset *data)
{
    release_pixels(data);
    fs_stream_close(data->stream);
    free(data->label);
    free(data->number);
    free(data->label_name);
    free(data->scaled);
    memset(data, 0, sizeof *data);
}
