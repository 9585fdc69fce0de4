#define _GNU_SOURCE /* madvise, memfd_create */

#include "filterscope/memory.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "filterscope/status.h"

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

/* What every large allocation leaves to the libraries: MPI crashes where it gets none. */
enum { RESERVE = 64 << 20 };

fs_status fs_memory_left(size_t bytes, const char *what)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return fs_fail(FS_ERROR, "out of memory: no %zu MiB are left for %s (limits: ulimit -v, ulimit -d)", bytes >> 20, what);
    munmap(memory, bytes);
    return FS_OK;
}

void *fs_alloc(size_t count, size_t size, const char *what)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - HUGE_PAGE) {
        fs_fail(FS_ERROR, "out of memory: %zu x %zu bytes for %s", count, size, what);
        return NULL;
    }
    size_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    size_t rounded = bytes ? (bytes + alignment - 1) / alignment * alignment : alignment;
    void *memory = aligned_alloc(alignment, rounded);
    if (!memory || (alignment == HUGE_PAGE && fs_memory_left(RESERVE, "MPI and HDF5"))) {
        free(memory);
        fs_fail(FS_ERROR, "out of memory: %zu bytes for %s", bytes, what);
        return NULL;
    }
    if (alignment == HUGE_PAGE)
        madvise(memory, rounded, MADV_HUGEPAGE); /* fewer address translations; where there are none, nothing is lost */
    return memset(memory, 0, rounded);
}

void *fs_alloc_shareable(size_t bytes, int *file)
{
    void *memory = MAP_FAILED;
    *file = bytes < fs_memory_available() ? memfd_create("filterscope", MFD_CLOEXEC) : -1; /* else the kernel would kill */
    if (*file < 0)
        return NULL;
    if (posix_fallocate(*file, 0, (off_t)bytes) == 0) /* no SIGBUS later */
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
    if (memory != MAP_FAILED)
        return memory;
    close(*file);
    *file = -1;
    return NULL;
}
