/* The desk at rank 0 that hands out jobs, numbered from 0, to the teams' first ranks. */
#ifndef FILTERSCOPE_COORDINATOR_H
#define FILTERSCOPE_COORDINATOR_H

#include <mpi.h>

typedef struct fs_desk {
    MPI_Comm comm; /* of its own, so that no other message is mistaken for a request */
    int rank;
    int next, jobs; /* rank 0: jobs next .. jobs-1 are left */
    int waiting;    /* rank 0: other teams that have not been told that there is no more */
    int ahead; /* set it after fs_desk_open: other teams ask for the next job as they begin one, so that they do not wait for
                     * an answer; one that is alone with the last jobs then has two of them */
    int asked;
} fs_desk;

/* Collective on comm. Opens a desk for `jobs` jobs (most expensive first) and `teams` teams, one of them led by rank 0. */
void fs_desk_open(MPI_Comm comm, int jobs, int teams, fs_desk *desk);

/* Not collective; call on a team's first rank. The next job, or -1 when there is no more (after which this team must not ask
 * again). Rank 0 serves itself; others wait for an answer, which comes at rank 0's next fs_desk_serve. */
int fs_desk_next(fs_desk *desk);

/* Not collective; rank 0 only. Answers the requests that have arrived; returns at once. With `stopping` there is no more. */
void fs_desk_serve(fs_desk *desk, int stopping);

/* Collective on comm. Rank 0 answers until every team knows that there is no more. */
void fs_desk_close(fs_desk *desk);

#endif
