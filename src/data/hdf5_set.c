#include "data/hdf5_set.h"

#include <limits.h>
#include <stdio.h>

#include "readers.h"

enum {
    SIDE_MOST = 512,
    CHUNK_BYTES_MOST = 256 << 20, /* HDF5 allocates whole chunks */
    PACKED_RATIO_MOST = 1032      /* deflate's */
};

fs_status fs_hdf5_set_refuse(const fs_hdf5_set *s, const char *what)
{
    return fs_fail(FS_ERROR, "%s: /%s: %s", s->path, s->name, what);
}

/* ---- Where a dataset is ---- */

int fs_hdf5_set_link(hid_t file, const char *name)
{
    H5L_info_t link;
    if (H5Lexists(file, name, H5P_DEFAULT) <= 0)
        return 0;
    return H5Lget_info(file, name, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD ? 1 : -1;
}

/* `set` SPLIT_WHAT, or WHAT in a group SPLIT. The name stays the first where neither is there. */
static fs_status find_set(hid_t file, fs_split which, const char *what, fs_hdf5_set *s)
{
    const char *split = which == FS_TRAIN ? "train" : "test";
    snprintf(s->name, sizeof s->name, "%s_%s", split, what);
    int link = fs_hdf5_set_link(file, s->name), group = link ? 0 : fs_hdf5_set_link(file, split);
    if (group > 0) {
        snprintf(s->name, sizeof s->name, "%s/%s", split, what);
        link = fs_hdf5_set_link(file, s->name);
    }
    if (link < 0 || group < 0)
        return fs_hdf5_set_refuse(s, "is reached by a soft or external link: only what is in the file itself is read");
    if (!link)
        return fs_fail(FS_ERROR, "%s: has neither a dataset %s_%s nor %s/%s", s->path, split, what, split, what);
    H5O_info_t object;
    if (H5Oget_info_by_name1(file, s->name, &object, H5P_DEFAULT) < 0 || object.type != H5O_TYPE_DATASET)
        return fs_hdf5_set_refuse(s, "is no dataset");
    s->set = H5Dopen2(file, s->name, H5P_DEFAULT);
    return s->set >= 0 ? FS_OK : fs_hdf5_set_refuse(s, "HDF5 cannot open it");
}

/* ---- How it is stored ---- */

uint64_t fs_hdf5_set_elements(const fs_hdf5_set *s)
{
    uint64_t count = 1;
    for (int axis = 0; axis < s->axes; axis++)
        count *= s->size[axis]; /* below 2^31 * 2^9 * 2^9 * 2^6: fits */
    return count;
}

static fs_status check_filters(const fs_hdf5_set *s, hid_t creation)
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
static fs_status check_chunks(fs_hdf5_set *s, hid_t creation, size_t element)
{
    hsize_t chunk[4], chunks = 1, stored = 0, bytes = element;
    if (H5Pget_chunk(creation, 4, chunk) != s->axes)
        return fs_hdf5_set_refuse(s, "the shape of its chunks cannot be told");
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

fs_status fs_hdf5_set_check_stored(fs_hdf5_set *s, hid_t creation, size_t element, uint64_t file_bytes)
{
    H5D_layout_t layout = H5Pget_layout(creation);
    uint64_t bytes = fs_hdf5_set_elements(s) * element;
    s->chunk = 1;
    if (layout == H5D_VIRTUAL || H5Pget_external_count(creation) != 0)
        return fs_hdf5_set_refuse(s, "is virtual or in an external file: only what is in the file itself is read");
    uint64_t stored = H5Dget_storage_size(s->set);
    uint64_t ratio = layout == H5D_CHUNKED && H5Pget_nfilters(creation) > 0 ? PACKED_RATIO_MOST : 1;
    if (stored > file_bytes || bytes / ratio > stored)
        return fs_fail(FS_ERROR, "%s: /%s: %llu bytes are stored in a file of %llu, where its shape makes %llu", s->path,
                       s->name, (unsigned long long)stored, (unsigned long long)file_bytes, (unsigned long long)bytes);
    if (layout == H5D_CHUNKED)
        return check_chunks(s, creation, element);
    haddr_t offset = layout == H5D_CONTIGUOUS ? H5Dget_offset(s->set) : 0;
    return offset <= file_bytes - bytes ? FS_OK : fs_hdf5_set_refuse(s, "does not lie wholly in the file");
}

/* ---- What it is ---- */

static fs_status check_type(const fs_hdf5_set *s, int images, size_t *element)
{
    hid_t type = H5Dget_type(s->set);
    *element = H5Tget_size(type);
    int whole = H5Tget_class(type) == H5T_INTEGER && *element <= sizeof(int64_t);
    int byte = whole && *element == 1 && H5Tget_sign(type) == H5T_SGN_NONE;
    H5Tclose(type);
    if (images)
        return byte ? FS_OK : fs_hdf5_set_refuse(s, "images must be unsigned bytes (uint8)");
    return whole ? FS_OK : fs_hdf5_set_refuse(s, "labels must be whole numbers");
}

static fs_status check_shape(fs_hdf5_set *s, int images)
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

fs_status fs_hdf5_set_open(const char *path, hid_t file, fs_split which, int images, fs_hdf5_set *s)
{
    size_t element;
    uint64_t file_bytes;
    *s = (fs_hdf5_set){.path = path, .set = -1};
    if (fs_data_file_size(path, &file_bytes) != FS_OK || find_set(file, which, images ? "images" : "labels", s) != FS_OK ||
        check_type(s, images, &element) != FS_OK || check_shape(s, images) != FS_OK)
        return FS_ERROR;
    hid_t creation = H5Dget_create_plist(s->set);
    fs_status status = creation < 0 ? fs_hdf5_set_refuse(s, "HDF5 cannot tell how it is stored")
                                    : fs_hdf5_set_check_stored(s, creation, element, file_bytes);
    if (creation >= 0)
        H5Pclose(creation);
    return status;
}

fs_status fs_hdf5_set_read(const fs_hdf5_set *s, hsize_t first, hsize_t count, hid_t type, void *values)
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

void fs_hdf5_set_close(fs_hdf5_set *s)
{
    if (s->set >= 0)
        H5Dclose(s->set);
    s->set = -1;
}
