/* Who computes: the program, its libraries, its ranks. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/job.h"
#include "base/text.h"
#include "build.h"
#include "cli/cli.h"
#include "filterscope/blas.h"
#include "filterscope/seats.h"
#include "filterscope/slots.h"

static void tell_ranks(const char *command, int ranks, const fs_seat *all, fs_launch *launch)
{
    int first, second;
    fs_seats_list_hosts(ranks, all, launch->hosts, sizeof launch->hosts);
    fs_seats_list_kinds(ranks, all, launch->kinds, sizeof launch->kinds);
    if (fs_seats_check_alike(ranks, all))
        fprintf(fs_messages(), "%s: note: %s, so that last digits depend on which rank computes what\n", command, fs_message());
    if (fs_seats_share_core(ranks, all, &first, &second))
        fprintf(fs_messages(),
                "%s: note: ranks %d and %d are both bound to core %d of host %s and wait for each other: one rank a core, or "
                "--bind-to none\n",
                command, first, second, (int)all[first].core, all[first].host);
}

fs_status fs_meet_ranks(const char *command, int mixed, fs_launch *launch)
{
    fs_seat own, *all;
    int ranks;
    memset(launch, 0, sizeof *launch);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    fs_seat_find(&own);
    fs_status status = fs_seats_gather(MPI_COMM_WORLD, &own, &all);
    if (status)
        return status;
    if (all && !mixed && fs_seats_check_alike(ranks, all))
        status = fs_fail(FS_MISMATCH, "%s. --mixed lets them work together", fs_message());
    if (all && !status)
        tell_ranks(command, ranks, all, launch);
    free(all);
    return fs_agree(MPI_COMM_WORLD, status);
}

fs_status fs_cli_ranks(int argc, char **argv)
{
    const fs_option options[] = {{NULL}};
    fs_launch launch;
    int rank, ranks;
    fs_status status = fs_options_read(argc, argv, "ranks", options, NULL);
    if (status)
        return status == FS_STOPPED ? FS_OK : status; /* --help */
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    status = fs_meet_ranks("ranks", 1, &launch);
    if (!status && rank == 0)
        printf("ranks: %d on %s; %s\n", ranks, launch.hosts, launch.kinds);
    return status;
}

void fs_compare_kinds(const char *command, const char *earlier, const char *now)
{
    if (*earlier && strcmp(earlier, now) != 0)
        printf("%s: note: goes on with %s what %s began: last digits will not be those of either alone\n", command, now,
               earlier);
}

static void append(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? " " : "", word);
}

/* "Open MPI v4.1.4" of its first line up to a comma, "MPICH 4.2.1" of "MPICH Version:      4.2.1". */
static void name_mpi(char text[MPI_MAX_LIBRARY_VERSION_STRING])
{
    int length;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = 0;
    char *colon = strstr(text, " Version:");
    if (colon) {
        const char *number = colon + strlen(" Version:");
        number += strspn(number, " \t");
        memmove(colon + 1, number, strlen(number) + 1);
    }
}

static void list_libraries(char *text, size_t size)
{
    unsigned major, minor, release;
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    name_mpi(mpi);
    H5get_libversion(&major, &minor, &release);
    snprintf(text, size, "%.60s; HDF5 %u.%u.%u; %.60s", mpi, major, minor, release, fs_blas_library());
}

void fs_describe_launch(int argc, char **argv, int teams, fs_launch *launch)
{
    const char *job = fs_job_id();
    MPI_Comm_size(MPI_COMM_WORLD, &launch->ranks);
    launch->time = (double)time(NULL);
    launch->teams = teams;
    launch->pid = (int32_t)getpid();
    snprintf(launch->version, sizeof launch->version, "%s", FS_VERSION);
    snprintf(launch->commit, sizeof launch->commit, "%s", FS_COMMIT);
    snprintf(launch->compiler, sizeof launch->compiler, "%s", FS_COMPILER);
    snprintf(launch->flags, sizeof launch->flags, "%s", FS_FLAGS);
    list_libraries(launch->libraries, sizeof launch->libraries);
    snprintf(launch->blas_core, sizeof launch->blas_core, "%s", fs_blas_core());
    snprintf(launch->job, sizeof launch->job, "%s", job ? job : "");
    append(launch->command, sizeof launch->command, "filterscope");
    for (int i = 0; i < argc; i++)
        append(launch->command, sizeof launch->command, argv[i]);
    fs_text_repair(launch->command); /* paths may be anything */
}

void fs_print_memory(const char *command)
{
    struct rusage use;
    double most = 0;
    int rank;
    getrusage(RUSAGE_SELF, &use);
    double own = (double)use.ru_maxrss / 1024; /* KiB on Linux */
    MPI_Reduce(&own, &most, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        printf("%s: at most %.0f MiB a rank\n", command, most);
}

void fs_print_version(void)
{
    fs_launch launch = {0};
    char kind[FS_CPU_KIND_BYTES];
    list_libraries(launch.libraries, sizeof launch.libraries);
    fs_cpu_kind(kind);
    printf("filterscope " FS_VERSION "\ncommit     " FS_COMMIT "\ncompiler   " FS_COMPILER "\nflags      " FS_FLAGS
           "\nlibraries  %s\nkind       %s\n",
           launch.libraries, kind);
}
