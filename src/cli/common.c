/* Pieces of several sub-commands: slots, the configuration, the output's lock. */
#include <stdio.h>

#include "cli/cli.h"
#include "filterscope/blas.h"
#include "filterscope/crc32c.h"
#include "filterscope/share.h"
#include "filterscope/slots.h"

int fs_default_slots(int ranks)
{
    int slots = 4;
    while (slots < ranks && slots < 16)
        slots *= 2;
    return slots;
}

fs_status fs_check_slots(int slots)
{
    if ((slots & (slots - 1)) == 0)
        return FS_OK;
    return fs_fail(FS_USAGE, "--slots: %d is no power of two", slots);
}

void fs_print_config(const char *title, const fs_config *config)
{
    printf("%s\n  %-18s %s\n", title, "BLAS core", fs_blas_core());
    for (int i = 0; i < config->count; i++)
        printf("  %-18s %s\n", config->entry[i].key, config->entry[i].value);
    fflush(stdout);
}

static fs_status find_and_lock(const char *name, const fs_input *inputs, fs_target *target, fs_lock **lock)
{
    fs_status status = fs_target_find(name, target);
    if (!status)
        status = fs_target_spare(target, inputs);
    if (!status)
        status = fs_lock_take(target->path, FS_LOCK_PATIENCE, lock);
    if (!status)
        target->lock = *fs_lock_key_of(*lock);
    return status;
}

fs_status fs_lock_output(const char *name, const fs_input *inputs, fs_target *target, fs_lock **lock)
{
    int rank;
    *lock = NULL;
    *target = (fs_target){.held = -1};
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fs_status status = fs_agree(MPI_COMM_WORLD, rank == 0 ? find_and_lock(name, inputs, target, lock) : FS_OK);
    if (status)
        return status;
    MPI_Bcast(target->path, (int)sizeof target->path, MPI_BYTE, 0, MPI_COMM_WORLD);
    MPI_Bcast(&target->lock, (int)sizeof target->lock, MPI_BYTE, 0, MPI_COMM_WORLD);
    if (rank > 0) {
        target->name = target->path;
        fs_lock_join(&target->lock);
    }
    return FS_OK;
}
