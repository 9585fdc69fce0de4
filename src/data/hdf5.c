/* A data set in one HDF5 file, such as h5py writes: for each split, images [N][height][width][channels] or [N][height][width]
 * of unsigned bytes, and labels [N] of whole numbers. They are datasets train_images, train_labels, test_images and
 * test_labels, or images and labels in groups train and test; contiguous or in chunks, plain or packed with HDF5's own filters.
 * label_names, text of one length [K], may be there, too.
 * How each dataset is found and read: hdf5_set.c. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "data/hdf5_set.h"
#include "filterscope/memory.h"
#include "readers.h"

enum {
    TEXT_MOST = 1024, /* bytes of a label's name as it is stored */
    LABELS_AT_ONCE = 1 << 16,
    SLAB_BYTES = 16 << 20 /* read at once: few calls, and chunks are unpacked once */
};

/* One split. Zero bytes are no valid handles: begin with CLOSED. */
typedef struct hdf5_split {
    fs_hdf5_set images, labels;
} hdf5_split;

#define CLOSED ((hdf5_split){.images.set = -1, .labels.set = -1})

static void close_split(hdf5_split *split)
{
    fs_hdf5_set_close(&split->images);
    fs_hdf5_set_close(&split->labels);
}

static fs_status open_split(const char *path, hid_t file, fs_split which, hdf5_split *split)
{
    if (fs_hdf5_set_open(path, file, which, 1, &split->images) != FS_OK ||
        fs_hdf5_set_open(path, file, which, 0, &split->labels) != FS_OK)
        return FS_ERROR;
    if (split->images.size[0] != split->labels.size[0])
        return fs_fail(FS_ERROR, "%s: /%s has %llu images, but /%s %llu labels", path, split->images.name,
                       (unsigned long long)split->images.size[0], split->labels.name,
                       (unsigned long long)split->labels.size[0]);
    return FS_OK;
}

/* ---- Labels ---- */

static fs_status check_label(const fs_hdf5_set *s, hsize_t row, int64_t value, int labels)
{
    if (value >= 0 && value < labels)
        return FS_OK;
    return fs_fail(FS_ERROR, "%s: /%s: label %lld in record %llu: expected 0..%d", s->path, s->name, (long long)value,
                   (unsigned long long)row, labels - 1);
}

/* All labels, each below `labels`, of which the first `keep` go to label[keep], and the largest to *largest. */
static fs_status read_labels(const fs_hdf5_set *s, int labels, int keep, uint16_t *label, int *largest)
{
    fs_status status = FS_OK;
    int64_t *value = fs_alloc(LABELS_AT_ONCE, sizeof *value, "labels of a data set");
    if (!value)
        return FS_ERROR;
    *largest = 0;
    for (hsize_t first = 0; !status && first < s->size[0]; first += LABELS_AT_ONCE) {
        hsize_t left = s->size[0] - first, now = left < LABELS_AT_ONCE ? left : LABELS_AT_ONCE;
        status = fs_hdf5_set_read(s, first, now, H5T_NATIVE_INT64, value);
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
    fs_hdf5_set s;
    int largest = 0;
    fs_status status = fs_hdf5_set_open(path, file, FS_TRAIN, 0, &s);
    if (!status)
        status = read_labels(&s, FS_MAX_LABELS, 0, NULL, &largest);
    if (!status && largest == 0)
        status = fs_hdf5_set_refuse(&s, "all labels are 0: a set needs at least 2 labels");
    fs_hdf5_set_close(&s);
    *labels = status ? known : largest + 1;
    return status && !known ? status : FS_OK;
}

/* ---- Names of labels ---- */

/* label_names, where it is there: *found. */
static fs_status open_names(const char *path, hid_t file, fs_hdf5_set *s, size_t *bytes, int *found)
{
    *s = (fs_hdf5_set){.path = path, .name = "label_names", .set = -1, .axes = 1};
    int link = fs_hdf5_set_link(file, s->name);
    *found = link != 0;
    if (!link)
        return FS_OK;
    H5O_info_t object;
    if (link < 0 || H5Oget_info_by_name1(file, s->name, &object, H5P_DEFAULT) < 0 || object.type != H5O_TYPE_DATASET ||
        (s->set = H5Dopen2(file, s->name, H5P_DEFAULT)) < 0)
        return fs_hdf5_set_refuse(s, "is no dataset of the file");
    hid_t type = H5Dget_type(s->set), space = H5Dget_space(s->set), creation = H5Dget_create_plist(s->set);
    int text = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0, axes = H5Sget_simple_extent_ndims(space);
    *bytes = H5Tget_size(type);
    if (axes == 1)
        H5Sget_simple_extent_dims(space, s->size, NULL);
    fs_status status = !text || *bytes > TEXT_MOST || axes != 1 || s->size[0] < 1 || s->size[0] > FS_MAX_LABELS
                           ? fs_hdf5_set_refuse(s, "expected [K] names of one length, as numpy.array(names, 'S') makes them")
                           : FS_OK;
    uint64_t file_bytes;
    if (!status)
        status = fs_data_file_size(path, &file_bytes);
    if (!status)
        status = fs_hdf5_set_check_stored(s, creation, *bytes, file_bytes);
    H5Pclose(creation);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

static fs_status take_names(const fs_hdf5_set *s, const char *text, size_t bytes, fs_dataset *data)
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

static fs_status read_names(const fs_hdf5_set *s, size_t bytes, fs_dataset *data)
{
    if (s->size[0] < (hsize_t)data->labels)
        return fs_fail(FS_ERROR, "%s: /%s: has %llu names, this set %d labels", s->path, s->name,
                       (unsigned long long)s->size[0], data->labels);
    char *text = fs_alloc((size_t)s->size[0], bytes, "label names");
    data->label_name = fs_alloc((size_t)data->labels, sizeof *data->label_name, "label names");
    hid_t type = H5Dget_type(s->set);
    fs_status status = text && data->label_name ? fs_hdf5_set_read(s, 0, s->size[0], type, text) : FS_ERROR;
    H5Tclose(type);
    if (!status)
        status = take_names(s, text, bytes, data);
    free(text);
    return status;
}

static fs_status name_labels(const char *path, hid_t file, fs_dataset *data)
{
    fs_hdf5_set s;
    size_t bytes = 0;
    int found;
    fs_status status = open_names(path, file, &s, &bytes, &found);
    if (!status && found)
        status = read_names(&s, bytes, data);
    fs_hdf5_set_close(&s);
    return status;
}

/* ---- Images that stay there ---- */

static fs_status find_chunk(const fs_hdf5_set *s, fs_stored *at, int number)
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
static int is_plain(const fs_hdf5_set *s, hid_t creation, int *chunk)
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

static fs_status find_chunks(const fs_hdf5_set *s, hid_t creation, fs_stored *at)
{
    fs_status status = FS_OK;
    if (!is_plain(s, creation, &at->chunk))
        return fs_fail(
            FS_ERROR,
            "%s: /%s: has %llu MiB of images, which is too much for memory (--data-memory), and can be read piece by "
            "piece only unpacked and in chunks of whole images: write it anew with analysis/pack.py",
            s->path, s->name, (unsigned long long)(fs_hdf5_set_elements(s) >> 20));
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
static fs_status compare(const fs_hdf5_set *s, const fs_dataset *data)
{
    const int ends[] = {0, data->images - 1};
    size_t bytes = fs_stream_stored(data->stream)->image;
    uint8_t *pixels = fs_alloc(2, bytes, "two images");
    fs_status status = pixels ? FS_OK : FS_ERROR;
    for (int i = 0; i < 2 && !status; i++) {
        status = fs_hdf5_set_read(s, (hsize_t)ends[i], 1, H5T_NATIVE_UINT8, pixels);
        if (!status)
            status = fs_stream_read(data->stream, 1, &ends[i], pixels + bytes);
        if (!status && memcmp(pixels, pixels + bytes, bytes) != 0)
            status =
                fs_hdf5_set_refuse(s, "its images are not where HDF5 says: they can be read as a whole only (--data-memory)");
    }
    free(pixels);
    return status;
}

/* All images of the split, for now. */
static fs_status open_stream(const fs_hdf5_set *s, fs_dataset *data)
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

static fs_status read_pixels(const fs_hdf5_set *s, fs_dataset *data)
{
    size_t image = (size_t)data->height * data->width * data->channels;
    hsize_t rows = SLAB_BYTES / image > s->chunk ? SLAB_BYTES / image / s->chunk * s->chunk : s->chunk;
    fs_status status = FS_OK;
    for (hsize_t first = 0; !status && first < (hsize_t)data->images; first += rows) {
        hsize_t left = (hsize_t)data->images - first;
        status = fs_hdf5_set_read(s, first, left < rows ? left : rows, H5T_NATIVE_UINT8, data->pixels + first * image);
    }
    return status;
}

/* What analysis/pack.py fills says in /packed whether it is whole: the last of five numbers. */
static fs_status check_complete(const char *path, hid_t file)
{
    enum { NUMBERS = 5 };
    uint64_t number[NUMBERS] = {[NUMBERS - 1] = 1};
    fs_hdf5_set s = {.path = path, .name = "packed", .set = -1, .axes = 1};
    if (fs_hdf5_set_link(file, s.name) <= 0 || (s.set = H5Dopen2(file, s.name, H5P_DEFAULT)) < 0)
        return FS_OK;
    hid_t type = H5Dget_type(s.set), space = H5Dget_space(s.set), creation = H5Dget_create_plist(s.set);
    int is_record = H5Tget_class(type) == H5T_INTEGER && H5Sget_simple_extent_ndims(space) == 1 &&
                    H5Sget_simple_extent_npoints(space) == NUMBERS && H5Pget_layout(creation) == H5D_CONTIGUOUS;
    fs_status status = is_record ? fs_hdf5_set_read(&s, 0, NUMBERS, H5T_NATIVE_UINT64, number) : FS_OK;
    H5Pclose(creation);
    H5Sclose(space);
    H5Tclose(type);
    fs_hdf5_set_close(&s);
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
    const fs_hdf5_set *images = &split->images;
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
