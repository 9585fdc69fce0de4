/* Where the files of a set are: in the folder that is named, or below it, as archives and download tools leave them. */
#define _GNU_SOURCE /* strcasestr */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "readers.h"

/* A wrong folder may be the top of a file server: so many entries are looked at, not more. */
enum { DEEPEST = 2, MOST_ENTRIES = 5000 };

/* A search under way. */
struct search {
    fs_data_holds *holds;
    char *folder;     /* [FS_PATH_BYTES]: the first that was found */
    char others[512]; /* all of them, for the message */
    int found, entries;
};

static void note_folder(struct search *s, const char *folder)
{
    size_t used = strlen(s->others);
    if (s->found++ == 0)
        snprintf(s->folder, FS_PATH_BYTES, "%s", folder);
    snprintf(s->others + used, sizeof s->others - used, "%s%s", used ? ", " : "", folder);
}

static int is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static void search_folder(struct search *s, const char *folder, int depth)
{
    char path[FS_PATH_BYTES];
    struct dirent **entry;
    int entries = scandir(folder, &entry, NULL, alphasort), here = 0;
    for (int i = 0; i < entries && !here; i++)
        here = s->holds(entry[i]->d_name);
    if (here)
        note_folder(s, folder);
    for (int i = 0; i < entries && !here && depth < DEEPEST && s->entries < MOST_ENTRIES; i++, s->entries++)
        if (entry[i]->d_name[0] != '.' && fs_data_path(folder, entry[i]->d_name, path) == FS_OK && is_folder(path))
            search_folder(s, path, depth + 1);
    for (int i = 0; i < entries; i++)
        free(entry[i]);
    if (entries >= 0)
        free(entry);
}

fs_status fs_data_find_folder(const char *place, fs_data_holds *holds, char folder[FS_PATH_BYTES], int *found)
{
    struct search s = {.holds = holds, .folder = folder};
    snprintf(folder, FS_PATH_BYTES, "%s", place);
    search_folder(&s, place, 0);
    *found = s.found > 0;
    if (s.found > 1)
        return fs_fail(FS_ERROR, "%s: several folders have such files: %s: name one of them", place, s.others);
    return FS_OK;
}

/* What people have instead of the files that are read, told by its name. Python's version of CIFAR comes first: its archive is
 * one, too. */
static const struct {
    const char *part; /* of the name, in any case */
    const char *is, *advice;
} instead[] = {
    {"cifar-10-batches-py", "the Python version", "python3 analysis/convert_cifar.py %s --out FOLDER makes the binary one"},
    {"cifar-10-python", "the Python version", "python3 analysis/convert_cifar.py %s --out FOLDER makes the binary one"},
    {"cifar-100-python", "the Python version", "python3 analysis/convert_cifar.py %s --out FOLDER makes the binary one"},
    {".tar.gz", "an archive", "unpack it (tar -xzf %s) and name the folder"},
    {".tgz", "an archive", "unpack it (tar -xzf %s) and name the folder"},
    {".tar", "an archive", "unpack it (tar -xf %s) and name the folder"},
    {".zip", "an archive", "unpack it (unzip %s) and name the folder"},
};

/* 1 where the message says what to do with `path`. */
static int advise_on(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char advice[FS_PATH_BYTES];
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++)
        if (strcasestr(name, instead[i].part)) {
            snprintf(advice, sizeof advice, instead[i].advice, path);
            fs_fail(FS_ERROR, "%s: is %s: %s", path, instead[i].is, advice);
            return 1;
        }
    return 0;
}

/* A folder that is Python's version by its own name, or has something of that kind in it. */
static int advise_in(const char *folder)
{
    char path[FS_PATH_BYTES];
    struct dirent **entry;
    int entries = scandir(folder, &entry, NULL, alphasort), advised = advise_on(folder);
    for (int i = 0; i < entries; i++) {
        advised = advised || (fs_data_path(folder, entry[i]->d_name, path) == FS_OK && advise_on(path));
        free(entry[i]);
    }
    if (entries >= 0)
        free(entry);
    return advised;
}

fs_status fs_data_advise(const char *place)
{
    struct stat status;
    if (stat(place, &status) != 0)
        return fs_fail(FS_ERROR, "%s: %s", place, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return advise_in(place) ? FS_ERROR : FS_OK;
    return advise_on(place) ? FS_ERROR : fs_fail(FS_ERROR, "%s: is not a folder: name the one that has the files", place);
}
