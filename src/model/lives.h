/* Which maps may share memory. A map lives from the step that writes it to the last one that reads it; maps whose lives do not
 * meet share a buffer. For example three maps of a chain, and one that is read again later (each column is a step):
 *
 *     map 0   w r               buffer 0
 *     map 1     w r . . r       buffer 1
 *     map 2       w r           buffer 0
 *     map 3         w r         buffer 2
 */
#ifndef FILTERSCOPE_MODEL_LIVES_H
#define FILTERSCOPE_MODEL_LIVES_H

#include <stddef.h>

typedef struct fs_life {
    int first, last; /* steps, first <= last */
    int over;        /* the map that it overwrites in place, in the last step of that one's life; -1 for none */
    size_t floats;
    int buffer; /* out */
} fs_life;

/* Not collective. Gives each of `count` lives, ordered by their first step, its buffer, the lowest that is free.
 *   floats  out  [count]: of each buffer, the most of the lives in it
 * Returns the number of buffers. */
int fs_lives_place(fs_life *life, int count, size_t *floats);

#endif
