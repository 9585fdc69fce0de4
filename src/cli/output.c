/* Standard output and standard error, as everything that the program prints leaves it.
 *
 * Always true: what comes out is UTF-8 without control characters but line feed and tab, whatever names hold (of labels, files,
 * hosts): no name moves a terminal's cursor, changes its colours or turns the direction of its text. The first write that fails
 * is remembered with its cause, which stdio itself forgets. */
#define _GNU_SOURCE /* fopencookie */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { LONGEST = 4, ESCAPED = 6 }; /* bytes of a character; of one that is escaped, as \u202e */

struct stream {
    int number;
    int cause; /* errno of the first write that failed; 0 while all is well */
    unsigned char held[LONGEST];
    int bytes; /* held: the beginning of a character whose rest is yet to come */
};

static struct stream output = {.number = STDOUT_FILENO}, errors = {.number = STDERR_FILENO};

/* How long the character is that begins with `first`; 0 where none does. */
static int length_of(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

static uint32_t code_of(const unsigned char *text, int bytes)
{
    uint32_t code = bytes == 1 ? text[0] : text[0] & (0x7Fu >> bytes);
    for (int i = 1; i < bytes; i++)
        code = code << 6 | (text[i] & 0x3F);
    return code;
}

/* Control characters, what turns the direction of text or is not seen, and what UTF-8 does not encode. */
static int is_escaped(uint32_t code, int bytes)
{
    static const struct {
        uint32_t first, last;
    } range[] = {{0x00, 0x08},     {0x0B, 0x1F},     {0x7F, 0x9F},     {0x61C, 0x61C},   {0x200B, 0x200F},
                 {0x2028, 0x202E}, {0x2060, 0x206F}, {0xD800, 0xDFFF}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}};
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (code >= range[i].first && code <= range[i].last)
            return 1;
    return (bytes == 3 && code < 0x800) || (bytes == 4 && (code < 0x10000 || code > 0x10FFFF)); /* longer than need be */
}

/* The held bytes as they go out, into text[LONGEST * ESCAPED]: as they are, escaped as one character, or each by itself. */
static size_t write_held(struct stream *s, char *text)
{
    size_t used = 0;
    int whole = s->bytes > 0 && s->bytes == length_of(s->held[0]);
    uint32_t code = whole ? code_of(s->held, s->bytes) : 0;
    if (whole && !is_escaped(code, s->bytes)) {
        memcpy(text, s->held, (size_t)s->bytes);
        used = (size_t)s->bytes;
    } else if (whole && code > 0xFF) {
        used = (size_t)sprintf(text, "\\u%04x", code & 0xFFFF);
    } else {
        for (int i = 0; i < s->bytes; i++)
            used += (size_t)sprintf(text + used, "\\x%02x", s->held[i]);
    }
    s->bytes = 0;
    return used;
}

static void write_bytes(struct stream *s, const char *text, size_t size)
{
    while (size > 0 && !s->cause) {
        ssize_t written = write(s->number, text, size);
        if (written < 0 && errno != EINTR)
            s->cause = errno;
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
}

/* One more byte; returns what it adds to text. */
static size_t take_byte(struct stream *s, unsigned char byte, char *text)
{
    size_t used = 0;
    if (s->bytes > 0 && (byte & 0xC0) != 0x80) /* not the rest of what is held */
        used = write_held(s, text);
    s->held[s->bytes++] = byte;
    return s->bytes < length_of(s->held[0]) ? used : used + write_held(s, text + used);
}

/* As fopencookie wants it: `size`, or 0 where nothing can be written. */
static ssize_t write_text(void *cookie, const char *text, size_t size)
{
    struct stream *s = cookie;
    char out[4096];
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (used + 2 * LONGEST * ESCAPED > sizeof out) {
            write_bytes(s, out, used);
            used = 0;
        }
        used += take_byte(s, (unsigned char)text[i], out + used);
    }
    write_bytes(s, out, used);
    errno = s->cause;
    return s->cause ? 0 : (ssize_t)size;
}

/* So that no file gets the number of a stream that the caller has closed, and the stream's text with it. What is written there
 * fails: it is open for reading. */
static void keep_numbers(void)
{
    int opened = open("/dev/null", O_RDONLY);
    while (opened >= 0 && opened <= STDERR_FILENO)
        opened = open("/dev/null", O_RDONLY);
    if (opened >= 0)
        close(opened);
}

static FILE *open_stream(struct stream *s, FILE *plain, int buffering)
{
    FILE *stream = fopencookie(s, "w", (cookie_io_functions_t){.write = write_text});
    if (!stream)
        return plain;
    setvbuf(stream, NULL, buffering, BUFSIZ);
    return stream;
}

void fs_output_start(void)
{
    keep_numbers();
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error like a full disk */
    signal(SIGXFSZ, SIG_IGN); /* so is a limit of a file's size */
    stdout = open_stream(&output, stdout, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF);
    fs_set_messages(open_stream(&errors, stderr, _IOLBF));
}

fs_status fs_output_check(void)
{
    fflush(stdout);
    if (!ferror(stdout))
        return FS_OK;
    return fs_fail(FS_ERROR, "standard output: %s", strerror(output.cause ? output.cause : EIO));
}

void fs_output_clear(void)
{
    fflush(stdout);
    if (isatty(STDOUT_FILENO))
        write_bytes(&output, "\033[H\033[2J", 7);
}
