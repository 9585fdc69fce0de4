/* Pieces of several sub-commands: data, slots, provenance. */
#include <cblas.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
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
    printf("%s\n  %-18s %s\n", title, "BLAS core", openblas_get_corename());
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

static void append(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? " " : "", word);
}

/* The distinct host names of all ranks, in rank order, as far as they fit. */
static void list_hosts(fs_launch *launch)
{
    int rank, ranks, length;
    char own[MPI_MAX_PROCESSOR_NAME] = "", last[MPI_MAX_PROCESSOR_NAME] = "";
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Get_processor_name(own, &length);
    char *all = rank == 0 ? calloc((size_t)ranks, sizeof own) : NULL;
    MPI_Gather(own, sizeof own, MPI_CHAR, all, sizeof own, MPI_CHAR, 0, MPI_COMM_WORLD);
    for (int r = 0; all && r < ranks; r++) {
        const char *host = all + (size_t)r * sizeof own;
        if (strcmp(host, last) != 0) /* ranks of one host are neighbours */
            append(launch->hosts, sizeof launch->hosts, host);
        snprintf(last, sizeof last, "%s", host);
    }
    free(all);
}

void fs_describe_launch(int argc, char **argv, int teams, fs_launch *launch)
{
    unsigned major, minor, release;
    int ranks, length;
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    const char *job = getenv("SLURM_JOB_ID");
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Get_library_version(mpi, &length);
    mpi[strcspn(mpi, ",\n")] = 0;
    H5get_libversion(&major, &minor, &release);
    *launch = (fs_launch){.time = (double)time(NULL), .ranks = ranks, .teams = teams, .pid = (int32_t)getpid()};
    snprintf(launch->version, sizeof launch->version, "%s", FS_VERSION);
    snprintf(launch->libraries, sizeof launch->libraries, "%.60s; HDF5 %u.%u.%u; %.60s", mpi, major, minor, release,
             openblas_get_config());
    snprintf(launch->blas_core, sizeof launch->blas_core, "%s", openblas_get_corename());
    snprintf(launch->job, sizeof launch->job, "%s", job ? job : "");
    append(launch->command, sizeof launch->command, "filterscope");
    for (int i = 0; i < argc; i++)
        append(launch->command, sizeof launch->command, argv[i]);
    fs_text_repair(launch->command); /* paths may be anything */
    list_hosts(launch);
}
