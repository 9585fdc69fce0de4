#include "filterscope/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t caught;
static atomic_uint asked;
static double end_time; /* of the job less the reserve, seconds since 1970; 0 for none */

static void on_signal(int number)
{
    caught = number;
}

void fs_stop_install(int reserve)
{
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    const char *job_end = getenv("SLURM_JOB_END_TIME");
    end_time = job_end ? atof(job_end) - reserve : 0;
}

const char *fs_stop_wanted(void)
{
    atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed);
    if (caught == SIGTERM)
        return "SIGTERM";
    if (caught == SIGUSR1)
        return "SIGUSR1";
    if (caught)
        return "SIGINT";
    return end_time > 0 && (double)time(NULL) >= end_time ? "the job's time is nearly over" : NULL;
}

fs_status fs_stop_fail(const char *where)
{
    const char *why = fs_stop_wanted();
    return fs_fail(FS_STOPPED, "stopped in %s (%s); the same command goes on from there", where,
                   why ? why : "another rank was told to");
}

unsigned fs_stop_asked(void)
{
    return atomic_load_explicit(&asked, memory_order_relaxed);
}

double fs_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
