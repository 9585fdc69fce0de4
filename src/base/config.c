#include "filterscope/config.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const fs_config_entry *find(const fs_config *config, const char *key)
{
    for (int i = 0; i < config->count; i++)
        if (strcmp(config->entry[i].key, key) == 0)
            return &config->entry[i];
    return NULL;
}

void fs_config_set(fs_config *config, const char *key, const char *format, ...)
{
    fs_config_entry *entry = (fs_config_entry *)find(config, key);
    if (!entry) {
        assert(config->count < FS_CONFIG_ENTRIES && strlen(key) < FS_CONFIG_KEY_BYTES);
        entry = &config->entry[config->count++];
        memset(entry, 0, sizeof *entry);
        memcpy(entry->key, key, strlen(key));
    }
    memset(entry->value, 0, sizeof entry->value);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(entry->value, sizeof entry->value, format, arguments);
    va_end(arguments);
    assert(length >= 0 && length < FS_CONFIG_VALUE_BYTES);
    (void)length;
}

const char *fs_config_get(const fs_config *config, const char *key)
{
    const fs_config_entry *entry = find(config, key);
    return entry ? entry->value : NULL;
}

static void append(char *text, size_t size, const char *key, const char *stored, const char *now)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s: file has %s, this command has %s", used ? "; " : "", key,
             stored ? stored : "(nothing)", now ? now : "(nothing)");
}

fs_status fs_config_match(const char *path, const fs_config *stored, const fs_config *now)
{
    char differing[900] = "";
    for (int i = 0; i < stored->count; i++) {
        const char *value = fs_config_get(now, stored->entry[i].key);
        if (!value || strcmp(value, stored->entry[i].value) != 0)
            append(differing, sizeof differing, stored->entry[i].key, stored->entry[i].value, value);
    }
    for (int i = 0; i < now->count; i++)
        if (!find(stored, now->entry[i].key))
            append(differing, sizeof differing, now->entry[i].key, NULL, now->entry[i].value);
    if (!differing[0])
        return FS_OK;
    return fs_fail(FS_MISMATCH, "%s: was made with another configuration: %s", path, differing);
}
