/* Who made a lock file, as it says itself, and whether that process lives. */
#ifndef FILTERSCOPE_BASE_HOLDER_H
#define FILTERSCOPE_BASE_HOLDER_H

#include <stddef.h>

enum { FS_HOLDER_BYTES = 512 }; /* of a lock file's text */

/* All words are without blanks and never empty; "-" stands for what could not be learnt. */
typedef struct fs_holder {
    char token[40];
    char host[72];
    char system[100]; /* boot id, namespaces of processes and of time: who has the same can see the other, and when it began */
    long pid;
    char started[24]; /* of the process, in clock ticks since boot: pids are used again */
    char job[32];
} fs_holder;

/* Of the calling process, with a token of its own. */
void fs_holder_describe(fs_holder *self);

/* The text of a lock file into text[FS_HOLDER_BYTES]; returns its length. The beat is the last word, of a fixed width, so that
 * a new one is one small write in place. */
int fs_holder_write(const fs_holder *holder, unsigned long beat, char *text);

/* 1 where `text` is a whole lock file. */
int fs_holder_read(const char *text, fs_holder *holder, unsigned long *beat);

/* "host H, job J, pid P". */
void fs_holder_print(const fs_holder *holder, char *text, size_t bytes);

typedef enum fs_life { FS_LIVES, FS_IS_DEAD, FS_CANNOT_TELL } fs_life;

/* What `self` can tell of `other` without waiting for a beat. FS_CANNOT_TELL: it is on another system, or may not be looked at
 * (hidepid, a container's or another user's process). */
fs_life fs_holder_look(const fs_holder *self, const fs_holder *other);

#endif
