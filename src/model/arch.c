/* The built-in architectures, and those in files. */
#include "filterscope/architecture.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "filterscope/memory.h"

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

/* Of the others one for all parameters: learning rate, its factor after so many epochs, momentum, L2. */
#define RECIPE(epochs, every, lr, decay, momentum, l2)                                                                         \
    {                                                                                                                          \
        epochs, every, {lr, decay, momentum, l2},                                                                              \
        {                                                                                                                      \
            lr, decay, momentum, l2                                                                                            \
        }                                                                                                                      \
    }
/* He et al. (2016) and Huang et al. (2017) at batches of 128 and 64, but the two steps down come after a third and two thirds
 * of the epochs (ours). */
#define RECIPE_RESNET RECIPE(165, 55, 0.1, 0.1, 0.9, 1e-4)
#define RECIPE_DENSENET RECIPE(300, 100, 0.1, 0.1, 0.9, 1e-4)
/* Decay, momentum and L2 of Sandler et al. (2018) and of Tan and Le (2019), by SGD where they take RMSProp, with a learning
 * rate for it (ours). */
#define RECIPE_MOBILENET RECIPE(200, 1, 0.05, 0.98, 0.9, 4e-5)
#define RECIPE_EFFICIENTNET RECIPE(240, 2, 0.05, 0.97, 0.9, 1e-5)
/* As the collections train them on CIFAR-10. */
#define RECIPE_VGG_BN RECIPE(300, 30, 0.05, 0.5, 0.9, 5e-4)

/* Each text is a file of src/model/architectures. */
static const fs_arch table[] = {
    {"vgg16",
#include "model/arch_vgg16.h"
     , RECIPE_AVGG16},
    {"vgg16-fc1",
#include "model/arch_vgg16-fc1.h"
     , RECIPE_AVGG16},
    {"vgg11",
#include "model/arch_vgg11.h"
     , RECIPE_VGG11},
    {"vgg6",
#include "model/arch_vgg6.h"
     , RECIPE_AVGG16},
    {"avgg16",
#include "model/arch_avgg16.h"
     , RECIPE_AVGG16},
    {"avgg6",
#include "model/arch_avgg6.h"
     , RECIPE_AVGG16},
    {"avgg8",
#include "model/arch_avgg8.h"
     , RECIPE_AVGG16},
    {"resnet20",
#include "model/arch_resnet20.h"
     , RECIPE_RESNET},
    {"resnet20-b",
#include "model/arch_resnet20-b.h"
     , RECIPE_RESNET},
    {"resnet32",
#include "model/arch_resnet32.h"
     , RECIPE_RESNET},
    {"resnet32-b",
#include "model/arch_resnet32-b.h"
     , RECIPE_RESNET},
    {"resnet44",
#include "model/arch_resnet44.h"
     , RECIPE_RESNET},
    {"resnet44-b",
#include "model/arch_resnet44-b.h"
     , RECIPE_RESNET},
    {"resnet56",
#include "model/arch_resnet56.h"
     , RECIPE_RESNET},
    {"resnet56-b",
#include "model/arch_resnet56-b.h"
     , RECIPE_RESNET},
    {"resnet110",
#include "model/arch_resnet110.h"
     , RECIPE_RESNET},
    {"resnet110-b",
#include "model/arch_resnet110-b.h"
     , RECIPE_RESNET},
    {"resnet18",
#include "model/arch_resnet18.h"
     , RECIPE_RESNET},
    {"resnet18-224",
#include "model/arch_resnet18-224.h"
     , RECIPE_RESNET},
    {"mobilenetv2",
#include "model/arch_mobilenetv2.h"
     , RECIPE_MOBILENET},
    {"efficientnet-b0",
#include "model/arch_efficientnet-b0.h"
     , RECIPE_EFFICIENTNET},
    {"densenet40-12",
#include "model/arch_densenet40-12.h"
     , RECIPE_DENSENET},
    {"vgg16-bn",
#include "model/arch_vgg16-bn.h"
     , RECIPE_VGG_BN},
    {"vgg16-bn-cifar",
#include "model/arch_vgg16-bn-cifar.h"
     , RECIPE_VGG_BN},
    {NULL, NULL, {0}},
};

double fs_recipe_lr(const fs_recipe *recipe, const fs_group_recipe *group, double done)
{
    if (recipe->schedule == FS_STEPS)
        return group->lr * pow(group->lr_decay, floor(done / recipe->decay_every));
    if (done < recipe->warmup)
        return group->lr * done / recipe->warmup;
    return group->lr * (1 + cos(M_PI * (done - recipe->warmup) / (recipe->epochs - recipe->warmup))) / 2;
}

const fs_arch *fs_arch_table(void)
{
    return table;
}

static const fs_arch *find(const char *name)
{
    for (const fs_arch *arch = table; arch->name; arch++)
        if (strcmp(arch->name, name) == 0)
            return arch;
    return NULL;
}

static void fail_unknown(const char *name, const char *also)
{
    char known[512] = "";
    for (const fs_arch *arch = table; arch->name; arch++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, " %s", arch->name);
    }
    fs_fail(FS_USAGE, "unknown architecture '%s'; there are:%s%s", name, known, also);
}

const fs_arch *fs_arch_find(const char *name)
{
    const fs_arch *arch = find(name);
    if (!arch)
        fail_unknown(name, "");
    return arch;
}

/* text[FS_ARCH_MOST_BYTES + 1] */
static fs_status read_text(const char *path, char *text)
{
    struct stat file_status;
    FILE *file = stat(path, &file_status) == 0 && S_ISREG(file_status.st_mode) ? fopen(path, "re") : NULL;
    if (!file)
        return fs_fail(FS_ERROR, "%s: cannot be read: %s", path, errno ? strerror(errno) : "not a regular file");
    size_t bytes = fread(text, 1, FS_ARCH_MOST_BYTES + 1, file);
    fclose(file);
    if (bytes > FS_ARCH_MOST_BYTES)
        return fs_fail(FS_ERROR, "%s: larger than the %d bytes of the largest architecture", path, FS_ARCH_MOST_BYTES);
    size_t mark;
    fs_status status = fs_text_skip_mark(path, text, bytes, &mark);
    if (status)
        return status;
    memmove(text, text + mark, bytes -= mark);
    text[bytes] = 0;
    for (size_t i = 0; i < bytes; i++)
        if (text[i] == 0 || (iscntrl((unsigned char)text[i]) && !isspace((unsigned char)text[i])))
            return fs_fail(FS_ERROR, "%s: byte %zu is 0x%02x: not a text file", path, i, (unsigned char)text[i]);
    return FS_OK;
}

/* The file's name without folder and ending, as much as fits. */
static void name_of(const char *path, char name[FS_ARCH_NAME_BYTES])
{
    const char *slash = strrchr(path, '/'), *first = slash ? slash + 1 : path;
    snprintf(name, FS_ARCH_NAME_BYTES, "%s", first);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = 0;
    fs_text_repair(name); /* it goes into files that others read */
}

fs_status fs_arch_open(const char *name, fs_arch *arch)
{
    struct stat unused;
    const fs_arch *known = find(name);
    *arch = (fs_arch){.recipe = RECIPE_AVGG16};
    errno = 0;
    if (!known && stat(name, &unused) != 0) {
        fail_unknown(name, ", and it is no file");
        return FS_USAGE;
    }
    char *own_name = fs_alloc(FS_ARCH_NAME_BYTES, 1, "an architecture"),
         *text = fs_alloc(FS_ARCH_MOST_BYTES + 2, 1, "an architecture");
    fs_status status = own_name && text ? FS_OK : FS_ERROR;
    if (!status && known) {
        snprintf(own_name, FS_ARCH_NAME_BYTES, "%s", known->name);
        snprintf(text, FS_ARCH_MOST_BYTES, "%s", known->text);
        arch->recipe = known->recipe;
    } else if (!status) {
        name_of(name, own_name);
        status = read_text(name, text);
    }
    arch->name = own_name;
    arch->text = text;
    if (status)
        fs_arch_close(arch);
    return status;
}

fs_status fs_arch_copy(const char *name, const char *text, fs_arch *arch)
{
    const fs_arch *known = find(name);
    size_t length = strlen(text) + 1;
    char *own_name = fs_alloc(FS_ARCH_NAME_BYTES, 1, "an architecture"), *own_text = fs_alloc(length, 1, "an architecture");
    *arch = (fs_arch){.name = own_name, .text = own_text, .recipe = known ? known->recipe : (fs_recipe)RECIPE_AVGG16};
    arch->silent_floor = 1;
    if (own_name && own_text) {
        snprintf(own_name, FS_ARCH_NAME_BYTES, "%s", name);
        memcpy(own_text, text, length);
        return FS_OK;
    }
    fs_arch_close(arch);
    return FS_ERROR;
}

void fs_arch_close(fs_arch *arch)
{
    free((void *)arch->name);
    free((void *)arch->text);
    *arch = (fs_arch){0};
}
