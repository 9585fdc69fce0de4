#include "filterscope/status.h"

#include <stdarg.h>
#include <unistd.h>

static _Thread_local char message[FS_MESSAGE_BYTES]; /* a thread's failure is its own */
static FILE *messages;
static void (*before_leaving)(fs_status status);

fs_status fs_fail(fs_status status, const char *format, ...)
{
    char text[sizeof message]; /* the arguments may point into the previous message */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(message, sizeof message, "%s", text);
    return status;
}

const char *fs_message(void)
{
    return message;
}

FILE *fs_messages(void)
{
    return messages ? messages : stderr;
}

void fs_set_messages(FILE *stream)
{
    messages = stream;
}

void fs_leave(fs_status status)
{
    if (before_leaving)
        before_leaving(status);
    _exit((int)status);
}

void fs_set_leave(void (*leave)(fs_status status))
{
    before_leaving = leave;
}
