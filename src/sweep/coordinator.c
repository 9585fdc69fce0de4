#include "sweep/coordinator.h"

#include <stddef.h>

enum { TAG_REQUEST = 1, TAG_JOB = 2 };

void fs_desk_open(MPI_Comm comm, int jobs, int teams, fs_desk *desk)
{
    *desk = (fs_desk){.jobs = jobs, .waiting = teams - 1};
    MPI_Comm_dup(comm, &desk->comm);
    MPI_Comm_rank(comm, &desk->rank);
}

static int take(fs_desk *desk)
{
    return desk->next < desk->jobs ? desk->next++ : -1;
}

int fs_desk_next(fs_desk *desk)
{
    if (desk->rank == 0)
        return take(desk);
    int job;
    if (!desk->asked)
        MPI_Send(NULL, 0, MPI_INT, 0, TAG_REQUEST, desk->comm);
    MPI_Recv(&job, 1, MPI_INT, 0, TAG_JOB, desk->comm, MPI_STATUS_IGNORE);
    desk->asked = desk->ahead && job >= 0;
    if (desk->asked)
        MPI_Send(NULL, 0, MPI_INT, 0, TAG_REQUEST, desk->comm);
    return job;
}

static void answer(fs_desk *desk, int team)
{
    int job;
    MPI_Recv(NULL, 0, MPI_INT, team, TAG_REQUEST, desk->comm, MPI_STATUS_IGNORE);
    job = take(desk);
    desk->waiting -= job < 0;
    MPI_Send(&job, 1, MPI_INT, team, TAG_JOB, desk->comm);
}

void fs_desk_serve(fs_desk *desk, int stopping)
{
    MPI_Status status;
    int arrived = 1;
    if (stopping)
        desk->next = desk->jobs;
    while (MPI_Iprobe(MPI_ANY_SOURCE, TAG_REQUEST, desk->comm, &arrived, &status) == MPI_SUCCESS && arrived)
        answer(desk, status.MPI_SOURCE);
}

void fs_desk_close(fs_desk *desk)
{
    MPI_Status status;
    while (desk->rank == 0 && desk->waiting > 0) {
        MPI_Probe(MPI_ANY_SOURCE, TAG_REQUEST, desk->comm, &status);
        answer(desk, status.MPI_SOURCE);
    }
    MPI_Comm_free(&desk->comm);
}
