/* Texts in CSV. */
#ifndef FILTERSCOPE_CSV_H
#define FILTERSCOPE_CSV_H

#include <stddef.h>
#include <stdio.h>

/* Not collective. Prints one cell: `text` up to its 0 or `bytes`, in quotes where CSV wants them (RFC 4180). Line feeds,
 * carriage returns and tabs come out as \x0a, \x0d and \x09, so that a row is a line.
 *   safe  in   1: a text that a spreadsheet would compute, since it begins with = + - or @, gets a ' before it */
void fs_csv_text(FILE *out, const char *text, size_t bytes, int safe);

#endif
