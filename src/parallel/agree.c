#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "filterscope/slots.h"
#include "filterscope/watch.h"

/* FS_OK < FS_STOPPED < FS_USAGE < FS_MISMATCH < FS_ERROR */
static int severity(fs_status status)
{
    switch (status) {
    case FS_OK:
        return 0;
    case FS_STOPPED:
        return 1;
    case FS_USAGE:
        return 2;
    case FS_MISMATCH:
        return 3;
    case FS_ERROR:
    case FS_LOST:
        break;
    }
    return 4;
}

int fs_any(MPI_Comm comm, int mine)
{
    MPI_Allreduce(MPI_IN_PLACE, &mine, 1, MPI_INT, MPI_BOR, comm);
    return mine;
}

fs_status fs_agree(MPI_Comm comm, fs_status status)
{
    struct {
        int severity, rank;
    } mine = {severity(status), 0}, worst;
    MPI_Comm_rank(comm, &mine.rank);
    MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, comm); /* the lowest rank at a tie */
    if (worst.severity == 0)
        return FS_OK;
    struct {
        int status;
        char message[FS_MESSAGE_BYTES];
    } said = {.status = (int)status};
    strncpy(said.message, fs_message(), sizeof said.message - 1);
    MPI_Bcast(&said, (int)sizeof said, MPI_BYTE, worst.rank, comm);
    return fs_fail((fs_status)said.status, "%s", said.message);
}

_Noreturn void fs_abort(MPI_Comm comm, fs_status status)
{
    int wait = fs_watch_turn(comm);
    nanosleep(&(struct timespec){wait / 1000, wait % 1000 * 1000000L}, NULL);
    fs_watch_end(comm);
    MPI_Abort(comm, (int)status);
    abort();
}

void fs_share_bytes(MPI_Comm comm, int root, void *bytes, size_t count)
{
    const size_t most = (size_t)1 << 30; /* MPI counts are ints */
    for (size_t done = 0; done < count; done += most)
        MPI_Bcast((char *)bytes + done, (int)(count - done < most ? count - done : most), MPI_BYTE, root, comm);
}
