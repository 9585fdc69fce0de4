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

/* Sends the range `out` of `values` to `peer` and takes the range `in` from it, or adds it there. Both in pieces. */
static void exchange(const fs_slots *own, int peer, const struct element *e, char *values, fs_part out, fs_part in, int adds)
{
    for (size_t done = 0; done < out.count || done < in.count; done += PIECE) {
        size_t sends = done >= out.count ? 0 : out.count - done < PIECE ? out.count - done : PIECE;
        size_t takes = done >= in.count ? 0 : in.count - done < PIECE ? in.count - done : PIECE;
        char *to = values + (in.first + done) * e->size;
        MPI_Sendrecv(values + (out.first + done) * e->size, (int)sends, e->type, peer, TAG_SUM, adds ? piece : to, (int)takes,
                     e->type, peer, TAG_SUM, own->comm, MPI_STATUS_IGNORE);
        if (adds)
            e->add(takes, to, piece);
    }
}

/* The levels of the tree over a power of two of ranks, all at once. At each level, from the leaves, two neighbouring subtrees
 * share the range that they add, so that the total of each part comes to lie on one rank. A sum of two is the same in either
 * order, so this is the tree. Then parts go back the same way. */
struct halving {
    int levels;
    struct {
        int peer;
        fs_part own, other;
    } level[CHAR_BIT * sizeof(int)];
    fs_part part;
};

static struct halving halve(const fs_slots *own, size_t count)
{
    struct halving h = {.part = {0, count}};
    for (int step = 1; step < own->ranks; step *= 2, h.levels++) {
        size_t lower = h.part.count / 2;
        fs_part left = {h.part.first, lower}, right = {h.part.first + lower, h.part.count - lower};
        int takes_right = (own->rank & step) != 0;
        h.part = takes_right ? right : left;
        h.level[h.levels].peer = own->rank ^ step;
        h.level[h.levels].own = h.part;
        h.level[h.levels].other = takes_right ? left : right;
    }
    return h;
}

/* Whether the additions are shared: that pays from some elements on, and wants a power of two of ranks, each with slots. */
static int is_halved(const fs_slots *own, size_t count)
{
    enum { LARGE = 4096 };
    return count >= LARGE && own->slots >= own->ranks && (own->ranks & (own->ranks - 1)) == 0;
}

static fs_part sum_part(const fs_slots *own, const struct element *e, char *values, size_t count)
{
    if (!is_halved(own, count)) {
        sum_subtree(own, 0, own->ranks, own->slots, e, values, count);
        return (fs_part){0, own->rank == 0 ? count : 0};
    }
    struct halving h = halve(own, count);
    for (int i = 0; i < h.levels; i++)
        exchange(own, h.level[i].peer, e, values, h.level[i].other, h.level[i].own, 1);
    return h.part;
}

static void hand_on(const fs_slots *own, const struct element *e, char *values, size_t count)
{
    if (!is_halved(own, count)) {
        fs_share_bytes(own->comm, 0, values, count * e->size);
        return;
    }
    struct halving h = halve(own, count);
    for (int i = h.levels - 1; i >= 0; i--)
        exchange(own, h.level[i].peer, e, values, h.level[i].own, h.level[i].other, 0);
}

static const struct element of_double = {MPI_DOUBLE, sizeof(double), add_double},
                            of_float = {MPI_FLOAT, sizeof(float), add_float};

void fs_slots_sum(const fs_slots *own, double *values, size_t count)
{
    sum_part(own, &of_double, (char *)values, count);
    hand_on(own, &of_double, (char *)values, count);
}

fs_part fs_slots_sum_part(const fs_slots *own, float *values, size_t count)
{
    return sum_part(own, &of_float, (char *)values, count);
}

void fs_slots_hand_on(const fs_slots *own, float *values, size_t count)
{
    hand_on(own, &of_float, (char *)values, count);
}

void fs_slots_sum_float(const fs_slots *own, float *values, size_t count)
{
    fs_slots_sum_part(own, values, count);
    fs_slots_hand_on(own, values, count);
}
