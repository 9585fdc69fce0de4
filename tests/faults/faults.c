/* Preloaded into filterscope by the tests: kills the process, or fails a call of the C library, at a chosen call. Counted are
 * the main thread's calls that change files below a folder, or the allocations of this project.
 *
 *   FAULT_FOLDER  only files whose path begins so are concerned
 *   FAULT_RANK    the rank concerned (default: 0)
 *   FAULT_AT      number of the call, from 1
 *   FAULT_DO      kill    SIGKILL before the call
 *                 torn    half of a write's bytes, then SIGKILL
 *                 after   SIGKILL after the call
 *                 stop    SIGSTOP before the call
 *                 short   half of a write's bytes, as write(2) may do
 *                 eio     the call fails with EIO
 *                 enospc  this call and all later writes fail with ENOSPC
 *                 alloc   allocation number FAULT_AT fails; files are let alone
 *                 finalize   MPI_Finalize never ends
 *                 hang    the call never ends
 *   FAULT_READS   with it, what only reads is counted, too: open, read, pread, close
 *   FAULT_THREADS with it, calls of all threads are counted
 *   FAULT_LOG     a file to which each counted call is appended: number, call, path, offset, bytes */
#undef _FILE_OFFSET_BITS /* else pwrite would be another name of pwrite64: both are wanted here */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum fault { NONE, KILL, TORN, AFTER, STOP, SHORT, EIO_ONCE, FULL, ALLOC, FINALIZE, HANG };

static enum fault fault;
static long at;
static const char *folder, *log_path;
static int reads, threads;
static atomic_long calls;

__attribute__((constructor)) static void read_orders(void)
{
    static const char *const names[] = {"",    "kill",   "torn",  "after",    "stop", "short",
                                        "eio", "enospc", "alloc", "finalize", "hang"};
    const char *rank = getenv(getenv("PMI_RANK") ? "PMI_RANK" : "OMPI_COMM_WORLD_RANK"), *wanted = getenv("FAULT_RANK"),
               *order = getenv("FAULT_DO");
    if (strcmp(rank ? rank : "0", wanted ? wanted : "0") != 0 || strcmp(program_invocation_short_name, "filterscope") != 0)
        return;
    folder = getenv("FAULT_FOLDER");
    log_path = getenv("FAULT_LOG");
    reads = getenv("FAULT_READS") != NULL;
    threads = getenv("FAULT_THREADS") != NULL;
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    for (size_t i = 0; order && i < sizeof names / sizeof *names; i++)
        if (strcmp(order, names[i]) == 0)
            fault = (enum fault)i;
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

static void note(long number, const char *call, const char *path, off_t offset, size_t bytes)
{
    char line[4400];
    int length = snprintf(line, sizeof line, "%ld %s %s %lld %zu\n", number, call, path, (long long)offset, bytes);
    int file = ((int (*)(const char *, int, ...))next("open"))(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || ((ssize_t(*)(int, const void *, size_t))next("write"))(file, line, (size_t)length) != length)
        abort();
    ((int (*)(int))next("close"))(file);
}

static int counts_here(void)
{
    return threads || gettid() == getpid();
}

/* What to do with this call. Before it: SIGKILL, SIGSTOP and a wait for ever. */
static enum fault order_for(const char *call, const char *path, off_t offset, size_t bytes)
{
    if (!folder || fault == ALLOC || fault == FINALIZE || !counts_here() || strncmp(path, folder, strlen(folder)) != 0)
        return NONE;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (log_path)
        note(number, call, path, offset, bytes);
    if (fault == FULL && number >= at)
        return FULL;
    if (number != at)
        return NONE;
    if (fault == KILL)
        kill(getpid(), SIGKILL);
    if (fault == STOP)
        kill(getpid(), SIGSTOP);
    while (fault == HANG)
        pause();
    return fault;
}

static enum fault order_for_file(const char *call, int file, off_t offset, size_t bytes)
{
    char link[64], path[4096];
    if (!folder || !counts_here())
        return NONE;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return NONE;
    path[length] = 0;
    return order_for(call, path, offset, bytes);
}

static int fails(enum fault order)
{
    if (order != FULL && order != EIO_ONCE)
        return 0;
    errno = order == FULL ? ENOSPC : EIO;
    return 1;
}

static void end_after(enum fault order)
{
    if (order == AFTER || order == TORN)
        kill(getpid(), SIGKILL);
}

static size_t part(enum fault order, size_t bytes)
{
    return order == TORN || (order == SHORT && bytes > 1) ? bytes / 2 : bytes;
}

ssize_t write(int file, const void *bytes, size_t count)
{
    enum fault order = order_for_file("write", file, -1, count);
    if (fails(order))
        return -1;
    ssize_t done = ((ssize_t(*)(int, const void *, size_t))next("write"))(file, bytes, part(order, count));
    end_after(order);
    return done;
}

static ssize_t write_at(const char *name, int file, const void *bytes, size_t count, off_t offset)
{
    enum fault order = order_for_file("pwrite", file, offset, count);
    if (fails(order))
        return -1;
    ssize_t done = ((ssize_t(*)(int, const void *, size_t, off_t))next(name))(file, bytes, part(order, count), offset);
    end_after(order);
    return done;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset)
{
    return write_at("pwrite", file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset)
{
    return write_at("pwrite64", file, bytes, count, offset);
}

/* Of calls that only read, `full` disks fail none. */
static int read_fails(enum fault order)
{
    return order != FULL && fails(order);
}

static int open_file(const char *name, const char *path, int flags, mode_t mode)
{
    enum fault order = reads ? order_for("open", path, -1, 0) : NONE;
    if (read_fails(order))
        return -1;
    int file = ((int (*)(const char *, int, ...))next(name))(path, flags, mode);
    end_after(order);
    return file;
}

/* The mode that follows where a file may be made. */
#define OPEN(name)                                                                                                             \
    int name(const char *path, int flags, ...)                                                                                 \
    {                                                                                                                          \
        va_list arguments;                                                                                                     \
        va_start(arguments, flags);                                                                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;                                           \
        va_end(arguments);                                                                                                     \
        return open_file(#name, path, flags, mode);                                                                            \
    }
OPEN(open)
OPEN(open64)

ssize_t read(int file, void *bytes, size_t count)
{
    enum fault order = reads ? order_for_file("read", file, -1, count) : NONE;
    if (read_fails(order))
        return -1;
    return ((ssize_t(*)(int, void *, size_t))next("read"))(file, bytes, part(order, count));
}

static ssize_t read_at(const char *name, int file, void *bytes, size_t count, off_t offset)
{
    enum fault order = reads ? order_for_file("pread", file, offset, count) : NONE;
    if (read_fails(order))
        return -1;
    return ((ssize_t(*)(int, void *, size_t, off_t))next(name))(file, bytes, part(order, count), offset);
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset)
{
    return read_at("pread", file, bytes, count, offset);
}

ssize_t pread64(int file, void *bytes, size_t count, off_t offset)
{
    return read_at("pread64", file, bytes, count, offset);
}

/* As Linux does it: what fails is closed all the same. */
int close(int file)
{
    enum fault order = reads ? order_for_file("close", file, -1, 0) : NONE;
    int done = ((int (*)(int))next("close"))(file);
    end_after(order);
    return read_fails(order) ? -1 : done;
}

static int sync_file(const char *name, int file)
{
    enum fault order = order_for_file(name, file, -1, 0);
    if (order != FULL && fails(order)) /* a full disk synchronises */
        return -1;
    int done = ((int (*)(int))next(name))(file);
    end_after(order);
    return done;
}

int fsync(int file)
{
    return sync_file("fsync", file);
}

int fdatasync(int file)
{
    return sync_file("fdatasync", file);
}

static int allocate_file(const char *name, int file, off_t offset, off_t bytes)
{
    enum fault order = order_for_file("allocate", file, offset, (size_t)bytes);
    if (fails(order))
        return errno;
    int done = ((int (*)(int, off_t, off_t))next(name))(file, offset, bytes);
    end_after(order);
    return done;
}

int posix_fallocate(int file, off_t offset, off_t bytes)
{
    return allocate_file("posix_fallocate", file, offset, bytes);
}

int posix_fallocate64(int file, off_t offset, off_t bytes)
{
    return allocate_file("posix_fallocate64", file, offset, bytes);
}

int ftruncate64(int file, off_t bytes)
{
    enum fault order = order_for_file("truncate", file, -1, (size_t)bytes);
    if (order != FULL && fails(order))
        return -1;
    int done = ((int (*)(int, off_t))next("ftruncate64"))(file, bytes);
    end_after(order);
    return done;
}

int ftruncate(int file, off_t bytes)
{
    return ftruncate64(file, bytes);
}

int rename(const char *from, const char *to)
{
    enum fault order = order_for("rename", from, -1, 0);
    if (order != FULL && fails(order))
        return -1;
    int done = ((int (*)(const char *, const char *))next("rename"))(from, to);
    end_after(order);
    return done;
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    enum fault order = order_for("rename", from, -1, 0);
    if (order != FULL && fails(order))
        return -1;
    int done =
        ((int (*)(int, const char *, int, const char *, unsigned))next("renameat2"))(from_folder, from, to_folder, to, flags);
    end_after(order);
    return done;
}

int link(const char *from, const char *to)
{
    enum fault order = order_for("link", from, -1, 0);
    if (fails(order))
        return -1;
    int done = ((int (*)(const char *, const char *))next("link"))(from, to);
    end_after(order);
    return done;
}

int unlink(const char *path)
{
    enum fault order = order_for("unlink", path, -1, 0);
    if (order != FULL && fails(order))
        return -1;
    int done = ((int (*)(const char *))next("unlink"))(path);
    end_after(order);
    return done;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    if (fault == ALLOC && atomic_fetch_add(&calls, 1) + 1 == at) {
        errno = ENOMEM;
        return NULL;
    }
    if (fault != ALLOC || !log_path)
        return ((void *(*)(size_t, size_t))next("aligned_alloc"))(alignment, bytes);
    note(atomic_load(&calls), "aligned_alloc", "-", -1, bytes);
    return ((void *(*)(size_t, size_t))next("aligned_alloc"))(alignment, bytes);
}

int MPI_Finalize(void); /* no mpi.h: what is preloaded by everything needs no MPI */
int MPI_Finalize(void)
{
    while (fault == FINALIZE)
        pause();
    return ((int (*)(void))next("MPI_Finalize"))();
}
