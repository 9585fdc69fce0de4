#include "filterscope/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/holder.h"
#include "filterscope/memory.h"
#include "filterscope/path.h"
#include "filterscope/stop.h"

/* PATH.lock, and what removes a dead one: PATH.lock.lock ... */
enum { MOST_DEPTH = FS_LOCK_SUFFIX_BYTES / 5 - 1 };
#define LOOK 0.2      /* seconds between two looks at a beat */
#define OWN_GAP 5.0   /* a look that took longer was not let run */
#define LAST_WORD 5.0 /* seconds that a job, whose rank ended it and removed the lock, is given to end in */

struct fs_lock {
    fs_lock_key key;
    fs_holder own;
    int file; /* open on what we made: a beat can't end in a successor's lock */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int ends;
};

/* ABSENT; UNREADABLE, with errno: nothing can be told; STRANGE: no lock but a folder, a link, a pipe, a file of somebody's;
 * UNFINISHED: not a whole lock yet, or no longer; WHOLE. */
enum state { ABSENT, UNREADABLE, STRANGE, UNFINISHED, WHOLE };

/* Opening asks an NFS server for the present contents; a pipe's opening does not wait. */
static enum state read_lock(const char *path, fs_holder *holder, unsigned long *beat)
{
    char text[FS_HOLDER_BYTES] = "";
    struct stat found;
    memset(holder, 0, sizeof *holder);
    *beat = 0;
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT || errno == ESTALE ? ABSENT : errno == ELOOP || errno == ENXIO ? STRANGE : UNREADABLE;
    int regular = fstat(file, &found) != 0 || S_ISREG(found.st_mode);
    ssize_t bytes = regular ? read(file, text, sizeof text - 1) : 0;
    int cause = errno;
    close(file);
    errno = cause;
    if (!regular)
        return STRANGE;
    if (bytes < 0)
        return UNREADABLE;
    if (fs_holder_read(text, holder, beat))
        return WHOLE;
    memset(holder, 0, sizeof *holder);
    return !text[0] || strncmp(text, "token", 5) == 0 ? UNFINISHED : STRANGE;
}

static int write_lock(int file, const fs_holder *holder, unsigned long beat)
{
    char text[FS_HOLDER_BYTES];
    int bytes = fs_holder_write(holder, beat, text), done = 0;
    while (done < bytes) {
        ssize_t more = pwrite(file, text + done, (size_t)(bytes - done), done);
        if (more <= 0)
            return 0;
        done += (int)more;
    }
    return fsync(file) == 0;
}

/* The open lock file; -1, with errno, where it could not be made. */
static int make_lock(const char *path, const fs_holder *holder)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 || write_lock(file, holder, 0))
        return file;
    int cause = errno;
    unlink(path);
    close(file);
    errno = cause;
    return -1;
}

static void pause_for(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

/* What came of watching a lock. */
enum verdict { ALIVE, DEAD, CHANGED, UNKNOWN, STOPPED };

/* The one look: ALIVE and CHANGED are certain, DEAD: no sign of life in it. */
static enum verdict look(const char *path, const fs_holder *holder, unsigned long beat)
{
    fs_holder now;
    unsigned long later;
    switch (read_lock(path, &now, &later)) {
    case ABSENT:
    case STRANGE:
        return CHANGED;
    case UNREADABLE:
        return UNKNOWN;
    case UNFINISHED:
        return DEAD;
    case WHOLE:
        break;
    }
    return strcmp(now.token, holder->token) != 0 ? CHANGED : later != beat ? ALIVE : DEAD;
}

/* Watches the lock for a sign of life. The last look comes after the patience has ended, and who was suspended himself begins
 * anew: a holder that was suspended with him has had no chance to beat. */
static enum verdict watch(const char *path, const fs_holder *holder, unsigned long beat, double patience, const char *name)
{
    char who[256];
    enum verdict seen;
    double last = fs_seconds(), until = last + patience;
    int late;
    fs_holder_print(holder, who, sizeof who);
    fprintf(fs_messages(), "filterscope: %s: locked by %s: waiting up to %.0f s for a sign of life\n", name, who, patience);
    do {
        pause_for(LOOK);
        double now = fs_seconds();
        if (now - last > OWN_GAP)
            until = now + patience;
        last = now;
        late = now >= until;
        seen = look(path, holder, beat);
        if (fs_stop_wanted())
            return STOPPED;
    } while (!late && (seen == DEAD || seen == UNKNOWN));
    return seen;
}

static enum verdict judge(const char *path, const fs_holder *own, const fs_holder *holder, unsigned long beat, double patience,
                          const char *name)
{
    fs_life life = holder->token[0] ? fs_holder_look(own, holder) : FS_CANNOT_TELL;
    if (life == FS_CANNOT_TELL)
        return watch(path, holder, beat, patience, name);
    return life == FS_LIVES ? ALIVE : DEAD;
}

static fs_status acquire(const char *path, const fs_holder *own, double patience, const char *name, int depth, int *file);

/* Removes the lock at `path` if it is still the dead `holder`'s. */
static fs_status clear(const char *path, const fs_holder *own, const fs_holder *holder, double patience, const char *name,
                       int depth)
{
    char breaking[FS_PATH_BYTES], who[256];
    int file;
    if (depth == MOST_DEPTH || snprintf(breaking, sizeof breaking, "%s.lock", path) >= (int)sizeof breaking)
        return fs_fail(FS_ERROR, "%s: cannot remove a dead job's lock: %s", name, path);
    fs_status status = acquire(breaking, own, patience, name, depth + 1, &file);
    if (status)
        return status;
    fs_holder now;
    unsigned long beat;
    enum state state = read_lock(path, &now, &beat);
    int same = (state == WHOLE || state == UNFINISHED) && strcmp(now.token, holder->token) == 0;
    fs_holder_print(holder, who, sizeof who);
    if (same && unlink(path) != 0 && errno != ENOENT)
        status = fs_fail(FS_ERROR, "%s: cannot remove %s, which %s left: %s", name, path, who, strerror(errno));
    else if (same && depth == 0)
        fprintf(fs_messages(), "filterscope: %s: its lock was left by %s, which is dead: taken over\n", name, who);
    unlink(breaking);
    close(file);
    return status;
}

static fs_status fail_unread(const char *path, const char *name, int cause)
{
    return fs_fail(FS_ERROR, "%s: its lock %s cannot be read, so nobody knows whether it is in use: %s", name, path,
                   strerror(cause));
}

/* The lock at `path` is another's: FS_OK where it has gone and may be tried for again. */
static fs_status contend(const char *path, const fs_holder *own, double patience, const char *name, int depth)
{
    char who[256];
    fs_holder holder;
    unsigned long beat;
    enum state state = read_lock(path, &holder, &beat);
    if (state == ABSENT)
        return FS_OK;
    if (state == UNREADABLE)
        return fail_unread(path, name, errno);
    if (state == STRANGE)
        return fs_fail(FS_ERROR, "%s: cannot make its lock: %s is there and no lock; remove it", name, path);
    fs_holder_print(&holder, who, sizeof who);
    switch (judge(path, own, &holder, beat, patience, name)) {
    case ALIVE:
        return fs_fail(FS_ERROR, "%s: is in use: %s is writing it (its lock is %s)", name, who, path);
    case DEAD:
        return clear(path, own, &holder, patience, name, depth);
    case UNKNOWN:
        return fail_unread(path, name, errno);
    case STOPPED:
        return fs_fail(FS_STOPPED, "%s: stopped while waiting for its lock, which %s has", name, who);
    case CHANGED:
        break;
    }
    return FS_OK;
}

static fs_status acquire(const char *path, const fs_holder *own, double patience, const char *name, int depth, int *file)
{
    fs_status status = FS_OK;
    while (!status && (*file = make_lock(path, own)) < 0)
        status = errno == EEXIST ? contend(path, own, patience, name, depth)
                                 : fs_fail(FS_ERROR, "%s: cannot make its lock %s: %s", name, path, strerror(errno));
    return status;
}

/* 1 where the lock has been taken over or removed; 0 also where a file system cannot tell just now. */
static int is_lost(const fs_lock_key *key, fs_holder *now)
{
    unsigned long beat;
    enum state state = read_lock(key->path, now, &beat);
    return state == ABSENT || state == STRANGE || (state == WHOLE && strcmp(now->token, key->token) != 0);
}

/* A lock that is gone is mostly a job's that ends: the rank that met an error has removed it, and the launcher is about to
 * end this one. One message is enough. */
static fs_status fail_lost(const fs_lock_key *key, const fs_holder *now)
{
    char who[256] = "removed";
    if (now->token[0])
        fs_holder_print(now, who, sizeof who);
    else
        pause_for(LAST_WORD);
    return fs_fail(FS_ERROR, "%s: this job no longer holds the lock (now: %s): it was suspended, or somebody removed the lock",
                   key->path, who);
}

fs_status fs_lock_check(const fs_lock_key *key)
{
    fs_holder now;
    return is_lost(key, &now) ? fail_lost(key, &now) : FS_OK;
}

static void *keep_alive(void *context)
{
    fs_lock *lock = context;
    fs_holder now;
    pthread_mutex_lock(&lock->mutex);
    for (unsigned long beat = 1; !lock->ends; beat++) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += (time_t)FS_LOCK_BEAT;
        if (pthread_cond_timedwait(&lock->wake, &lock->mutex, &until) != ETIMEDOUT)
            continue;
        if (is_lost(&lock->key, &now)) {
            fail_lost(&lock->key, &now);
            fprintf(fs_messages(), "filterscope: %s\n", fs_message());
            fs_leave(FS_ERROR);
        }
        write_lock(lock->file, &lock->own, beat); /* should it fail, the next beat may not */
    }
    pthread_mutex_unlock(&lock->mutex);
    return NULL;
}

/* Signals are for the main thread. The beat is by the clock that nobody sets. */
static int start_thread(fs_lock *lock)
{
    sigset_t all, before;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    sigfillset(&all);
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_cond_init(&lock->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&lock->thread, NULL, keep_alive, lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static fs_status name_lock(const char *path, char lock_path[FS_PATH_BYTES])
{
    fs_status status = fs_path_resolve(path, lock_path);
    size_t length = strlen(lock_path);
    if (!status && length + FS_LOCK_SUFFIX_BYTES >= FS_PATH_BYTES)
        return fs_fail(FS_ERROR, "%s: the path of its lock is too long", path);
    if (!status)
        strcpy(lock_path + length, ".lock");
    return status;
}

fs_status fs_lock_take(const char *path, double patience, fs_lock **lock)
{
    *lock = NULL;
    fs_lock *taken = fs_alloc(1, sizeof *taken, "a lock");
    fs_status status = taken ? name_lock(path, taken->key.path) : FS_ERROR;
    if (!status) {
        fs_holder_describe(&taken->own);
        memcpy(taken->key.token, taken->own.token, sizeof taken->key.token);
        status = acquire(taken->key.path, &taken->own, patience, path, 0, &taken->file);
    }
    int failed = status ? 0 : start_thread(taken);
    if (failed) {
        unlink(taken->key.path);
        close(taken->file);
        status = fs_fail(FS_ERROR, "%s: cannot start the thread that keeps its lock: %s", path, strerror(failed));
    }
    if (status) {
        free(taken);
        return status;
    }
    fs_lock_join(&taken->key);
    *lock = taken;
    return FS_OK;
}

void fs_lock_release(fs_lock *lock)
{
    fs_holder now;
    if (!lock)
        return;
    pthread_mutex_lock(&lock->mutex);
    lock->ends = 1;
    pthread_cond_signal(&lock->wake);
    pthread_mutex_unlock(&lock->mutex);
    pthread_join(lock->thread, NULL);
    fs_lock_join(NULL);
    if (!is_lost(&lock->key, &now))
        unlink(lock->key.path);
    close(lock->file);
    pthread_mutex_destroy(&lock->mutex);
    pthread_cond_destroy(&lock->wake);
    free(lock);
}

const fs_lock_key *fs_lock_key_of(const fs_lock *lock)
{
    return &lock->key;
}

int fs_lock_holder(const char *path, char *text, int bytes)
{
    char lock_path[FS_PATH_BYTES];
    fs_holder holder;
    unsigned long beat;
    if (name_lock(path, lock_path))
        return 0;
    enum state state = read_lock(lock_path, &holder, &beat);
    if (state == ABSENT || state == STRANGE)
        return 0;
    fs_holder_print(&holder, text, (size_t)bytes);
    return 1;
}
