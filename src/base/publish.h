/* A file that is written whole or not at all. */
#ifndef FILTERSCOPE_BASE_PUBLISH_H
#define FILTERSCOPE_BASE_PUBLISH_H

#include <stddef.h>

#include "filterscope/target.h"

/* Not collective. Writes the bytes to PATH.tmp, fsyncs it, renames it over PATH, then fsyncs the folder that holds it.
 *
 * The file that goes is looked at at the last moment (fs_target_check, whose failures are returned), since what takes long is
 * writing; what comes is held from before it has its name on (fs_target_take). `target` may be NULL: nothing is looked at or
 * held. FS_ERROR: it cannot be written; before the rename that leaves PATH as it was. */
fs_status fs_publish(const char *path, fs_target *target, const void *bytes, size_t size);

#endif
