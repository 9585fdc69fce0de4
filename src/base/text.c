#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* The first byte tells the length of a character: its leading ones, and the bits that follow them. */
static const struct lead {
    unsigned char mask, value;
    size_t bytes;
    uint32_t least; /* a smaller number has a shorter form */
} leads[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};

static const struct lead *find_lead(unsigned char first)
{
    for (size_t i = 0; i < sizeof leads / sizeof *leads; i++)
        if ((first & leads[i].mask) == leads[i].value)
            return &leads[i];
    return NULL;
}

size_t fs_text_character(const char *text, size_t size, uint32_t *code)
{
    const unsigned char *byte = (const unsigned char *)text;
    const struct lead *lead = size ? find_lead(byte[0]) : NULL;
    if (!lead || lead->bytes > size)
        return 0;
    *code = byte[0] & (unsigned char)~lead->mask;
    for (size_t i = 1; i < lead->bytes; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (byte[i] & 0x3fu);
    }
    return *code < lead->least || (*code >= 0xd800 && *code <= 0xdfff) || *code > 0x10ffff ? 0 : lead->bytes;
}

static int is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* Bytes of the first character that a table can show, else 0. */
static size_t plain_character(const char *text, size_t size, uint32_t *code)
{
    size_t bytes = fs_text_character(text, size, code);
    return bytes && is_control(*code) ? 0 : bytes;
}

/* For messages: what cannot be shown as \xHH; cut to what fits. */
static void quote(const char *text, size_t size, char *quoted, size_t room)
{
    size_t used = 0;
    uint32_t code;
    for (size_t i = 0; i < size && used + 5 < room;) {
        size_t bytes = plain_character(text + i, size - i, &code);
        if (bytes)
            memcpy(quoted + used, text + i, bytes);
        used += bytes ? bytes : (size_t)snprintf(quoted + used, room - used, "\\x%02x", (unsigned char)text[i]);
        i += bytes ? bytes : 1;
    }
    quoted[used] = 0;
}

fs_status fs_text_check(const char *what, const char *text, size_t size)
{
    char quoted[160];
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        size_t bytes = plain_character(text + i, size - i, &code);
        if (!bytes) {
            int utf8 = fs_text_character(text + i, size - i, &code) > 0;
            quote(text, size, quoted, sizeof quoted);
            if (utf8)
                return fs_fail(FS_ERROR, "%s '%s': byte %zu begins the control character U+%04X", what, quoted, i + 1, code);
            return fs_fail(FS_ERROR, "%s '%s': byte %zu is 0x%02x: not UTF-8 (Latin-1? iconv -f LATIN1 -t UTF-8)", what, quoted,
                           i + 1, (unsigned char)text[i]);
        }
        i += bytes;
    }
    return FS_OK;
}

/* Of UTF-32 before UTF-16, whose mark begins as that does. */
static const struct mark {
    const char *bytes;
    size_t size;
    const char *name; /* NULL: can be read */
} marks[] = {{"\xef\xbb\xbf", 3, NULL},
             {"\xff\xfe\0\0", 4, "UTF-32"},
             {"\0\0\xfe\xff", 4, "UTF-32"},
             {"\xff\xfe", 2, "UTF-16"},
             {"\xfe\xff", 2, "UTF-16"}};

fs_status fs_text_skip_mark(const char *path, const char *text, size_t size, size_t *skip)
{
    *skip = 0;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (size >= marks[i].size && memcmp(text, marks[i].bytes, marks[i].size) == 0) {
            if (marks[i].name)
                return fs_fail(FS_ERROR, "%s: its byte order mark says %s: save it as UTF-8 (iconv -f %s -t UTF-8)", path,
                               marks[i].name, marks[i].name);
            *skip = marks[i].size;
            return FS_OK;
        }
    return FS_OK;
}

void fs_text_repair(char *text)
{
    uint32_t code;
    for (size_t left = strlen(text); left;) {
        size_t bytes = plain_character(text, left, &code);
        if (!bytes)
            *text = '?';
        text += bytes ? bytes : 1;
        left -= bytes ? bytes : 1;
    }
}
