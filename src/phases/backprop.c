/* Forward and backward pass of a batch in slots. For each step all local slots are computed, then, where batch
 * normalisation needs it, sums are taken over all slots of all ranks; then comes the next step. */
#include "phases/backprop.h"

#include <string.h>

#include "filterscope/layers.h"

/* Images of local slot `slot`: offset from this rank's first image, and number. */
static int slot_images(const fs_backprop *b, int slot, int *offset)
{
    int origin, begin, end;
    fs_slots_share(b->own, b->images, &origin, &end);
    fs_slots_range(b->own, slot, b->images, &begin, &end);
    *offset = begin - origin;
    return end - begin;
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
    const struct fs_backprop_room *room = &b->room[s];
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
    const struct fs_backprop_room *last = &b->room[b->steps - 1];
    for (int s = 0; s < b->own->count; s++) {
        int offset, right, images = slot_images(b, b->own->first + s, &offset);
        double *own = b->slot_sums + s * FS_BACKPROP_LOSS_SUMS;
        own[0] = fs_softmax_loss(images, labels, last->output + (size_t)offset * labels, b->label + offset, smoothing,
                                 1.0 / b->images, last->delta + (size_t)offset * labels, &right);
        own[1] = right;
    }
    fs_slots_fold(b->own, b->slot_sums, FS_BACKPROP_LOSS_SUMS);
    fs_slots_sum(b->own, b->slot_sums, FS_BACKPROP_LOSS_SUMS);
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

/* The first that the backward pass finds of the gradient of a map is what its last reader gives; the others add to it. */
static int gives_first(const fs_backprop *b, int s, int input)
{
    int source = b->step[s].source[input], first = b->readers[source].last == s;
    for (int k = 0; k < input; k++)
        first &= b->step[s].source[k] != source;
    return first;
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
