#include "ops/words.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fs_status fs_words_fail(const fs_words *w, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return fs_fail(FS_USAGE, "%s: line %d: %s", w->name, w->line, text);
}

const char *fs_words_take(fs_words *w)
{
    return w->next < w->count ? w->word[w->next++] : NULL;
}

int fs_words_take_if(fs_words *w, const char *word)
{
    int is = w->next < w->count && strcmp(w->word[w->next], word) == 0;
    w->next += is;
    return is;
}

int fs_words_number(const char **text, int most)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return -1;
    long value = strtol(*text, &end, 10);
    *text = end;
    return value > most ? -1 : (int)value;
}

fs_status fs_words_units(fs_words *w, const char *what, int *units)
{
    const char *word = fs_words_take(w), *rest = word;
    if (!word)
        return fs_words_fail(w, "'%s' wants its number of %s, or K", w->word[0], what);
    if (strcmp(word, "K") == 0) {
        *units = FS_UNITS_K;
        return FS_OK;
    }
    *units = fs_words_number(&rest, FS_MOST_UNITS);
    return *units >= 1 && !*rest
               ? FS_OK
               : fs_words_fail(w, "'%s' of '%s' is no number of %s in 1 .. %d, nor K", word, w->word[0], what, FS_MOST_UNITS);
}

fs_status fs_words_size(fs_words *w, const char *what, int least, fs_size *size)
{
    const char *word = fs_words_take(w), *rest = word;
    if (!word)
        return fs_words_fail(w, "'%s' wants %s", w->word[0], what);
    size->height = size->width = fs_words_number(&rest, FS_MOST_SIZE);
    if (*rest == 'x') {
        rest++;
        size->width = fs_words_number(&rest, FS_MOST_SIZE);
    }
    if (size->height >= least && size->width >= least && !*rest)
        return FS_OK;
    return fs_words_fail(w, "'%s' is no %s: expected N or HEIGHTxWIDTH with numbers in %d .. %d", word, what, least,
                         FS_MOST_SIZE);
}

fs_status fs_words_real(fs_words *w, const char *what, double least, double most, double *value)
{
    char *end;
    const char *word = fs_words_take(w);
    if (!word)
        return fs_words_fail(w, "'%s' wants its %s", w->word[0], what);
    *value = strtod(word, &end);
    if (end == word || *end || !(*value >= least && *value <= most))
        return fs_words_fail(w, "'%s' of '%s' is no %s in %g .. %g", word, w->word[0], what, least, most);
    return FS_OK;
}

/* Numbers with x between them, up to the end of the word; how many, 0 where it is none. */
static int read_numbers(const char *word, int number[4])
{
    for (int count = 1; count <= 4; count++) {
        number[count - 1] = fs_words_number(&word, FS_MOST_SIZE);
        if (number[count - 1] < 0)
            return 0;
        if (!*word)
            return count;
        if (*word++ != 'x')
            return 0;
    }
    return 0;
}

fs_status fs_words_pads(fs_words *w, fs_layer *layer)
{
    int n[4];
    const char *word = fs_words_take(w);
    if (!word)
        return fs_words_fail(w, "'%s' wants pad", w->word[0]);
    layer->same = strcmp(word, "same") == 0;
    int count = layer->same ? 0 : read_numbers(word, n);
    if (count == 1 || count == 2)
        layer->pad = layer->pad_end = (fs_size){n[0], n[count - 1]};
    else if (count == 4) {
        layer->pad = (fs_size){n[0], n[2]};
        layer->pad_end = (fs_size){n[1], n[3]};
    }
    if (layer->same || (count && count != 3))
        return FS_OK;
    return fs_words_fail(w,
                         "'%s' is no pad: expected N, HEIGHTxWIDTH or TOPxBOTTOMxLEFTxRIGHT with numbers in 0 .. %d, or same",
                         word, FS_MOST_SIZE);
}
