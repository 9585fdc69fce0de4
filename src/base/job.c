#include "base/job.h"

#include <stddef.h>
#include <stdlib.h>

const char *fs_job_id(void)
{
    static const char *const names[] = {"SLURM_JOB_ID", "PBS_JOBID", "FLUX_JOB_ID", "LSB_JOBID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *id = getenv(names[i]);
        if (id && *id)
            return id;
    }
    return NULL;
}
