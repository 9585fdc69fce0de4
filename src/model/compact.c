#include "filterscope/compact.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"

/* Which channels of the operations' outputs are still there. */
struct job {
    const fs_network *net;
    fs_compacted *report; /* [ops] */
    uint8_t **lives;      /* [ops][output channels] */
    uint8_t *free;        /* [ops]: its channels can be taken out one by one */
};

static int number_of(const struct job *job, const fs_op *op)
{
    return (int)(op - job->net->op);
}

static int lives(const struct job *job, const fs_op *map, int channel)
{
    return !map || job->lives[number_of(job, map)][channel];
}

/* 1 where each channel of each input goes on as one channel of the output, and none of these has two. */
static int passes_one_by_one(const fs_op *op)
{
    int passed = 0, channels = 0;
    for (int c = 0; c < op->out_channels; c++) {
        int origins = 0;
        for (int k = 0; k < op->inputs; k++)
            origins += fs_op_origin(op, k, c) >= 0;
        if (origins > 1)
            return 0;
        passed += origins;
    }
    for (int k = 0; k < op->inputs; k++)
        channels += op->input[k] ? op->input[k]->out_channels : op->channels;
    return passed == channels;
}

static int reads(const fs_op *reader, const fs_op *map)
{
    for (int k = 0; k < reader->inputs; k++)
        if (reader->input[k] == map)
            return 1;
    return 0;
}

/* Whether all that reads the operation's map, and so on up to what has kernels, takes its channels one by one. Operations come
 * after those that they read: from the last one on. */
static int is_free(const struct job *job, const fs_op *op)
{
    const fs_op *end = job->net->op + job->net->ops;
    if (op == end - 1 || op->groups > 1)
        return 0;
    for (const fs_op *reader = op + 1; reader < end; reader++) {
        if (!reads(reader, op))
            continue;
        if (reader->kind->kernels ? reader->groups > 1 : !(passes_one_by_one(reader) && job->free[number_of(job, reader)]))
            return 0;
    }
    return 1;
}

static int allocate(struct job *job)
{
    size_t ops = (size_t)job->net->ops;
    job->lives = fs_alloc(ops, sizeof *job->lives, "channels");
    job->free = fs_alloc(ops, 1, "channels");
    int done = job->lives && job->free;
    for (size_t i = 0; i < ops && done; i++) {
        size_t channels = (size_t)job->net->op[i].out_channels;
        job->lives[i] = fs_alloc(channels, 1, "channels");
        done = job->lives[i] != NULL;
        if (done)
            memset(job->lives[i], 1, channels);
    }
    for (size_t i = ops; i-- > 0 && done;)
        job->free[i] = (uint8_t)is_free(job, &job->net->op[i]);
    return done;
}

static void release(struct job *job)
{
    for (int i = 0; i < job->net->ops && job->lives; i++)
        free(job->lives[i]);
    free(job->lives);
    free(job->free);
}

static fs_kernels kernels_of(const fs_op *op)
{
    fs_kernels k;
    op->kind->kernels(op, &k);
    return k;
}

/* Number of the kernel from `channel` of the input among those of output `o`; outside 0 .. inputs - 1 for another group's. */
static int place_in_group(const fs_op *op, const fs_kernels *k, int o, int channel)
{
    int groups = op->groups > 1 ? op->groups : 1;
    return channel - o / (k->outputs / groups) * k->inputs;
}

static int kernels_read(const struct job *job, const fs_op *op, int channel)
{
    const fs_kernels k = kernels_of(op);
    for (int o = 0; o < k.outputs; o++) {
        int i = place_in_group(op, &k, o, channel);
        if (lives(job, op, o) && i >= 0 && i < k.inputs && fs_mask_keeps(op, o, i))
            return 1;
    }
    return 0;
}

/* 1 where a kernel that is kept, of a filter that is there, reads the channel, or the logits are made of it. */
static int is_read(const struct job *job, const fs_op *map, int channel)
{
    const fs_op *end = job->net->op + job->net->ops;
    if (map == end - 1)
        return 1;
    for (const fs_op *reader = map + 1; reader < end; reader++)
        for (int k = 0; k < reader->inputs; k++) {
            if (reader->input[k] != map)
                continue;
            if (reader->kind->kernels && kernels_read(job, reader, channel))
                return 1;
            int factor = !reader->kind->kernels && !passes_one_by_one(reader); /* of a scale the map counts, too */
            for (int c = 0; c < reader->out_channels && !reader->kind->kernels; c++)
                if ((factor ? c == channel : fs_op_origin(reader, k, c) == channel) && is_read(job, reader, c))
                    return 1;
        }
    return 0;
}

/* 1 where some kernel of output `o` that is kept reads a channel that is there. */
static int has_input(const struct job *job, const fs_op *op, int o)
{
    const fs_kernels k = kernels_of(op);
    for (int c = 0; c < op->channels; c++) {
        int i = place_in_group(op, &k, o, c);
        if (i >= 0 && i < k.inputs && fs_mask_keeps(op, o, i) && lives(job, op->input[0], c))
            return 1;
    }
    return 0;
}

static int clips(const fs_op *op)
{
    fs_conv_after after = {0};
    if (op->kind->follow)
        op->kind->follow(op, &after);
    return after.clips;
}

/* 1 where output `o` of an operation without input, its bias, becomes 0 before anything with kernels reads it: by a ReLU,
 * behind one batch norm at most. */
static int becomes_zero(const struct job *job, const fs_op *op, int o)
{
    const fs_network *net = job->net;
    double value = op->biases ? (double)net->parameter[op->bias + (size_t)o] : 0;
    const fs_op *next = op->reader;
    if (op->readers == 1 && next->statistics) {
        const float *mean = net->statistic + next->statistic, *variance = mean + next->channels;
        value = (value - mean[o]) / sqrt(variance[o] + FS_BATCHNORM_EPSILON) * net->parameter[next->weight + (size_t)o] +
                net->parameter[next->bias + (size_t)o];
        op = next;
        next = op->reader;
    }
    if (op->readers == 1 && clips(next) && value < 0) {
        op = next;
        next = op->reader;
        value = 0;
    }
    while (op->readers == 1 && !next->kind->kernels && next->kind->keeps_zero) {
        op = next;
        next = op->reader;
    }
    return value == 0 && op->readers == 1 && next->kind->kernels;
}

/* Operations that act on channels have those that go back to one that is there; zeros of a zeropad are. */
static void follow(struct job *job)
{
    for (int i = 0; i < job->net->ops; i++) {
        const fs_op *op = &job->net->op[i];
        for (int c = 0; c < op->out_channels && !op->kind->kernels; c++)
            for (int k = 0; k < op->inputs; k++) {
                int origin = fs_op_origin(op, k, c);
                if (origin >= 0 && !lives(job, op->input[k], origin))
                    job->lives[i][c] = 0;
            }
    }
}

static int left(const struct job *job, int i)
{
    int count = 0;
    for (int c = 0; c < job->net->op[i].out_channels; c++)
        count += job->lives[i][c];
    return count;
}

/* Takes out what has become useless of one operation; returns how many. `count_rest`: what stays, and why, is counted. */
static int cut(struct job *job, int i, int count_rest)
{
    const fs_op *op = &job->net->op[i];
    fs_compacted *report = &job->report[i];
    int taken = 0, there = left(job, i);
    for (int o = 0; o < op->out_channels; o++) {
        if (!job->lives[i][o])
            continue;
        int unread = !is_read(job, op, o), empty = !has_input(job, op, o), zero = empty && becomes_zero(job, op, o);
        if (job->free[i] && (unread || zero) && there > 1) {
            job->lives[i][o] = 0;
            report->unread += unread;
            report->silent += !unread;
            taken++;
            there--;
        } else if (count_rest) {
            report->shared += unread;
            report->constant += !unread && empty;
        }
    }
    follow(job);
    return taken;
}

static void cut_all(struct job *job)
{
    int taken = 1;
    while (taken) {
        taken = 0;
        for (int i = 0; i < job->net->ops; i++)
            if (job->net->op[i].kind->kernels)
                taken += cut(job, i, 0);
    }
    for (int i = 0; i < job->net->ops; i++) {
        job->report[i].filters = job->net->op[i].kind->kernels ? job->net->op[i].out_channels : 0;
        if (job->net->op[i].kind->kernels)
            cut(job, i, 1);
    }
}

/* The operation of line `number` that has lost filters; NULL for none. */
static const fs_op *smaller_at(const struct job *job, int number)
{
    for (int i = 0; i < job->net->ops; i++) {
        const fs_op *op = &job->net->op[i];
        if (op->line == number && op->kind->kernels && left(job, i) < op->out_channels)
            return op;
    }
    return NULL;
}

/* The architecture's text with new numbers of filters and units, the second word of their lines. */
static char *write_text(const struct job *job)
{
    size_t room = 3 * strlen(job->net->text) + 16, used = 0; /* a number may be longer than K */
    char *text = fs_alloc(room, 1, "the architecture");
    const char *line = job->net->text;
    for (int number = 1; text && *line; number++) {
        size_t length = strcspn(line, "\n"), first = strcspn(line, " "), second = first + 1 + strcspn(line + first + 1, " \n");
        const fs_op *op = smaller_at(job, number);
        if (op)
            used += (size_t)snprintf(text + used, room - used, "%.*s %d%.*s\n", (int)first, line, left(job, number_of(job, op)),
                                     (int)(length - second), line + second);
        else
            used += (size_t)snprintf(text + used, room - used, "%.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    return text;
}

/* Values of single channels: those that are there, one after the other. */
static void pack(const struct job *job, const fs_op *op, size_t count, const float *from, float *to)
{
    for (size_t c = 0; c < count; c++)
        if (lives(job, op, (int)c))
            *to++ = from[c];
}

static void pack_kernels(const struct job *job, const fs_op *op, fs_op *small, const float *from, float *to)
{
    const fs_kernels old = kernels_of(op), new = kernels_of(small);
    size_t o_new = 0;
    for (int o = 0; o < old.outputs; o++) {
        size_t i_new = 0;
        if (!lives(job, op, o))
            continue;
        for (int i = 0; i < old.inputs; i++) {
            if (op->groups <= 1 && !lives(job, op->input[0], i))
                continue;
            for (int p = 0; p < old.places; p++)
                to[o_new * new.output + i_new *new.input + (size_t)p *new.place] =
                    from[(size_t)o * old.output + (size_t)i * old.input + (size_t)p * old.place];
            if (!fs_mask_keeps(op, o, i))
                fs_mask_drop(small, (int)o_new, (int)i_new);
            i_new++;
        }
        o_new++;
    }
}

static fs_status copy_op(const struct job *job, const fs_op *op, fs_network *to, fs_op *small)
{
    const fs_network *net = job->net;
    const float *const from[] = {net->parameter, net->velocity};
    float *const into[] = {to->parameter, to->velocity};
    fs_status status = op->mask ? fs_mask_create(small) : FS_OK;
    for (int g = 0; g < 2 && !status; g++) {
        if (op->kind->kernels)
            pack_kernels(job, op, small, from[g] + op->weight, into[g] + small->weight);
        else
            pack(job, op, op->weights, from[g] + op->weight, into[g] + small->weight);
        pack(job, op, op->biases, from[g] + op->bias, into[g] + small->bias);
    }
    for (size_t half = 0; half < 2 && op->statistics; half++)
        pack(job, op, op->statistics / 2, net->statistic + op->statistic + half * (op->statistics / 2),
             to->statistic + small->statistic + half * (small->statistics / 2));
    return status;
}

static fs_status build(const struct job *job, fs_network *smaller)
{
    const fs_network *net = job->net;
    char *text = write_text(job);
    const fs_arch arch = {.name = net->arch, .text = text, .silent_floor = 1};
    fs_status status = FS_ERROR;
    if (text)
        status = fs_network_create(&arch, net->height, net->width, net->channels, net->labels, 0, smaller);
    free(text);
    for (int i = 0; i < net->ops && !status; i++)
        status = copy_op(job, &net->op[i], smaller, &smaller->op[i]);
    return status;
}

fs_status fs_network_compact(const fs_network *net, fs_network *smaller, fs_compacted *report)
{
    struct job job = {.net = net, .report = report};
    *smaller = (fs_network){0};
    memset(report, 0, (size_t)net->ops * sizeof *report);
    fs_status status = FS_ERROR;
    if (allocate(&job)) {
        cut_all(&job);
        status = build(&job, smaller);
    }
    release(&job);
    if (status)
        fs_network_free(smaller);
    return status;
}
