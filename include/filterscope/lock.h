/* Exactly one writer of a file, also on a file system that several nodes share and that has no flock.
 *
 * The lock of PATH is the file PATH.lock, made with O_CREAT | O_EXCL, which is atomic on every file system that clusters use
 * (NFS from version 3 on). It is text and says who holds it. Every FS_LOCK_BEAT seconds the holder writes a new number into
 * it. Whoever finds it
 *     on the same running system, and may look at it   looks for the process, and knows at once;
 *     from elsewhere, or where /proc hides it          watches the number: a new one, and the holder is alive; none for
 *                                                      `patience` seconds, and it is dead
 * Nothing depends on clocks that agree or that nobody sets. PATH is the file that a name leads to (fs_path_resolve): the lock
 * is the same by any name of the file. A dead holder's lock is removed under a lock of its own (PATH.lock.lock, for
 * milliseconds, by the same rules), so that of several successors one gets it.
 *
 * A holder that was suspended for longer than the patience may have been taken for dead: it finds another's name in the lock
 * at its next beat and ends, and its ranks find it before their next write (fs_lock_check). */
#ifndef FILTERSCOPE_LOCK_H
#define FILTERSCOPE_LOCK_H

#include "filterscope/path.h"
#include "filterscope/status.h"

#define FS_LOCK_BEAT 2.0      /* seconds between two signs of life */
#define FS_LOCK_PATIENCE 30.0 /* seconds without one that make a holder dead */

enum { FS_LOCK_SUFFIX_BYTES = 20 }; /* that the longest name of a lock adds: four times ".lock" */

/* What a process needs to tell whether the lock is still held for it: plain bytes, to be copied to other ranks. */
typedef struct fs_lock_key {
    char path[FS_PATH_BYTES]; /* of the lock file */
    char token[40];
} fs_lock_key;

typedef struct fs_lock fs_lock;

/* Not collective; call on one rank. Takes the lock of `path`, which need not exist, and keeps it alive from a thread that
 * calls neither MPI nor HDF5. Where a dead job left the lock, says so on standard error. FS_ERROR: another holds it (host, job
 * and pid are in the message), or it cannot be made or read. FS_STOPPED: fs_stop_wanted, while it waited for a sign of life.
 * *lock is NULL after a failure. Should the lock be lost later on, that thread says so on standard error and ends the process
 * with FS_ERROR. */
fs_status fs_lock_take(const char *path, double patience, fs_lock **lock);

/* Not collective. Ends the thread and removes the lock. NULL is allowed. */
void fs_lock_release(fs_lock *lock);

/* Not collective. Owned by `lock`. */
const fs_lock_key *fs_lock_key_of(const fs_lock *lock);

/* Not collective; on any rank. FS_ERROR where the lock is no longer the one that `key` was made for; after some seconds where
 * there is none, since the job is then about to be ended by another rank's error. */
fs_status fs_lock_check(const fs_lock_key *key);

/* Not collective; on other ranks than the one that took the lock. The lock that fs_lock_abandon is to remove; NULL:
 * none. */
void fs_lock_join(const fs_lock_key *key);

/* Not collective; on any rank, from any thread or signal handler. Before a process ends at once, and with it its job: removes
 * the lock, should it still be this job's. What other ranks would still write, they then don't (fs_lock_check). */
void fs_lock_abandon(void);

/* Not collective. 1 where `path` has a lock, with "host H, job J, pid P" in `holder`; else 0. Doesn't look whether it lives. */
int fs_lock_holder(const char *path, char *holder, int bytes);

#endif
