#include "base/hdf5_contained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/superblock.h"
#include "filterscope/memory.h"

/* Ours are at /GROUP/LAYER/SET at the deepest, and a file of 1,024 layers has some 7,000. */
enum { MOST_DEPTH = 3, MOST_OBJECTS = 1 << 14, NAME_BYTES = 256 };

/* Bytes of the file that belong to one dataset. */
struct extent {
    uint64_t first, count;
};

struct walk {
    hsize_t bytes; /* of the file */
    int depth, objects;
    char name[NAME_BYTES]; /* of the object that the walk is at */
    struct extent *extent; /* [MOST_OBJECTS] */
    int extents;
    fs_status status;
};

static fs_status refuse(const struct walk *walk, const char *what)
{
    return fs_fail(FS_MISMATCH, "%s %s", walk->name, what);
}

/* Bytes of all elements; 0 where they overflow. */
static uint64_t bytes_of(hid_t set, hid_t type)
{
    hsize_t size[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    uint64_t bytes = H5Tget_size(type);
    int rank = H5Sget_simple_extent_dims(space, size, NULL), fits = rank >= 0;
    for (int d = 0; d < rank && fits; d++)
        fits = !__builtin_mul_overflow(bytes, (uint64_t)size[d], &bytes);
    H5Sclose(space);
    return fits ? bytes : 0;
}

static int is_plain(hid_t set)
{
    hid_t creation = H5Dget_create_plist(set);
    int plain =
        H5Pget_layout(creation) == H5D_CONTIGUOUS && H5Pget_external_count(creation) == 0 && H5Pget_nfilters(creation) == 0;
    H5Pclose(creation);
    return plain;
}

static int holds_values(hid_t type)
{
    return H5Tcommitted(type) == 0 && H5Tdetect_class(type, H5T_VLEN) == 0 && H5Tdetect_class(type, H5T_REFERENCE) == 0 &&
           H5Tis_variable_str(type) == 0;
}

static fs_status take_extent(struct walk *walk, hid_t set, uint64_t bytes)
{
    haddr_t offset = H5Dget_offset(set);
    if (bytes == 0)
        return FS_OK;
    if (offset == HADDR_UNDEF || offset > walk->bytes || bytes > walk->bytes - offset)
        return refuse(walk, "is not wholly in this file");
    walk->extent[walk->extents++] = (struct extent){offset, bytes};
    return FS_OK;
}

static fs_status check_set(struct walk *walk, hid_t set)
{
    if (!is_plain(set))
        return refuse(walk, "is not in this file, in one piece and as it is: virtual, external, chunked, filtered or compact");
    hid_t type = H5Dget_type(set);
    uint64_t bytes = type < 0 ? 0 : bytes_of(set, type);
    int values = type >= 0 && holds_values(type);
    H5Tclose(type);
    if (!values)
        return refuse(walk, "is of a type that leads elsewhere: committed, a reference or of varying length");
    if (H5Dget_storage_size(set) != bytes)
        return refuse(walk, "has another size than its shape demands");
    return take_extent(walk, set, bytes);
}

static fs_status check_group(struct walk *walk, hid_t group);

static fs_status check_object(struct walk *walk, hid_t object)
{
    H5I_type_t kind = object < 0 ? H5I_BADID : H5Iget_type(object);
    if (kind == H5I_GROUP)
        return check_group(walk, object);
    return kind == H5I_DATASET ? check_set(walk, object)
                               : refuse(walk, "is neither a group nor a dataset, or cannot be opened");
}

/* A negative result ends HDF5's iteration. */
static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *context)
{
    struct walk *walk = context;
    size_t parent = strlen(walk->name);
    int length = snprintf(walk->name + parent, sizeof walk->name - parent, "/%s", name);
    if (length < 0 || (size_t)length >= sizeof walk->name - parent || ++walk->objects > MOST_OBJECTS) {
        walk->status = refuse(walk, "is an object too many, or has too long a name");
    } else if (link->type != H5L_TYPE_HARD) {
        walk->status = refuse(walk, "is a soft, external or user-defined link");
    } else {
        hid_t object = H5Oopen(group, name, H5P_DEFAULT);
        walk->status = check_object(walk, object);
        if (object >= 0)
            H5Oclose(object);
    }
    walk->name[parent] = 0;
    return walk->status ? -1 : 0;
}

static fs_status check_group(struct walk *walk, hid_t group)
{
    if (walk->depth > MOST_DEPTH)
        return refuse(walk, "is a group within too many others, or within itself");
    walk->depth++;
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, visit, walk) < 0 && !walk->status)
        walk->status = refuse(walk, "cannot be listed");
    walk->depth--;
    return walk->status;
}

static int by_offset(const void *left, const void *right)
{
    const struct extent *a = left, *b = right;
    return (a->first > b->first) - (a->first < b->first);
}

static fs_status check_overlaps(struct walk *walk)
{
    uint64_t free_from = FS_SUPERBLOCK_BYTES;
    qsort(walk->extent, (size_t)walk->extents, sizeof *walk->extent, by_offset);
    for (int i = 0; i < walk->extents; i++) {
        if (walk->extent[i].first < free_from)
            return fs_fail(FS_MISMATCH, "two of its objects lie in one place, at byte %llu",
                           (unsigned long long)walk->extent[i].first);
        free_from = walk->extent[i].first + walk->extent[i].count;
    }
    return FS_OK;
}

fs_status fs_hdf5_contained(hid_t file)
{
    struct walk walk = {.bytes = 0};
    if (H5Fget_filesize(file, &walk.bytes) < 0)
        return fs_fail(FS_MISMATCH, "its size cannot be told");
    walk.extent = fs_alloc(MOST_OBJECTS, sizeof *walk.extent, "a list of datasets");
    fs_status status = walk.extent ? check_group(&walk, file) : FS_ERROR;
    if (!status)
        status = check_overlaps(&walk);
    free(walk.extent);
    return status;
}
