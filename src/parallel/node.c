#define _GNU_SOURCE /* MAP_POPULATE */

#include "filterscope/node.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static struct place place_of(int file)
{
    struct stat found;
    struct place place = {.pid = getpid(), .file = file};
    if (file < 0 || fstat(file, &found) != 0)
        return (struct place){.file = -1};
    place.device = found.st_dev;
    place.inode = found.st_ino;
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

static void *map_place(const struct place *place, size_t bytes, int protection)
{
    int file = open_file(place);
    if (file < 0)
        return NULL;
    void *data = mmap(NULL, bytes, protection, MAP_SHARED | MAP_POPULATE, file, 0); /* not a fault a page, later */
    close(file);
    return data == MAP_FAILED ? NULL : data;
}

/* Collective on `node`, whose rank 0 has `bytes` at *data, in memory that is in `file`, or has -1: then, as where one cannot
 * map it, *data is NULL on the others, and 0 is returned. */
static int map_all(MPI_Comm node, size_t bytes, int protection, int file, void **data)
{
    int rank;
    MPI_Comm_rank(node, &rank);
    struct place place = {.file = -1};
    if (rank == 0)
        place = place_of(file);
    MPI_Bcast(&place, (int)sizeof place, MPI_BYTE, 0, node);
    if (rank > 0)
        *data = place.file < 0 ? NULL : map_place(&place, bytes, protection);
    int failed = fs_any(node, place.file < 0 || !*data); /* and all have opened it */
    if (failed && rank > 0 && *data) {
        munmap(*data, bytes);
        *data = NULL;
    }
    return !failed;
}

/* 1 where all ranks of shared->comm have the memory mapped. */
static int map(fs_shared *shared)
{
    int file = -1;
    void *data = shared->rank == 0 ? fs_alloc_shareable(shared->bytes, &file) : NULL;
    int mapped = map_all(shared->comm, shared->bytes, PROT_READ | PROT_WRITE, file, &data);
    if (file >= 0)
        close(file);
    if (!mapped && data)
        munmap(data, shared->bytes);
    shared->data = mapped ? data : NULL;
    return mapped;
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

/* The first rank of a node but rank 0's allocates; rank 0's moves what others could not map, where it has company. */
static fs_status prepare(int ranks, int holds, const char *what, fs_common *common)
{
    fs_common made = {.bytes = common->bytes, .file = -1};
    if (holds && (ranks == 1 || common->mapped))
        return FS_OK;
    if (ranks > 1)
        made.data = fs_alloc_shareable(made.bytes, &made.file);
    if (made.data)
        made.mapped = made.bytes;
    else if (holds)
        return FS_OK;
    else
        made.data = fs_alloc(made.bytes, 1, what);
    if (holds) {
        memcpy(made.data, common->data, made.bytes);
        free(common->data);
    }
    *common = made;
    return made.data ? FS_OK : FS_ERROR;
}

/* The bytes of rank 0 to the first ranks of the other nodes. */
static void send_to_nodes(MPI_Comm comm, int first, fs_common *common)
{
    MPI_Comm leaders;
    MPI_Comm_split(comm, first ? 0 : MPI_UNDEFINED, 0, &leaders);
    if (!first)
        return;
    fs_share_bytes(leaders, 0, common->data, common->bytes);
    MPI_Comm_free(&leaders);
}

/* From a node's first rank to its others: as memory in common, else as copies. */
static fs_status share_on_node(MPI_Comm comm, MPI_Comm node, const char *what, fs_common *common)
{
    int rank, ranks;
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &ranks);
    void *data = common->data;
    int mapped = ranks > 1 && map_all(node, common->bytes, PROT_READ, common->file, &data);
    if (rank > 0)
        *common = (fs_common){data, common->bytes, mapped ? common->bytes : 0, -1};
    if (rank > 0 && !mapped)
        common->data = fs_alloc(common->bytes, 1, what);
    fs_status status = fs_agree(comm, common->data ? FS_OK : FS_ERROR);
    if (!status && ranks > 1 && !mapped)
        fs_share_bytes(node, 0, common->data, common->bytes);
    return status;
}

fs_status fs_common_share(MPI_Comm comm, const char *what, fs_common *common)
{
    MPI_Comm node;
    int rank, rank_there, ranks_there;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &rank_there);
    MPI_Comm_size(node, &ranks_there);
    fs_share_bytes(comm, 0, &common->bytes, sizeof common->bytes);
    fs_status status = rank_there == 0 ? prepare(ranks_there, rank == 0, what, common) : FS_OK;
    status = fs_agree(comm, status);
    if (!status) {
        send_to_nodes(comm, rank_there == 0, common);
        status = share_on_node(comm, node, what, common);
    }
    MPI_Comm_free(&node);
    if (common->mapped && common->file >= 0) {
        close(common->file);
        common->file = -1;
    }
    return status;
}
