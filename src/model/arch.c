/* The architectures of the method's table, as data. */
#include "filterscope/network.h"

#include <stdio.h>
#include <string.h>

/* AVGG-16's published settings, here also for the architectures without any (ours). */
#define RECIPE_AVGG16                                                                                                          \
    {                                                                                                                          \
        200, 20, {0.011, 0.6, 0.98, 1.15e-3},                                                                                  \
        {                                                                                                                      \
            0.007, 1.0, 0.982, 1.35e-3                                                                                         \
        }                                                                                                                      \
    }
/* VGG-11's published settings (the pruning paper); its momentum and L2 are the same for both groups. */
#define RECIPE_VGG11                                                                                                           \
    {                                                                                                                          \
        260, 20, {0.028, 0.6, 0.9175, 1e-3},                                                                                   \
        {                                                                                                                      \
            0.01, 1.0, 0.9175, 1e-3                                                                                            \
        }                                                                                                                      \
    }

static const fs_arch table[] = {
    {"vgg16", "64 64 M2 128 128 M2 256 256 256 M2 512 512 512 M2 512 512 512 M2 | 4096 4096 K", RECIPE_AVGG16},
    {"vgg16-fc1", "64 64 M2 128 128 M2 256 256 256 M2 512 512 512 M2 512 512 512 M2 | K", RECIPE_AVGG16},
    {"vgg11", "64 64 M2 128 128 M2 256 256 256 M2 512 512 512 M2 | K", RECIPE_VGG11},
    {"vgg6", "64 M2 128 M2 256 M2 512 M2 512 M2 | K", RECIPE_AVGG16},
    {"avgg16", "64 64 128 128 256 256 256 A4 512 512 512 512 512 512 M2 | 4096 4096 K", RECIPE_AVGG16},
    {"avgg6", "64 128 256 A2 512 512 M8 | K", RECIPE_AVGG16},
    {"avgg8", "64 128 256 A2 512 512 M4 | 8192 8192 K", RECIPE_AVGG16},
    {NULL, NULL, {0}},
};

const fs_arch *fs_arch_table(void)
{
    return table;
}

const fs_arch *fs_arch_find(const char *name)
{
    char known[256] = "";
    for (const fs_arch *arch = table; arch->name; arch++) {
        if (strcmp(arch->name, name) == 0)
            return arch;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, " %s", arch->name);
    }
    fs_fail(FS_USAGE, "unknown architecture '%s'; there are:%s", name, known);
    return NULL;
}
