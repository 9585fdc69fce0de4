/* What never changes can be had again from the command that made the file, and what only tells how a run went can be spared. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hdf5_contained.h"
#include "filterscope/memory.h"
#include "store/store.h"

/* The place's rows as the plan has them. */
static char *known_rows(const fs_place *place, fs_place_name name, const fs_results_plan *plan)
{
    size_t bytes = place->form->bytes;
    char *rows = fs_alloc((size_t)place->size[0], bytes, place->path);
    for (uint64_t row = 0; rows && row < place->size[0]; row++)
        fs_known_row(name, plan, row, rows + row * bytes);
    return rows;
}

/* Rows that are sound stay as they are, with what follows their fixed bytes. Past HDF5, which has the file open for reading. */
static fs_status write_rows(const fs_place *place, int file, const char *known)
{
    size_t bytes = place->form->bytes;
    off_t offset = (off_t)H5Dget_offset(place->set);
    char *row = fs_alloc(1, bytes, "a row");
    int done = row != NULL;
    for (uint64_t i = 0; i < place->size[0] && done; i++, offset += (off_t)bytes, known += bytes)
        done = pread(file, row, bytes, offset) == (ssize_t)bytes &&
               (memcmp(row, known, place->form->fixed) == 0 || pwrite(file, known, bytes, offset) == (ssize_t)bytes);
    done = done && fsync(file) == 0;
    free(row);
    return done ? FS_OK : fs_fail(FS_ERROR, "%s: cannot write %s: %s", place->file, place->path, strerror(errno));
}

static fs_status repair_place(const fs_place *place, fs_place_name name, const fs_results_plan *plan, int file, void *buffer)
{
    uint32_t found, recorded;
    fs_status status = fs_place_sum_fixed(place, buffer, &found, &recorded);
    if (status || found == recorded)
        return status;
    char *known = known_rows(place, name, plan);
    if (!known)
        return FS_ERROR;
    if (fs_fixed_sum(place->form, 0, known, place->size[0]) != recorded)
        status = fs_fail(FS_MISMATCH, "%s: %s is damaged, and this command is not the one it was made with", place->file,
                         place->path);
    else
        status = write_rows(place, file, known);
    if (!status)
        fprintf(fs_messages(), "filterscope: %s: %s was damaged (recorded CRC %08x, found %08x): written again\n", place->file,
                place->path, recorded, found);
    free(known);
    return status;
}

static fs_status repair_file(const char *path, const fs_results_plan *plan, hid_t hdf5, int file, void *buffer)
{
    struct stat found;
    fs_status status = fstat(file, &found) == 0 ? FS_OK : fs_fail(FS_ERROR, "%s: %s", path, strerror(errno));
    if (!status)
        status = fs_hdf5_contained(hdf5);
    for (int name = 0; name < FS_PLACES_ONCE && !status; name++) {
        fs_place place;
        fs_place_describe(&place, path, (fs_place_name)name, plan, 0);
        if (!place.form->fixed)
            continue;
        status = fs_place_open(&place, hdf5, file, (uint64_t)found.st_size);
        if (!status)
            status = repair_place(&place, (fs_place_name)name, plan, file, buffer);
        fs_place_close(&place);
    }
    return status;
}

fs_status fs_results_repair(const char *path, const fs_results_plan *plan)
{
    fs_status status = fs_plan_check(plan, FS_ERROR, path);
    if (status)
        return status;
    fs_hdf5_quiet();
    hid_t access = fs_file_access(), hdf5 = H5Fopen(path, H5F_ACC_RDONLY, access);
    int file = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    void *buffer = fs_alloc(FS_SUM_BYTES, 1, "a buffer");
    H5Pclose(access);
    if (hdf5 < 0 || file < 0 || !buffer)
        status = fs_fail(FS_MISMATCH, "%s: cannot be opened", path);
    else
        status = repair_file(path, plan, hdf5, file, buffer);
    if (hdf5 >= 0)
        H5Fclose(hdf5);
    if (file >= 0)
        close(file);
    free(buffer);
    return status;
}

static fs_status reset_rows(fs_results *results, fs_place_name name, FILE *out)
{
    const fs_place *place = fs_store_place(results, name, 0);
    char *row = fs_alloc(1, place->form->bytes, "a row");
    fs_status status = row ? FS_OK : FS_ERROR;
    for (uint64_t i = 0; i < place->size[0] && !status; i++) {
        uint32_t recorded, found;
        status = fs_place_read(place, i, 1, row);
        if (status || fs_seal_holds(place->form, row, &recorded, &found))
            continue;
        fprintf(out, "filterscope: %s: row %llu of %s is damaged and forgotten: it told how a run went\n", results->path,
                (unsigned long long)i, place->path);
        fs_known_row(name, &results->plan, i, row);
        status = fs_place_write(place, i, 1, row);
    }
    free(row);
    return status;
}

fs_status fs_results_reset_provenance(fs_results *results, FILE *out)
{
    fs_status status = fs_store_may_write(results);
    for (int name = 0; name < FS_PLACES_ONCE && !status; name++)
        if (fs_form_of((fs_place_name)name)->sealed)
            status = reset_rows(results, (fs_place_name)name, out);
    return status;
}
