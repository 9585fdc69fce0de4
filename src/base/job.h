/* The job of a scheduler that a process belongs to. */
#ifndef FILTERSCOPE_BASE_JOB_H
#define FILTERSCOPE_BASE_JOB_H

/* Not collective. What Slurm, PBS, Flux or LSF calls this job; NULL where none of them started the process. */
const char *fs_job_id(void);

#endif
