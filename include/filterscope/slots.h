/* The same bits at any rank count. A batch is cut into S slots, S a power of two; each slot is computed alone, with the
 * same shapes whoever computes it; slots are summed in the binary tree over their numbers. A rank owns one subtree, so the
 * tree over ranks continues the tree over its slots and the sum does not depend on the number of ranks, only on S.
 *
 * Ranks take slots by halving both: the left half of the slots goes to the larger half of the ranks. A rank beyond the
 * number of slots owns none, computes nothing and gets the totals. */
#ifndef FILTERSCOPE_SLOTS_H
#define FILTERSCOPE_SLOTS_H

#include <mpi.h>
#include <stddef.h>

#include "filterscope/status.h"

enum { FS_MOST_SLOTS = 4096 };

typedef struct fs_slots {
    MPI_Comm comm; /* borrowed */
    int rank, ranks;
    int slots; /* S */
    int first; /* this rank's slots: first .. first + count - 1; count is a power of two, or 0 */
    int count;
} fs_slots;

/* Not collective. `slots` is a power of two in 1 .. FS_MOST_SLOTS. */
void fs_slots_create(MPI_Comm comm, int slots, fs_slots *own);

/* Not collective. Images begin .. end-1 of a batch of `images` are slot `slot`'s. */
void fs_slots_range(const fs_slots *own, int slot, int images, int *begin, int *end);

/* Not collective. Of a batch of `images`, those of this rank's slots: *begin .. *end-1, none without slots. */
void fs_slots_share(const fs_slots *own, int images, int *begin, int *end);

/* Not collective. values [own->count][count], a row a local slot: afterwards row 0 is their sum in tree order. */
void fs_slots_fold(const fs_slots *own, double *values, size_t count);

/* Collective on own->comm. values [count]: in, this rank's subtree (ignored without slots); out, the total, on every rank. */
void fs_slots_sum(const fs_slots *own, double *values, size_t count);
void fs_slots_sum_float(const fs_slots *own, float *values, size_t count);

/* A range of the values that all ranks sum. */
typedef struct fs_part {
    size_t first, count;
} fs_part;

/* Collective on own->comm. The first half of fs_slots_sum_float: each total comes to lie on one rank, on this one those of the
 * part that is returned; its other values are undefined. Parts cover all, without overlap, and depend on ranks, slots and
 * `count` alone. */
fs_part fs_slots_sum_part(const fs_slots *own, float *values, size_t count);

/* Collective on own->comm. The second half: values [count] has this rank's part; afterwards all parts, on every rank. */
void fs_slots_hand_on(const fs_slots *own, float *values, size_t count);

/* Collective on comm. The bits that are set in `mine` on some rank, on every rank. */
int fs_any(MPI_Comm comm, int mine);

/* Collective on comm. Ranks agree on an outcome: every rank returns the most severe status of all, FS_STOPPED counting as
 * the least severe failure, and has the message of the lowest rank that reported it. */
fs_status fs_agree(MPI_Comm comm, fs_status status);

/* Collective on comm. MPI_Bcast from `root` of any number of bytes. */
void fs_share_bytes(MPI_Comm comm, int root, void *bytes, size_t count);

/* Not collective. Ends the job with this exit code, its message printed before; does not return. A rank waits its turn, up to
 * 5 s, in which those before it may do so: mpirun of Open MPI 4 may crash, and lose the code, where two abort at a time. */
_Noreturn void fs_abort(MPI_Comm comm, fs_status status);

#endif
