/* Opening, closing and the plan that is in the file. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_watch.h"
#include "base/hdf5_attribute.h"
#include "base/hdf5_contained.h"
#include "base/superblock.h"
#include "filterscope/memory.h"
#include "filterscope/slots.h" /* fs_agree */
#include "store/store.h"

enum { NAME_BYTES = 32 }; /* of a name in /proc */

static int cannot_end; /* HDF5, of this process */

void fs_store_set_cannot_end(void)
{
    cannot_end = 1;
}

/* What can be told without HDF5. O_NONBLOCK: the path may be a pipe's. */
static fs_status inspect(fs_results *results, int writing)
{
    struct stat found;
    results->descriptor = open(results->path, (writing ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
    if (results->descriptor < 0 || fstat(results->descriptor, &found) != 0)
        return fs_fail(FS_ERROR, "%s: cannot open it: %s", results->path, strerror(errno));
    if (!S_ISREG(found.st_mode) || H5Fis_hdf5(results->path) <= 0)
        return fs_fail(FS_MISMATCH, "%s: not an HDF5 file", results->path);
    uint64_t end = fs_superblock_end(results->descriptor), bytes = (uint64_t)found.st_size;
    if (end == 0)
        return fs_fail(FS_MISMATCH, "%s: not a filterscope results file, or damaged: its superblock is another", results->path);
    if (bytes != end)
        return fs_fail(FS_MISMATCH, "%s: %s: it has %llu bytes and should have %llu", results->path,
                       bytes < end ? "truncated" : "damaged", (unsigned long long)bytes, (unsigned long long)end);
    results->bytes = bytes;
    return FS_OK;
}

/* Through MPI-IO, under the name that the open file has in /proc, for this process alone. That is short, too: Open MPI up to
 * 5.0.9 ends the process where a name and some more have over 256 bytes. Without /proc: under its own.
 *
 * By default Open MPI makes a semaphore for each open file, OMPIO_ and the last part of its name, for a shared file pointer,
 * which is not used here. All jobs and users of a node share these: a foreign one keeps ours from opening its file, and that of
 * a killed job may stay taken for ever. The pointers that it calls individual need none. It looks when the first file is
 * opened. */
static hid_t open_for_writing(const fs_results *results, hid_t properties)
{
    char name[NAME_BYTES];
    setenv("OMPI_MCA_sharedfp", "individual", 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", results->descriptor);
    return H5Fopen(access(name, F_OK) == 0 ? name : results->path, H5F_ACC_RDWR, properties);
}

static fs_status open_file(fs_results *results, unsigned flags, MPI_Comm comm)
{
    hid_t access = fs_file_access();
    fs_status status = FS_OK;
    if (comm != MPI_COMM_NULL && H5Pset_fapl_mpio(access, comm, MPI_INFO_NULL) < 0)
        status = fs_hdf5_fail(FS_ERROR, results->path, "open it through MPI-IO");
    fs_file_watch_begin(results->path, "open");
    if (!status)
        results->file = flags == H5F_ACC_RDWR ? open_for_writing(results, access) : H5Fopen(results->path, flags, access);
    if (!status && results->file < 0)
        status = fs_hdf5_fail(flags == H5F_ACC_RDONLY ? FS_MISMATCH : FS_ERROR, results->path, "open it");
    fs_file_watch_end();
    H5Pclose(access);
    return status;
}

static fs_status check_format(const fs_results *results)
{
    char format[64] = "";
    int32_t version = 0;
    hid_t text = fs_text_type(sizeof format - 1);
    int ours = fs_hdf5_read_attribute(results->file, "format", text, format) && strcmp(format, FS_FORMAT) == 0 &&
               fs_hdf5_read_attribute(results->file, "format_version", H5T_NATIVE_INT32, &version);
    H5Tclose(text);
    if (!ours)
        return fs_fail(FS_MISMATCH, "%s: not a filterscope results file", results->path);
    if (version != FS_FORMAT_VERSION)
        return fs_fail(FS_MISMATCH, "%s: format version %d; this program knows %d", results->path, version, FS_FORMAT_VERSION);
    return FS_OK;
}

/* What is written later, is written to places that are the file's own. */
static fs_status check_contained(const fs_results *results)
{
    fs_status status = fs_hdf5_contained(results->file);
    return status ? fs_fail(status, "%s: %s", results->path, fs_message()) : FS_OK;
}

/* Length of dimension `dimension`; -1 where the dataset is missing or has another number of dimensions. */
static long long length_of(hid_t file, fs_place_name name, int dimension)
{
    hsize_t size[H5S_MAX_RANK];
    const fs_form *form = fs_form_of(name);
    hid_t set = H5Dopen2(file, form->name, H5P_DEFAULT);
    if (set < 0)
        return -1;
    hid_t space = H5Dget_space(set);
    int rank = (int)strlen(form->shape);
    int known = H5Sget_simple_extent_ndims(space) == rank && H5Sget_simple_extent_dims(space, size, NULL) == rank;
    H5Sclose(space);
    H5Dclose(set);
    return known ? (long long)size[dimension] : -1;
}

/* The counts of the plan are the lengths of some datasets; every other length must then agree. */
static fs_status learn_counts(fs_results *results)
{
    fs_results_plan *plan = &results->plan;
    const struct {
        fs_place_name name;
        int dimension, least, most;
        int *count;
    } counts[] = {
        {FS_PLACE_CONFIG, 0, 0, FS_CONFIG_ENTRIES, &results->config.count},
        {FS_PLACE_LABELS, 0, 1, FS_MAX_LABELS, &plan->labels},
        {FS_PLACE_LAYERS, 0, 1, FS_MOST_PLAN_LAYERS, &plan->layers},
        {FS_PLACE_UNITS, 0, 1, FS_MOST_PLAN_UNITS, &plan->units},
        {FS_PLACE_HISTORY, 0, 1, INT32_MAX, &plan->epochs}, /* rows of all layers, so far */
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        long long length = length_of(results->file, counts[i].name, counts[i].dimension);
        if (length < counts[i].least || length > counts[i].most)
            return fs_fail(FS_MISMATCH, "%s: %s is missing or has another length than %d .. %d", results->path,
                           fs_form_of(counts[i].name)->name, counts[i].least, counts[i].most);
        *counts[i].count = (int)length;
    }
    if (plan->epochs % plan->layers || plan->epochs / plan->layers > FS_MOST_PLAN_EPOCHS)
        return fs_fail(FS_MISMATCH, "%s: /probe/history has %d rows for %d layers", results->path, plan->epochs, plan->layers);
    plan->epochs /= plan->layers;
    return FS_OK;
}

static fs_status allocate(fs_results *results)
{
    fs_results_plan *plan = &results->plan;
    size_t layers = (size_t)plan->layers;
    results->places = FS_PLACES_ONCE + plan->layers * FS_PLACES_PER_LAYER;
    results->label_name = fs_alloc((size_t)plan->labels, sizeof *results->label_name, "label names");
    results->layer = fs_alloc(layers, sizeof *results->layer, "layers");
    results->unit = fs_alloc((size_t)plan->units, sizeof *results->unit, "units");
    results->place = fs_alloc((size_t)results->places, sizeof *results->place, "datasets");
    results->newest = fs_alloc(layers, sizeof *results->newest, "slots");
    results->begun = fs_alloc((size_t)plan->units, sizeof *results->begun, "units");
    results->buffer = fs_alloc(FS_SUM_BYTES, 1, "a buffer");
    plan->label_name = (const char(*)[FS_LABEL_NAME_BYTES])results->label_name;
    plan->layer = results->layer;
    plan->unit = results->unit;
    plan->config = &results->config;
    return results->label_name && results->layer && results->unit && results->place && results->newest && results->begun &&
                   results->buffer
               ? FS_OK
               : FS_ERROR;
}

static fs_status open_place(fs_results *results, fs_place_name name, int index)
{
    fs_place *place = (fs_place *)fs_store_place(results, name, index);
    if (place->form && place->set >= 0)
        return FS_OK;
    fs_place_describe(place, results->path, name, &results->plan, index);
    return fs_place_open(place, results->file, results->descriptor, results->bytes);
}

/* Rows that never change, against the sum that was recorded when they were made. */
static fs_status check_fixed(fs_results *results, fs_place_name name)
{
    const fs_place *place = fs_store_place(results, name, 0);
    uint32_t recorded = 0, found;
    fs_status status = fs_place_sum_fixed(place, results->buffer, &found, &recorded);
    if (!status && found != recorded)
        status = fs_fail(FS_MISMATCH, "%s: %s is damaged: recorded CRC %08x, found %08x", results->path, place->path, recorded,
                         found);
    return status;
}

/* Once, for the whole session: no metadata are needed after it. Those of phase four are there where the units say so, which are
 * yet to be read with `known` = 0. */
static fs_status open_places(fs_results *results, int known)
{
    const fs_results_plan *plan = &results->plan;
    fs_status status = FS_OK;
    for (int n = 0; n < FS_PLACE_NAMES && !status; n++) {
        fs_place_name name = (fs_place_name)n;
        for (int i = 0; i < (n < FS_PLACES_ONCE ? 1 : plan->layers) && !status; i++)
            if (!fs_form_of(name)->kind || (known && fs_form_exists(name, plan, i)))
                status = open_place(results, name, i);
    }
    return status;
}

static fs_status close_file(fs_results *results)
{
    fs_status status = FS_OK;
    fs_file_watch_begin(results->path, "close");
    for (int i = 0; i < results->places && results->place; i++) {
        fs_status closed = fs_place_close(&results->place[i]);
        status = status ? status : closed;
    }
    errno = 0;
    if (results->file >= 0 && H5Fclose(results->file) < 0) {
        int error = errno; /* the system's word, which MPI-IO keeps from HDF5 */
        fs_store_set_cannot_end();
        if (!status)
            status = fs_fail(FS_ERROR, "%s: cannot close it: %s", results->path, strerror(error ? error : EIO));
    }
    results->file = -1;
    fs_file_watch_end();
    return status;
}

static fs_status read_all(const fs_results *results, fs_place_name name, void *rows)
{
    const fs_place *place = fs_store_place(results, name, 0);
    return fs_place_read(place, 0, place->size[0], rows);
}

static int index_of(const fs_results_plan *plan, int32_t layer)
{
    for (int i = 0; i < plan->layers; i++)
        if (plan->layer[i].layer == layer)
            return i;
    return -1;
}

static fs_status read_units(fs_results *results)
{
    fs_unit_row *row = fs_records_read(results);
    if (!row)
        return FS_ERROR;
    fs_status status = FS_OK;
    for (int unit = 0; unit < results->plan.units && !status; unit++) {
        int index = index_of(&results->plan, row[unit].layer);
        results->unit[unit] = (fs_unit){row[unit].kind, index, row[unit].first, row[unit].count};
        if (index < 0)
            status = fs_fail(FS_MISMATCH, "%s: row %d of /units: there is no layer %d", results->path, unit, row[unit].layer);
    }
    free(row);
    return status;
}

/* Everything about the file but its results. It is open for reading only, whatever it will be opened for. */
static fs_status read_plan(fs_results *results)
{
    fs_status status = check_format(results);
    if (!status)
        status = check_contained(results);
    if (!status)
        status = learn_counts(results);
    if (!status)
        status = allocate(results);
    if (!status)
        status = open_place(results, FS_PLACE_LAYERS, 0);
    if (!status)
        status = check_fixed(results, FS_PLACE_LAYERS);
    if (!status)
        status = read_all(results, FS_PLACE_LAYERS, results->layer);
    if (!status)
        status = open_places(results, 0);
    if (!status)
        status = check_fixed(results, FS_PLACE_CONFIG);
    if (!status)
        status = check_fixed(results, FS_PLACE_LABELS);
    if (!status)
        status = check_fixed(results, FS_PLACE_UNITS);
    if (!status)
        status = read_all(results, FS_PLACE_CONFIG, results->config.entry);
    if (!status)
        status = read_all(results, FS_PLACE_LABELS, results->label_name);
    if (!status)
        status = read_units(results);
    if (!status)
        status = fs_plan_check(&results->plan, FS_MISMATCH, results->path);
    return status ? status : open_places(results, 1);
}

/* Collective on comm. The file is opened for writing only where every rank has read it and found it to be sound: HDF5 may
 * change a foreign file by opening it so. Then each rank opens it through MPI-IO for itself alone, on MPI_COMM_SELF: nothing
 * that HDF5 does here is collective, so that a disk which fails on one rank leaves no other waiting for it. (In an open or a
 * close on all ranks together, HDF5 1.10 would go from such a failure on to a call that the others do not make.) HDF5 permits
 * it, as the metadata stay as they are; each close writes the superblock that is there already. */
static fs_status open_parallel(fs_results *results, MPI_Comm comm, fs_status status)
{
    fs_status closed = close_file(results);
    status = fs_agree(comm, status ? status : closed);
    if (status)
        return status;
    status = open_file(results, H5F_ACC_RDWR, MPI_COMM_SELF);
    if (!status)
        status = open_places(results, 1);
    if (status) /* OMPIO does not tell why a read failed, nor that it did */
        status = fs_fail(FS_ERROR, "%s, though a moment ago it was sound: a read failed (%s)", fs_message(), strerror(EIO));
    if (!status)
        status = fs_store_sync(results); /* what a killed run has left in memory */
    return fs_agree(comm, status);
}

static void release(fs_results *results)
{
    if (results->descriptor >= 0)
        close(results->descriptor);
    free(results->path);
    free(results->label_name);
    free(results->layer);
    free(results->unit);
    free(results->place);
    free(results->newest);
    free(results->begun);
    free(results->buffer);
    free(results);
}

static fs_results *prepare(const char *path)
{
    fs_results *results = fs_alloc(1, sizeof *results, "a results file");
    if (!results)
        return NULL;
    results->descriptor = -1;
    results->file = -1;
    results->every = FS_SYNC_SECONDS;
    results->path = fs_alloc(strlen(path) + 1, 1, "a path");
    if (results->path)
        return strcpy(results->path, path), results;
    release(results);
    return NULL;
}

fs_status fs_results_open(const char *path, MPI_Comm comm, fs_results **results)
{
    int writing = comm != MPI_COMM_NULL;
    fs_results *opened = prepare(path);
    fs_status status = opened ? FS_OK : FS_ERROR;
    *results = NULL;
    fs_hdf5_quiet();
    if (writing && opened)
        MPI_Comm_rank(comm, &opened->rank);
    errno = 0;
    if (!status)
        status = inspect(opened, writing);
    if (!status)
        status = open_file(opened, H5F_ACC_RDONLY, MPI_COMM_NULL);
    if (!status)
        status = read_plan(opened);
    status = fs_unless_unread(path, status);
    if (writing && opened)
        status = open_parallel(opened, comm, status);
    else if (writing)
        status = fs_agree(comm, status);
    if (!status) {
        *results = opened;
    } else if (opened) {
        close_file(opened);
        release(opened);
    }
    return status;
}

fs_status fs_results_close(fs_results *results)
{
    if (!results)
        return FS_OK;
    int writing = (fcntl(results->descriptor, F_GETFL) & O_ACCMODE) == O_RDWR;
    fs_status status = close_file(results);
    if (writing && !status)
        status = fs_store_sync(results);
    release(results);
    return status;
}

int fs_results_cannot_end(void)
{
    return cannot_end;
}
