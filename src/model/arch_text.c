/* The grammar of architecture.h: a line becomes a layer. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/architecture.h"
#include "filterscope/crc32c.h"

enum { MOST_WORDS = 12, MOST_UNITS = 1 << 20, MOST_SIZE = 4096 };

/* A line's words, and which comes next. */
struct words {
    const char *name; /* of the architecture */
    int line, count, next;
    char buffer[sizeof((fs_layer *)0)->text];
    char *word[MOST_WORDS];
};

static fs_status complain(const struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static fs_status complain(const struct words *w, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return fs_fail(FS_USAGE, "%s: line %d: %s", w->name, w->line, text);
}

/* The line at *text without its comment. */
static fs_status split(const char **text, struct words *w)
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
        if (used + 2 >= sizeof w->buffer || (starts && w->count == MOST_WORDS))
            return complain(w, "'%.40s...' is too long for a layer", line);
        if (starts)
            w->word[w->count++] = w->buffer + used;
        w->buffer[used++] = line[i];
    }
    return FS_OK;
}

static const char *take(struct words *w)
{
    return w->next < w->count ? w->word[w->next++] : NULL;
}

static int take_if(struct words *w, const char *word)
{
    int is = w->next < w->count && strcmp(w->word[w->next], word) == 0;
    w->next += is;
    return is;
}

/* The number at *text, which moves on behind it; -1 where there is none in 0 .. most. */
static int number(const char **text, int most)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return -1;
    long value = strtol(*text, &end, 10);
    *text = end;
    return value > most ? -1 : (int)value;
}

static fs_status read_units(struct words *w, const char *what, int *units)
{
    const char *word = take(w), *rest = word;
    if (!word)
        return complain(w, "'%s' wants its number of %s, or K", w->word[0], what);
    if (strcmp(word, "K") == 0) {
        *units = FS_UNITS_K;
        return FS_OK;
    }
    *units = number(&rest, MOST_UNITS);
    return *units >= 1 && !*rest
               ? FS_OK
               : complain(w, "'%s' of '%s' is no number of %s in 1 .. %d, nor K", word, w->word[0], what, MOST_UNITS);
}

/* N or HEIGHTxWIDTH behind `what`. */
static fs_status read_size(struct words *w, const char *what, int least, fs_size *size)
{
    const char *word = take(w), *rest = word;
    if (!word)
        return complain(w, "'%s' wants %s", w->word[0], what);
    size->height = size->width = number(&rest, MOST_SIZE);
    if (*rest == 'x') {
        rest++;
        size->width = number(&rest, MOST_SIZE);
    }
    if (size->height >= least && size->width >= least && !*rest)
        return FS_OK;
    return complain(w, "'%s' is no %s: expected N or HEIGHTxWIDTH with numbers in %d .. %d", word, what, least, MOST_SIZE);
}

static fs_status read_input(struct words *w, fs_layer *layer)
{
    const char *word = take(w), *rest = word ? word : "";
    layer->size.height = number(&rest, MOST_SIZE);
    rest += *rest == 'x';
    layer->size.width = number(&rest, MOST_SIZE);
    rest += *rest == 'x';
    layer->units = number(&rest, MOST_SIZE);
    if (layer->size.height >= 1 && layer->size.width >= 1 && layer->units >= 1 && !*rest)
        return FS_OK;
    return complain(w, "'%s' is no HEIGHTxWIDTHxCHANNELS with numbers in 1 .. %d", word ? word : "", MOST_SIZE);
}

static fs_status read_conv(struct words *w, fs_layer *layer)
{
    fs_status status = read_units(w, "filters", &layer->units);
    if (!status)
        status = read_size(w, "size", 1, &layer->size);
    while (!status && w->next < w->count) {
        if (take_if(w, "stride"))
            status = read_size(w, "stride", 1, &layer->stride);
        else if (take_if(w, "pad"))
            status = read_size(w, "pad", 0, &layer->pad);
        else if (take_if(w, "bias"))
            layer->bias = 1;
        else
            break;
    }
    if (status)
        return status;
    const fs_size *sizes[] = {&layer->size, &layer->stride, &layer->pad};
    static const char *const names[] = {"kernel", "stride", "pad"};
    for (int i = 0; i < 3; i++)
        if (sizes[i]->height != sizes[i]->width)
            return complain(w, "%s %dx%d: a convolution's is square here", names[i], sizes[i]->height, sizes[i]->width);
    return FS_OK;
}

static fs_status read_pool(struct words *w, fs_layer *layer)
{
    fs_status status = read_size(w, "size", 1, &layer->size);
    layer->stride = layer->size;
    while (!status && w->next < w->count) {
        if (take_if(w, "stride"))
            status = read_size(w, "stride", 1, &layer->stride);
        else if (take_if(w, "pad"))
            status = read_size(w, "pad", 0, &layer->pad);
        else if (take_if(w, "floor"))
            layer->floor = 1;
        else if (take_if(w, "ceil"))
            layer->ceil = 1;
        else
            break;
    }
    if (!status && layer->floor && layer->ceil)
        return complain(w, "both 'floor' and 'ceil'");
    if (!status && (layer->pad.height > layer->size.height / 2 || layer->pad.width > layer->size.width / 2))
        return complain(w, "pad %dx%d of a %dx%d pool: at most half its size", layer->pad.height, layer->pad.width,
                        layer->size.height, layer->size.width);
    return status;
}

static fs_status read_fc(struct words *w, fs_layer *layer)
{
    fs_status status = read_units(w, "units", &layer->units);
    if (!status)
        layer->bias = take_if(w, "bias");
    return status;
}

static fs_status read_dropout(struct words *w, fs_layer *layer)
{
    char *end;
    const char *word = take(w);
    double p = word ? strtod(word, &end) : 0;
    (void)layer;
    if (word && (end == word || *end || !(p >= 0 && p <= 1)))
        return complain(w, "'%s' of 'dropout' is no number in 0 .. 1", word);
    return FS_OK;
}

static const struct {
    const char *word;
    fs_layer_kind kind;
    fs_status (*read)(struct words *w, fs_layer *layer); /* NULL: nothing follows */
} kinds[] = {
    {"input", FS_LAYER_INPUT, read_input},
    {"conv", FS_LAYER_CONV, read_conv},
    {"bn", FS_LAYER_BN, NULL},
    {"relu", FS_LAYER_RELU, NULL},
    {"maxpool", FS_LAYER_MAXPOOL, read_pool},
    {"avgpool", FS_LAYER_AVGPOOL, read_pool},
    {"globalmax", FS_LAYER_GLOBALMAX, NULL},
    {"globalavg", FS_LAYER_GLOBALAVG, NULL},
    {"dropout", FS_LAYER_DROPOUT, read_dropout},
    {"flatten", FS_LAYER_FLATTEN, NULL},
    {"fc", FS_LAYER_FC, read_fc},
};

static fs_status read_layer(struct words *w, fs_layer *layer)
{
    char known[160] = "";
    const char *word = take(w);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t used = strlen(known);
        if (strcmp(word, kinds[i].word) == 0) {
            layer->kind = kinds[i].kind;
            fs_status status = kinds[i].read ? kinds[i].read(w, layer) : FS_OK;
            if (!status && w->next < w->count)
                status = complain(w, "unexpected '%s' after '%s'", w->word[w->next], w->word[w->next - 1]);
            return status;
        }
        snprintf(known + used, sizeof known - used, " %s", kinds[i].word);
    }
    return complain(w, "'%s' is no layer; there are:%s", word, known);
}

static void join(const struct words *w, fs_layer *layer)
{
    size_t used = 0;
    for (int i = 0; i < w->count; i++)
        used += (size_t)snprintf(layer->text + used, sizeof layer->text - used, "%s%s", i ? " " : "", w->word[i]);
}

fs_status fs_arch_next(const char *name, const char **text, int *line, fs_layer *layer, int *more)
{
    struct words w = {.name = name};
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
    *layer = (fs_layer){.line = w.line, .stride = {1, 1}};
    join(&w, layer);
    return read_layer(&w, layer);
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
