/* Exactly one writer of a file, also on a file system that several nodes share and that has no flock.
 *
 * The lock of PATH is the file PATH.lock, made with O_CREAT | O_EXCL, which is atomic on every file system that clusters use
 * (NFS from version 3 on). It is text and says who holds it. Every FS_LOCK_BEAT seconds the holder writes a new number into
 * it. Whoever finds it
 *     on the same running system (boot id and pid namespace)   looks for the process, and knows at once;
 *     from elsewhere                                           watches the number: a new one, and the holder is alive; none
 *                                                              for `patience` seconds, and it is dead
 * Nothing depends on clocks that agree. A dead holder's lock is removed under a lock of its own (PATH.lock.lock, for
 * milliseconds, by the same rules), so that of several successors one gets it.
 *
 * A holder that was suspended for longer than the patience may have been taken for dead: it finds another's name in the lock
 * at its next beat and ends, and its ranks find it before their next write (fs_lock_check). */
#ifndef FILTERSCOPE_LOCK_H
#define FILTERSCOPE_LOCK_H

#include "filterscope/status.h"

#define FS_LOCK_BEAT 2.0      /* seconds between two signs of life */
#define FS_LOCK_PATIENCE 30.0 /* seconds without one that make a holder dead */

/* What a process needs to tell whether the lock is still held for it: plain bytes, to be copied to other ranks. */
typedef struct fs_lock_key {
    char path[4096]; /* of the lock file */
    char token[40];
} fs_lock_key;

typedef struct fs_lock fs_lock;

/* Not collective; call on one rank. Takes the lock of `path`, which need not exist, and keeps it alive from a thread that
 * calls neither MPI nor HDF5. Where a dead job left the lock, says so on standard error. FS_ERROR: another holds it (host, job
 * and pid are in the message), or it cannot be made. *lock is NULL after a failure. Should the lock be lost later on, that
 * thread says so on standard error and ends the process with FS_ERROR. */
fs_status fs_lock_take(const char *path, double patience, fs_lock **lock);

/* Not collective. Ends the thread and removes the lock. NULL is allowed. */
void fs_lock_release(fs_lock *lock);

/* Not collective. Owned by `lock`. */
const fs_lock_key *fs_lock_key_of(const fs_lock *lock);

/* Not collective; on any rank. FS_ERROR where the lock is no longer the one that `key` was made for. */
fs_status fs_lock_check(const fs_lock_key *key);

/* Not collective. 1 where `path` has a lock, with "host H, job J, pid P" in `holder`; else 0. Doesn't look whether it lives. */
int fs_lock_holder(const char *path, char *holder, int bytes);

#endif
