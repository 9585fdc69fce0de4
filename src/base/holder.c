#include "base/holder.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "base/job.h"

static void read_word(const char *path, char *word, size_t bytes)
{
    FILE *file = fopen(path, "re");
    if (!file || !fgets(word, (int)bytes, file))
        strcpy(word, "-");
    word[strcspn(word, " \n")] = 0;
    if (file)
        fclose(file);
}

static void read_link(const char *path, char *word, size_t bytes)
{
    ssize_t length = readlink(path, word, bytes - 1);
    if (length <= 0)
        strcpy(word, "-");
    else
        word[length] = 0;
}

/* Field 22 of a /proc/PID/stat; the command in field 2 may have blanks and parentheses. *ended: it is only what is left of a
 * process, which nobody has waited for yet. 0 where it cannot be read. */
static int read_start(const char *path, char *started, size_t bytes, int *ended)
{
    char line[1024];
    FILE *file = fopen(path, "re");
    const char *found = file ? fgets(line, sizeof line, file) : NULL;
    if (file)
        fclose(file);
    found = found ? strrchr(line, ')') : NULL;
    *ended = found && (strncmp(found, ") Z", 3) == 0 || strncmp(found, ") X", 3) == 0);
    for (int field = 2; field < 22 && found; field++)
        found = strchr(found + 1, ' ');
    if (!found)
        return 0;
    snprintf(started, bytes, "%.*s", (int)strcspn(found + 1, " "), found + 1);
    return 1;
}

/* A /proc of another pid namespace (a container's, mounted from its host) shows other processes under our numbers. */
static int proc_is_ours(void)
{
    char self[32];
    read_link("/proc/self", self, sizeof self);
    return atol(self) == (long)getpid();
}

static void describe_system(char *system, size_t bytes)
{
    char boot[40], processes[28], times[28]; /* a UUID; "pid:[4026531836]" */
    read_word("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    read_link("/proc/self/ns/pid", processes, sizeof processes);
    read_link("/proc/self/ns/time", times, sizeof times); /* "-" before Linux 5.6 */
    if (boot[0] == '-' || processes[0] == '-')
        strcpy(system, "-");
    else
        snprintf(system, bytes, "%s/%s/%s", boot, processes, times);
}

void fs_holder_describe(fs_holder *self)
{
    unsigned char random[16] = {0};
    const char *job = fs_job_id();
    int ended;
    memset(self, 0, sizeof *self);
    self->pid = (long)getpid();
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        memcpy(random, &now, sizeof random);
    }
    for (size_t i = 0; i < sizeof random; i++)
        sprintf(self->token + 2 * i, "%02x", random[i]);
    if (gethostname(self->host, sizeof self->host - 1) != 0 || !self->host[0])
        strcpy(self->host, "-");
    describe_system(self->system, sizeof self->system);
    if (!read_start("/proc/self/stat", self->started, sizeof self->started, &ended))
        strcpy(self->started, "-");
    snprintf(self->job, sizeof self->job, "%s", job ? job : "-");
}

int fs_holder_write(const fs_holder *holder, unsigned long beat, char *text)
{
    return snprintf(text, FS_HOLDER_BYTES, "token %s\nhost %s\nsystem %s\npid %ld\nstarted %s\njob %s\nbeat %010lu\n",
                    holder->token, holder->host, holder->system, holder->pid, holder->started, holder->job, beat);
}

int fs_holder_read(const char *text, fs_holder *holder, unsigned long *beat)
{
    return sscanf(text, "token %39s host %71s system %99s pid %ld started %23s job %31s beat %lu", holder->token, holder->host,
                  holder->system, &holder->pid, holder->started, holder->job, beat) == 7;
}

void fs_holder_print(const fs_holder *holder, char *text, size_t bytes)
{
    if (!holder->token[0])
        snprintf(text, bytes, "a process that has not said who it is");
    else if (strcmp(holder->job, "-") == 0)
        snprintf(text, bytes, "host %s, pid %ld", holder->host, holder->pid);
    else
        snprintf(text, bytes, "host %s, job %s, pid %ld", holder->host, holder->job, holder->pid);
}

/* The host's name is compared, too: copies of a virtual machine that was running have one boot id. */
static int sees(const fs_holder *self, const fs_holder *other)
{
    return self->system[0] != '-' && strcmp(self->system, other->system) == 0 && strcmp(self->host, other->host) == 0 &&
           other->pid > 0;
}

/* kill(2) tells of every process of the namespace, also where /proc hides it: ESRCH alone means that there is none. What there
 * is may be another process with the same number, and only /proc tells that. */
fs_life fs_holder_look(const fs_holder *self, const fs_holder *other)
{
    char path[64], started[sizeof other->started];
    int ended;
    if (!sees(self, other))
        return FS_CANNOT_TELL;
    if (kill((pid_t)other->pid, 0) != 0 && errno == ESRCH)
        return FS_IS_DEAD;
    snprintf(path, sizeof path, "/proc/%ld/stat", other->pid);
    if (other->started[0] == '-' || !proc_is_ours() || !read_start(path, started, sizeof started, &ended))
        return FS_CANNOT_TELL;
    return !ended && strcmp(started, other->started) == 0 ? FS_LIVES : FS_IS_DEAD;
}
