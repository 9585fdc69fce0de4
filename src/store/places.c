#include "store/places.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hdf5_attribute.h"
#include "filterscope/crc32c.h"

/* Most bytes of one call: MPI-IO counts in int. */
static const uint64_t most_bytes = 1 << 28;

void fs_hdf5_quiet(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

struct cause {
    char text[256];
    int system; /* a system call failed: that says nothing about the file */
};

/* The first entry of the walk is the innermost. System calls' entries hold "error message = 'REASON'" among much else. */
static herr_t take_cause(unsigned number, const H5E_error2_t *error, void *context)
{
    struct cause *cause = context;
    if (number > 0 || !error->desc)
        return 0;
    const char *lead = "error message = '", *reason = strstr(error->desc, lead);
    cause->system = reason != NULL;
    snprintf(cause->text, sizeof cause->text, "%s", reason ? reason + strlen(lead) : error->desc);
    char *end = strpbrk(cause->text, reason ? "'\n" : "\n");
    if (end)
        *end = 0;
    return 0;
}

fs_status fs_hdf5_fail(fs_status status, const char *file, const char *what, ...)
{
    struct cause cause = {"HDF5 names no cause", 0};
    char doing[256];
    va_list arguments;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_cause, &cause);
    va_start(arguments, what);
    vsnprintf(doing, sizeof doing, what, arguments);
    va_end(arguments);
    return fs_fail(cause.system ? FS_ERROR : status, "%s: cannot %s: %s", file, doing, cause.text);
}

/* The 1.8 format: its superblock has no mark "open for writing", with which a killed program's file would be refused, and its
 * metadata have checksums. No locks: not all file systems of clusters have them, and readers beside a sweep are welcome. No
 * sieve buffer: a reader beside a sweep sees the file as it is, not as it was. */
hid_t fs_file_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    herr_t failed = H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
#if H5_VERSION_GE(1, 10, 7)
    if (!getenv("HDF5_USE_FILE_LOCKING"))
        failed |= H5Pset_file_locking(access, 0, 1);
#else
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
#endif
    failed |= H5Pset_sieve_buf_size(access, 0);
    if (failed >= 0)
        return access;
    H5Pclose(access);
    return -1;
}

void fs_place_describe(fs_place *place, const char *file, fs_place_name name, const fs_results_plan *plan, int index)
{
    *place = (fs_place){.file = file, .form = fs_form_of(name), .set = -1, .type = -1};
    place->rank = fs_form_extent(name, plan, index, place->size);
    fs_form_path(name, plan->layer[index].layer, place->path);
}

static uint64_t bytes_of(const fs_place *place)
{
    uint64_t bytes = place->form->bytes;
    for (int d = 0; d < place->rank; d++)
        if (__builtin_mul_overflow(bytes, (uint64_t)place->size[d], &bytes))
            return UINT64_MAX;
    return bytes;
}

static int has_shape(const fs_place *place)
{
    hsize_t found[H5S_MAX_RANK];
    hid_t space = H5Dget_space(place->set);
    int same = H5Sget_simple_extent_type(space) == H5S_SIMPLE && H5Sget_simple_extent_ndims(space) == place->rank &&
               H5Sget_simple_extent_dims(space, found, NULL) == place->rank &&
               memcmp(found, place->size, (size_t)place->rank * sizeof *found) == 0;
    H5Sclose(space);
    return same;
}

static int has_type(const fs_place *place)
{
    hid_t found = H5Dget_type(place->set);
    int same = H5Tequal(found, place->type) > 0;
    H5Tclose(found);
    return same;
}

/* In one piece, in this file: not in chunks, filters or an external file, nor beyond the end. */
static int has_extent(const fs_place *place, uint64_t file_bytes)
{
    hid_t creation = H5Dget_create_plist(place->set);
    int plain = H5Pget_layout(creation) == H5D_CONTIGUOUS && H5Pget_external_count(creation) == 0;
    H5Pclose(creation);
    uint64_t bytes = bytes_of(place);
    if (!plain || bytes == 0)
        return plain;
    haddr_t offset = H5Dget_offset(place->set);
    return offset != HADDR_UNDEF && H5Dget_storage_size(place->set) == bytes && offset <= file_bytes &&
           bytes <= file_bytes - offset;
}

fs_status fs_place_open(fs_place *place, hid_t file, int descriptor, uint64_t file_bytes)
{
    place->descriptor = descriptor;
    place->set = H5Dopen2(file, place->path, H5P_DEFAULT);
    if (place->set < 0)
        return fs_hdf5_fail(FS_MISMATCH, place->file, "open %s", place->path);
    place->type = fs_form_type(place->form);
    const char *wrong = place->type < 0                  ? "cannot be typed"
                        : !has_shape(place)              ? "is not shaped as /layers, /labels and /units demand"
                        : !has_type(place)               ? "is of another type"
                        : !has_extent(place, file_bytes) ? "is not wholly in this file, in one piece"
                                                         : NULL;
    place->offset = wrong ? 0 : H5Dget_offset(place->set);
    return wrong ? fs_fail(FS_MISMATCH, "%s: %s %s", place->file, place->path, wrong) : FS_OK;
}

fs_status fs_place_close(fs_place *place)
{
    fs_status status = FS_OK;
    if (place->form && place->set >= 0 && H5Dclose(place->set) < 0)
        status = fs_hdf5_fail(FS_ERROR, place->file, "close %s", place->path);
    if (place->form && place->type >= 0)
        H5Tclose(place->type);
    if (place->form)
        place->set = place->type = -1;
    return status;
}

/* The largest block that is contiguous in the file, begins at element `first` and has at most `count` elements; returns how
 * many it has. A range of elements need not be a hyperslab, but it is a few of them. */
static uint64_t cut_block(const fs_place *place, uint64_t first, uint64_t count, hsize_t *start, hsize_t *block)
{
    uint64_t stride = 1, elements = 1;
    int aligned = 1;
    for (int d = place->rank - 1; d >= 0; d--) {
        uint64_t size = place->size[d], coordinate = first / stride % size;
        uint64_t most = aligned ? count / stride : 1; /* aligned: the block has all of each dimension after d */
        start[d] = coordinate;
        block[d] = most < size - coordinate ? most : size - coordinate;
        aligned = aligned && coordinate == 0 && block[d] == size;
        elements *= block[d];
        stride *= size;
    }
    return elements;
}

static hid_t select_block(const fs_place *place, const hsize_t *start, const hsize_t *block)
{
    hid_t space = H5Screate_simple(place->rank, place->size, NULL);
    if (space >= 0)
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, block, NULL);
    return space;
}

static fs_status fail_write(const fs_place *place)
{
    if (errno) /* the system's word, which MPI-IO keeps from HDF5 */
        return fs_fail(FS_ERROR, "%s: cannot write %s: %s", place->file, place->path, strerror(errno));
    return fs_hdf5_fail(FS_ERROR, place->file, "write %s", place->path);
}

/* Independent of other ranks: the default transfer properties. A call that the system served in part, without an error, is
 * repeated: MPI-IO does not go on with the rest. */
static fs_status write_block(const fs_place *place, const hsize_t *start, const hsize_t *block, uint64_t count,
                             const void *from)
{
    hsize_t elements = count;
    hid_t memory = H5Screate_simple(1, &elements, NULL), file = select_block(place, start, block);
    herr_t moved = -1;
    errno = 0;
    for (int attempt = 0; attempt < 3 && moved < 0 && !errno; attempt++)
        moved = H5Dwrite(place->set, place->type, memory, file, H5P_DEFAULT, from);
    fs_status status = moved < 0 ? fail_write(place) : FS_OK;
    H5Sclose(memory);
    H5Sclose(file);
    return status;
}

fs_status fs_place_write(const fs_place *place, uint64_t first, uint64_t count, const void *elements)
{
    uint64_t most = most_bytes / place->form->bytes;
    const char *from = elements;
    fs_status status = FS_OK;
    while (count && !status) {
        hsize_t start[FS_MOST_DIMENSIONS], block[FS_MOST_DIMENSIONS];
        uint64_t now = cut_block(place, first, count < most ? count : most, start, block);
        status = write_block(place, start, block, now, from);
        first += now;
        count -= now;
        from += now * place->form->bytes;
    }
    return status;
}

fs_status fs_place_read(const fs_place *place, uint64_t first, uint64_t count, void *elements)
{
    uint64_t left = count * place->form->bytes;
    off_t offset = (off_t)(place->offset + first * place->form->bytes);
    for (char *into = elements; left;) {
        ssize_t got = pread(place->descriptor, into, left, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fs_fail(FS_ERROR, "%s: cannot read %s: %s", place->file, place->path,
                           got ? strerror(errno) : "the file ends before");
        into += got;
        offset += got;
        left -= (uint64_t)got;
    }
    return FS_OK;
}

fs_status fs_place_sum(const fs_place *place, uint64_t first, uint64_t count, void *buffer, uint32_t *crc)
{
    uint64_t most = FS_SUM_BYTES / place->form->bytes;
    fs_status status = FS_OK;
    while (count && !status) {
        uint64_t now = count < most ? count : most;
        status = fs_place_read(place, first, now, buffer);
        if (!status)
            *crc = fs_crc32c(*crc, buffer, now * place->form->bytes);
        first += now;
        count -= now;
    }
    return status;
}

fs_status fs_place_sum_fixed(const fs_place *place, void *buffer, uint32_t *found, uint32_t *recorded)
{
    uint64_t most = FS_SUM_BYTES / place->form->bytes, rows = place->size[0];
    fs_status status = FS_OK;
    *found = 0;
    if (!fs_hdf5_read_attribute(place->set, "crc", H5T_NATIVE_UINT32, recorded))
        return fs_fail(FS_MISMATCH, "%s: %s has no attribute crc", place->file, place->path);
    for (uint64_t first = 0; first < rows && !status; first += most) {
        uint64_t now = rows - first < most ? rows - first : most;
        status = fs_place_read(place, first, now, buffer);
        if (!status)
            *found = fs_fixed_sum(place->form, *found, buffer, now);
    }
    return status;
}
