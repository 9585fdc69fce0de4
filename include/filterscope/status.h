/* Status codes and the one error message that goes with a failure. */
#ifndef FILTERSCOPE_STATUS_H
#define FILTERSCOPE_STATUS_H

#include <stdio.h>

/* What a function returns and, unchanged, what the program exits with. */
typedef enum fs_status {
    FS_OK = 0,       /* complete */
    FS_ERROR = 1,    /* bad input data, a failed system call, no memory */
    FS_USAGE = 2,    /* the command line cannot be carried out */
    FS_MISMATCH = 3, /* a file belongs to another configuration, or is damaged */
    FS_LOST = 70,    /* a rank died or got stuck; what is recorded stays, the same command resumes */
    FS_STOPPED = 75  /* stopped cleanly with work left; the same command resumes */
} fs_status;

enum { FS_MESSAGE_BYTES = 8192 }; /* two paths of any length and what is wrong with them */

/* Not collective. Sets this thread's error message and returns `status`, so that a failure is one line:
 *     return fs_fail(FS_ERROR, "%s: label %d in record %zu: this set has %d labels", ...);
 * The message names the value and the place, has no trailing newline and is cut at FS_MESSAGE_BYTES - 1 characters. */
fs_status fs_fail(fs_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Not collective. The message of the last fs_fail in this thread; "" before the first. Owned by the library. */
const char *fs_message(void);

/* Not collective. Ends the process with `status` from a thread beside the main one, which may be stuck for ever: calls
 * what fs_set_leave was given last, if anything, and should that return, _exit. */
_Noreturn void fs_leave(fs_status status);
void fs_set_leave(void (*leave)(fs_status status));

/* Not collective. Where what the program says beside its output goes: standard error; after fs_set_messages another stream,
 * borrowed. Libraries keep `stderr` itself: Open MPI writes to its descriptor, which a stream with code behind it has not. */
FILE *fs_messages(void);
void fs_set_messages(FILE *stream);

#endif
