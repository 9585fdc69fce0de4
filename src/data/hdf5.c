/* A data set in one HDF5 file, such as h5py writes: for each split, images [N][height][width][channels] or [N][height][width]
 * of unsigned bytes, and labels [N] of whole numbers. They are datasets train_images, train_labels, test_images and
 * test_labels, or images and labels in groups train and test; contiguous or in chunks, plain or packed with HDF5's own filters.
 * label_names, text of one length [K], may be there, too.
 * What leads out of the file, or was not written to its end, is refused before memory is allocated for what the shapes
 * promise. */
#include <hdf5.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "filterscope/memory.h"
#include "readers.h"

enum {
    SIDE_MOST = 512,
    NAME_BYTES = 32,
    TEXT_MOST = 1024, /* bytes of a label's name as it is stored */
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

/* ---- Names of labels ---- */

/* label_names, where it is there: *found. */
static fs_status open_names(const char *path, hid_t file, hdf5_set *s, size_t *bytes, int *found)
{
    *s = (hdf5_set){.path = path, .name = "label_names", .set = -1, .axes = 1};
    int link = link_at(file, s->name);
    *found = link != 0;
    if (!link)
        return FS_OK;
    H5O_info_t object;
    if (link < 0 || H5Oget_info_by_name1(file, s->name, &object, H5P_DEFAULT) < 0 || object.type != H5O_TYPE_DATASET ||
        (s->set = H5Dopen2(file, s->name, H5P_DEFAULT)) < 0)
        return refuse(s, "is no dataset of the file");
    hid_t type = H5Dget_type(s->set), space = H5Dget_space(s->set), creation = H5Dget_create_plist(s->set);
    int text = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0, axes = H5Sget_simple_extent_ndims(space);
    *bytes = H5Tget_size(type);
    if (axes == 1)
        H5Sget_simple_extent_dims(space, s->size, NULL);
    fs_status status = !text || *bytes > TEXT_MOST || axes != 1 || s->size[0] < 1 || s->size[0] > FS_MAX_LABELS
                           ? refuse(s, "expected [K] names of one length, as numpy.array(names, 'S') makes them")
                           : FS_OK;
    uint64_t file_bytes;
    if (!status)
        status = fs_data_file_size(path, &file_bytes);
    if (!status)
        status = check_stored(s, creation, *bytes, file_bytes);
    H5Pclose(creation);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

static fs_status take_names(const hdf5_set *s, const char *text, size_t bytes, fs_dataset *data)
{
    fs_status status = FS_OK;
    char what[FS_PATH_BYTES + 64];
    for (int k = 0; k < data->labels && !status; k++) {
        size_t length = strnlen(text + (size_t)k * bytes, bytes);
        snprintf(what, sizeof what, "%s: /%s: the name of label %d,", s->path, s->name, k);
        status = fs_text_check(what, text + (size_t)k * bytes, length);
        fs_data_set_name(text + (size_t)k * bytes, length, data->label_name[k]);
    }
    return status;
}

static fs_status read_names(const hdf5_set *s, size_t bytes, fs_dataset *data)
{
    if (s->size[0] < (hsize_t)data->labels)
        return fs_fail(FS_ERROR, "%s: /%s: has %llu names, this set %d labels", s->path, s->name,
                       (unsigned long long)s->size[0], data->labels);
    char *text = fs_alloc((size_t)s->size[0], bytes, "label names");
    data->label_name = fs_alloc((size_t)data->labels, sizeof *data->label_name, "label names");
    hid_t type = H5Dget_type(s->set);
    fs_status status = text && data->label_name ? read_rows(s, 0, s->size[0], type, text) : FS_ERROR;
    H5Tclose(type);
    if (!status)
        status = take_names(s, text, bytes, data);
    free(text);
    return status;
}

static fs_status name_labels(const char *path, hid_t file, fs_dataset *data)
{
    hdf5_set s;
    size_t bytes = 0;
    int found;
    fs_status status = open_names(path, file, &s, &bytes, &found);
    if (!status && found)
        status = read_names(&s, bytes, data);
    close_set(&s);
    return status;
}

/* ---- Images that stay there ---- */

static fs_status find_chunk(const hdf5_set *s, fs_stored *at, int number)
{
    hsize_t first[4] = {(hsize_t)number * (hsize_t)at->chunk}, bytes = 0;
    haddr_t address = HADDR_UNDEF;
    unsigned skipped;
    if (H5Dget_chunk_info_by_coord(s->set, first, &skipped, &address, &bytes) < 0 || address == HADDR_UNDEF ||
        bytes > at->file_bytes || address > at->file_bytes - bytes)
        return fs_fail(FS_ERROR, "%s: /%s: chunk %d does not lie in the file: it is damaged", s->path, s->name, number);
    at->offset[number] = address;
    return FS_OK;
}

/* Whether chunks are of whole images, unpacked, or there are none. */
static int is_plain(const hdf5_set *s, hid_t creation, int *chunk)
{
    hsize_t size[4];
    H5D_layout_t layout = H5Pget_layout(creation);
    *chunk = (int)s->size[0];
    if (layout == H5D_CONTIGUOUS)
        return 1;
    if (layout != H5D_CHUNKED || H5Pget_nfilters(creation) > 0 || H5Pget_chunk(creation, 4, size) != s->axes)
        return 0;
    *chunk = (int)size[0];
    for (int axis = 1; axis < s->axes; axis++)
        if (size[axis] != s->size[axis])
            return 0;
    return 1;
}

static fs_status find_chunks(const hdf5_set *s, hid_t creation, fs_stored *at)
{
    fs_status status = FS_OK;
    if (!is_plain(s, creation, &at->chunk))
        return fs_fail(
            FS_ERROR,
            "%s: /%s: has %llu MiB of images, which is too much for memory (--data-memory), and can be read piece by "
            "piece only unpacked and in chunks of whole images: write it anew with analysis/pack.py",
            s->path, s->name, (unsigned long long)(elements(s) >> 20));
    at->chunks = (int)((s->size[0] + (hsize_t)at->chunk - 1) / (hsize_t)at->chunk);
    at->offset = fs_alloc((size_t)at->chunks, sizeof *at->offset, "places of chunks");
    if (!at->offset)
        return FS_ERROR;
    if (H5Pget_layout(creation) == H5D_CONTIGUOUS)
        at->offset[0] = H5Dget_offset(s->set);
    else
        for (int i = 0; i < at->chunks && !status; i++)
            status = find_chunk(s, at, i);
    return status;
}

/* By HDF5 and by offset the first and the last image are the same. */
static fs_status compare(const hdf5_set *s, const fs_dataset *data)
{
    const int ends[] = {0, data->images - 1};
    size_t bytes = fs_stream_stored(data->stream)->image;
    uint8_t *pixels = fs_alloc(2, bytes, "two images");
    fs_status status = pixels ? FS_OK : FS_ERROR;
    for (int i = 0; i < 2 && !status; i++) {
        status = read_rows(s, (hsize_t)ends[i], 1, H5T_NATIVE_UINT8, pixels);
        if (!status)
            status = fs_stream_read(data->stream, 1, &ends[i], pixels + bytes);
        if (!status && memcmp(pixels, pixels + bytes, bytes) != 0)
            status = refuse(s, "its images are not where HDF5 says: they can be read as a whole only (--data-memory)");
    }
    free(pixels);
    return status;
}

/* All images of the split, for now. */
static fs_status open_stream(const hdf5_set *s, fs_dataset *data)
{
    fs_stored at = {.image = (size_t)data->height * data->width * data->channels, .images = data->images};
    hid_t creation = H5Dget_create_plist(s->set);
    snprintf(at.path, sizeof at.path, "%s", s->path);
    fs_status status = fs_data_file_size(s->path, &at.file_bytes);
    if (!status)
        status = find_chunks(s, creation, &at);
    H5Pclose(creation);
    if (!status && !(at.row = fs_alloc((size_t)at.images, sizeof *at.row, "rows of images")))
        status = FS_ERROR;
    for (int i = 0; i < at.images && !status; i++)
        at.row[i] = i;
    if (status) {
        free(at.row);
        free(at.offset);
        return status;
    }
    status = fs_stream_open(&at, &data->stream);
    return status ? status : compare(s, data);
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

/* What analysis/pack.py fills says in /packed whether it is whole: the last of five numbers. */
static fs_status check_complete(const char *path, hid_t file)
{
    enum { NUMBERS = 5 };
    uint64_t number[NUMBERS] = {[NUMBERS - 1] = 1};
    hdf5_set s = {.path = path, .name = "packed", .set = -1, .axes = 1};
    if (link_at(file, s.name) <= 0 || (s.set = H5Dopen2(file, s.name, H5P_DEFAULT)) < 0)
        return FS_OK;
    hid_t type = H5Dget_type(s.set), space = H5Dget_space(s.set), creation = H5Dget_create_plist(s.set);
    int is_record = H5Tget_class(type) == H5T_INTEGER && H5Sget_simple_extent_ndims(space) == 1 &&
                    H5Sget_simple_extent_npoints(space) == NUMBERS && H5Pget_layout(creation) == H5D_CONTIGUOUS;
    fs_status status = is_record ? read_rows(&s, 0, NUMBERS, H5T_NATIVE_UINT64, number) : FS_OK;
    H5Pclose(creation);
    H5Sclose(space);
    H5Tclose(type);
    close_set(&s);
    if (!status && number[NUMBERS - 1] == 0)
        status =
            fs_fail(FS_ERROR, "%s: is not complete: analysis/pack.py was stopped, and goes on when it is called again", path);
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
    if (fs_data_allocate(path, (int)images->size[0], request, data) != FS_OK ||
        read_labels(&split->labels, data->labels, data->images, data->label, &largest) != FS_OK)
        return FS_ERROR;
    if (!request->unnamed && name_labels(path, file, data) != FS_OK)
        return FS_ERROR;
    return data->pixels ? read_pixels(images, data) : open_stream(images, data);
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
    fs_status status = check_complete(path, file);
    if (!status)
        status = read_split(path, file, request, &split, data);
    close_split(&split);
    H5Fclose(file);
    return status;
}
