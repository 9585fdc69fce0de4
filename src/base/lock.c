#include "filterscope/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "filterscope/memory.h"
#include "filterscope/stop.h"

enum { TEXT_BYTES = 512, MOST_DEPTH = 3 };

/* Who made a lock file. All words are without blanks and never empty. */
struct holder {
    char token[40];
    char host[72];
    char system[100]; /* boot id and pid namespace: processes with the same one can see each other */
    long pid;
    char started[24]; /* of the process, in clock ticks since boot: pids are used again */
    char job[32];
};

struct fs_lock {
    fs_lock_key key;
    struct holder own;
    int file; /* open on what we made: a beat can't end in a successor's lock */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int ends;
};

static void read_word(const char *path, char *word, size_t bytes)
{
    FILE *file = fopen(path, "re");
    if (file && fgets(word, (int)bytes, file))
        word[strcspn(word, " \n")] = 0;
    if (file)
        fclose(file);
}

/* Field 22 of /proc/PID/stat; the command in field 2 may have blanks and parentheses. 0 where there is no such process, or
 * only what is left of one (a zombie, which nobody has waited for yet). */
static int read_start(long pid, char *started, size_t bytes)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    const char *found = file ? fgets(line, sizeof line, file) : NULL;
    if (file)
        fclose(file);
    found = found ? strrchr(line, ')') : NULL;
    if (found && (strncmp(found, ") Z", 3) == 0 || strncmp(found, ") X", 3) == 0))
        found = NULL;
    for (int field = 2; field < 22 && found; field++)
        found = strchr(found + 1, ' ');
    if (!found)
        return 0;
    snprintf(started, bytes, "%.*s", (int)strcspn(found + 1, " "), found + 1);
    return 1;
}

static void describe_self(struct holder *own)
{
    char boot[64] = "-", space[32] = "-";
    unsigned char random[16] = {0};
    const char *job = getenv("SLURM_JOB_ID");
    memset(own, 0, sizeof *own);
    own->pid = (long)getpid();
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        memcpy(random, &now, sizeof random);
    }
    for (size_t i = 0; i < sizeof random; i++)
        sprintf(own->token + 2 * i, "%02x", random[i]);
    if (gethostname(own->host, sizeof own->host - 1) != 0 || !own->host[0])
        strcpy(own->host, "-");
    read_word("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    if (readlink("/proc/self/ns/pid", space, sizeof space - 1) < 0)
        strcpy(space, "-");
    snprintf(own->system, sizeof own->system, "%s/%s", boot, space);
    if (!read_start(own->pid, own->started, sizeof own->started))
        strcpy(own->started, "-");
    snprintf(own->job, sizeof own->job, "%s", job && *job ? job : "-");
}

/* The number is the last word, of a fixed width, so that a beat is one small write in place. */
static int print_lock(const struct holder *holder, unsigned long beat, char *text)
{
    return snprintf(text, TEXT_BYTES, "token %s\nhost %s\nsystem %s\npid %ld\nstarted %s\njob %s\nbeat %010lu\n", holder->token,
                    holder->host, holder->system, holder->pid, holder->started, holder->job, beat);
}

/* 1 where the file is a whole lock; 0 where it is not yet or no longer; -1 where there is no file. */
static int read_lock(const char *path, struct holder *holder, unsigned long *beat)
{
    char text[TEXT_BYTES] = "";
    memset(holder, 0, sizeof *holder);
    *beat = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC); /* opening asks an NFS server for the present contents */
    if (file < 0)
        return errno == ENOENT ? -1 : 0;
    ssize_t bytes = read(file, text, sizeof text - 1);
    close(file);
    return bytes > 0 && sscanf(text, "token %39s host %71s system %99s pid %ld started %23s job %31s beat %lu", holder->token,
                               holder->host, holder->system, &holder->pid, holder->started, holder->job, beat) == 7;
}

static int write_lock(int file, const struct holder *holder, unsigned long beat)
{
    char text[TEXT_BYTES];
    int bytes = print_lock(holder, beat, text), done = 0;
    while (done < bytes) {
        ssize_t more = pwrite(file, text + done, (size_t)(bytes - done), done);
        if (more <= 0)
            return 0;
        done += (int)more;
    }
    return fsync(file) == 0;
}

/* The open lock file; -1, with errno, where it could not be made. */
static int make_lock(const char *path, const struct holder *holder)
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

static void print_holder(const struct holder *holder, char *text, size_t bytes)
{
    if (!holder->token[0])
        snprintf(text, bytes, "a process that has not said who it is");
    else if (strcmp(holder->job, "-") == 0)
        snprintf(text, bytes, "host %s, pid %ld", holder->host, holder->pid);
    else
        snprintf(text, bytes, "host %s, job %s, pid %ld", holder->host, holder->job, holder->pid);
}

static void pause_for(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

enum verdict { ALIVE, DEAD, CHANGED };

/* Watches the lock for a sign of life. */
static enum verdict watch(const char *path, const struct holder *holder, unsigned long beat, double patience, const char *name)
{
    char who[256];
    struct holder now;
    unsigned long later;
    double until = fs_seconds() + patience;
    print_holder(holder, who, sizeof who);
    fprintf(stderr, "filterscope: %s: locked by %s: waiting up to %.0f s for a sign of life\n", name, who, patience);
    while (fs_seconds() < until) {
        pause_for(0.2);
        int whole = read_lock(path, &now, &later);
        if (whole < 0 || strcmp(now.token, holder->token) != 0)
            return CHANGED;
        if (later != beat)
            return ALIVE;
    }
    return DEAD;
}

static enum verdict judge(const char *path, const struct holder *own, const struct holder *holder, unsigned long beat,
                          double patience, const char *name)
{
    char started[sizeof holder->started];
    if (!holder->token[0] || own->system[0] == '-' || strcmp(own->system, holder->system) != 0)
        return watch(path, holder, beat, patience, name);
    if (!read_start(holder->pid, started, sizeof started))
        return DEAD;
    return strcmp(started, holder->started) == 0 ? ALIVE : DEAD;
}

static fs_status acquire(const char *path, const struct holder *own, double patience, const char *name, int depth, int *file);

/* Removes the lock at `path` if it is still the dead `holder`'s. */
static fs_status clear(const char *path, const struct holder *own, const struct holder *holder, double patience,
                       const char *name, int depth)
{
    char breaking[PATH_MAX], who[256];
    struct holder now;
    unsigned long beat;
    int file;
    if (depth == MOST_DEPTH || snprintf(breaking, sizeof breaking, "%s.lock", path) >= (int)sizeof breaking)
        return fs_fail(FS_ERROR, "%s: cannot remove a dead job's lock: %s", name, path);
    fs_status status = acquire(breaking, own, patience, name, depth + 1, &file);
    if (status)
        return status;
    if (read_lock(path, &now, &beat) >= 0 && strcmp(now.token, holder->token) == 0 && unlink(path) == 0 && depth == 0) {
        print_holder(holder, who, sizeof who);
        fprintf(stderr, "filterscope: %s: its lock was left by %s, which is dead: taken over\n", name, who);
    }
    unlink(breaking);
    close(file);
    return FS_OK;
}

static fs_status acquire(const char *path, const struct holder *own, double patience, const char *name, int depth, int *file)
{
    char who[256];
    struct holder holder;
    unsigned long beat;
    while ((*file = make_lock(path, own)) < 0) {
        if (errno != EEXIST)
            return fs_fail(FS_ERROR, "%s: cannot make its lock %s: %s", name, path, strerror(errno));
        if (read_lock(path, &holder, &beat) < 0)
            continue; /* it has just been released */
        enum verdict verdict = judge(path, own, &holder, beat, patience, name);
        print_holder(&holder, who, sizeof who);
        if (verdict == ALIVE)
            return fs_fail(FS_ERROR, "%s: is in use: %s is writing it (its lock is %s)", name, who, path);
        fs_status status = verdict == DEAD ? clear(path, own, &holder, patience, name, depth) : FS_OK;
        if (status)
            return status;
    }
    return FS_OK;
}

/* 1 where the lock has been taken over or removed; 0 also where a file system cannot tell just now. */
static int is_lost(const fs_lock_key *key, struct holder *now)
{
    unsigned long beat;
    int whole = read_lock(key->path, now, &beat);
    return whole < 0 || (whole > 0 && strcmp(now->token, key->token) != 0);
}

static fs_status fail_lost(const fs_lock_key *key, const struct holder *now)
{
    char who[256] = "removed";
    if (now->token[0])
        print_holder(now, who, sizeof who);
    return fs_fail(FS_ERROR, "%s: this job no longer holds the lock (now: %s): it was suspended, or somebody removed the lock",
                   key->path, who);
}

fs_status fs_lock_check(const fs_lock_key *key)
{
    struct holder now;
    return is_lost(key, &now) ? fail_lost(key, &now) : FS_OK;
}

static void *keep_alive(void *context)
{
    fs_lock *lock = context;
    struct holder now;
    pthread_mutex_lock(&lock->mutex);
    for (unsigned long beat = 1; !lock->ends; beat++) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t)FS_LOCK_BEAT;
        if (pthread_cond_timedwait(&lock->wake, &lock->mutex, &until) != ETIMEDOUT)
            continue;
        if (is_lost(&lock->key, &now)) {
            fail_lost(&lock->key, &now);
            fprintf(stderr, "filterscope: %s\n", fs_message());
            _exit(FS_ERROR);
        }
        write_lock(lock->file, &lock->own, beat); /* should it fail, the next beat may not */
    }
    pthread_mutex_unlock(&lock->mutex);
    return NULL;
}

/* Signals are for the main thread. */
static int start_thread(fs_lock *lock)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_cond_init(&lock->wake, NULL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&lock->thread, NULL, keep_alive, lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

/* The lock of a file is the same by whatever name it is reached. */
static fs_status name_lock(const char *path, char *lock_path, size_t bytes)
{
    char copy[PATH_MAX], folder[PATH_MAX], resolved[PATH_MAX];
    int length = snprintf(copy, sizeof copy, "%s", path);
    if (length >= (int)sizeof copy)
        return fs_fail(FS_ERROR, "%.64s...: a path of %d bytes is too long", path, length);
    if (realpath(path, resolved)) {
        length = snprintf(lock_path, bytes, "%s.lock", resolved);
    } else {
        if (!realpath(dirname(copy), folder))
            return fs_fail(FS_ERROR, "%s: no such folder: %s", path, strerror(errno));
        snprintf(copy, sizeof copy, "%s", path);
        length = snprintf(lock_path, bytes, "%s/%s.lock", folder, basename(copy));
    }
    return length < (int)bytes ? FS_OK : fs_fail(FS_ERROR, "%s: the path of its lock is too long", path);
}

fs_status fs_lock_take(const char *path, double patience, fs_lock **lock)
{
    *lock = NULL;
    fs_lock *taken = fs_alloc(1, sizeof *taken, "a lock");
    fs_status status = taken ? name_lock(path, taken->key.path, sizeof taken->key.path) : FS_ERROR;
    if (!status) {
        describe_self(&taken->own);
        memcpy(taken->key.token, taken->own.token, sizeof taken->key.token);
        status = acquire(taken->key.path, &taken->own, patience, path, 0, &taken->file);
    }
    int failed = status ? 0 : start_thread(taken);
    if (failed) {
        unlink(taken->key.path);
        close(taken->file);
        status = fs_fail(FS_ERROR, "%s: cannot start the thread that keeps its lock: %s", path, strerror(failed));
    }
    if (status)
        free(taken);
    else
        *lock = taken;
    return status;
}

void fs_lock_release(fs_lock *lock)
{
    if (!lock)
        return;
    pthread_mutex_lock(&lock->mutex);
    lock->ends = 1;
    pthread_cond_signal(&lock->wake);
    pthread_mutex_unlock(&lock->mutex);
    pthread_join(lock->thread, NULL);
    if (fs_lock_check(&lock->key) == FS_OK)
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
    char lock_path[PATH_MAX];
    struct holder holder;
    unsigned long beat;
    if (name_lock(path, lock_path, sizeof lock_path) || read_lock(lock_path, &holder, &beat) < 0)
        return 0;
    print_holder(&holder, text, (size_t)bytes);
    return 1;
}
