/* The network in inference mode. */
#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/network.h"
#include "model/lives.h"
#include "model/steps.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Pointers into `space` for one step; images and x are left to fs_network_infer. */
static fs_pass pass_of(const fs_network *net, const fs_workspace *space, int s)
{
    return (fs_pass){.step = &space->step[s],
                     .y = space->map[s],
                     .parameter = net->parameter,
                     .statistic = net->statistic,
                     .prepared = space->folded[s],
                     .scratch = space->scratch};
}

/* The lives of all maps. A step that can works in place on a map that nobody reads after it. */
static void list_lives(const fs_workspace *space, const fs_readers *readers, fs_life *life)
{
    for (int s = 0; s < space->steps; s++) {
        const fs_step *step = &space->step[s];
        int source = step->source[0], over = step->op->kind->in_place && source >= 0 && readers[source].last == s;
        life[s] = (fs_life){.first = s,
                            .last = readers[s].last,
                            .over = over ? source : -1,
                            .floats = (size_t)space->images * fs_op_outputs(step->last)};
    }
}

static int allocate_maps(fs_workspace *space, const fs_readers *readers)
{
    fs_life *life = fs_alloc((size_t)space->steps, sizeof *life, "activations");
    size_t *floats = fs_alloc((size_t)space->steps, sizeof *floats, "activations"), largest = 0;
    int done = life && floats;
    if (done) {
        list_lives(space, readers, life);
        space->buffers = fs_lives_place(life, space->steps, floats);
    }
    for (int b = 0; b < space->buffers && done; b++) {
        done = (space->buffer[b] = fs_alloc(floats[b], sizeof(float), "activations")) != NULL;
        space->maps.shared += floats[b];
        if (floats[b] > largest)
            space->features = space->buffer[b];
        largest = larger(largest, floats[b]);
    }
    for (int s = 0; s < space->steps && done; s++) {
        space->maps.alone += life[s].floats;
        space->map[s] = space->buffer[life[s].buffer];
    }
    free(life);
    free(floats);
    return done;
}

static int allocate_weights(const fs_network *net, fs_workspace *space)
{
    size_t scratch = 0, folded = 0;
    for (int s = 0; s < space->steps; s++) {
        const fs_step *step = &space->step[s];
        if (step->op->kind->scratch)
            scratch = larger(scratch, step->op->kind->scratch(step, space->images));
        if (step->op->kind->folded)
            folded += step->op->kind->folded(step);
    }
    space->input = fs_alloc((size_t)space->images * net->height * net->width * net->channels, sizeof(float), "the input batch");
    space->scratch = fs_alloc(scratch, sizeof(float), "convolutions");
    space->weights = fs_alloc(folded, sizeof(float), "prepared weights");
    float *next = space->weights;
    for (int s = 0; s < space->steps && next; s++) {
        space->folded[s] = next;
        if (space->step[s].op->kind->folded)
            next += space->step[s].op->kind->folded(&space->step[s]);
    }
    return space->input && space->scratch && space->weights;
}

fs_status fs_workspace_create(const fs_network *net, int images, fs_workspace *space)
{
    size_t ops = (size_t)net->ops;
    fs_readers *readers = fs_alloc(ops, sizeof *readers, "the steps of a network");
    *space = (fs_workspace){.images = images};
    space->step = fs_alloc(ops, sizeof *space->step, "the steps of a network");
    space->map = fs_alloc(ops, sizeof *space->map, "activations");
    space->buffer = fs_alloc(ops, sizeof *space->buffer, "activations");
    space->folded = fs_alloc(ops, sizeof *space->folded, "prepared weights");
    if (readers && space->step && space->map && space->buffer && space->folded)
        space->steps = fs_steps_list(net, 0, 1, space->step, readers);
    int done = space->steps && allocate_maps(space, readers) && allocate_weights(net, space);
    free(readers);
    if (done) {
        fs_workspace_prepare(net, space);
        return FS_OK;
    }
    fs_workspace_free(space);
    return FS_ERROR;
}

void fs_workspace_prepare(const fs_network *net, fs_workspace *space)
{
    for (int s = 0; s < space->steps; s++) {
        fs_pass pass = pass_of(net, space, s);
        if (space->step[s].op->kind->fold)
            space->step[s].op->kind->fold(&pass);
    }
}

void fs_workspace_free(fs_workspace *space)
{
    for (int b = 0; b < space->buffers; b++)
        free(space->buffer[b]);
    free(space->buffer);
    free(space->map);
    free(space->step);
    free(space->folded);
    free(space->input);
    free(space->scratch);
    free(space->weights);
    *space = (fs_workspace){0};
}

const float *fs_network_infer(const fs_network *net, int images, const float *x, int until, fs_feature_hook *hook,
                              void *context, fs_workspace *space)
{
    for (int s = 0; s < space->steps; s++) {
        const fs_step *step = &space->step[s];
        const fs_kind *kind = step->op->kind;
        fs_pass pass = pass_of(net, space, s);
        pass.images = images;
        for (int k = 0; k < step->inputs; k++)
            pass.x[k] = step->source[k] < 0 ? x : space->map[step->source[k]];
        (kind->infer ? kind->infer : kind->forward)(&pass);
        if (step->last->probed && hook)
            hook(context, step->last->layer, images, space->map[s]);
        if (step->last->probed && step->last->layer == until)
            return space->map[s];
    }
    return space->map[space->steps - 1];
}
