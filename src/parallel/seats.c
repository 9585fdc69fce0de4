#include "filterscope/seats.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/slots.h"

void fs_seat_find(fs_seat *own)
{
    char host[MPI_MAX_PROCESSOR_NAME] = "";
    int length;
    memset(own, 0, sizeof *own);
    MPI_Get_processor_name(host, &length);
    snprintf(own->host, sizeof own->host, "%.*s", FS_HOST_BYTES - 1, host);
    fs_cpu_kind(own->kind);
    own->core = fs_cpu_core();
}

fs_status fs_seats_gather(MPI_Comm comm, const fs_seat *own, fs_seat **all)
{
    int rank, ranks;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &ranks);
    *all = rank == 0 ? fs_alloc((size_t)ranks, sizeof **all, "the ranks' hosts") : NULL;
    fs_status status = fs_agree(comm, rank > 0 || *all ? FS_OK : FS_ERROR);
    if (!status)
        MPI_Gather(own, (int)sizeof *own, MPI_BYTE, *all, (int)sizeof *own, MPI_BYTE, 0, comm);
    return status;
}

fs_status fs_seats_check_alike(int ranks, const fs_seat *all)
{
    for (int r = 1; r < ranks; r++)
        if (strcmp(all[r].kind, all[0].kind) != 0)
            return fs_fail(FS_MISMATCH, "rank 0 on host %s has %s, rank %d on host %s has %s: they round differently",
                           all[0].host, all[0].kind, r, all[r].host, all[r].kind);
    return FS_OK;
}

int fs_seats_share_core(int ranks, const fs_seat *all, int *first, int *second)
{
    for (int s = 1; s < ranks; s++)
        for (int f = 0; f < s && all[s].core >= 0; f++)
            if (all[f].core == all[s].core && strcmp(all[f].host, all[s].host) == 0) {
                *first = f;
                *second = s;
                return 1;
            }
    return 0;
}

/* Whether seat r is the first with the text at this offset. */
static int is_new(const fs_seat *all, int r, size_t offset)
{
    const char *text = (const char *)&all[r] + offset;
    for (int f = r - 1; f >= 0; f--) /* ranks of one host are neighbours */
        if (strcmp((const char *)&all[f] + offset, text) == 0)
            return 0;
    return 1;
}

static void list_texts(int ranks, const fs_seat *all, size_t offset, const char *separator, char *list, size_t size)
{
    size_t used = 0;
    *list = 0;
    for (int r = 0; r < ranks && used < size; r++)
        if (is_new(all, r, offset))
            used += (size_t)snprintf(list + used, size - used, "%s%s", used ? separator : "", (const char *)&all[r] + offset);
}

void fs_seats_list_hosts(int ranks, const fs_seat *all, char *list, size_t size)
{
    list_texts(ranks, all, offsetof(fs_seat, host), " ", list, size);
}

void fs_seats_list_kinds(int ranks, const fs_seat *all, char *list, size_t size)
{
    list_texts(ranks, all, offsetof(fs_seat, kind), "; ", list, size);
}
