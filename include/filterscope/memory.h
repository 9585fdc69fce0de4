/* Allocation that reports instead of returning NULL unsaid. */
#ifndef FILTERSCOPE_MEMORY_H
#define FILTERSCOPE_MEMORY_H

#include <stddef.h>

#include "filterscope/status.h"

/* Not collective. `count` x `size` bytes, zeroed, aligned to 64 bytes; released with free(). An overflowing product or
 * an exhausted memory returns NULL and sets the message ("out of memory: N bytes for WHAT"). count = 0 gives one byte.
 * Of what a limit allows, allocations of several MiB leave some to the libraries. */
void *fs_alloc(size_t count, size_t size, const char *what);

/* Not collective. FS_ERROR where a limit of address space or data does not allow another `bytes`, the message naming `what`. */
fs_status fs_memory_left(size_t bytes, const char *what);

#endif
