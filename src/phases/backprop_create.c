/* The memory of a batch's forward and backward pass. Maps have places of their own, their gradients share places by their life
 * times. */
#include "phases/backprop.h"

#include <stdlib.h>

#include "filterscope/memory.h"
#include "model/lives.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

struct sizes {
    size_t scratch, sums, parameters;
};

static struct sizes largest(const fs_backprop *b)
{
    struct sizes most = {.sums = FS_BACKPROP_LOSS_SUMS};
    for (int s = 0; s < b->steps; s++) {
        const fs_op *op = b->step[s].op;
        const fs_kind *kind = op->kind;
        if (kind->sums)
            most.sums = larger(most.sums, kind->sums(op));
        if (kind->gradient)
            most.parameters = larger(most.parameters, op->weights + op->biases);
        if (kind->scratch)
            most.scratch = larger(most.scratch, kind->scratch(&b->step[s], b->most_images));
    }
    return most;
}

/* 1 where step `s` may write over its input: nobody else reads that, nor its own backward pass, nor that of the step before. */
static int works_in_place(const fs_backprop *b, int s)
{
    const fs_kind *kind = b->step[s].op->kind;
    int source = b->step[s].source[0];
    return kind->in_place && !kind->reads_input && source >= 0 && b->readers[source].count == 1 &&
           !b->step[source].op->kind->reads_output;
}

static int allocate_room(fs_backprop *b, int s, size_t local)
{
    const fs_op *op = b->step[s].op;
    struct fs_backprop_room *room = &b->room[s];
    size_t kept = op->kind->kept ? op->kind->kept(op) : 0, sums = op->kind->sums ? op->kind->sums(op) : 0;
    size_t floats = local * fs_op_outputs(op);
    room->owns_output = !works_in_place(b, s);
    b->maps.shared += room->owns_output ? floats : 0;
    b->maps.alone += 2 * floats;
    room->output = room->owns_output ? fs_alloc(floats, sizeof(float), "activations") : b->room[b->step[s].source[0]].output;
    if (kept)
        room->kept = fs_alloc(local * kept, 1, "pools");
    if (sums) {
        room->moments = fs_alloc(sums, sizeof(float), "batch statistics");
        room->totals = fs_alloc(sums, sizeof(double), "batch statistics");
    }
    return room->output && (!kept || room->kept) && (!sums || (room->moments && room->totals));
}

/* The gradient of a step's output lives from its last reader's backward pass, or the loss, to its own. Lists them in that
 * order; *addend becomes the floats of the largest to which something is added. */
static void list_lives(const fs_backprop *b, size_t local, fs_life *life, int *number, size_t *addend)
{
    int count = 0, steps = b->steps;
    for (int time = 0; time <= steps; time++) /* the loss is at 0, step s at steps - s */
        for (int s = steps - 1; s >= 0; s--) {
            size_t floats = local * fs_op_outputs(b->step[s].last);
            int reader = b->readers[s].last;
            if (reader != steps - time)
                continue;
            int in_place = reader < steps && b->step[reader].op->kind->in_place && b->step[reader].source[0] == s;
            int over = in_place ? number[reader] : -1;
            number[s] = count;
            life[count++] = (fs_life){.first = time, .last = steps - s, .over = over, .floats = floats};
            if (b->readers[s].count > 1)
                *addend = larger(*addend, floats);
        }
}

static int allocate_deltas(fs_backprop *b, size_t local)
{
    size_t steps = (size_t)b->steps, addend = 0;
    fs_life *life = fs_alloc(steps, sizeof *life, "gradients");
    size_t *floats = fs_alloc(steps, sizeof *floats, "gradients");
    int *number = fs_alloc(steps, sizeof *number, "gradients"), done = life && floats && number;
    if (done) {
        list_lives(b, local, life, number, &addend);
        b->deltas = fs_lives_place(life, b->steps, floats);
    }
    b->maps.shared += addend;
    for (int d = 0; d < b->deltas && done; d++) {
        b->maps.shared += floats[d];
        done = (b->delta[d] = fs_alloc(floats[d], sizeof(float), "gradients")) != NULL;
    }
    for (int s = 0; s < b->steps && done; s++)
        b->room[s].delta = b->delta[life[number[s]].buffer];
    if (done && addend)
        done = (b->addend = fs_alloc(addend, sizeof(float), "gradients")) != NULL;
    free(life);
    free(floats);
    free(number);
    return done;
}

static int allocate_steps(fs_backprop *b, size_t local)
{
    size_t ops = (size_t)b->net->ops;
    b->step = fs_alloc(ops, sizeof *b->step, "the steps of a network");
    b->readers = fs_alloc(ops, sizeof *b->readers, "the steps of a network");
    b->room = fs_alloc(ops, sizeof *b->room, "the steps of a network");
    b->delta = fs_alloc(ops, sizeof *b->delta, "gradients");
    if (b->step && b->readers && b->room && b->delta)
        b->steps = fs_steps_list(b->net, b->most_images, FS_FOR_ANSWERS, b->step, b->readers);
    int done = b->steps > 0;
    for (int s = 0; s < b->steps && done; s++)
        done = allocate_room(b, s, local);
    return done && allocate_deltas(b, local);
}

/* The first step with parameters that are not frozen. */
static int first_to_train(const fs_backprop *b)
{
    int s = 0;
    while (s < b->steps - 1 && (b->step[s].op->frozen || !b->step[s].op->weights))
        s++;
    return s;
}

static int allocate(fs_backprop *b, int batch)
{
    const fs_network *net = b->net;
    const fs_slots *own = b->own;
    int begin, end;
    fs_slots_share(own, batch, &begin, &end);
    size_t local = (size_t)(end - begin), slots = (size_t)(own->count ? own->count : 1);
    int done = allocate_steps(b, local);
    b->first = first_to_train(b);
    struct sizes most = largest(b);
    b->input = fs_alloc(local * fs_op_inputs(net->op), sizeof(float), "the input batch");
    b->label = fs_alloc(local, sizeof *b->label, "labels");
    b->scratch = fs_alloc(most.scratch, sizeof(float), "convolutions");
    b->slot_sums = fs_alloc(slots * most.sums, sizeof(double), "batch statistics");
    b->gradient = fs_alloc(net->parameters, sizeof(float), "gradients");
    done = done && b->input && b->label && b->scratch && b->slot_sums && b->gradient;
    for (int level = 1; done && (1 << level) <= own->count; level++)
        done = (b->partial[level] = fs_alloc(most.parameters, sizeof(float), "gradients")) != NULL;
    return done;
}

/* Gives each step its place among the prepared weights; returns the floats of all. */
static size_t place_prepared(fs_backprop *b)
{
    size_t count = 0;
    for (int s = 0; s < b->steps; s++) {
        const fs_kind *kind = b->step[s].op->kind;
        b->room[s].prepared_place = count;
        if (kind->prepared)
            count += (kind->prepared(&b->step[s]) + 15) / 16 * 16; /* whole cache lines */
    }
    return count;
}

fs_backprop *fs_backprop_create(const fs_network *net, const fs_slots *own, int batch)
{
    fs_backprop *b = fs_alloc(1, sizeof *b, "training");
    if (b)
        *b = (fs_backprop){.net = net, .own = own, .most_images = (batch + own->slots - 1) / own->slots};
    fs_status status = fs_agree(own->comm, b && allocate(b, batch) ? FS_OK : FS_ERROR);
    if (!status)
        status = fs_shared_create(own->comm, place_prepared(b), "prepared weights", &b->prepared);
    if (!status)
        return b;
    fs_backprop_free(b);
    return NULL;
}

static void free_room(struct fs_backprop_room *room)
{
    if (room->owns_output)
        free(room->output);
    free(room->kept);
    free(room->moments);
    free(room->totals);
}

void fs_backprop_free(fs_backprop *b)
{
    if (!b)
        return;
    for (int s = 0; s < b->steps; s++)
        free_room(&b->room[s]);
    for (int d = 0; d < b->deltas; d++)
        free(b->delta[d]);
    for (int level = 0; level < FS_BACKPROP_DEPTH; level++)
        free(b->partial[level]);
    free(b->step);
    free(b->readers);
    free(b->room);
    free(b->delta);
    free(b->addend);
    free(b->input);
    free(b->label);
    free(b->scratch);
    fs_shared_free(&b->prepared);
    free(b->slot_sums);
    free(b->gradient);
    free(b);
}
