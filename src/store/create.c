/* Creation: everything that a sweep will ever overwrite gets its place, and its place real disk blocks. */
#define _GNU_SOURCE /* memfd_create, fallocate */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/superblock.h"
#include "filterscope/memory.h"
#include "filterscope/path.h"
#include "store/store.h"

enum { ROWS_AT_ONCE = 1024, METADATA_BYTES = 1 << 16, METADATA_BYTES_A_LAYER = 1 << 14 };

struct creation {
    const char *path;
    char *temporary;
    const fs_results_plan *plan;
    hid_t file;
    int hdf5_descriptor;     /* HDF5's own */
    int descriptor;          /* a duplicate that outlives HDF5's; -1 before */
    fs_results *old;         /* what it takes over and replaces; NULL: nothing */
    const fs_target *target; /* of that */
};

static fs_status fail(const struct creation *c, const char *cause)
{
    return fs_fail(FS_ERROR, "%s: cannot create it: %s", c->path, cause);
}

static fs_status fail_hdf5(const struct creation *c, const char *what)
{
    return fs_hdf5_fail(FS_ERROR, c->path, "create it (%s)", what);
}

static fs_status write_known_rows(const struct creation *c, const fs_place *place, fs_place_name name, uint32_t *fixed)
{
    size_t bytes = place->form->bytes;
    char *rows = fs_alloc(ROWS_AT_ONCE, bytes, place->path);
    fs_status status = rows ? FS_OK : FS_ERROR;
    for (uint64_t first = 0; first < place->size[0] && !status; first += ROWS_AT_ONCE) {
        uint64_t left = place->size[0] - first, count = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        for (uint64_t i = 0; i < count; i++)
            fs_known_row(name, c->plan, first + i, rows + i * bytes);
        *fixed = fs_fixed_sum(place->form, *fixed, rows, count);
        status = fs_place_write(place, first, count, rows);
    }
    free(rows);
    return status;
}

/* The old file's units are in the new one, in the same order, others between and behind them: a row of `place` for each. */
static fs_status take_over_units(const struct creation *c, const fs_place *place, const fs_place *old)
{
    const fs_results_plan *before = &c->old->plan, *now = c->plan;
    fs_status status = FS_OK;
    for (int unit = 0, number = 0; unit < before->units && !status; unit++, number++) {
        while (number < now->units && memcmp(&before->unit[unit], &now->unit[number], sizeof *now->unit) != 0)
            number++;
        if (number == now->units)
            return fs_fail(FS_ERROR, "%s: cannot create it: unit %d has no place in it", c->path, unit);
        status = fs_place_read(old, (uint64_t)unit, 1, c->old->buffer);
        if (!status)
            status = fs_place_write(place, (uint64_t)number, 1, c->old->buffer);
    }
    return status;
}

/* All that the old file has of the place. */
static fs_status take_over(const struct creation *c, const fs_place *place, fs_place_name name, int index)
{
    const fs_place *old = fs_store_place(c->old, name, index);
    if (name == FS_PLACE_UNITS || name == FS_PLACE_RUNS)
        return take_over_units(c, place, old);
    uint64_t most = FS_SUM_BYTES / place->form->bytes, elements = old->rank > 0;
    fs_status status = FS_OK;
    for (int d = 0; d < old->rank; d++)
        elements *= old->size[d];
    for (uint64_t first = 0; first < elements && !status && name != FS_PLACE_CONFIG; first += most) {
        uint64_t count = elements - first < most ? elements - first : most;
        status = fs_place_read(old, first, count, c->old->buffer);
        if (!status)
            status = fs_place_write(place, first, count, c->old->buffer);
    }
    return status;
}

/* Contiguous, allocated and filled at once, so that writing to it later neither moves anything nor meets a full disk.
 * (Where the file system copies on write, a full disk can still fail a write; no file format could prevent that.) */
static fs_status set_properties(const struct creation *c, const fs_place *place, hid_t *properties)
{
    *properties = H5Pcreate(H5P_DATASET_CREATE);
    void *element = fs_alloc(1, place->form->bytes, "a fill value");
    if (!element)
        return FS_ERROR;
    fs_form_fill(place->form, element);
    int set = H5Pset_layout(*properties, H5D_CONTIGUOUS) >= 0 && H5Pset_alloc_time(*properties, H5D_ALLOC_TIME_EARLY) >= 0 &&
              H5Pset_fill_time(*properties, H5D_FILL_TIME_ALLOC) >= 0 && H5Pset_obj_track_times(*properties, 0) >= 0 &&
              H5Pset_fill_value(*properties, place->type, element) >= 0;
    free(element);
    return set ? FS_OK : fail_hdf5(c, place->path);
}

static int write_attribute(hid_t object, const char *name, hid_t type, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR), attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int written = attribute >= 0 && H5Awrite(attribute, type, value) >= 0;
    if (attribute >= 0)
        written = H5Aclose(attribute) >= 0 && written;
    H5Sclose(space);
    return written;
}

static int write_text_attribute(hid_t object, const char *name, const char *text)
{
    hid_t type = fs_text_type(strlen(text));
    int written = write_attribute(object, name, type, text);
    H5Tclose(type);
    return written;
}

static fs_status create_set(const struct creation *c, fs_place *place)
{
    hid_t properties, space = H5Screate_simple(place->rank, place->size, NULL);
    place->type = fs_form_type(place->form);
    fs_status status = set_properties(c, place, &properties);
    if (!status) {
        place->set = H5Dcreate2(c->file, place->path, place->type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
        if (place->set < 0 || (place->form->axes && !write_text_attribute(place->set, "axes", place->form->axes)))
            status = fail_hdf5(c, place->path);
    }
    H5Sclose(space);
    H5Pclose(properties);
    return status;
}

static fs_status create_place(const struct creation *c, fs_place_name name, int index)
{
    fs_place place;
    fs_place_describe(&place, c->path, name, c->plan, index);
    fs_status status = create_set(c, &place);
    uint32_t fixed = 0;
    if (!status && fs_known(name))
        status = write_known_rows(c, &place, name, &fixed);
    if (!status && place.form->fixed && !write_attribute(place.set, "crc", H5T_STD_U32LE, &fixed))
        status = fail_hdf5(c, place.path);
    if (!status && c->old)
        status = take_over(c, &place, name, index);
    fs_status closed = fs_place_close(&place);
    return status ? status : closed;
}

/* No times in any header, so that equal plans give equal files. */
static fs_status create_group(const struct creation *c, const char *path)
{
    hid_t properties = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(properties, 0);
    hid_t group = H5Gcreate2(c->file, path, H5P_DEFAULT, properties, H5P_DEFAULT);
    fs_status status = group < 0 || H5Gclose(group) < 0 ? fail_hdf5(c, path) : FS_OK;
    H5Pclose(properties);
    return status;
}

static fs_status create_groups(const struct creation *c)
{
    static const struct {
        const char *path;
        int layers;           /* has a group for each layer ... */
        fs_place_name needed; /* ... where this is there; any that always is, for the others */
    } groups[] = {{"/probe", 1, FS_PLACE_WEIGHT},
                  {"/silence", 1, FS_PLACE_FIELD},
                  {"/resume", 1, FS_PLACE_TRAINING},
                  {"/provenance", 0, FS_PLACE_LAUNCHES},
                  {"/knockout", 1, FS_PLACE_RIGHT}};
    fs_status status = FS_OK;
    for (size_t g = 0; g < sizeof groups / sizeof *groups && !status; g++) {
        if (groups[g].needed != FS_PLACE_RIGHT || fs_form_exists(FS_PLACE_BASELINE, c->plan, 0))
            status = create_group(c, groups[g].path);
        for (int i = 0; i < c->plan->layers && !status && groups[g].layers; i++) {
            char path[FS_PLACE_PATH_BYTES];
            snprintf(path, sizeof path, "%s/%d", groups[g].path, c->plan->layer[i].layer);
            if (fs_form_exists(groups[g].needed, c->plan, i))
                status = create_group(c, path);
        }
    }
    return status;
}

static fs_status create_contents(const struct creation *c)
{
    const int32_t version = FS_FORMAT_VERSION;
    if (!write_text_attribute(c->file, "format", FS_FORMAT) ||
        !write_attribute(c->file, "format_version", H5T_STD_I32LE, &version))
        return fail_hdf5(c, "attributes");
    fs_status status = create_groups(c);
    for (int name = 0; name < FS_PLACES_ONCE && !status; name++)
        if (fs_form_exists((fs_place_name)name, c->plan, 0))
            status = create_place(c, (fs_place_name)name, 0);
    for (int i = 0; i < c->plan->layers && !status; i++)
        for (int name = FS_PLACES_ONCE; name < FS_PLACE_NAMES && !status; name++)
            if (fs_form_exists((fs_place_name)name, c->plan, i))
                status = create_place(c, (fs_place_name)name, i);
    return status;
}

static fs_status create_file(struct creation *c)
{
    hid_t access = fs_file_access(), properties = H5Pcreate(H5P_FILE_CREATE);
    int *descriptor;
    fs_status status = FS_OK;
    H5Pset_obj_track_times(properties, 0);
    c->file = H5Fcreate(c->temporary, H5F_ACC_EXCL, properties, access);
    if (c->file < 0 || H5Fget_vfd_handle(c->file, H5P_DEFAULT, (void **)&descriptor) < 0) {
        status = fail_hdf5(c, c->temporary);
    } else {
        c->hdf5_descriptor = *descriptor;
        c->descriptor = fcntl(*descriptor, F_DUPFD_CLOEXEC, 0);
        status = c->descriptor < 0 ? fail(c, strerror(errno)) : FS_OK;
    }
    H5Pclose(properties);
    H5Pclose(access);
    return status;
}

/* What the file will take at most, with all that HDF5 adds. */
static uint64_t most_bytes(const struct creation *c)
{
    return fs_results_bytes(c->plan) + METADATA_BYTES + (uint64_t)c->plan->layers * METADATA_BYTES_A_LAYER;
}

static fs_status fail_for_room(const struct creation *c, int error)
{
    return fs_fail(FS_ERROR, "%s: cannot create it: it needs %.1f MiB: %s", c->path, (double)most_bytes(c) / (1 << 20),
                   strerror(error));
}

/* The process's limit, at which a signal would end it. */
static fs_status check_limit(const struct creation *c)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= most_bytes(c))
        return FS_OK;
    return fail_for_room(c, EFBIG);
}

/* A full disk is found here at once rather than after many gigabytes of fill values; where the file system cannot reserve,
 * it is found then. */
static fs_status reserve(const struct creation *c, int descriptor)
{
    if (fallocate(descriptor, 0, 0, (off_t)most_bytes(c)) == 0 || (errno != ENOSPC && errno != EFBIG && errno != EDQUOT))
        return FS_OK;
    return fail_for_room(c, errno);
}

/* The same before HDF5 begins, in a file without a name: a release 2 with its assertions ends the program where there is no
 * room for a new file's first page. What else may be wrong with the folder, HDF5 says. */
static fs_status find_room(const struct creation *c)
{
    char folder[FS_PATH_BYTES];
    fs_path_folder(c->path, folder);
    int descriptor = open(*folder ? folder : ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return FS_OK;
    fs_status status = reserve(c, descriptor);
    close(descriptor);
    return status;
}

/* HDF5 1.10 cannot close a file whose metadata it cannot write: H5Fclose fails, and the process crashes when it exits. So
 * what is left to write at the close is given real blocks beforehand ... */
static fs_status reserve_the_rest(const struct creation *c)
{
    hsize_t bytes = 0;
    if (H5Fget_filesize(c->file, &bytes) < 0)
        return fail_hdf5(c, "its size");
    int failed = posix_fallocate(c->descriptor, 0, (off_t)bytes);
    return failed == 0 || failed == EOPNOTSUPP || failed == EINVAL ? FS_OK : fail(c, strerror(failed));
}

/* ... and after a failure HDF5 closes on a file in memory, which takes whatever is left and is then forgotten. */
static void divert(const struct creation *c)
{
    int memory = memfd_create("filterscope", MFD_CLOEXEC);
    if (memory >= 0) {
        dup2(memory, c->hdf5_descriptor);
        close(memory);
    }
}

static fs_status close_file(struct creation *c, fs_status status)
{
    if (!status)
        status = reserve_the_rest(c);
    if (!status && H5Fflush(c->file, H5F_SCOPE_LOCAL) < 0)
        status = fail_hdf5(c, "its metadata");
    if (status)
        divert(c);
    if (H5Fclose(c->file) < 0) {
        status = status ? status : fail_hdf5(c, "closing");
        fs_store_set_cannot_end();
    }
    return status;
}

/* 1 where the file of that name is the one that this process made: not another's that is creating the same results. */
static int is_ours(const struct creation *c)
{
    struct stat ours, found;
    return fstat(c->descriptor, &ours) == 0 && lstat(c->temporary, &found) == 0 && ours.st_dev == found.st_dev &&
           ours.st_ino == found.st_ino;
}

/* Blocks that were reserved beyond the end go; the contents reach the disk before the name does. */
static fs_status publish(const struct creation *c)
{
    uint64_t end = fs_superblock_end(c->descriptor);
    if (end == 0)
        return fail(c, "HDF5 wrote no superblock");
    struct stat old;
    if (c->old && fstat(c->old->descriptor, &old) == 0)
        fchmod(c->descriptor, old.st_mode & 07777);
    if (ftruncate(c->descriptor, (off_t)end) != 0 || fsync(c->descriptor) != 0)
        return fail(c, strerror(errno));
    if (!is_ours(c))
        return fail(c, "another process is creating it");
    fs_status status = c->old ? fs_target_check(c->target) : FS_OK;
    if (status)
        return status;
    if ((c->old ? rename : fs_path_rename_new)(c->temporary, c->path) != 0)
        return fail(c, strerror(errno));
    return fs_path_sync_folder(c->path) == 0 ? FS_OK : fail(c, strerror(errno));
}

static fs_status make_way(const struct creation *c)
{
    struct stat found;
    if (c->old)
        return fs_path_clear(c->temporary);
    return lstat(c->path, &found) == 0 ? fail(c, strerror(EEXIST)) : fs_path_clear(c->temporary);
}

static fs_status create(struct creation *c)
{
    fs_status status = check_limit(c);
    if (!status)
        status = make_way(c);
    if (!status)
        status = find_room(c);
    if (status)
        return status;
    status = create_file(c);
    if (c->file < 0) {
        if (!strstr(fs_message(), strerror(EEXIST))) /* else it is another process's */
            unlink(c->temporary);
        return status;
    }
    if (!status)
        status = reserve(c, c->descriptor);
    if (!status)
        status = create_contents(c);
    status = close_file(c, status);
    if (!status)
        status = publish(c);
    if (status && c->descriptor >= 0 && is_ours(c))
        unlink(c->temporary);
    if (c->descriptor >= 0)
        close(c->descriptor);
    return status;
}

static fs_status create_beside(struct creation *c)
{
    fs_status status = fs_plan_check(c->plan, FS_ERROR, c->path);
    if (status)
        return status;
    fs_hdf5_quiet();
    c->temporary = fs_alloc(strlen(c->path) + sizeof ".tmp", 1, "a path");
    if (!c->temporary)
        return FS_ERROR;
    sprintf(c->temporary, "%s.tmp", c->path);
    status = create(c);
    free(c->temporary);
    return status;
}

fs_status fs_results_create(const char *path, const fs_results_plan *plan)
{
    struct creation c = {.path = path, .plan = plan, .file = -1, .descriptor = -1};
    return create_beside(&c);
}

fs_status fs_results_extend(const fs_target *target, const fs_results_plan *plan)
{
    struct creation c = {.path = target->path, .plan = plan, .file = -1, .descriptor = -1, .target = target};
    fs_status status = fs_results_open(target->path, MPI_COMM_NULL, &c.old);
    if (!status)
        status = create_beside(&c);
    fs_results_close(c.old);
    return status;
}
