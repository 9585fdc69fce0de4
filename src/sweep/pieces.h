/* Units of phase four that several ranks compute, each on some of the images: a unit's owner adds up what they counted.
 *
 *     fs_pieces_open
 *     fs_pieces_give    after each piece that this rank computed
 *     fs_pieces_serve   now and then: takes what has arrived
 *     fs_pieces_close   when all ranks have given what they have
 *
 * Nothing waits for an answer but the last: a piece is on its way while its rank computes the next. What is counted adds up to
 * the same in any order (fs_knockout). */
#ifndef FILTERSCOPE_SWEEP_PIECES_H
#define FILTERSCOPE_SWEEP_PIECES_H

#include "sweep/internal.h"

/* Records a unit that was started (fs_results_write_start), all of whose images are in `knockout`, on its owner. */
typedef fs_status fs_record_unit(void *context, int unit, const fs_knockout *knockout);

typedef struct fs_piece {
    int unit;
    fs_knockout counts;
    MPI_Request request;
} fs_piece;

typedef struct fs_pieces {
    MPI_Comm comm; /* of its own */
    fs_sweep_run *run;
    int images; /* of a whole unit */
    fs_record_unit *record;
    void *context;
    fs_knockout *sum; /* [units]: of those that this rank owns and has begun; else zeroed */
    fs_piece *sent;   /* [sending]: on their way to their owners */
    int sending, room;
    fs_piece arriving; /* where counts.loss is not NULL */
} fs_pieces;

/* Of tags, which name units; so many units need not be cut. */
enum { FS_MOST_CUT_UNITS = 32767 };

/* Collective on run->world. FS_ERROR on every rank without memory; else close it with fs_pieces_close. */
fs_status fs_pieces_open(fs_sweep_run *run, int images, fs_record_unit *record, void *context, fs_pieces *pieces);

/* Not collective. What this rank counted in some images of a unit; `piece` goes over, and is zeroed. FS_ERROR: no memory, or
 * the unit is this rank's, is whole with that, and could not be recorded. */
fs_status fs_pieces_give(fs_pieces *pieces, int unit, fs_knockout *piece);

/* Not collective. Takes what has arrived. A failure ends the job (fs_sweep_abort). */
void fs_pieces_serve(fs_pieces *pieces);

/* Collective on run->world. All that was given arrives; units of which pieces are missing, as the job stops, are dropped. */
void fs_pieces_close(fs_pieces *pieces);

#endif
