/* Names of labels from a text file. What is kept is UTF-8 without control characters: it goes to terminals, to HDF5 files and
 * into tables of Python and R. */
#define _GNU_SOURCE /* qsort_r */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "filterscope/memory.h"
#include "readers.h"

/* The names of FS_MAX_LABELS labels at 256 bytes: more is no file of names. */
enum { MOST_BYTES = 1 << 24 };

typedef struct names_text {
    const char *path;
    char *text; /* the whole file */
    size_t size;
} names_text;

static fs_status read_text(const char *path, names_text *file)
{
    uint64_t bytes;
    *file = (names_text){.path = path};
    if (fs_data_file_size(path, &bytes) != FS_OK)
        return FS_ERROR;
    if (bytes > MOST_BYTES)
        return fs_fail(FS_ERROR, "%s: %llu bytes: a file of label names has at most %d", path, (unsigned long long)bytes,
                       MOST_BYTES);
    FILE *stream = fopen(path, "rbe");
    if (!stream)
        return fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    file->text = fs_alloc(bytes, 1, "label names");
    errno = 0;
    if (file->text)
        file->size = fread(file->text, 1, bytes, stream);
    fs_status status = !file->text          ? FS_ERROR
                       : file->size < bytes ? fs_fail(FS_ERROR, "%s: %s", path, errno ? strerror(errno) : "became shorter")
                                            : FS_OK;
    fclose(stream);
    return status;
}

static int is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* The next line from *at on, without the blanks around it; 0 at the end. Lines end in LF, CR or both. */
static int next_line(const names_text *file, size_t *at, const char **line, size_t *length)
{
    if (*at >= file->size)
        return 0;
    const char *first = file->text + *at, *end = first, *last = file->text + file->size;
    while (end < last && *end != '\n' && *end != '\r')
        end++;
    *at = (size_t)(end - file->text) + (end < last);
    while (first < end && is_blank(*first))
        first++;
    while (first < end && is_blank(end[-1]))
        end--;
    *line = first;
    *length = (size_t)(end - first);
    return 1;
}

void fs_data_set_name(const char *name, size_t length, char entry[FS_LABEL_NAME_BYTES])
{
    if (length >= FS_LABEL_NAME_BYTES) {
        length = FS_LABEL_NAME_BYTES - 1;
        while (length > 0 && ((unsigned char)name[length] & 0xC0) == 0x80)
            length--;
    }
    memset(entry, 0, FS_LABEL_NAME_BYTES);
    memcpy(entry, name, length);
}

static fs_status check_name(const names_text *file, int number, const char *line, size_t length)
{
    char what[FS_PATH_BYTES + 64];
    snprintf(what, sizeof what, "%s: the name of label %d,", file->path, number);
    return fs_text_check(what, line, length);
}

/* Blank lines do not count: the official batches.meta.txt ends in one. With `name` NULL they are only counted and checked. */
static fs_status each_name(const names_text *file, size_t first, char (*name)[FS_LABEL_NAME_BYTES], int *count)
{
    const char *line;
    size_t length;
    fs_status status = FS_OK;
    *count = 0;
    for (size_t at = first; !status && next_line(file, &at, &line, &length);) {
        if (length == 0)
            continue;
        if (name)
            fs_data_set_name(line, length, name[*count]);
        else
            status = check_name(file, *count, line, length);
        ++*count;
    }
    return status;
}

fs_status fs_label_names_read(const char *path, char (**name)[FS_LABEL_NAME_BYTES], int *count)
{
    names_text file;
    size_t first = 0;
    *name = NULL;
    fs_status status = read_text(path, &file);
    if (!status)
        status = fs_text_skip_mark(path, file.text, file.size, &first);
    if (!status)
        status = each_name(&file, first, NULL, count);
    if (!status && *count == 0)
        status = fs_fail(FS_ERROR, "%s: has no name", path);
    if (!status) {
        *name = fs_alloc((size_t)*count, sizeof **name, "label names");
        status = *name ? each_name(&file, first, *name, count) : FS_ERROR;
    }
    free(file.text);
    return status;
}

fs_status fs_dataset_set_names(fs_dataset *data, const char *path, int count, const char (*name)[FS_LABEL_NAME_BYTES])
{
    int all = data->number && count == data->set_labels; /* with those that are left out */
    if (!all && count != data->labels)
        return fs_fail(FS_ERROR, "%s: %d names: this set has %d labels", path, count, data->labels);
    for (int k = 0; k < data->labels; k++)
        memcpy(data->label_name[k], name[all ? data->number[k] : k], sizeof *name);
    return FS_OK;
}

static int compare(const void *left, const void *right, void *names)
{
    const char(*name)[FS_LABEL_NAME_BYTES] = names;
    int a = *(const int *)left, b = *(const int *)right, order = strcmp(name[a], name[b]);
    return order ? order : (a > b) - (a < b);
}

fs_status fs_label_names_alike(int labels, const char (*name)[FS_LABEL_NAME_BYTES], int *first, int *second)
{
    *first = *second = -1;
    int *order = fs_alloc((size_t)labels, sizeof *order, "label names");
    if (!order)
        return FS_ERROR;
    for (int k = 0; k < labels; k++)
        order[k] = k;
    qsort_r(order, (size_t)labels, sizeof *order, compare, (void *)(uintptr_t)name);
    for (int k = 1; k < labels; k++)
        if (strcmp(name[order[k - 1]], name[order[k]]) == 0 && (*first < 0 || order[k - 1] < *first)) {
            *first = order[k - 1];
            *second = order[k];
        }
    free(order);
    return FS_OK;
}
