/* The grammar of architecture.h: a line becomes a layer. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "filterscope/architecture.h"
#include "filterscope/crc32c.h"
#include "ops/words.h"

/* The line at *text without its comment. */
static fs_status split(const char **text, fs_words *w)
{
    const char *line = *text;
    size_t length = strcspn(line, "\n"), used = 0;
    *text = line + length + (line[length] == '\n');
    for (size_t i = 0; i < length && line[i] != '#'; i++) {
        int blank = isspace((unsigned char)line[i]), starts = !blank && (i == 0 || isspace((unsigned char)line[i - 1]));
        if (blank)
            continue;
        if (starts && used)
            w->buffer[used++] = 0;
        if (used + 2 >= sizeof w->buffer || (starts && w->count == FS_MOST_WORDS))
            return fs_words_fail(w, "'%.40s...' is too long for a layer", line);
        if (starts)
            w->word[w->count++] = w->buffer + used;
        w->buffer[used++] = line[i];
    }
    return FS_OK;
}

static fs_status read_layer(fs_words *w, fs_layer *layer)
{
    char known[320] = "";
    const char *word = fs_words_take(w);
    for (const fs_kind *const *kind = fs_kinds; *kind; kind++) {
        size_t used = strlen(known);
        if (strcmp(word, (*kind)->word) == 0) {
            layer->kind = *kind;
            fs_status status = (*kind)->read ? (*kind)->read(w, layer) : FS_OK;
            if (!status && w->next < w->count)
                status = fs_words_fail(w, "unexpected '%s' after '%s'", w->word[w->next], w->word[w->next - 1]);
            return status;
        }
        snprintf(known + used, sizeof known - used, " %s", (*kind)->word);
    }
    return fs_words_fail(w, "'%s' is no layer; there are:%s", word, known);
}

static int is_name(const char *word)
{
    static const char *const taken[] = {FS_HERE, "as", "probe"};
    size_t length = 0;
    while (isalnum((unsigned char)word[length]) || (word[length] && strchr("._-", word[length])))
        length++;
    for (int i = 0; i < 3; i++)
        if (strcmp(word, taken[i]) == 0)
            return 0;
    return isalpha((unsigned char)*word) && !word[length] && length < FS_NAME_BYTES;
}

/* Takes "as NAME" and "probe" from the end of the line. */
static fs_status take_marks(fs_words *w, fs_layer *layer)
{
    for (;;) {
        char **last = w->word + w->count - 1;
        if (w->count > 1 && !layer->probe && strcmp(*last, "probe") == 0) {
            layer->probe = 1;
            w->count--;
        } else if (w->count > 2 && !*layer->name && strcmp(last[-1], "as") == 0) {
            if (!is_name(*last))
                return fs_words_fail(w, "'%s' is no name: a letter, then letters, digits, '.', '-', '_', %d in all", *last,
                                     FS_NAME_BYTES - 1);
            strcpy(layer->name, *last);
            w->count -= 2;
        } else {
            return FS_OK;
        }
    }
}

static void join(const fs_words *w, fs_layer *layer)
{
    size_t used = 0;
    for (int i = 0; i < w->count; i++)
        used += (size_t)snprintf(layer->text + used, sizeof layer->text - used, "%s%s", i ? " " : "", w->word[i]);
}

fs_status fs_arch_next(const char *name, const char **text, int *line, fs_layer *layer, int *more)
{
    fs_words w = {.name = name};
    *more = 0;
    while (!w.count) {
        if (!**text)
            return FS_OK;
        w.line = ++*line;
        fs_status status = split(text, &w);
        if (status)
            return status;
    }
    *more = 1;
    *layer = (fs_layer){.line = w.line, .stride = {1, 1}, .dilation = {1, 1}};
    join(&w, layer);
    fs_status status = take_marks(&w, layer);
    return status ? status : read_layer(&w, layer);
}

fs_status fs_arch_fingerprint(const fs_arch *arch, uint32_t *crc)
{
    const char *text = arch->text;
    fs_layer layer;
    int line = 0, more = 1;
    *crc = 0;
    for (;;) {
        fs_status status = fs_arch_next(arch->name, &text, &line, &layer, &more);
        if (status || !more)
            return status;
        *crc = fs_crc32c(fs_crc32c(*crc, layer.text, strlen(layer.text)), "\n", 1);
    }
}
