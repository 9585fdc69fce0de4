/* Pieces of several sub-commands: data, slots, the launcher, provenance. */
#include <cblas.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "filterscope/crc32c.h"
#include "filterscope/lock.h"
#include "filterscope/share.h"
#include "filterscope/slots.h"

void fs_describe_data(fs_config *config, const char *key, const fs_dataset *data)
{
    fs_config_set(config, key, "%d images of %dx%dx%d, %d labels, CRC %08x", data->images, data->height, data->width,
                  data->channels, data->labels, data->crc);
}

static void list_numbers(int count, const double *values, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < count && i < 3 && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %.9g", values[i]);
}

void fs_describe_scaling(fs_config *config, int channels, const fs_scaling *s)
{
    char mean[64] = "", std[64] = "";
    uint32_t crc = fs_crc32c(0, s->pixel, sizeof s->pixel);
    crc = fs_crc32c(crc, s->mean, (size_t)channels * sizeof *s->mean);
    crc = fs_crc32c(crc, s->std, (size_t)channels * sizeof *s->std);
    list_numbers(channels, s->mean, mean, sizeof mean);
    list_numbers(channels, s->std, std, sizeof std);
    fs_config_set(config, "scaling", "pixels %.9g .. %.9g, mean%s, std%s, CRC %08x", s->pixel[0], s->pixel[1], mean, std, crc);
}

fs_status fs_check_fits(const char *path, const fs_network *net, const char *spec, const fs_dataset *data)
{
    if (net->height == data->height && net->width == data->width && net->channels == data->channels &&
        net->labels == data->labels)
        return FS_OK;
    return fs_fail(FS_MISMATCH, "%s: was trained on %dx%dx%d images with %d labels, %s has %dx%dx%d with %d", path, net->height,
                   net->width, net->channels, net->labels, spec, data->height, data->width, data->channels, data->labels);
}

fs_status fs_scale_data(const fs_scaling *scaling, fs_dataset *train, fs_dataset *test)
{
    fs_status status = fs_dataset_set_scaling(train, scaling);
    if (!status)
        status = fs_dataset_set_scaling(test, scaling);
    return fs_agree(MPI_COMM_WORLD, status);
}

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

static fs_status check_splits(const char *spec, const fs_dataset *train, const fs_dataset *test)
{
    if (train->height == test->height && train->width == test->width && train->channels == test->channels)
        return FS_OK;
    return fs_fail(FS_ERROR, "%s: training images are %dx%dx%d, test images %dx%dx%d", spec, train->height, train->width,
                   train->channels, test->height, test->width, test->channels);
}

fs_status fs_load_data(const char *spec, int train_images, int test_images, fs_dataset *train, fs_dataset *test)
{
    int rank;
    fs_status status = FS_OK;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        status = fs_dataset_open(spec, FS_TRAIN, train_images, train);
    if (rank == 0 && !status)
        status = fs_dataset_open(spec, FS_TEST, test_images, test);
    if (rank == 0 && !status)
        status = check_splits(spec, train, test);
    status = fs_agree(MPI_COMM_WORLD, status);
    if (!status)
        status = fs_share_dataset(MPI_COMM_WORLD, train);
    if (!status)
        status = fs_share_dataset(MPI_COMM_WORLD, test);
    return status;
}

/* The number of processes that mpirun or srun says it started; 0 where neither did. A batch script's own environment has
 * SLURM_* variables too, but no step. */
static int launched(void)
{
    const char *count = getenv("OMPI_COMM_WORLD_SIZE");
    if (!count && getenv("SLURM_STEP_ID"))
        count = getenv("SLURM_STEP_NUM_TASKS");
    return count ? atoi(count) : 0;
}

fs_status fs_check_launcher(void)
{
    int ranks, expected = launched();
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (expected <= ranks)
        return FS_OK;
    return fs_fail(FS_USAGE,
                   "the launcher started %d processes, but MPI sees %d: they would all do the same work. Launch with the "
                   "mpirun of the MPI that filterscope was built with, or with srun --mpi=pmix",
                   expected, ranks);
}

fs_status fs_lock_output(const char *path, fs_lock **lock)
{
    int rank;
    *lock = NULL;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return fs_agree(MPI_COMM_WORLD, rank == 0 ? fs_lock_take(path, FS_LOCK_PATIENCE, lock) : FS_OK);
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
    list_hosts(launch);
}
