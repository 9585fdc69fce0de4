/* A file of groups of filters, a line each: LAYER FILTER FILTER ... */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "filterscope/sets.h"
#include "filterscope/slots.h"

enum { MOST_BYTES = 1 << 24, MOST_NUMBER = 1 << 20, QUOTED = 40 /* characters of a word in a message */ };

/* The words of a text, line by line. */
struct reader {
    const char *name, *at, *end;
    int line;
    const fs_plan *plan;
    uint8_t *taken; /* [most filters of a layer]: by the group that is being read */
    fs_group_list *list;
    int filters; /* of all groups so far */
};

static int is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Lines end in LF, CR or both. */
static int ends_line(char byte)
{
    return byte == '\n' || byte == '\r';
}

/* The next word of the line, not a comment; 0 at its end. */
static size_t next_word(struct reader *r, const char **word)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
    *word = r->at;
    while (r->at < r->end && !is_blank(*r->at) && !ends_line(*r->at) && *r->at != '#')
        r->at++;
    return (size_t)(r->at - *word);
}

static void skip_line(struct reader *r)
{
    while (r->at < r->end && !ends_line(*r->at))
        r->at++;
    int both = r->end - r->at > 1 && r->at[0] == '\r' && r->at[1] == '\n';
    r->at += both ? 2 : r->at < r->end;
}

/* -1: the word is no number. */
static int number_of(const char *word, size_t length)
{
    int number = 0;
    for (size_t i = 0; i < length; i++) {
        if (word[i] < '0' || word[i] > '9' || number > MOST_NUMBER)
            return -1;
        number = 10 * number + word[i] - '0';
    }
    return number;
}

static int cut(size_t length)
{
    return length < QUOTED ? (int)length : QUOTED;
}

static fs_status read_layer(const struct reader *r, const char *word, size_t length, int *index)
{
    int number = number_of(word, length);
    for (*index = 0; *index < r->plan->layers; ++*index)
        if (r->plan->layer[*index].layer == number ||
            (strlen(r->plan->layer[*index].name) == length && memcmp(r->plan->layer[*index].name, word, length) == 0))
            return fs_plan_has_knockout(r->plan, *index)
                       ? FS_OK
                       : fs_fail(FS_ERROR, "%s: line %d: layer %s: its filters are not knocked out (--knockout-layers)",
                                 r->name, r->line, r->plan->layer[*index].name);
    return fs_fail(FS_ERROR, "%s: line %d: '%.*s' is no layer that is probed", r->name, r->line, cut(length), word);
}

static fs_status read_filter(struct reader *r, const fs_group *group, const char *word, size_t length)
{
    const fs_layer_row *layer = &r->plan->layer[group->index];
    int number = number_of(word, length);
    if (number < 0 || number >= layer->filters)
        return fs_fail(FS_ERROR, "%s: line %d: '%.*s' is no filter of layer %s, which has 0 to %d", r->name, r->line,
                       cut(length), word, layer->name, layer->filters - 1);
    if (r->taken[number])
        return fs_fail(FS_ERROR, "%s: line %d: filter %d twice", r->name, r->line, number);
    r->taken[number] = 1;
    r->list->filter[r->filters++] = number;
    return FS_OK;
}

static void close_group(struct reader *r, fs_group *group)
{
    int32_t layer = r->plan->layer[group->index].layer;
    for (int f = 0; f < group->count; f++)
        r->taken[group->filter[f]] = 0;
    r->list->crc = fs_crc32c(r->list->crc, &layer, sizeof layer);
    r->list->crc = fs_crc32c(r->list->crc, &group->count, sizeof group->count);
    r->list->crc = fs_crc32c(r->list->crc, group->filter, (size_t)group->count * sizeof *group->filter);
}

/* A line, whose first word this is. */
static fs_status read_group(struct reader *r, const char *word, size_t length)
{
    fs_group *group = &r->list->group[r->list->groups];
    *group = (fs_group){.filter = r->list->filter + r->filters};
    fs_status status = read_layer(r, word, length, &group->index);
    while (!status && (length = next_word(r, &word)) > 0) {
        status = read_filter(r, group, word, length);
        group->count += !status;
    }
    if (!status && !group->count)
        status =
            fs_fail(FS_ERROR, "%s: line %d: layer %d without a filter", r->name, r->line, r->plan->layer[group->index].layer);
    if (!status)
        close_group(r, group);
    r->list->groups += !status;
    return status;
}

/* Room for as many groups as there are lines, and as many filters as there are words. */
static fs_status allocate(struct reader *r, const char *text, size_t bytes)
{
    size_t lines = 1, words = 1, most = 0;
    for (size_t i = 0; i < bytes; i++) {
        lines += ends_line(text[i]);
        words += is_blank(text[i]) || ends_line(text[i]);
    }
    for (int i = 0; i < r->plan->layers; i++)
        most = (size_t)r->plan->layer[i].filters > most ? (size_t)r->plan->layer[i].filters : most;
    r->list->group = fs_alloc(lines, sizeof *r->list->group, "groups");
    r->list->filter = fs_alloc(words, sizeof *r->list->filter, "groups");
    r->taken = fs_alloc(most, 1, "groups");
    return r->list->group && r->list->filter && r->taken ? FS_OK : FS_ERROR;
}

fs_status fs_groups_parse(const char *name, const char *text, size_t bytes, const fs_plan *plan, fs_group_list *list)
{
    struct reader r = {.name = name, .end = text + bytes, .plan = plan, .list = list};
    size_t mark = 0;
    *list = (fs_group_list){0};
    fs_status status = fs_text_skip_mark(name, text, bytes, &mark);
    if (!status)
        status = allocate(&r, text, bytes);
    r.at = text + mark;
    while (!status && r.at < r.end) {
        const char *word;
        r.line++;
        size_t length = next_word(&r, &word);
        if (length)
            status = read_group(&r, word, length);
        skip_line(&r);
    }
    if (!status && !list->groups)
        status = fs_fail(FS_ERROR, "%s: no group: a line is LAYER FILTER FILTER ...", name);
    free(r.taken);
    if (status)
        fs_groups_free(list);
    return status;
}

static fs_status read_text(const char *path, char **text, uint64_t *bytes)
{
    struct stat found;
    errno = 0;
    FILE *file = stat(path, &found) == 0 && S_ISREG(found.st_mode) ? fopen(path, "rbe") : NULL;
    if (!file)
        return fs_fail(FS_ERROR, "%s: cannot be read: %s", path, errno ? strerror(errno) : "not a regular file");
    fs_status status = FS_OK;
    if (found.st_size > MOST_BYTES)
        status = fs_fail(FS_ERROR, "%s: larger than the %d bytes of the largest file of groups", path, MOST_BYTES);
    else
        *text = fs_alloc((size_t)found.st_size + 1, 1, "groups");
    if (!status && *text)
        *bytes = fread(*text, 1, (size_t)found.st_size, file);
    if (!status && *text && *bytes < (uint64_t)found.st_size)
        status = fs_fail(FS_ERROR, "%s: cannot be read: %s", path, errno ? strerror(errno) : "became shorter");
    fclose(file);
    return status ? status : *text ? FS_OK : FS_ERROR;
}

fs_status fs_groups_load(MPI_Comm comm, const char *path, const fs_plan *plan, fs_group_list *list)
{
    int rank;
    char *text = NULL;
    uint64_t bytes = 0;
    *list = (fs_group_list){0};
    MPI_Comm_rank(comm, &rank);
    fs_status status = fs_agree(comm, rank == 0 ? read_text(path, &text, &bytes) : FS_OK);
    if (!status) {
        fs_share_bytes(comm, 0, &bytes, sizeof bytes);
        if (rank > 0)
            text = fs_alloc(bytes + 1, 1, "groups");
        status = fs_agree(comm, text ? FS_OK : FS_ERROR);
    }
    if (!status) {
        fs_share_bytes(comm, 0, text, bytes);
        status = fs_agree(comm, fs_groups_parse(path, text, bytes, plan, list));
    }
    free(text);
    return status;
}

void fs_groups_free(fs_group_list *list)
{
    free(list->group);
    free(list->filter);
    *list = (fs_group_list){0};
}
