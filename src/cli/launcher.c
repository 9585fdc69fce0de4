/* Whether the processes that a launcher started see each other: a launcher of another MPI than ours, or one without its plugin
 * for it, starts N times one process that believes that it is alone. */
#include <fcntl.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { MOST_NAMES = 4 };

/* What a launcher tells each process that it starts: in variables for how many there are, of the job or on this node, and for
 * its rank, from 0. */
struct launcher {
    const char *name;
    const char *count[MOST_NAMES];
    const char *rank[MOST_NAMES];
};

/* Those that users start themselves before those of schedulers, which may have started these: the first that has told anything
 * is the innermost. What a job may use (SLURM_NTASKS, LSB_DJOB_NUMPROC, PBS_NP ...) is in the environment of its script, too,
 * and says nothing of this process. */
static const struct launcher launchers[] = {
    {"Open MPI's mpirun", {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"}, {"OMPI_COMM_WORLD_RANK"}},
    {"MVAPICH's mpirun_rsh",
     {"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE", "MVP_COMM_WORLD_SIZE", "MVP_COMM_WORLD_LOCAL_SIZE"},
     {"MV2_COMM_WORLD_RANK", "MVP_COMM_WORLD_RANK"}},
    {"an mpiexec (MPICH, Intel MPI and others)",
     {"PMI_SIZE", "PMI_LOCAL_SIZE", "MPI_LOCALNRANKS", "MPI_NRANKS"},
     {"PMI_RANK", "PMI_ID", "MPI_LOCALRANKID", "MPI_RANKID"}},
    {"mpiexec of PALS", {"PALS_SIZE", "PALS_LOCAL_SIZE"}, {"PALS_RANKID", "PALS_LOCAL_RANKID"}},
    {"flux run", {"FLUX_JOB_SIZE"}, {"FLUX_TASK_RANK", "FLUX_TASK_LOCAL_ID"}},
    {"jsrun", {"JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_SIZE"}, {"JSM_NAMESPACE_RANK"}},
    {"aprun", {NULL}, {"ALPS_APP_PE"}},
    {"srun", {"SLURM_STEP_NUM_TASKS"}, {"SLURM_PROCID"}},
    {"a launcher (PMIx)", {NULL}, {"PMIX_RANK"}},
};

/* The least number of processes that the variables allow, 0 where none is set. */
static int told(const char *const names[MOST_NAMES], int more)
{
    int most = 0;
    for (int i = 0; i < MOST_NAMES && names[i]; i++) {
        const char *value = getenv(names[i]);
        int least = value && *value ? atoi(value) + more : 0;
        most = least > most ? least : most;
    }
    return most;
}

static int has_terminal(void)
{
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal >= 0)
        close(terminal);
    return terminal >= 0;
}

/* "srun --pty -n 16 bash" starts one shell that is meant: what is typed there is one process. Its steps have no terminal. */
static int is_typed(const struct launcher *l)
{
    return strcmp(l->name, "srun") == 0 && getenv("SLURM_PTY_PORT") && has_terminal();
}

fs_launched fs_read_launcher(void)
{
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const struct launcher *l = &launchers[i];
        int count = is_typed(l) ? 0 : told(l->count, 0), ranks = told(l->rank, 1);
        if (count > 0 || ranks > 0)
            return (fs_launched){l->name, count > ranks ? count : ranks};
    }
    return (fs_launched){"no launcher", 1};
}

static int on_one_host(void)
{
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE"), *all = getenv("OMPI_COMM_WORLD_SIZE");
    const char *hosts = getenv("SLURM_STEP_NUM_NODES");
    return here && all ? strcmp(here, all) == 0 : hosts && strcmp(hosts, "1") == 0;
}

#ifndef OPEN_MPI
/* MPICH's mpirun kills the ranks that are left when one leaves, and at times forgets that one's code: it is told first. MPI is
 * not made for calls from this thread; but no more of it is needed than a word to mpirun, which then ends all. */
static void tell_launcher(fs_status status)
{
    int ended;
    MPI_Finalized(&ended);
    if (!ended)
        MPI_Abort(MPI_COMM_WORLD, (int)status);
}
#endif

/* Whether a rank can be reached, Open MPI 5 asks the kernel's routes: the one to the own host is by loopback, not by the
 * network's interface, and so it complains of every rank there. By their addresses they are found; on several hosts the
 * routes know better. */
void fs_prepare_mpi(void)
{
    if (on_one_host())
        setenv("OMPI_MCA_reachable", "weighted", 0);
#ifndef OPEN_MPI
    fs_set_leave(tell_launcher);
#endif
}

fs_status fs_check_launcher(const fs_launched *launched)
{
    int ranks, length;
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (ranks > 1 || launched->processes <= ranks)
        return FS_OK;
    MPI_Get_library_version(mpi, &length);
    mpi[strcspn(mpi, ",\n")] = 0;
    return fs_fail(FS_USAGE,
                   "%s started %d processes or more, but MPI (%s) sees one: each would do all the work. Launch them with the "
                   "mpirun of that MPI, or with srun --mpi=pmix; a single process is started without a launcher",
                   launched->by, launched->processes, mpi);
}
