/* An HDF5 file that an input edits. Only what was changed is written back. */
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { MOST_TARGETS = 256, MOST_BYTES = 1 << 16, RECORD = 14, MOST_RECORDS = 16, MOST_VALUE = 256 };

/* A dataset's bytes, or where `name` is set, an attribute of `object`. */
static struct target {
    size_t offset, bytes;
    char object[64], name[64];
} target[MOST_TARGETS];
static int targets;

static char *base;
static size_t base_bytes;
static char base_path[128];

static size_t low, high; /* bytes that were changed */

/* Numbers and texts in place; not the references of dimension scales, which would be memory of HDF5's. */
static herr_t find_attribute(hid_t object, const char *name, const H5A_info_t *info, void *path)
{
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT), type = H5Aget_type(attribute);
    H5T_class_t kind = H5Tget_class(type);
    int plain = kind == H5T_INTEGER || kind == H5T_FLOAT || (kind == H5T_STRING && H5Tis_variable_str(type) == 0);
    H5Tclose(type);
    if (plain && info->data_size <= MOST_VALUE && targets < MOST_TARGETS) {
        struct target *t = &target[targets++];
        t->bytes = info->data_size;
        snprintf(t->object, sizeof t->object, "%s", (const char *)path);
        snprintf(t->name, sizeof t->name, "%s", name);
    }
    return H5Aclose(attribute);
}

static herr_t find_targets(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
    (void)context;
    hid_t object = H5Oopen(root, name, H5P_DEFAULT);
    size_t bytes = info->type == H5O_TYPE_DATASET ? H5Dget_storage_size(object) : 0;
    haddr_t offset = bytes > 0 ? H5Dget_offset(object) : HADDR_UNDEF; /* of chunks there is none */
    if (offset != HADDR_UNDEF && bytes <= MOST_BYTES && targets < MOST_TARGETS)
        target[targets++] = (struct target){.offset = offset, .bytes = bytes};
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, find_attribute, (void *)name);
    return H5Oclose(object);
}

void fuzz_base(const char *path)
{
    struct stat found;
    memcpy(base_path, path, strlen(path));
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    fuzz_expect(file >= 0);
    H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, find_targets, NULL);
    H5Fclose(file);
    int descriptor = open(path, O_RDONLY);
    fuzz_expect(descriptor >= 0 && fstat(descriptor, &found) == 0);
    base_bytes = (size_t)found.st_size;
    base = malloc(base_bytes);
    for (size_t done = 0; done < base_bytes;) {
        ssize_t got = read(descriptor, base + done, base_bytes - done);
        fuzz_expect(got > 0);
        done += (size_t)got;
    }
    close(descriptor);
}

static void change(size_t begin, size_t end)
{
    low = begin < low ? begin : low;
    high = end > high ? end : high;
}

static void edit_attribute(const struct target *t, size_t where, const uint8_t *bytes, size_t count)
{
    char value[MOST_VALUE];
    hid_t file = H5Fopen(base_path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t object = H5Oopen(file, t->object, H5P_DEFAULT);
    hid_t attribute = H5Aopen(object, t->name, H5P_DEFAULT);
    hid_t type = H5Aget_type(attribute);
    fuzz_expect(H5Aread(attribute, type, value) >= 0);
    memcpy(value + where, bytes, count < t->bytes - where ? count : t->bytes - where);
    fuzz_expect(H5Awrite(attribute, type, value) >= 0);
    H5Tclose(type);
    H5Aclose(attribute);
    H5Oclose(object);
    H5Fclose(file);
    change(0, base_bytes);
}

static void edit_bytes(int descriptor, size_t where, const uint8_t *bytes, size_t count)
{
    count = count < base_bytes - where ? count : base_bytes - where;
    fuzz_expect(pwrite(descriptor, bytes, count, (off_t)where) == (ssize_t)count);
    change(where, where + count);
}

/* HDF5 edits first: they need a file that it opens. */
static void edit(const uint8_t *data, int records, int attributes)
{
    int descriptor = attributes ? -1 : open(base_path, O_WRONLY);
    for (int r = 0; r < records; r++, data += RECORD) {
        int what = data[0] % (targets + 2);
        size_t count = (data[1] & 7) + 1, where = data[2] | data[3] << 8 | data[4] << 16 | (size_t)data[5] << 24;
        const struct target *t = &target[what];
        if (what < targets && (t->name[0] != 0) != attributes)
            continue;
        if (attributes && what < targets)
            edit_attribute(t, where % t->bytes, data + 6, count);
        else if (!attributes && what < targets)
            edit_bytes(descriptor, t->offset + where % t->bytes, data + 6, count);
        else if (!attributes && what == targets)
            edit_bytes(descriptor, where % base_bytes, data + 6, count);
        else if (!attributes && ftruncate(descriptor, (off_t)(where % base_bytes)) == 0)
            change(where % base_bytes, base_bytes);
    }
    if (descriptor >= 0)
        close(descriptor);
}

void fuzz_edit(const uint8_t *data, size_t size)
{
    int records = size / RECORD < MOST_RECORDS ? (int)(size / RECORD) : MOST_RECORDS;
    low = base_bytes;
    high = 0;
    edit(data, records, 1);
    edit(data, records, 0);
}

void fuzz_restore(void)
{
    if (low >= high)
        return;
    int descriptor = open(base_path, O_WRONLY);
    fuzz_expect(ftruncate(descriptor, (off_t)base_bytes) == 0);
    fuzz_expect(pwrite(descriptor, base + low, high - low, (off_t)low) == (ssize_t)(high - low));
    close(descriptor);
}
