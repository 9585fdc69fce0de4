/* The network in inference mode. */
#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/network.h"
#include "model/bands.h"
#include "model/lives.h"
#include "model/steps.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Pointers into `space` for one step; images and inputs are left to run_step. */
static fs_pass pass_of(const fs_network *net, const fs_workspace *space, int s)
{
    return (fs_pass){.step = &space->step[s],
                     .y = space->map[s],
                     .parameter = net->parameter,
                     .statistic = net->statistic,
                     .prepared = space->folded[s],
                     .scratch = space->scratch};
}

static int allocate_maps(fs_workspace *space, const fs_readers *readers)
{
    fs_life *life = fs_alloc((size_t)space->steps, sizeof *life, "activations");
    size_t *floats = fs_alloc((size_t)space->steps, sizeof *floats, "activations"), largest = 0;
    int done = life && floats;
    if (done) {
        fs_bands_lives(space->step, readers, space->band, space->bands, space->images, life, space->whole);
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
        space->maps.alone += space->images * fs_op_outputs(space->step[s].last);
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

fs_status fs_workspace_create(const fs_network *net, int images, fs_use use, fs_workspace *space)
{
    size_t ops = (size_t)net->ops;
    fs_readers *readers = fs_alloc(ops, sizeof *readers, "the steps of a network");
    *space = (fs_workspace){.images = images};
    space->step = fs_alloc(ops, sizeof *space->step, "the steps of a network");
    space->band = fs_alloc(ops, sizeof *space->band, "the steps of a network");
    space->whole = fs_alloc(ops, sizeof *space->whole, "the steps of a network");
    space->map = fs_alloc(ops, sizeof *space->map, "activations");
    space->buffer = fs_alloc(ops, sizeof *space->buffer, "activations");
    space->folded = fs_alloc(ops, sizeof *space->folded, "prepared weights");
    if (readers && space->step && space->band && space->whole && space->map && space->buffer && space->folded)
        space->steps = fs_steps_list(net, 0, use, space->step, readers);
    if (space->steps)
        space->bands = fs_bands_list(space->step, space->steps, images, use, space->band);
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
    free(space->band);
    free(space->whole);
    free(space->folded);
    free(space->input);
    free(space->scratch);
    free(space->weights);
    *space = (fs_workspace){0};
}

/* Where the images from `from` on are in a map of `whole` batches, or of one band's images. */
static size_t offset_of(int whole, int from, const fs_op *op)
{
    return whole ? from * fs_op_outputs(op) : 0;
}

/* Images from, ... from + images - 1 of the batch x through step s. */
static void run_step(const fs_network *net, const fs_workspace *space, int s, int from, int images, const float *x)
{
    const fs_step *step = &space->step[s];
    const fs_kind *kind = step->op->kind;
    fs_pass pass = pass_of(net, space, s);
    pass.images = images;
    pass.y += offset_of(space->whole[s], from, step->last);
    for (int k = 0; k < step->inputs; k++) {
        int source = step->source[k];
        pass.x[k] = source < 0 ? x + from * fs_op_inputs(net->op)
                               : space->map[source] + offset_of(space->whole[source], from, space->step[source].last);
    }
    (kind->infer ? kind->infer : kind->forward)(&pass);
}

static void run_band(const fs_network *net, const fs_workspace *space, const fs_band *band, int images, const float *x)
{
    for (int from = 0; from < images; from += band->images)
        for (int s = band->first; s <= band->last; s++)
            run_step(net, space, s, from, band->images < images - from ? band->images : images - from, x);
}

const float *fs_network_infer(const fs_network *net, int images, const float *x, int until, fs_feature_hook *hook,
                              void *context, fs_workspace *space)
{
    for (const fs_band *band = space->band; band < space->band + space->bands; band++) {
        const fs_op *last = space->step[band->last].last;
        run_band(net, space, band, images, x);
        if (last->probed && hook)
            hook(context, last->layer, images, space->map[band->last]);
        if (last->probed && last->layer == until)
            return space->map[band->last];
    }
    return space->map[space->steps - 1];
}
