/* How much memory this process may still take on its machine: what the kernel says, within the limits of control groups, as
 * batch systems and containers set them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/path.h"

/* The two generations of control groups. */
struct hierarchy {
    const char *root, *limit, *usage, *inactive, *active; /* names of files, and of what /memory.stat has of the page cache */
};

static const struct hierarchy first = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                       "total_inactive_file", "total_active_file"},
                              second = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"};

/* The number behind `name` on a line of its own, or, with NULL, at the start of the file. 0 where there is none. */
static int read_number(const char *folder, const char *file, const char *name, uint64_t *number)
{
    char path[FS_PATH_BYTES + 64], line[256];
    size_t length = name ? strlen(name) : 0;
    int found = 0;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *stream = fopen(path, "re");
    while (stream && !found && fgets(line, sizeof line, stream))
        found = (!name || strncmp(line, name, length) == 0) && sscanf(line + length, "%" SCNu64, number) == 1;
    if (stream)
        fclose(stream);
    return found;
}

/* What one group leaves: its limit less what is used, the page cache apart, which the kernel gives up. */
static uint64_t left_in(const struct hierarchy *h, const char *folder)
{
    uint64_t limit, usage, inactive = 0, active = 0;
    if (!read_number(folder, h->limit, NULL, &limit) || !read_number(folder, h->usage, NULL, &usage))
        return UINT64_MAX; /* "max" */
    read_number(folder, "memory.stat", h->inactive, &inactive);
    read_number(folder, "memory.stat", h->active, &active);
    uint64_t cached = inactive + active;
    usage = usage > cached ? usage - cached : 0;
    return limit > usage ? limit - usage : 0;
}

/* The least of a group and of those around it. `group`: as /proc/self/cgroup has it; a container may not show it. */
static uint64_t left_around(const struct hierarchy *h, const char *group)
{
    char folder[FS_PATH_BYTES];
    uint64_t least = UINT64_MAX;
    if (snprintf(folder, sizeof folder, "%s%s", h->root, group) >= (int)sizeof folder)
        return least;
    while (strlen(folder) >= strlen(h->root)) {
        uint64_t left = left_in(h, folder);
        least = left < least ? left : least;
        *strrchr(folder, '/') = 0;
    }
    return least;
}

static uint64_t left_in_groups(void)
{
    char line[FS_PATH_BYTES];
    uint64_t least = UINT64_MAX;
    FILE *stream = fopen("/proc/self/cgroup", "re");
    while (stream && fgets(line, sizeof line, stream)) {
        char *group = strchr(line, '/'), *controllers = strchr(line, ':');
        if (!group || !controllers)
            continue;
        group[strcspn(group, "\n")] = 0;
        int is_first = strstr(controllers, "memory:") && strstr(controllers, "memory:") < group;
        uint64_t left = UINT64_MAX;
        if (is_first || strncmp(line, "0::", 3) == 0)
            left = left_around(is_first ? &first : &second, group);
        least = left < least ? left : least;
    }
    if (stream)
        fclose(stream);
    return least;
}

uint64_t fs_memory_available(void)
{
    uint64_t kib, least = left_in_groups();
    if (read_number("/proc", "meminfo", "MemAvailable:", &kib) && kib << 10 < least)
        least = kib << 10;
    return least;
}
