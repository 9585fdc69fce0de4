/* How fast the coordinator hands out jobs, and what it keeps in memory: desk JOBS [BATCHES MILLISECONDS], on any number of
 * ranks. Jobs take no time, and rank 0 does none; or they are as knock-out's: a rank has JOBS, each of so many batches that
 * take so long (asleep: any number of ranks share a core), and rank 0 does jobs, too, and answers between batches. */
#define _DEFAULT_SOURCE /* usleep */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "filterscope/stop.h"
#include "sweep/coordinator.h"

static long memory(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss / 1024;
}

static void work(fs_desk *desk, int batches, int milliseconds)
{
    for (int batch = 0; batch < batches; batch++) {
        usleep((useconds_t)(1000 * milliseconds));
        if (desk->rank == 0)
            fs_desk_serve(desk, 0);
    }
}

int main(int argc, char **argv)
{
    int jobs = argc > 1 ? atoi(argv[1]) : 10000, batches = argc > 3 ? atoi(argv[2]) : 0,
        milliseconds = batches ? atoi(argv[3]) : 0;
    int rank, ranks, done = 0, all;
    fs_desk desk;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    jobs *= batches ? ranks : 1;
    MPI_Barrier(MPI_COMM_WORLD);
    long before = memory();
    fs_desk_open(MPI_COMM_WORLD, jobs, ranks, &desk);
    desk.ahead = batches > 0;
    double started = fs_seconds();
    if (ranks == 1 || rank > 0 || batches)
        for (; fs_desk_next(&desk) >= 0; done++)
            work(&desk, batches, milliseconds);
    fs_desk_close(&desk);
    MPI_Reduce(&done, &all, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    double seconds = fs_seconds() - started, slept = 1e-3 * batches * milliseconds * jobs / ranks;
    if (rank == 0)
        printf("%d ranks: %d jobs in %.3f s: %.0f a second; rank 0 has %ld MiB, %ld before\n", ranks, all, seconds,
               all / seconds, memory(), before);
    if (rank == 0 && batches)
        printf("%d ranks: %.3f of the time in jobs of %d ms\n", ranks, slept / seconds, batches * milliseconds);
    MPI_Finalize();
    return all == jobs || rank > 0 ? 0 : 1;
}
