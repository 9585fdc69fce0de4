#include "filterscope/csv.h"

#include <string.h>

static int holds(const char *text, size_t length, const char *characters)
{
    for (; *characters; characters++)
        if (memchr(text, *characters, length))
            return 1;
    return 0;
}

static void print_character(FILE *out, char c)
{
    if (c == '"')
        fputs("\"\"", out);
    else if (c == '\n' || c == '\r' || c == '\t')
        fprintf(out, "\\x%02x", c);
    else
        fputc(c, out);
}

void fs_csv_text(FILE *out, const char *text, size_t bytes, int safe)
{
    size_t length = strnlen(text, bytes);
    int quoted = holds(text, length, ",\"\n\r");
    if (quoted)
        fputc('"', out);
    if (safe && length && strchr("=+-@", *text))
        fputc('\'', out);
    for (size_t i = 0; i < length; i++)
        print_character(out, text[i]);
    if (quoted)
        fputc('"', out);
}
