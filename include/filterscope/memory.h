/* Allocation that reports instead of returning NULL unsaid. */
#ifndef FILTERSCOPE_MEMORY_H
#define FILTERSCOPE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/status.h"

/* Not collective. `count` x `size` bytes, zeroed, aligned to 64 bytes; released with free(). An overflowing product or
 * an exhausted memory returns NULL and sets the message ("out of memory: N bytes for WHAT"). count = 0 gives one byte.
 * Of what a limit allows, allocations of several MiB leave some to the libraries. */
void *fs_alloc(size_t count, size_t size, const char *what);

/* Not collective. `bytes` (> 0), zeroed, in a file without a name: *file, which other processes of this machine can map, too,
 * and which is closed with close(). Released with munmap(). NULL, without a message, where the system has no such memory. */
void *fs_alloc_shareable(size_t bytes, int *file);

/* Not collective. FS_ERROR where a limit of address space or data does not allow another `bytes`, the message naming `what`. */
fs_status fs_memory_left(size_t bytes, const char *what);

/* Not collective. Bytes that processes may still take here: what the kernel says is available, or a control group leaves,
 * whichever is less; the page cache counts as free. UINT64_MAX where nothing tells. */
uint64_t fs_memory_available(void);

#endif
