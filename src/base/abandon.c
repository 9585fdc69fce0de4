/* The job's lock, as far as a signal handler may know it. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "filterscope/lock.h"

static fs_lock_key known;

void fs_lock_join(const fs_lock_key *key)
{
    known.path[0] = 0; /* first: a signal may come in the middle */
    if (key)
        known = *key;
}

/* Nothing but what a signal handler may call. */
void fs_lock_abandon(void)
{
    static const char word[] = "token ";
    char text[sizeof word - 1 + sizeof known.token] = "";
    int file = known.path[0] ? open(known.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    ssize_t bytes = read(file, text, sizeof text - 1);
    size_t length = strlen(known.token);
    if (bytes == (ssize_t)sizeof text - 1 && memcmp(text + sizeof word - 1, known.token, length) == 0)
        unlink(known.path);
    close(file);
}
