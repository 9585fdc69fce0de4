#include "sweep/pieces.h"

#include <stdlib.h>
#include <time.h>

#include "filterscope/memory.h"
#include "filterscope/slots.h"

fs_status fs_pieces_open(fs_sweep_run *run, int images, fs_record_unit *record, void *context, fs_pieces *pieces)
{
    size_t units = (size_t)run->input->plan->units;
    *pieces = (fs_pieces){.run = run, .images = images, .record = record, .context = context};
    pieces->sum = fs_alloc(units, sizeof *pieces->sum, "units");
    fs_status status = fs_agree(run->world, pieces->sum ? FS_OK : FS_ERROR);
    if (status)
        free(pieces->sum);
    else
        MPI_Comm_dup(run->world, &pieces->comm);
    return status;
}

static int tag_of(const fs_pieces *pieces, int unit)
{
    return unit - pieces->run->input->plan->own_units;
}

static fs_status create_counts(const fs_pieces *pieces, int unit, fs_knockout *counts)
{
    const fs_sweep_input *in = pieces->run->input;
    return fs_knockout_create(in->plan->unit[unit].count, in->net->labels, counts);
}

/* Images that are in it: those of its first filter. */
static int images_in(const fs_knockout *counts)
{
    int images = 0;
    for (int column = 0; column < FS_WORK_COLUMNS; column++)
        images += counts->work[0][column];
    return images;
}

/* On the owner: `piece` into the sum, and zeroed. */
static fs_status add(fs_pieces *pieces, int unit, fs_knockout *piece)
{
    fs_sweep_run *run = pieces->run;
    fs_knockout *sum = &pieces->sum[unit];
    fs_status status = FS_OK;
    if (sum->loss) {
        fs_knockout_add(piece, sum);
        fs_knockout_free(piece);
    } else {
        *sum = *piece;
        *piece = (fs_knockout){0};
        status = fs_results_write_start(run->results, unit, run->launch, run->rank);
    }
    if (!status && images_in(sum) == pieces->images) {
        status = pieces->record(pieces->context, unit, sum);
        fs_knockout_free(sum);
    }
    return status;
}

static fs_status grow(fs_pieces *pieces)
{
    int room = 2 * pieces->room + 4;
    fs_piece *sent = realloc(pieces->sent, (size_t)room * sizeof *sent);
    if (!sent)
        return fs_fail(FS_ERROR, "out of memory: %d pieces of units", room);
    pieces->sent = sent;
    pieces->room = room;
    return FS_OK;
}

fs_status fs_pieces_give(fs_pieces *pieces, int unit, fs_knockout *piece)
{
    int owner = tag_of(pieces, unit) % pieces->run->ranks;
    if (owner == pieces->run->rank)
        return add(pieces, unit, piece);
    fs_status status = pieces->sending == pieces->room ? grow(pieces) : FS_OK;
    if (status)
        return status;
    fs_piece *sent = &pieces->sent[pieces->sending++];
    *sent = (fs_piece){unit, *piece, MPI_REQUEST_NULL};
    *piece = (fs_knockout){0};
    /* synchronous: what is sent has been received, see fs_pieces_close */
    MPI_Issend(sent->counts.loss, (int)fs_knockout_bytes(&sent->counts), MPI_BYTE, owner, tag_of(pieces, unit), pieces->comm,
               &sent->request);
    return FS_OK;
}

static void forget_sent(fs_pieces *pieces)
{
    for (int i = 0, done; i < pieces->sending;) {
        MPI_Test(&pieces->sent[i].request, &done, MPI_STATUS_IGNORE);
        if (done) {
            fs_knockout_free(&pieces->sent[i].counts);
            pieces->sent[i] = pieces->sent[--pieces->sending];
        } else {
            i++;
        }
    }
}

/* Begins to receive the next piece; *found: there is one. */
static fs_status begin_next(fs_pieces *pieces, int *found)
{
    MPI_Status about;
    fs_piece *piece = &pieces->arriving;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, pieces->comm, found, &about);
    if (!*found)
        return FS_OK;
    piece->unit = about.MPI_TAG + pieces->run->input->plan->own_units;
    fs_status status = create_counts(pieces, piece->unit, &piece->counts);
    if (!status)
        MPI_Irecv(piece->counts.loss, (int)fs_knockout_bytes(&piece->counts), MPI_BYTE, about.MPI_SOURCE, about.MPI_TAG,
                  pieces->comm, &piece->request);
    return status;
}

void fs_pieces_serve(fs_pieces *pieces)
{
    fs_status status = FS_OK;
    int there = 1;
    forget_sent(pieces);
    while (there && !status) {
        if (pieces->arriving.counts.loss)
            MPI_Test(&pieces->arriving.request, &there, MPI_STATUS_IGNORE);
        if (there && pieces->arriving.counts.loss)
            status = add(pieces, pieces->arriving.unit, &pieces->arriving.counts);
        else if (there)
            status = begin_next(pieces, &there);
    }
    if (status)
        fs_sweep_abort(pieces->run, status);
}

/* A rank enters the barrier when receiving what it sent has begun, and goes on receiving until all are there: then nothing is
 * on its way (Hoefler, Siebert and Lumsdaine, Scalable communication protocols for dynamic sparse data exchange, 2010). */
static void receive_all(fs_pieces *pieces)
{
    MPI_Request barrier = MPI_REQUEST_NULL;
    int entered = 0, over = 0;
    while (!over || pieces->arriving.counts.loss) {
        fs_pieces_serve(pieces);
        if (!entered && !pieces->sending) {
            MPI_Ibarrier(pieces->comm, &barrier);
            entered = 1;
        }
        if (entered && !over)
            MPI_Test(&barrier, &over, MPI_STATUS_IGNORE);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

void fs_pieces_close(fs_pieces *pieces)
{
    receive_all(pieces);
    for (int unit = 0; unit < pieces->run->input->plan->units; unit++)
        fs_knockout_free(&pieces->sum[unit]);
    free(pieces->sum);
    free(pieces->sent);
    MPI_Comm_free(&pieces->comm);
    *pieces = (fs_pieces){0};
}
