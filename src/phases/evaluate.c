#include "filterscope/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/slots.h"
#include "filterscope/stop.h"

struct evaluation {
    MPI_Comm comm;
    int rank, ranks, chunk, labels;
    const fs_network *net;
    const fs_dataset *data;
    fs_workspace *space;
    long long *confusion;
    float *logits;     /* [chunk][K] of this rank */
    float *all;        /* [ranks][chunk][K], on rank 0 where somebody wants logits */
    double (*sums)[2]; /* [ranks]: loss; wants to stop */
};

/* Images of the round that begins with image `round` which are rank `rank`'s. */
static int share_of(const struct evaluation *e, long long round, int rank, long long *first)
{
    *first = round + (long long)rank * e->chunk;
    long long left = e->data->images - *first;
    return left < 0 ? 0 : left < e->chunk ? (int)left : e->chunk;
}

/* The loss, of images that can be scaled. */
static double run_chunk(struct evaluation *e, int first, int images)
{
    int unused;
    for (int n = 0; n < images; n++)
        fs_dataset_scale(e->data, first + n, e->space->input + (size_t)n * fs_op_inputs(e->net->op));
    const float *logits = fs_network_infer(e->net, images, e->space->input, 0, NULL, NULL, e->space);
    memcpy(e->logits, logits, (size_t)images * e->labels * sizeof *logits);
    for (int n = 0; n < images; n++) {
        int best = fs_argmax(e->labels, logits + (size_t)n * e->labels);
        e->confusion[(size_t)e->data->label[first + n] * e->labels + best]++;
    }
    return fs_softmax_loss(images, e->labels, logits, e->data->label + first, 0, 1.0, NULL, &unused);
}

static void hand_out(struct evaluation *e, long long round, fs_logits_sink *sink, void *context)
{
    int count = e->chunk * e->labels;
    MPI_Gather(e->logits, count, MPI_FLOAT, e->all, count, MPI_FLOAT, 0, e->comm);
    for (int rank = 0; rank < e->ranks && e->rank == 0; rank++) {
        long long first;
        int images = share_of(e, round, rank, &first);
        if (images)
            sink(context, e->data, (int)first, images, e->all + (size_t)rank * count);
    }
}

static fs_status run(struct evaluation *e, double *loss, fs_logits_sink *sink, void *context)
{
    for (long long round = 0; round < e->data->images; round += (long long)e->ranks * e->chunk) {
        long long first;
        int images = share_of(e, round, e->rank, &first), stop = 0;
        double own[2] = {0, fs_stop_wanted() != NULL};
        fs_status status = images ? fs_dataset_fetch(e->data, (int)first, images) : FS_OK;
        if (e->data->stream)
            status = fs_agree(e->comm, status);
        if (status)
            return status;
        if (images)
            own[0] = run_chunk(e, (int)first, images);
        MPI_Allgather(own, 2, MPI_DOUBLE, e->sums, 2, MPI_DOUBLE, e->comm);
        for (int rank = 0; rank < e->ranks; rank++) {
            *loss += e->sums[rank][0];
            stop += e->sums[rank][1] > 0;
        }
        if (stop)
            return fs_stop_fail("the evaluation");
        if (sink)
            hand_out(e, round, sink, context);
    }
    for (int l = 0; l < e->labels; l++) /* row by row: MPI counts are ints */
        MPI_Allreduce(MPI_IN_PLACE, e->confusion + (size_t)l * e->labels, e->labels, MPI_LONG_LONG, MPI_SUM, e->comm);
    return FS_OK;
}

fs_status fs_confusion(MPI_Comm comm, const fs_network *net, const fs_dataset *data, fs_workspace *space, long long *confusion,
                       double *loss, fs_logits_sink *sink, void *context)
{
    struct evaluation e = {.comm = comm,
                           .chunk = space->images,
                           .labels = net->labels,
                           .net = net,
                           .data = data,
                           .space = space,
                           .confusion = confusion};
    MPI_Comm_rank(comm, &e.rank);
    MPI_Comm_size(comm, &e.ranks);
    size_t count = (size_t)e.chunk * e.labels;
    e.logits = fs_alloc(count, sizeof *e.logits, "logits");
    e.all = fs_alloc(sink && e.rank == 0 ? count * e.ranks : 0, sizeof *e.all, "logits");
    e.sums = fs_alloc((size_t)e.ranks, sizeof *e.sums, "sums");
    memset(confusion, 0, (size_t)e.labels * e.labels * sizeof *confusion);
    *loss = 0;
    fs_status status = fs_agree(comm, e.logits && e.all && e.sums ? FS_OK : FS_ERROR);
    if (!status)
        status = run(&e, loss, sink, context);
    free(e.logits);
    free(e.all);
    free(e.sums);
    return status;
}
