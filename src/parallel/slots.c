#include "filterscope/slots.h"

#include <limits.h>
#include <stdlib.h>

#include "filterscope/layers.h"

void fs_slots_create(MPI_Comm comm, int slots, fs_slots *own)
{
    *own = (fs_slots){.comm = comm, .slots = slots};
    MPI_Comm_rank(comm, &own->rank);
    MPI_Comm_size(comm, &own->ranks);
    int rank = own->rank, ranks = own->ranks, first = 0, count = slots;
    while (ranks > 1 && count > 1) {
        int left = (ranks + 1) / 2;
        count /= 2;
        if (rank < left) {
            ranks = left;
        } else {
            first += count;
            rank -= left;
            ranks -= left;
        }
    }
    own->first = first;
    own->count = rank == 0 ? count : 0; /* more ranks than slots: the first of them takes it */
}

void fs_slots_range(const fs_slots *own, int slot, int images, int *begin, int *end)
{
    *begin = (int)((long long)images * slot / own->slots);
    *end = (int)((long long)images * (slot + 1) / own->slots);
}

void fs_slots_share(const fs_slots *own, int images, int *begin, int *end)
{
    int unused;
    *begin = *end = 0;
    if (own->count == 0)
        return;
    fs_slots_range(own, own->first, images, begin, &unused);
    fs_slots_range(own, own->first + own->count - 1, images, &unused, end);
}

void fs_slots_fold(const fs_slots *own, double *values, size_t count)
{
    for (int step = 1; step < own->count; step *= 2)
        for (int slot = 0; slot < own->count; slot += 2 * step) {
            double *sum = values + (size_t)slot * count;
            const double *addend = values + (size_t)(slot + step) * count;
            for (size_t i = 0; i < count; i++)
                sum[i] += addend[i];
        }
}

/* How one element type is added and sent. */
struct element {
    MPI_Datatype type;
    size_t size;
    void (*add)(size_t count, void *sum, const void *addend);
};

static void add_double(size_t count, void *sum, const void *addend)
{
    double *a = sum;
    const double *b = addend;
    for (size_t i = 0; i < count; i++)
        a[i] += b[i];
}

static void add_float(size_t count, void *sum, const void *addend)
{
    fs_add(count, sum, addend);
}

enum { TAG_SUM = 1, PIECE = 1 << 18 }; /* elements of one message, and of the receive buffer */

static _Alignas(64) char piece[PIECE * sizeof(double)];

/* Receives `from`'s subtree in pieces and adds it. */
static void add_from(const fs_slots *own, int from, const struct element *e, char *values, size_t count)
{
    for (size_t done = 0; done < count; done += PIECE) {
        size_t now = count - done < PIECE ? count - done : PIECE;
        MPI_Recv(piece, (int)now, e->type, from, TAG_SUM, own->comm, MPI_STATUS_IGNORE);
        e->add(now, values + done * e->size, piece);
    }
}

static void send_to(const fs_slots *own, int to, const struct element *e, const char *values, size_t count)
{
    for (size_t done = 0; done < count; done += PIECE) {
        size_t now = count - done < PIECE ? count - done : PIECE;
        MPI_Send(values + done * e->size, (int)now, e->type, to, TAG_SUM, own->comm);
    }
}

/* Sums the subtree of `slots` slots that ranks first .. first+ranks-1 own, into rank `first`: the halving of
 * fs_slots_create, upwards. */
static void sum_subtree(const fs_slots *own, int first, int ranks, int slots, const struct element *e, char *values,
                        size_t count)
{
    if (ranks == 1 || slots == 1)
        return;
    int left = (ranks + 1) / 2, middle = first + left;
    if (own->rank < middle)
        sum_subtree(own, first, left, slots / 2, e, values, count);
    else
        sum_subtree(own, middle, ranks - left, slots / 2, e, values, count);
    if (own->rank == first)
        add_from(own, middle, e, values, count);
    else if (own->rank == middle)
        send_to(own, first, e, values, count);
}

/* Sends values[send .. ) to `peer` and takes as many as values[take .. ) from it, or adds them there. Both in pieces. */
static void exchange(const fs_slots *own, int peer, const struct element *e, char *values, size_t send, size_t sends,
                     size_t take, size_t takes, int adds)
{
    for (size_t done = 0; done < sends || done < takes; done += PIECE) {
        size_t out = done >= sends ? 0 : sends - done < PIECE ? sends - done : PIECE;
        size_t in = done >= takes ? 0 : takes - done < PIECE ? takes - done : PIECE;
        char *to = values + (take + done) * e->size;
        MPI_Sendrecv(values + (send + done) * e->size, (int)out, e->type, peer, TAG_SUM, adds ? piece : to, (int)in, e->type,
                     peer, TAG_SUM, own->comm, MPI_STATUS_IGNORE);
        if (adds)
            e->add(in, to, piece);
    }
}

/* All ranks at once, a power of two of them: at each level of the tree, from the leaves, two neighbouring subtrees share the
 * range that they add; then the totals go back the same way. A sum of two is the same in either order, so this is the tree. */
static void sum_by_halves(const fs_slots *own, int step, size_t first, size_t count, const struct element *e, char *values)
{
    if (step == own->ranks)
        return;
    size_t lower = count / 2, upper = count - lower, middle = first + lower;
    int peer = own->rank ^ step;
    if (own->rank & step) {
        exchange(own, peer, e, values, first, lower, middle, upper, 1);
        sum_by_halves(own, 2 * step, middle, upper, e, values);
        exchange(own, peer, e, values, middle, upper, first, lower, 0);
    } else {
        exchange(own, peer, e, values, middle, upper, first, lower, 1);
        sum_by_halves(own, 2 * step, first, lower, e, values);
        exchange(own, peer, e, values, first, lower, middle, upper, 0);
    }
}

static void sum(const fs_slots *own, const struct element *e, char *values, size_t count)
{
    enum { LARGE = 4096 }; /* elements from which sharing the additions pays */
    if (own->ranks == 1)
        return;
    if (count >= LARGE && own->slots >= own->ranks && (own->ranks & (own->ranks - 1)) == 0) {
        sum_by_halves(own, 1, 0, count, e, values);
        return;
    }
    sum_subtree(own, 0, own->ranks, own->slots, e, values, count);
    for (size_t done = 0; done < count; done += INT_MAX / 2) {
        size_t now = count - done < INT_MAX / 2 ? count - done : INT_MAX / 2;
        MPI_Bcast(values + done * e->size, (int)now, e->type, 0, own->comm);
    }
}

void fs_slots_sum(const fs_slots *own, double *values, size_t count)
{
    const struct element e = {MPI_DOUBLE, sizeof(double), add_double};
    sum(own, &e, (char *)values, count);
}

void fs_slots_sum_float(const fs_slots *own, float *values, size_t count)
{
    const struct element e = {MPI_FLOAT, sizeof(float), add_float};
    sum(own, &e, (char *)values, count);
}
