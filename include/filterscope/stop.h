/* Stopping in time: SIGTERM, SIGUSR1, Ctrl-C, and the clock. */
#ifndef FILTERSCOPE_STOP_H
#define FILTERSCOPE_STOP_H

#include "filterscope/status.h"

/* Not collective. From now on SIGTERM, SIGUSR1 and SIGINT set a flag that fs_stop_wanted reads; a second one kills, and removes
 * the lock (fs_lock_abandon). Where FILTERSCOPE_END_TIME or SLURM_JOB_END_TIME says when the job ends, the last `reserve`
 * seconds before the earlier one count as a signal too; an end that is past is not believed. So does the time from `stop_at`
 * on, past or not; 0 for never. All in seconds since 1970. The wall clock is read here and never again. */
void fs_stop_install(int reserve, double stop_at);

/* Not collective. Why to stop ("SIGTERM", "the job's time is nearly over", ...), or NULL to go on. Asked once a batch. */
const char *fs_stop_wanted(void);

/* Not collective. Returns FS_STOPPED with the message that says where the work stopped ("phase two") and why. */
fs_status fs_stop_fail(const char *where);

/* Not collective; from any thread. How often that was asked: grows while a process makes progress. */
unsigned fs_stop_asked(void);

/* Not collective. Seconds from some fixed point, never going back. */
double fs_seconds(void);

#endif
