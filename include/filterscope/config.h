/* The effective configuration as ordered text: what is printed at the start, stored in files and compared at a resume. */
#ifndef FILTERSCOPE_CONFIG_H
#define FILTERSCOPE_CONFIG_H

#include "filterscope/status.h"

enum { FS_CONFIG_ENTRIES = 48, FS_CONFIG_KEY_BYTES = 32, FS_CONFIG_VALUE_BYTES = 224 };

/* Both strings are zero-padded to their full size, so that an entry can be written to a file as it is. */
typedef struct fs_config_entry {
    char key[FS_CONFIG_KEY_BYTES];
    char value[FS_CONFIG_VALUE_BYTES];
} fs_config_entry;

typedef struct fs_config {
    int count;
    fs_config_entry entry[FS_CONFIG_ENTRIES];
} fs_config;

/* Not collective. Sets `key`, appending it where it is new. A value that does not fit is a programming error (assert). */
void fs_config_set(fs_config *config, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Not collective. The value of `key`, owned by `config`; NULL where it is not set. */
const char *fs_config_get(const fs_config *config, const char *key);

/* Not collective. FS_OK where both have the same keys and values; otherwise FS_MISMATCH, the message naming `path` and,
 * for every key that differs, the value in the file and the value now. */
fs_status fs_config_match(const char *path, const fs_config *stored, const fs_config *now);

#endif
