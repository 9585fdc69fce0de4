#include "base/file_watch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "filterscope/lock.h"

/* Opening reads some KiB, closing and flushing write what a sweep has written since it last flushed, 30 s by default: a file
 * system that takes four times as long for it does not keep up. */
enum { PATIENCE = 120 };

static const char *file, *action;
static int depth, seconds;

/* The kernel's function that the main thread waits in: it tells a file system from another, and from what is no file at all. */
static void read_wait_channel(char name[64])
{
    FILE *proc = fopen("/proc/self/wchan", "r");
    if (!proc || fscanf(proc, "%63[0-9A-Za-z_]", name) != 1 || strcmp(name, "0") == 0)
        strcpy(name, "unknown");
    if (proc)
        fclose(proc);
}

/* In a thread of its own: the main one waits in the kernel. */
static void expire(union sigval unused)
{
    char channel[64];
    (void)unused;
    read_wait_channel(channel);
    fprintf(fs_messages(),
            "filterscope: %s: to %s it has not ended for %d s: the file system no longer answers (waiting in: %s). The job "
            "ends here; the same command goes on from what is recorded\n",
            file, action, seconds, channel);
    fflush(fs_messages());
    fs_lock_abandon();
    fs_leave(FS_LOST);
}

static void set(time_t limit)
{
    static timer_t timer;
    static int created; /* 1: there is one; -1: there is none to be had */
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expire};
    const struct itimerspec once = {.it_value = {.tv_sec = limit}};
    if (!created)
        created = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 ? 1 : -1;
    if (created > 0)
        timer_settime(timer, 0, &once, NULL);
}

void fs_file_watch_begin(const char *path, const char *doing)
{
    const char *wanted = getenv("FILTERSCOPE_FILE_SECONDS");
    if (depth++)
        return;
    file = path;
    action = doing;
    seconds = wanted && atoi(wanted) > 0 ? atoi(wanted) : PATIENCE;
    set(seconds);
}

void fs_file_watch_end(void)
{
    if (--depth == 0)
        set(0);
}
