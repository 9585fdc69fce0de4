/* Units that ranks compute alone, one after the other. */
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/slots.h"
#include "filterscope/stop.h"
#include "sweep/internal.h"

void fs_sweep_abort(fs_sweep_run *run, fs_status status)
{
    fprintf(fs_messages(), "filterscope: rank %d: %s\n", run->rank, fs_message());
    fflush(NULL);
    fs_lock_abandon();
    fs_abort(run->world, status);
}

int fs_sweep_poll(void *context)
{
    fs_sweep_run *run = context;
    int stop = fs_stop_wanted() != NULL;
    if (run->desk && run->rank == 0)
        fs_desk_serve(run->desk, stop);
    return stop;
}

/* Jobs a rank from which on one of them held back at the end is little. */
enum { JOBS_TO_ASK_AHEAD = 8 };

/* Longest first; by number where they are as long. */
static int longer(const void *left, const void *right)
{
    const fs_job *a = left, *b = right;
    return a->cost != b->cost ? (a->cost < b->cost) - (a->cost > b->cost) : a->unit - b->unit;
}

fs_status fs_sweep_hand_out(fs_sweep_run *run, fs_job *jobs, int count, fs_run_unit *run_unit, void *context)
{
    fs_desk desk;
    fs_status status = FS_OK;
    int job;
    qsort(jobs, (size_t)count, sizeof *jobs, longer);
    fs_desk_open(run->world, count, run->ranks, &desk);
    desk.ahead = count / run->ranks >= JOBS_TO_ASK_AHEAD;
    run->desk = &desk;
    while ((job = fs_desk_next(&desk)) >= 0) {
        if (!status)
            status = run_unit(context, jobs[job].unit);
        if (status && status != FS_STOPPED)
            fs_sweep_abort(run, status);
        if (status && run->rank == 0)
            fs_desk_serve(&desk, 1);
    }
    fs_desk_close(&desk);
    run->desk = NULL;
    return fs_agree(run->world, status);
}

double fs_sweep_share(const fs_sweep_run *run, const fs_job *jobs, int count)
{
    int next = run->desk->next;
    double all = 0, done = 0;
    for (int job = 0; job < count; job++) {
        double cost = jobs[job].cost;
        all += cost;
        done += job >= next ? 0 : job < next - run->ranks ? cost : cost / 2;
    }
    return done / all;
}
