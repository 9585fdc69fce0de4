/* Where the ranks of a job are: what one gather at the start tells of all of them. */
#ifndef FILTERSCOPE_SEATS_H
#define FILTERSCOPE_SEATS_H

#include <mpi.h>
#include <stdint.h>

#include "filterscope/cpu.h"
#include "filterscope/status.h"

enum { FS_HOST_BYTES = 128 };

/* Of one rank. */
typedef struct fs_seat {
    char host[FS_HOST_BYTES];
    char kind[FS_CPU_KIND_BYTES]; /* fs_cpu_kind */
    int32_t core;                 /* fs_cpu_core */
} fs_seat;

/* Not collective. This rank's. */
void fs_seat_find(fs_seat *own);

/* Collective on comm. *all is [ranks] on rank 0, which frees it, and NULL on the others. FS_ERROR on every rank: no memory. */
fs_status fs_seats_gather(MPI_Comm comm, const fs_seat *own, fs_seat **all);

/* Not collective. FS_MISMATCH where two of the ranks have CPUs or BLAS kernels of different kinds: the message names the two
 * ranks, their hosts and what they have. */
fs_status fs_seats_check_alike(int ranks, const fs_seat *all);

/* Not collective. 1 where two ranks are bound to the same core of a host, the first such two in *first and *second. */
int fs_seats_share_core(int ranks, const fs_seat *all, int *first, int *second);

/* Not collective. The distinct hosts in the order of ranks, with blanks between them, and the distinct kinds with "; ", as
 * far as they fit. */
void fs_seats_list_hosts(int ranks, const fs_seat *all, char *list, size_t size);
void fs_seats_list_kinds(int ranks, const fs_seat *all, char *list, size_t size);

#endif
