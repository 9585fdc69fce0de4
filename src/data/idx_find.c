/* Finding the four files of an IDX set by their names, which mirrors and tools write in many ways:
 *
 *     [SET-] train|t10k|test - images|labels [- idx1|idx2|idx3|idx4] [- ubyte|short|int] [.gz]
 *
 * with hyphens, dots, low lines or blanks between the words, in any case, and each file perhaps in a folder of its name. What
 * a name says of the type is a matter of preference only: the header of the file decides. */
#define _GNU_SOURCE /* strcasestr */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "idx.h"

/* The words of a name, in their ways; the first way is MNIST's own. */
static const struct word {
    const char *text;
    enum { WORD_SPLIT, WORD_WHAT, WORD_AXES, WORD_TYPE, WORD_PACKED } kind;
    int value;  /* of WORD_SPLIT and WORD_WHAT */
    int behind; /* how far behind other files of the set this one is */
} words[] = {
    {"train", WORD_SPLIT, FS_TRAIN, 0},
    {"training", WORD_SPLIT, FS_TRAIN, 10},
    {"t10k", WORD_SPLIT, FS_TEST, 0},
    {"test", WORD_SPLIT, FS_TEST, 10},
    {"testing", WORD_SPLIT, FS_TEST, 20},
    {"images", WORD_WHAT, FS_IDX_IMAGES, 0},
    {"image", WORD_WHAT, FS_IDX_IMAGES, 10},
    {"labels", WORD_WHAT, FS_IDX_LABELS, 0},
    {"label", WORD_WHAT, FS_IDX_LABELS, 10},
    {"idx1", WORD_AXES, 0, 0},
    {"idx2", WORD_AXES, 0, 400},
    {"idx3", WORD_AXES, 0, 0},
    {"idx4", WORD_AXES, 0, 100},
    {"ubyte", WORD_TYPE, 0, 0},
    {"short", WORD_TYPE, 0, 100},
    {"int", WORD_TYPE, 0, 200},
    {"gz", WORD_PACKED, 0, 1},
};

static const char separators[] = "-._ ";

/* What a name says. */
struct name {
    size_t set;     /* characters of SET before its separator; 0 without one */
    int split;      /* fs_split */
    int what;       /* fs_idx_what */
    int preference; /* the smallest of several files is read */
};

static const struct word *find_word(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].text) == length && strncasecmp(words[i].text, text, length) == 0)
            return &words[i];
    return NULL;
}

static int has_capitals(const char *text)
{
    while (*text && !isupper((unsigned char)*text))
        text++;
    return *text != 0;
}

/* The words from `text` on, each of a later kind than that before; 0 where one is none. */
static int read_words(const char *text, struct name *name)
{
    int next = WORD_SPLIT, of_separator = 6; /* MNIST's own has a hyphen before "idx" */
    for (size_t length; *text; text += length + (text[length] != 0)) {
        length = strcspn(text, separators);
        const struct word *word = find_word(text, length);
        if (!word || (int)word->kind < next || (next <= WORD_WHAT && (int)word->kind != next))
            return 0;
        next = (int)word->kind + 1;
        name->preference += word->behind;
        if (word->kind == WORD_SPLIT)
            name->split = word->value;
        if (word->kind == WORD_WHAT)
            name->what = word->value;
        if (word->kind == WORD_AXES)
            of_separator = text[-1] == '-' ? 0 : text[-1] == '.' ? 2 : 4;
    }
    name->preference += of_separator;
    return next > WORD_WHAT;
}

/* The set's name ends before the first word that says the split and is followed by all the others. */
static int read_name(const char *text, struct name *name)
{
    for (size_t first = 0;; first += strcspn(text + first, separators) + 1) {
        *name = (struct name){.set = first ? first - 1 : 0, .preference = has_capitals(text) ? 50 : 0};
        if (read_words(text + first, name))
            return 1;
        if (!text[first + strcspn(text + first, separators)])
            return 0;
    }
}

int fs_holds_idx(const char *text)
{
    struct name name;
    return read_name(text, &name);
}

static int is_set(const char *text, size_t length, const char *set)
{
    return strlen(set) == length && strncasecmp(text, set, length) == 0;
}

/* The file of that split in `folder`, and how much it is preferred; smaller is better, as it comes in. */
static void find_best(const char *folder, const char *set, int split, int what, int *preference, char path[FS_PATH_BYTES])
{
    struct dirent **entry;
    int entries = scandir(folder, &entry, NULL, alphasort);
    for (int i = 0; i < entries; i++) {
        struct name name;
        const char *text = entry[i]->d_name;
        if (read_name(text, &name) && name.split == split && name.what == what && is_set(text, name.set, set) &&
            name.preference < *preference && fs_data_path(folder, text, path) == FS_OK)
            *preference = name.preference;
        free(entry[i]);
    }
    if (entries >= 0)
        free(entry);
}

/* A folder that is named like the file in it. */
static void enter_folder(const char *set, int split, int what, char path[FS_PATH_BYTES])
{
    char folder[FS_PATH_BYTES];
    struct stat status;
    int preference = INT_MAX;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
        return;
    snprintf(folder, sizeof folder, "%s", path);
    find_best(folder, set, split, what, &preference, path);
}

/* The sets in `folder`, each once. */
struct sets {
    char name[16][FS_IDX_SET_BYTES];
    int count;
};

static void add_set(struct sets *sets, const char *text, size_t length)
{
    int i = 0;
    while (i < sets->count && !is_set(text, length, sets->name[i]))
        i++;
    if (i < sets->count || i == sizeof sets->name / sizeof *sets->name || length >= sizeof *sets->name)
        return;
    snprintf(sets->name[sets->count++], sizeof *sets->name, "%.*s", (int)length, text);
}

static void list_sets(const char *folder, struct sets *sets)
{
    struct dirent **entry;
    int entries = scandir(folder, &entry, NULL, alphasort);
    *sets = (struct sets){0};
    for (int i = 0; i < entries; i++) {
        struct name name;
        if (read_name(entry[i]->d_name, &name))
            add_set(sets, entry[i]->d_name, name.set);
        free(entry[i]);
    }
    if (entries >= 0)
        free(entry);
}

static fs_status fail_choice(const char *folder, const char *wanted, const struct sets *sets)
{
    char names[512] = "";
    for (int i = 0; i < sets->count; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                 *sets->name[i] ? sets->name[i] : "one without a name");
    }
    if (*wanted)
        return fs_fail(FS_ERROR, "%s/%s: neither a folder nor one of the sets in %s: %s", folder, wanted, folder, names);
    return fs_fail(FS_ERROR, "%s: has several sets (%s): name one, as %s/%s", folder, names, folder, sets->name[0]);
}

/* Files without a set's name come first; otherwise there is one set only. */
static fs_status choose_set(const char *folder, const char *wanted, char set[FS_IDX_SET_BYTES])
{
    struct sets sets;
    list_sets(folder, &sets);
    snprintf(set, FS_IDX_SET_BYTES, "%s", wanted);
    for (int i = 0; i < sets.count; i++)
        if (is_set(wanted, strlen(wanted), sets.name[i]))
            return FS_OK;
    if (*wanted || sets.count > 1)
        return fail_choice(folder, wanted, &sets);
    if (sets.count == 1)
        snprintf(set, FS_IDX_SET_BYTES, "%s", sets.name[0]);
    return FS_OK;
}

fs_status fs_idx_choose(const char *place, fs_idx_set *set)
{
    struct stat status;
    snprintf(set->folder, sizeof set->folder, "%s", place);
    char *slash = strrchr(set->folder, '/');
    const char *wanted = "";
    if (stat(place, &status) != 0 && slash) { /* FOLDER/SET */
        *slash = 0;
        wanted = slash + 1;
    }
    return choose_set(set->folder, wanted, set->name);
}

fs_status fs_idx_find(const fs_idx_set *set, fs_split split, fs_idx_what what, char path[FS_PATH_BYTES], int *found)
{
    int preference = INT_MAX;
    find_best(set->folder, set->name, (int)split, (int)what, &preference, path);
    *found = preference < INT_MAX;
    if (*found) {
        enter_folder(set->name, (int)split, (int)what, path);
        return FS_OK;
    }
    char name[128];
    snprintf(name, sizeof name, "%s%s%s-%s", set->name, *set->name ? "-" : "", split == FS_TRAIN ? "train" : "t10k",
             what == FS_IDX_IMAGES ? "images-idx3-ubyte" : "labels-idx1-ubyte");
    return fs_data_path(set->folder, name, path);
}
