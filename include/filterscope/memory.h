/* Allocation that reports instead of returning NULL unsaid. */
#ifndef FILTERSCOPE_MEMORY_H
#define FILTERSCOPE_MEMORY_H

#include <stddef.h>

/* Not collective. `count` x `size` bytes, zeroed, aligned to 64 bytes; released with free(). An overflowing product or
 * an exhausted memory returns NULL and sets the message ("out of memory: N bytes for WHAT"). count = 0 gives one byte. */
void *fs_alloc(size_t count, size_t size, const char *what);

#endif
