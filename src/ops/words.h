/* The words of a line, for the kinds to read. */
#ifndef FILTERSCOPE_OPS_WORDS_H
#define FILTERSCOPE_OPS_WORDS_H

#include "filterscope/op.h"

enum { FS_MOST_WORDS = FS_MOST_INPUTS + 8 };

/* A line's words, and which comes next. */
typedef struct fs_words {
    const char *name; /* of the architecture */
    int line, count, next;
    char buffer[sizeof((fs_layer *)0)->text];
    char *word[FS_MOST_WORDS];
} fs_words;

/* FS_USAGE, with architecture and line before the message. */
fs_status fs_words_fail(const fs_words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The next word, NULL at the end; 1 where the next word is `word`, which is taken then. */
const char *fs_words_take(fs_words *w);
int fs_words_take_if(fs_words *w, const char *word);

/* The number at *text, which moves on behind it; -1 where there is none in 0 .. most. */
int fs_words_number(const char **text, int most);

/* N or K, a number of `what`; N or HEIGHTxWIDTH, both at least `least`. */
fs_status fs_words_units(fs_words *w, const char *what, int *units);
fs_status fs_words_size(fs_words *w, const char *what, int least, fs_size *size);

/* The pads of a convolution or pool: N, HEIGHTxWIDTH, TOPxBOTTOMxLEFTxRIGHT or same. */
fs_status fs_words_pads(fs_words *w, fs_layer *layer);

/* A number of `what` in least .. most. */
fs_status fs_words_real(fs_words *w, const char *what, double least, double most, double *value);

enum { FS_MOST_UNITS = 1 << 20, FS_MOST_SIZE = 4096 };

#endif
