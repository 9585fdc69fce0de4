#include "phases/progress.h"

#include <math.h>
#include <stdio.h>

#include "base/job.h"
#include "filterscope/stop.h"

/* Seconds between lines: a job's log is read later. */
static double every(void)
{
    return fs_job_id() ? 60 : 10;
}

void fs_progress_start(fs_progress *progress, const char *what, int speaks, double from, double after)
{
    double now = fs_seconds();
    *progress = (fs_progress){what, speaks, now, now, from, after};
}

void fs_progress_batch(fs_progress *progress, double done, double images, double loss, double right)
{
    double now = fs_seconds();
    if (!progress->speaks || now - progress->last < every())
        return;
    progress->last = now;
    double rate = (done - progress->from) / (now - progress->started);
    double left = (images - done + progress->after) / rate;
    printf("%s  %3.0f %%", progress->what, 100 * done / images);
    if (!isnan(loss))
        printf("  loss %.4f  SR %.4f", loss / done, right / done);
    printf("  %.0f images/s  %.0f:%02.0f left\n", rate, floor(left / 60), floor(fmod(left, 60)));
    fflush(stdout);
}
