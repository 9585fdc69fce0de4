/* Text that others wrote: UTF-8, or refused with the byte that isn't. */
#ifndef FILTERSCOPE_BASE_TEXT_H
#define FILTERSCOPE_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/status.h"

/* Bytes of the character that text[size] starts with, its number in *code; 0 where that is no UTF-8 (RFC 3629): cut off,
 * longer than it need be, half of a surrogate pair, or above 10ffff. */
size_t fs_text_character(const char *text, size_t size, uint32_t *code);

/* FS_ERROR where text[size] is no UTF-8, or has a character that controls a terminal or ends a line of a table (control
 * characters, line separators, marks that turn the direction of writing). The message starts with `what`, quotes the text, and
 * names the byte, from 1. */
fs_status fs_text_check(const char *what, const char *text, size_t size);

/* Bytes of the byte order mark that text[size] starts with: 3 of UTF-8's, 0 without one. FS_ERROR: UTF-16, UTF-32. */
fs_status fs_text_skip_mark(const char *path, const char *text, size_t size, size_t *skip);

/* Puts '?' in place of each byte that fs_text_check would refuse, so that what is stored can be read by any program. */
void fs_text_repair(char *text);

#endif
