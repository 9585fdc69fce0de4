/* The images of an epoch's batches in time, where they stay in their file. */
#ifndef FILTERSCOPE_PHASES_FEED_H
#define FILTERSCOPE_PHASES_FEED_H

#include "filterscope/dataset.h"
#include "filterscope/slots.h"

typedef struct fs_feed {
    const fs_dataset *data;
    const fs_slots *own;
    const int *order; /* [data->images] */
    int batch;
    int asked; /* the images before order[asked] have been asked for */
} fs_feed;

/* Not collective. The next batch begins at order[first]; what was asked for is forgotten. */
void fs_feed_start(fs_feed *feed, int first);

/* Collective on own->comm where data->stream. Afterwards this rank's images of the next batch can be augmented, and those of
 * the batches behind it are being read. FS_ERROR on every rank where one cannot read its own. */
fs_status fs_feed_next(fs_feed *feed);

#endif
