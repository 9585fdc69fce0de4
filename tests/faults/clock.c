/* Preloaded into filterscope by a test: somebody sets the wall clock all the time. Whoever asks for it gets another day: a day
 * or two behind or ahead of the one that the kernel has. Other clocks are let alone; and UCX, under MPICH, which measures the
 * CPU by the wall clock as MPI starts, is told the truth. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int is_ucx(const void *caller)
{
    Dl_info in;
    return dladdr(caller, &in) && strstr(in.dli_fname, "/libucs.so");
}

static int tell(clockid_t clock, struct timespec *now, const void *caller)
{
    static const time_t days[] = {0, 1, -1, 2, -2, 1};
    static atomic_uint calls;
    if (syscall(SYS_clock_gettime, clock, now) != 0)
        return -1;
    if ((clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && !is_ucx(caller))
        now->tv_sec += 86400 * days[atomic_fetch_add(&calls, 1) % 6];
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    return tell(clock, now, __builtin_return_address(0));
}

time_t time(time_t *where)
{
    struct timespec now;
    tell(CLOCK_REALTIME, &now, __builtin_return_address(0));
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict where, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    tell(CLOCK_REALTIME, &now, __builtin_return_address(0));
    *where = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}
