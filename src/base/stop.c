#include "filterscope/stop.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "filterscope/lock.h"

static volatile sig_atomic_t caught;
static atomic_uint asked;
static double end_time = INFINITY, stop_time = INFINITY; /* of the job less the reserve; asked for; by steady_seconds */

/* A second one ends the process, which then leaves no lock behind. */
static void on_signal(int number)
{
    if (caught) {
        fs_lock_abandon();
        signal(number, SIG_DFL);
        raise(number);
    }
    caught = number;
}

/* By a clock that nobody sets and that goes on while the machine is suspended, as schedulers' do. */
static double steady_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* NaN where the variable is not set or no number. */
static double read_time(const char *variable)
{
    const char *text = getenv(variable);
    char *end = NULL;
    double seconds = text ? strtod(text, &end) : (double)NAN;
    return text && end != text && !*end && isfinite(seconds) ? seconds : (double)NAN;
}

/* The wall clock is asked once, as it may be set at any time. Where it tells what cannot be, that the job has not begun or has
 * ended, it is not believed. INFINITY: unknown. */
static double job_seconds_left(const char *end, double now)
{
    double began = read_time("SLURM_JOB_START_TIME"), ends = read_time(end);
    if (now < began)
        now = began;
    return now < ends ? ends - now : INFINITY;
}

void fs_stop_install(int reserve, double stop_at)
{
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    double now = (double)time(NULL);
    double left = fmin(job_seconds_left("FILTERSCOPE_END_TIME", now), job_seconds_left("SLURM_JOB_END_TIME", now));
    end_time = steady_seconds() + left - reserve;
    stop_time = stop_at > 0 ? steady_seconds() + stop_at - now : INFINITY;
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
    double now = steady_seconds();
    return now >= stop_time ? "--stop-at" : now >= end_time ? "the job's time is nearly over" : NULL;
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
