/* How fast the coordinator hands out jobs that take no time, and what it keeps in memory: desk JOBS, on any number of ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "filterscope/stop.h"
#include "sweep/coordinator.h"

int main(int argc, char **argv)
{
    int jobs = argc > 1 ? atoi(argv[1]) : 10000, rank, ranks, done = 0, all, before;
    struct rusage use;
    fs_desk desk;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Barrier(MPI_COMM_WORLD);
    getrusage(RUSAGE_SELF, &use);
    before = (int)(use.ru_maxrss / 1024);
    fs_desk_open(MPI_COMM_WORLD, jobs, ranks, &desk);
    double started = fs_seconds();
    if (ranks == 1 || rank > 0)
        while (fs_desk_next(&desk) >= 0)
            done++;
    fs_desk_close(&desk);
    MPI_Reduce(&done, &all, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    double seconds = fs_seconds() - started;
    getrusage(RUSAGE_SELF, &use);
    if (rank == 0)
        printf("%d ranks: %d jobs in %.3f s: %.0f a second; rank 0 has %ld MiB, %d before\n", ranks, all, seconds,
               all / seconds, use.ru_maxrss / 1024, before);
    MPI_Finalize();
    return all == jobs || rank > 0 ? 0 : 1;
}
