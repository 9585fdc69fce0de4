/* No hang, ever: a rank that dies, is stopped, or loses its node ends the job within seconds, whatever the launcher does about
 * it. A thread of each rank sends rank 0 a datagram (UDP) every second, and rank 0 answers; neither calls MPI. Who has not
 * heard of the other for FS_WATCH_PATIENCE seconds says so on standard error and ends its process with FS_LOST, upon which
 * the launcher ends the others; rank 0 tells them, too. What is recorded in files stays, as after any kill.
 *
 * A rank is watched from the first datagram that came through: where a network drops them all, the job runs as without. Who
 * was suspended itself (its own loop did not run) starts anew. When no rank at all has finished a batch for FS_WATCH_STALL
 * seconds, rank 0 ends the job, too: a file system or an MPI that no longer answers. */
#ifndef FILTERSCOPE_WATCH_H
#define FILTERSCOPE_WATCH_H

#include <mpi.h>

#define FS_WATCH_PATIENCE 20.0 /* seconds of silence */
#define FS_WATCH_STALL 1800.0  /* seconds in which fs_stop_wanted was asked on no rank, after it once was */

typedef struct fs_watch fs_watch;

/* Collective on comm. NULL on every rank where there is nothing to watch (one rank) or no socket to be had. */
fs_watch *fs_watch_start(MPI_Comm comm);

/* Not collective. Milliseconds that this rank lets others go ahead where all of them may end a job that failed: the mpirun of
 * Open MPI 4 may crash where two do so at a time, and lose the exit code. */
int fs_watch_turn(MPI_Comm comm);

/* Not collective; before MPI_Finalize or MPI_Abort, in which ranks wait for each other and for the launcher while nobody is
 * watched. A process that does not end by itself within FS_WATCH_END seconds (or FILTERSCOPE_END_SECONDS) and its turn says so
 * on standard error and ends with FS_LOST. All results are in their files by then. */
#define FS_WATCH_END 60
void fs_watch_end(MPI_Comm comm);

/* Collective on the comm of the start. NULL is allowed. */
void fs_watch_stop(fs_watch *watch);

#endif
