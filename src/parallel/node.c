#define _GNU_SOURCE /* memfd_create */

#include "filterscope/node.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "filterscope/memory.h"
#include "filterscope/slots.h"

/* Where the memory of a node's first rank is: a file without a name, which the others open by way of its process. */
struct place {
    pid_t pid;
    int file; /* -1: it has none */
    dev_t device;
    ino_t inode; /* whether what a rank has opened is this file */
};

static struct place make_file(size_t bytes)
{
    struct stat found;
    struct place place = {.pid = getpid(), .file = memfd_create("filterscope", MFD_CLOEXEC)};
    if (place.file < 0)
        return place;
    if (posix_fallocate(place.file, 0, (off_t)bytes) == 0 && fstat(place.file, &found) == 0) { /* no SIGBUS later */
        place.device = found.st_dev;
        place.inode = found.st_ino;
        return place;
    }
    close(place.file);
    place.file = -1;
    return place;
}

static int open_file(const struct place *place)
{
    char path[64];
    struct stat found;
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)place->pid, place->file);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0 || (fstat(file, &found) == 0 && found.st_dev == place->device && found.st_ino == place->inode))
        return file;
    close(file); /* ranks in containers of their own may have the same process number */
    return -1;
}

/* 1 where all ranks of shared->comm have the memory mapped. */
static int map(fs_shared *shared)
{
    struct place place = {.file = -1};
    void *data = MAP_FAILED;
    if (shared->rank == 0)
        place = make_file(shared->bytes);
    MPI_Bcast(&place, (int)sizeof place, MPI_BYTE, 0, shared->comm);
    int file = place.file < 0 || shared->rank == 0 ? place.file : open_file(&place);
    if (file >= 0)
        data = mmap(NULL, shared->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int failed = fs_any(shared->comm, data == MAP_FAILED); /* and all have opened it */
    if (file >= 0)
        close(file);
    if (failed && data != MAP_FAILED)
        munmap(data, shared->bytes);
    shared->data = failed ? NULL : data;
    return !failed;
}

static void describe_ranks(fs_shared *shared)
{
    MPI_Comm_rank(shared->comm, &shared->rank);
    MPI_Comm_size(shared->comm, &shared->ranks);
}

fs_status fs_shared_create(MPI_Comm comm, size_t count, const char *what, fs_shared *shared)
{
    *shared = (fs_shared){.bytes = (count ? count : 1) * sizeof(float)};
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared->comm);
    describe_ranks(shared);
    shared->mapped = shared->ranks > 1 && map(shared);
    if (!shared->mapped) {
        MPI_Comm_free(&shared->comm);
        MPI_Comm_dup(MPI_COMM_SELF, &shared->comm);
        describe_ranks(shared);
        shared->data = fs_alloc(count, sizeof(float), what);
    }
    fs_status status = fs_agree(comm, shared->data ? FS_OK : FS_ERROR);
    if (status)
        fs_shared_free(shared);
    return status;
}

void fs_shared_meet(const fs_shared *shared)
{
    if (shared->ranks == 1)
        return;
#ifdef __SSE__
    __builtin_ia32_sfence(); /* for stores past the caches */
#endif
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    MPI_Barrier(shared->comm);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void fs_shared_free(fs_shared *shared)
{
    if (!shared->bytes)
        return;
    if (shared->mapped)
        munmap(shared->data, shared->bytes);
    else
        free(shared->data);
    MPI_Comm_free(&shared->comm);
    *shared = (fs_shared){0};
}
