/* A data set in one HDF5 file, such as h5py writes: for each split, images [N][height][width][channels] or [N][height][width]
 * of unsigned bytes, and labels [N] of whole numbers. They are datasets train_images, train_labels, test_images and
 * test_labels, or images and labels in groups train and test; contiguous or in chunks, plain or packed with HDF5's own filters.
 * What leads out of the file, or was not written to its end, is refused before memory is allocated for what the shapes
 * promise. */
#include <hdf5.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "readers.h"

enum {
    SIDE_MOST = 512,
    NAME_BYTES = 32,
    LABELS_AT_ONCE = 1 << 16,
    SLAB_BYTES = 16 << 20,        /* read at once: few calls, and chunks are unpacked once */
    CHUNK_BYTES_MOST = 256 << 20, /* HDF5 allocates whole chunks */
    PACKED_RATIO_MOST = 1032      /* deflate's */
};

/* An open dataset. */
typedef struct hdf5_set {
    const char *path;      /* of the file */
    char name[NAME_BYTES]; /* in it */
    hid_t set;             /* -1: not open */
    int axes;
    hsize_t size[4];
    hsize_t chunk; /* of axis 0; 1 where it is contiguous */
} hdf5_set;

/* One split. Zero bytes are no valid handles: begin with CLOSED. */
typedef struct hdf5_split {
    hdf5_set images, labels;
} hdf5_split;

#define CLOSED ((hdf5_split){.images.set = -1, .labels.set = -1})

static fs_status refuse(const hdf5_set *s, const char *what)
{
    return fs_fail(FS_ERROR, "%s: /%s: %s", s->path, s->name, what);
}

static void close_set(hdf5_set *s)
{
    if (s->set >= 0)
        H5Dclose(s->set);
    s->set = -1;
}

static void close_split(hdf5_split *split)
{
    close_set(&split->images);
    close_set(&split->labels);
}

/* ---- Where a dataset is ---- */

/* 1: a hard link; 0: nothing; -1: a link that leads elsewhere. */
static int link_at(hid_t file, const char *name)
{
    H5L_info_t link;
    if (H5Lexists(file, name, H5P_DEFAULT) <= 0)
        return 0;
    return H5Lget_info(file, name, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD ? 1 : -1;
}

/* `set` SPLIT_WHAT, or WHAT in a group SPLIT. The name stays the first where neither is there. */
static fs_status find_set(hid_t file, fs_split which, const char *what, hdf5_set *s)
{
    const char *split = which == FS_TRAIN ? "train" : "test";
    snprintf(s->name, sizeof s->name, "%s_%s", split, what);
    int link = link_at(file, s->name), group = link ? 0 : link_at(file, split);
    if (group > 0) {
        snprintf(s->name, sizeof s->name, "%s/%s", split, what);
        link = link_at(file, s->name);
    }
    if (link < 0 || group < 0)
        return refuse(s, "is reached by a soft or external link: only what is in the file itself is read");
    if (!link)
        return fs_fail(FS_ERROR, "%s: has neither a dataset %s_%s nor %s/%s", s->path, split, what, split, what);
    H5O_info_t object;
    if (H5Oget_info_by_name1(file, s->name, &object, H5P_DEFAULT) < 0 || object.type != H5O_TYPE_DATASET)
        return refuse(s, "is no dataset");
    s->set = H5Dopen2(file, s->name, H5P_DEFAULT);
    return s->set >= 0 ? FS_OK : refuse(s, "HDF5 cannot open it");
}

/* ---- How it is stored ---- */

static uint64_t elements(const hdf5_set *s)
{
    uint64_t count = 1;
    for (int axis = 0; axis < s->axes; axis++)
        count *= s->size[axis]; /* below 2^31 * 2^9 * 2^9 * 2^6: fits */
    return count;
}

static fs_status check_filters(const hdf5_set *s, hid_t creation)
{
    int filters = H5Pget_nfilters(creation);
    for (int i = 0; i < filters; i++) {
        unsigned flags, config;
        size_t values = 0;
        H5Z_filter_t id = H5Pget_filter2(creation, (unsigned)i, &flags, &values, NULL, 0, NULL, &config);
        if (id < 0 || id >= H5Z_FILTER_RESERVED || H5Zfilter_avail(id) <= 0)
            return fs_fail(FS_ERROR,
                           "%s: /%s: packed with filter %d, which this HDF5 does not have: write it anew with gzip or none",
                           s->path, s->name, (int)id);
    }
    return FS_OK;
}

/* Chunks that were never written read as zeros: all must be there. */
static fs_status check_chunks(hdf5_set *s, hid_t creation, size_t element)
{
    hsize_t chunk[4], chunks = 1, stored = 0, bytes = element;
    if (H5Pget_chunk(creation, 4, chunk) != s->axes)
        return refuse(s, "the shape of its chunks cannot be told");
    for (int axis = 0; axis < s->axes; axis++) {
        if (chunk[axis] < 1 || chunk[axis] > CHUNK_BYTES_MOST / bytes)
            return fs_fail(FS_ERROR, "%s: /%s: chunks of more than %d MiB", s->path, s->name, CHUNK_BYTES_MOST >> 20);
        bytes *= chunk[axis];
        chunks *= (s->size[axis] + chunk[axis] - 1) / chunk[axis];
    }
    s->chunk = chunk[0];
    hid_t space = H5Dget_space(s->set);
    herr_t told = H5Dget_num_chunks(s->set, space, &stored);
    H5Sclose(space);
    if (told < 0 || stored != chunks)
        return fs_fail(FS_ERROR, "%s: /%s: %llu of its %llu chunks were written", s->path, s->name, (unsigned long long)stored,
                       (unsigned long long)chunks);
    return check_filters(s, creation);
}

static fs_status check_stored(hdf5_set *s, hid_t creation, size_t element, uint64_t file_bytes)
{
    H5D_layout_t layout = H5Pget_layout(creation);
    uint64_t bytes = elements(s) * element;
    s->chunk = 1;
    if (layout == H5D_VIRTUAL || H5Pget_external_count(creation) != 0)
        return refuse(s, "is virtual or in an external file: only what is in the file itself is read");
    uint64_t stored = H5Dget_storage_size(s->set);
    uint64_t ratio = layout == H5D_CHUNKED && H5Pget_nfilters(creation) > 0 ? PACKED_RATIO_MOST : 1;
    if (stored > file_bytes || bytes / ratio > stored)
        return fs_fail(FS_ERROR, "%s: /%s: %llu bytes are stored in a file of %llu, where its shape makes %llu", s->path,
                       s->name, (unsigned long long)stored, (unsigned long long)file_bytes, (unsigned long long)bytes);
    if (layout == H5D_CHUNKED)
        return check_chunks(s, creation, element);
    haddr_t offset = layout == H5D_CONTIGUOUS ? H5Dget_offset(s->set) : 0;
    return offset <= file_bytes - bytes ? FS_OK : refuse(s, "does not lie wholly in the file");
}

/* ---- What it is ---- */

static fs_status check_type(const hdf5_set *s, int images, size_t *element)
{
    hid_t type = H5Dget_type(s->set);
    *element = H5Tget_size(type);
    int whole = H5Tget_class(type) == H5T_INTEGER && *element <= sizeof(int64_t);
    int byte = whole && *element == 1 && H5Tget_sign(type) == H5T_SGN_NONE;
    H5Tclose(type);
    if (images)
        return byte ? FS_OK : refuse(s, "images must be unsigned bytes (uint8)");
    return whole ? FS_OK : refuse(s, "labels must be whole numbers");
}

static fs_status check_shape(hdf5_set *s, int images)
{
    static const char *const axis_name[] = {"count", "height", "width", "channels"};
    static const hsize_t most[] = {INT_MAX, SIDE_MOST, SIDE_MOST, FS_MOST_CHANNELS};
    hid_t space = H5Dget_space(s->set);
    s->axes = H5Sget_simple_extent_ndims(space);
    int fits = images ? s->axes == 3 || s->axes == 4 : s->axes == 1;
    fits = fits && H5Sget_simple_extent_dims(space, s->size, NULL) == s->axes;
    H5Sclose(space);
    if (!fits)
        return fs_fail(FS_ERROR, "%s: /%s: has %d axes: expected %s", s->path, s->name, s->axes,
                       images ? "[N, height, width, channels] or [N, height, width]" : "[N]");
    for (int axis = 0; axis < s->axes; axis++)
        if (s->size[axis] < 1 || s->size[axis] > most[axis])
            return fs_fail(FS_ERROR, "%s: /%s: %s of %llu: expected 1..%llu", s->path, s->name, axis_name[axis],
                           (unsigned long long)s->size[axis], (unsigned long long)most[axis]);
    return FS_OK;
}

static fs_status open_set(const char *path, hid_t file, fs_split which, int images, hdf5_set *s)
{
    size_t element;
    uint64_t file_bytes;
    *s = (hdf5_set){.path = path, .set = -1};
    if (fs_data_file_size(path, &file_bytes) != FS_OK || find_set(file, which, images ? "images" : "labels", s) != FS_OK ||
        check_type(s, images, &element) != FS_OK || check_shape(s, images) != FS_OK)
        return FS_ERROR;
    hid_t creation = H5Dget_create_plist(s->set);
    fs_status status =
        creation < 0 ? refuse(s, "HDF5 cannot tell how it is stored") : check_stored(s, creation, element, file_bytes);
    if (creation >= 0)
        H5Pclose(creation);
    return status;
}

static fs_status open_split(const char *path, hid_t file, fs_split which, hdf5_split *split)
{
    if (open_set(path, file, which, 1, &split->images) != FS_OK || open_set(path, file, which, 0, &split->labels) != FS_OK)
        return FS_ERROR;
    if (split->images.size[0] != split->labels.size[0])
        return fs_fail(FS_ERROR, "%s: /%s has %llu images, but /%s %llu labels", path, split->images.name,
                       (unsigned long long)split->images.size[0], split->labels.name,
                       (unsigned long long)split->labels.size[0]);
    return FS_OK;
}

/* ---- Its values ---- */

/* Rows first .. first+count-1 of axis 0, as elements of `type`. */
static fs_status read_rows(const hdf5_set *s, hsize_t first, hsize_t count, hid_t type, void *values)
{
    hsize_t start[4] = {first}, size[4] = {count, s->size[1], s->size[2], s->size[3]};
    hid_t in_file = H5Dget_space(s->set), in_memory = H5Screate_simple(s->axes, size, NULL);
    herr_t got = H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, size, NULL);
    if (got >= 0)
        got = H5Dread(s->set, type, in_memory, in_file, H5P_DEFAULT, values);
    H5Sclose(in_memory);
    H5Sclose(in_file);
    if (got < 0)
        return fs_fail(FS_ERROR, "%s: /%s: rows %llu to %llu cannot be read: the file is damaged", s->path, s->name,
                       (unsigned long long)first, (unsigned long long)(first + count - 1));
    return FS_OK;
}

static fs_status check_label(const hdf5_set *s, hsize_t row, int64_t value, int labels)
{
    if (value >= 0 && value < labels)
        return FS_OK;
    return fs_fail(FS_ERROR, "%s: /%s: label %lld in record %llu: expected 0..%d", s->path, s->name, (long long)value,
                   (unsigned long long)row, labels - 1);
}

/* All labels, each below `labels`, of which the first `keep` go to label[keep], and the largest to *largest. */
static fs_status read_labels(const hdf5_set *s, int labels, int keep, uint16_t *label, int *largest)
{
    fs_status status = FS_OK;
    int64_t *value = fs_alloc(LABELS_AT_ONCE, sizeof *value, "labels of a data set");
    if (!value)
        return FS_ERROR;
    *largest = 0;
    for (hsize_t first = 0; !status && first < s->size[0]; first += LABELS_AT_ONCE) {
        hsize_t left = s->size[0] - first, now = left < LABELS_AT_ONCE ? left : LABELS_AT_ONCE;
        status = read_rows(s, first, now, H5T_NATIVE_INT64, value);
        for (hsize_t i = 0; !status && i < now; i++) {
            status = check_label(s, first + i, value[i], labels);
            *largest = !status && value[i] > *largest ? (int)value[i] : *largest;
            if (!status && first + i < (hsize_t)keep)
                label[first + i] = (uint16_t)value[i];
        }
    }
    free(value);
    return status;
}

/* K: the largest training label + 1, or `known` where a file without training labels is read for its test split. */
static fs_status count_labels(const char *path, hid_t file, int known, int *labels)
{
    hdf5_set s;
    int largest = 0;
    fs_status status = open_set(path, file, FS_TRAIN, 0, &s);
    if (!status)
        status = read_labels(&s, FS_MAX_LABELS, 0, NULL, &largest);
    if (!status && largest == 0)
        status = refuse(&s, "all labels are 0: a set needs at least 2 labels");
    close_set(&s);
    *labels = status ? known : largest + 1;
    return status && !known ? status : FS_OK;
}

static fs_status read_pixels(const hdf5_set *s, fs_dataset *data)
{
    size_t image = (size_t)data->height * data->width * data->channels;
    hsize_t rows = SLAB_BYTES / image > s->chunk ? SLAB_BYTES / image / s->chunk * s->chunk : s->chunk;
    fs_status status = FS_OK;
    for (hsize_t first = 0; !status && first < (hsize_t)data->images; first += rows) {
        hsize_t left = (hsize_t)data->images - first;
        status = read_rows(s, first, left < rows ? left : rows, H5T_NATIVE_UINT8, data->pixels + first * image);
    }
    return status;
}

static fs_status read_split(const char *path, hid_t file, const fs_data_request *request, hdf5_split *split, fs_dataset *data)
{
    int largest;
    if (open_split(path, file, request->split, split) != FS_OK ||
        count_labels(path, file, request->labels, &data->labels) != FS_OK)
        return FS_ERROR;
    const hdf5_set *images = &split->images;
    data->height = (int)images->size[1];
    data->width = (int)images->size[2];
    data->channels = images->axes == 4 ? (int)images->size[3] : 1;
    if (fs_data_allocate(path, (int)images->size[0], request->limit, data) != FS_OK ||
        read_labels(&split->labels, data->labels, data->images, data->label, &largest) != FS_OK)
        return FS_ERROR;
    return read_pixels(images, data);
}

fs_status fs_read_hdf5(const char *path, const fs_data_request *request, fs_dataset *data)
{
    uint64_t bytes;
    hdf5_split split = CLOSED;
    if (fs_data_file_size(path, &bytes) != FS_OK)
        return FS_ERROR;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (H5Fis_hdf5(path) <= 0)
        return fs_fail(FS_ERROR, "%s: is no HDF5 file, or cannot be read", path);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return fs_fail(FS_ERROR, "%s: HDF5 cannot open it: truncated, damaged or being written", path);
    fs_status status = read_split(path, file, request, &split, data);
    close_split(&split);
    H5Fclose(file);
    return status;
}
