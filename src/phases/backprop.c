/* Forward and backward pass of a batch in slots. For each step all local slots are computed, then, where batch
 * normalisation needs it, sums are taken over all slots of all ranks; then comes the next step. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/node.h"
#include "filterscope/train.h"
#include "model/lives.h"
#include "model/steps.h"

enum { DEPTH = 13 }; /* log2(FS_MOST_SLOTS) + 1 */

/* What a step has of its own. */
struct room {
    float *output;         /* [local images][outputs]; its input's, where it works in place */
    int owns_output;       /* is not another's */
    float *delta;          /* likewise: the gradient of its output, in a buffer that it shares with others */
    uint8_t *kept;         /* [local images][kind->kept] */
    float *moments;        /* [kind->sums] */
    double *totals;        /* [kind->sums] */
    size_t prepared_place; /* where its weights begin among the prepared ones */
};

struct fs_backprop {
    const fs_network *net;
    const fs_slots *own;
    int images;      /* of the batch in work, over all ranks */
    int most_images; /* of a slot */
    int steps;
    int first;           /* that trains: the backward pass ends there */
    fs_step *step;       /* [steps] */
    fs_readers *readers; /* [steps] */
    fs_map_sizes maps;
    struct room *room; /* [steps] */
    float *input;      /* [local images][inputs] */
    uint16_t *label;   /* [local images] */
    int deltas;
    float **delta;         /* [deltas]: buffers for the gradients of the maps */
    float *addend;         /* [local images][largest map with several readers]: what a further reader adds to its gradient */
    float *scratch;        /* of the convolutions */
    fs_shared prepared;    /* weights of all convolutions: of the forward pass, then of the backward pass */
    double *slot_sums;     /* [local slots][most sums] */
    float *gradient;       /* [parameters] */
    fs_part part;          /* of the gradient: what this rank has the totals of */
    float *partial[DEPTH]; /* gradient of one operation, for each level of the tree over local slots */
};

/* Images of local slot `slot`: offset from this rank's first image, and number. */
static int slot_images(const fs_backprop *b, int slot, int *offset)
{
    int origin, begin, end;
    fs_slots_share(b->own, b->images, &origin, &end);
    fs_slots_range(b->own, slot, b->images, &begin, &end);
    *offset = begin - origin;
    return end - begin;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

enum { LOSS_SUMS = 3 }; /* see loss */

struct sizes {
    size_t scratch, sums, parameters;
};

static struct sizes largest(const fs_backprop *b)
{
    struct sizes most = {.sums = LOSS_SUMS};
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
    struct room *room = &b->room[s];
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

/* The first that the backward pass finds of the gradient of a map is what its last reader gives; the others add to it. */
static int gives_first(const fs_backprop *b, int s, int input)
{
    int source = b->step[s].source[input], first = b->readers[source].last == s;
    for (int k = 0; k < input; k++)
        first &= b->step[s].source[k] != source;
    return first;
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

static void free_room(struct room *room)
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
    for (int level = 0; level < DEPTH; level++)
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

float *fs_backprop_input(fs_backprop *b)
{
    return b->input;
}

uint16_t *fs_backprop_label(fs_backprop *b)
{
    return b->label;
}

fs_map_sizes fs_backprop_maps(const fs_backprop *b)
{
    return b->maps;
}

const float *fs_backprop_gradient(const fs_backprop *b)
{
    return b->gradient;
}

fs_part fs_backprop_part(const fs_backprop *b)
{
    return b->part;
}

/* Step `s` over the images of local slot `slot`; *offset: its first, from this rank's first. */
static fs_pass pass_of(const fs_backprop *b, int s, int slot, int *offset)
{
    const fs_step *step = &b->step[s];
    const struct room *room = &b->room[s];
    int images = slot_images(b, b->own->first + slot, offset);
    size_t kept = step->op->kind->kept ? step->op->kind->kept(step->op) : 0;
    fs_pass pass = {.step = step,
                    .images = images,
                    .y = room->output + *offset * fs_op_outputs(step->op),
                    .parameter = b->net->parameter,
                    .statistic = b->net->statistic,
                    .prepared = b->prepared.data + room->prepared_place,
                    .scratch = b->scratch,
                    .kept = kept ? room->kept + *offset * kept : NULL,
                    .batch_images = b->images,
                    .moments = room->moments,
                    .totals = room->totals};
    for (int k = 0; k < step->op->inputs; k++) {
        int source = step->source[k];
        pass.x[k] = source < 0 ? b->input + *offset * fs_op_inputs(b->net->op)
                               : b->room[source].output + *offset * fs_op_outputs(b->step[source].op);
    }
    return pass;
}

/* One slot's sums of a step, in the forward pass or, of the gradient dy of all local images, the backward pass. */
static void sum_slot(const fs_backprop *b, int s, int slot, float *dy, double *sums)
{
    int offset;
    const fs_op *op = b->step[s].op;
    fs_pass pass = pass_of(b, s, slot, &offset);
    if (dy)
        op->kind->backward_sums(&pass, dy + offset * fs_op_outputs(op), sums);
    else
        op->kind->forward_sums(&pass, sums);
}

/* The sums over all slots of all ranks, into the first row of slot_sums. */
static void sum_slots(fs_backprop *b, int s, float *dy)
{
    size_t width = b->step[s].op->kind->sums(b->step[s].op);
    for (int slot = 0; slot < b->own->count; slot++)
        sum_slot(b, s, slot, dy, b->slot_sums + slot * width);
    fs_slots_fold(b->own, b->slot_sums, width);
    fs_slots_sum(b->own, b->slot_sums, width);
}

static void take_statistics(fs_backprop *b, int s)
{
    const fs_op *op = b->step[s].op;
    const fs_pass pass = {
        .step = &b->step[s], .statistic = b->net->statistic, .batch_images = b->images, .moments = b->room[s].moments};
    if (op->frozen) {
        op->kind->frozen(&pass);
        return;
    }
    sum_slots(b, s, NULL);
    op->kind->statistics(&pass, b->slot_sums, b->net->statistic + op->statistic);
}

/* Weights of all convolutions for one direction, over those of the other: each rank of the node makes a part. Before, the sums
 * over all ranks at the end of either pass have told that nobody needs those of the other any more. */
static void prepare(fs_backprop *b, int for_input)
{
    for (int s = 0; s < b->steps; s++) {
        const fs_step *step = &b->step[s];
        const fs_pass pass = {
            .step = step, .parameter = b->net->parameter, .prepared = b->prepared.data + b->room[s].prepared_place};
        int wanted = !for_input || step->source[0] >= b->first; /* else nobody asks for the gradient of its input */
        if (step->op->kind->prepare && wanted)
            step->op->kind->prepare(&pass, for_input, b->prepared.rank, b->prepared.ranks);
    }
    fs_shared_meet(&b->prepared);
}

static void forward(fs_backprop *b)
{
    for (int s = 0; s < b->steps; s++) {
        const fs_kind *kind = b->step[s].op->kind;
        if (kind->sums)
            take_statistics(b, s);
        for (int slot = 0; slot < b->own->count; slot++) {
            int offset;
            const fs_pass pass = pass_of(b, s, slot, &offset);
            if (pass.images)
                kind->forward(&pass);
        }
    }
}

/* Loss of all slots; its gradient into that of the last output. */
static void loss(fs_backprop *b, double smoothing, fs_batch_sums *sums)
{
    int labels = b->net->labels;
    const struct room *last = &b->room[b->steps - 1];
    for (int s = 0; s < b->own->count; s++) {
        int offset, right, images = slot_images(b, b->own->first + s, &offset);
        double *own = b->slot_sums + s * LOSS_SUMS;
        own[0] = fs_softmax_loss(images, labels, last->output + (size_t)offset * labels, b->label + offset, smoothing,
                                 1.0 / b->images, last->delta + (size_t)offset * labels, &right);
        own[1] = right;
        own[2] = 0;
    }
    fs_slots_fold(b->own, b->slot_sums, LOSS_SUMS);
    fs_slots_sum(b->own, b->slot_sums, LOSS_SUMS);
    *sums = (fs_batch_sums){b->slot_sums[0], b->slot_sums[1]};
}

/* Gradient of step `s`'s weights and bias over one slot, into `out` [weights + biases]. */
static void gradient_slot(fs_backprop *b, int s, int slot, float *out)
{
    int offset;
    const fs_op *op = b->step[s].op;
    const fs_pass pass = pass_of(b, s, slot, &offset);
    if (pass.images)
        op->kind->gradient(&pass, b->room[s].delta + offset * fs_op_outputs(op), out);
    else
        memset(out, 0, (op->weights + op->biases) * sizeof *out);
}

/* The tree over local slots first .. first+count-1, into `out`; level `level` of `partial` holds the right halves. */
static void gradient_tree(fs_backprop *b, int s, int first, int count, int level, float *out)
{
    if (count == 1) {
        gradient_slot(b, s, first, out);
        return;
    }
    const fs_op *op = b->step[s].op;
    gradient_tree(b, s, first, count / 2, level + 1, out);
    gradient_tree(b, s, first + count / 2, count / 2, level + 1, b->partial[level]);
    fs_add(op->weights + op->biases, out, b->partial[level]);
}

/* Gradient of one input of step `s`, slot by slot. */
static void backward_input(fs_backprop *b, int s, int input)
{
    const fs_op *op = b->step[s].op;
    int source = b->step[s].source[input], first = gives_first(b, s, input);
    size_t inputs = fs_op_outputs(b->step[source].op);
    for (int slot = 0; slot < b->own->count; slot++) {
        int offset;
        const fs_pass pass = pass_of(b, s, slot, &offset);
        float *delta = b->room[source].delta + offset * inputs, *dx = first ? delta : b->addend;
        if (!pass.images)
            continue;
        op->kind->backward(&pass, input, b->room[s].delta + offset * fs_op_outputs(op), dx);
        if (!first)
            fs_add(pass.images * inputs, delta, dx);
    }
}

/* Totals of the backward pass; where the moments are fixed, the gradient of the input has no share in them. */
static void take_totals(fs_backprop *b, int s)
{
    const fs_op *op = b->step[s].op;
    size_t count = op->kind->sums(op);
    if (!op->frozen) {
        sum_slots(b, s, b->room[s].delta);
        memcpy(b->room[s].totals, b->slot_sums, count * sizeof(double));
        return;
    }
    for (int slot = 0; slot < b->own->count; slot++)
        sum_slot(b, s, slot, b->room[s].delta, b->slot_sums); /* for what it does to the gradient of the output */
    memset(b->room[s].totals, 0, count * sizeof(double));
}

static void backward(fs_backprop *b)
{
    for (int s = b->steps - 1; s >= b->first; s--) {
        const fs_step *step = &b->step[s];
        const fs_kind *kind = step->op->kind;
        if (kind->sums)
            take_totals(b, s);
        if (kind->gradient && b->own->count && !step->op->frozen)
            gradient_tree(b, s, 0, b->own->count, 1, b->gradient + step->op->weight);
        for (int input = 0; input < step->op->inputs; input++)
            if (step->source[input] >= b->first) /* nobody asks for the gradients of what comes before */
                backward_input(b, s, input);
    }
}

/* Gradients that are totals already go into the gradient after the sum over ranks. */
static void place_totals(fs_backprop *b)
{
    for (int s = 0; s < b->steps; s++) {
        const fs_op *op = b->step[s].op;
        if (op->kind->gradient_of_totals && !op->frozen)
            op->kind->gradient_of_totals(op, b->room[s].totals, b->gradient + op->weight);
    }
}

void fs_backprop_run(fs_backprop *b, int images, double smoothing, fs_batch_sums *sums)
{
    b->images = images;
    prepare(b, 0);
    forward(b);
    loss(b, smoothing, sums);
    prepare(b, 1);
    backward(b);
    b->part = fs_slots_sum_part(b->own, b->gradient, b->net->parameters);
    place_totals(b);
}
