#include "filterscope/cut.h"

#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "model/steps.h"
#include "nn/finish.h"

/* Where a network is cut: of its steps. */
struct outline {
    int steps;
    const fs_step *step;
    int point, linear;
    uint8_t *behind;
};

/* The step that alone reads the map, and can tell what one channel adds; -1 where there is none. */
static int find_linear(const struct outline *o)
{
    const fs_op *map = o->step[o->point].last;
    for (int s = o->point + 1; s < o->steps && map->readers == 1; s++)
        if (o->step[s].op == map->reader)
            return map->reader->kind->channel && map->reader->groups <= 1 ? s : -1;
    return -1;
}

static void find_point(struct outline *o, const fs_op *map, fs_cut_form form)
{
    for (o->point = 0; o->step[o->point].last != map;)
        o->point++;
    o->linear = form == FS_CUT_LINEAR ? find_linear(o) : -1;
    int from = o->linear < 0 ? o->point : o->linear;
    for (int s = from + 1; s < o->steps; s++)
        for (int k = 0; k < o->step[s].op->inputs; k++) {
            int source = o->step[s].source[k];
            o->behind[s] |= source == from || (source > from && o->behind[source]);
        }
}

/* Whether experiments begin with the output of `s`: steps behind read it. */
static int is_packed(const struct outline *o, int s)
{
    if (s == o->linear)
        return 1;
    for (int reader = s + 1; reader < o->steps && !o->behind[s]; reader++)
        for (int k = 0; k < o->step[reader].op->inputs; k++)
            if (o->behind[reader] && o->step[reader].source[k] == s)
                return 1;
    return 0;
}

static size_t outputs_of(const fs_cut *cut, int s)
{
    return fs_op_outputs(cut->space.step[s].last);
}

static int allocate_maps(const struct outline *o, fs_cut *cut)
{
    int done = 1;
    for (int s = 0; s < cut->space.steps && done; s++) {
        size_t floats = (size_t)cut->space.images * outputs_of(cut, s);
        int packs = is_packed(o, s);
        if (packs)
            cut->packed[s] = fs_alloc(floats, sizeof(float), "experiments");
        if (packs || s == cut->point)
            cut->kept[s] = fs_alloc(floats, sizeof(float), "maps before experiments");
        done = (cut->packed[s] || !packs) && (cut->kept[s] || !(packs || s == cut->point));
    }
    return done;
}

static int allocate_linear(fs_cut *cut)
{
    const fs_op *map = cut->space.step[cut->point].last, *op = cut->linear < 0 ? NULL : cut->space.step[cut->linear].op;
    cut->difference = fs_alloc((size_t)map->out_height * (size_t)map->out_width, sizeof(float), "a map");
    if (!op)
        return cut->difference != NULL;
    cut->sum = fs_alloc((size_t)cut->space.images * fs_op_outputs(op), sizeof(float), "maps before experiments");
    cut->changed = fs_alloc(fs_op_outputs(op), sizeof(float), "an experiment");
    cut->weight = fs_alloc(op->weights, sizeof(float), "weights of channels");
    return cut->difference && cut->sum && cut->changed && cut->weight;
}

fs_status fs_cut_create(const fs_network *net, int layer, int images, fs_cut_form form, fs_cut *cut)
{
    *cut = (fs_cut){.net = net};
    if (fs_workspace_create(net, images, FS_FOR_STEPS, &cut->space))
        return FS_ERROR;
    size_t steps = (size_t)cut->space.steps;
    cut->behind = fs_alloc(steps, 1, "steps");
    cut->kept = fs_alloc(steps, sizeof *cut->kept, "steps");
    cut->packed = fs_alloc(steps, sizeof *cut->packed, "steps");
    int done = cut->behind && cut->kept && cut->packed;
    if (done) {
        struct outline outline = {.steps = cut->space.steps, .step = cut->space.step, .behind = cut->behind};
        find_point(&outline, fs_network_probed(net, layer), form);
        cut->point = outline.point;
        cut->linear = outline.linear;
        done = allocate_maps(&outline, cut) && allocate_linear(cut);
    }
    if (done)
        return FS_OK;
    fs_cut_free(cut);
    return FS_ERROR;
}

void fs_cut_free(fs_cut *cut)
{
    for (int s = 0; s < cut->space.steps && cut->kept && cut->packed; s++) {
        free(cut->kept[s]);
        free(cut->packed[s]);
    }
    free(cut->behind);
    free(cut->kept);
    free(cut->packed);
    free(cut->sum);
    free(cut->changed);
    free(cut->weight);
    free(cut->difference);
    fs_workspace_free(&cut->space);
    *cut = (fs_cut){0};
}

static fs_pass pass_of(const fs_cut *cut, int s, const fs_step *step)
{
    return (fs_pass){.step = step,
                     .parameter = cut->net->parameter,
                     .statistic = cut->net->statistic,
                     .prepared = cut->space.folded[s],
                     .scratch = cut->space.scratch};
}

/* Step s as `step` says, from maps `own` where it has them, into y. */
static void run_step(const fs_cut *cut, int s, const fs_step *step, int images, float *const *own, float *y)
{
    fs_pass pass = pass_of(cut, s, step);
    pass.images = images;
    pass.y = y;
    for (int k = 0; k < step->op->inputs; k++) {
        int source = step->source[k];
        pass.x[k] = source < 0 ? cut->space.input : own[source] ? own[source] : cut->space.map[source];
    }
    (step->op->kind->infer ? step->op->kind->infer : step->op->kind->forward)(&pass);
}

/* What the linear step takes along: x [images][outputs of its operation], which is overwritten, into y. */
static void take_along(const fs_cut *cut, int images, float *x, float *y)
{
    const fs_step *step = &cut->space.step[cut->linear];
    const fs_op *op = step->op;
    size_t count = (size_t)images * fs_op_outputs(op);
    fs_conv_finish(&step->after, 0, count, x);
    if (step->after.pools)
        fs_maxpool_forward(images, op->out_height, op->out_width, op->out_channels, 2, x, y, NULL);
    else
        memcpy(y, x, count * sizeof *y);
}

static void run_linear(fs_cut *cut, int images)
{
    fs_step alone = cut->space.step[cut->linear];
    size_t count = fs_op_outputs(alone.op);
    alone.after = (fs_conv_after){0};
    run_step(cut, cut->linear, &alone, images, cut->kept, cut->sum);
    for (int n = 0; n < images; n++) { /* as an experiment does it, for fs_cut_pack to compare with */
        memcpy(cut->changed, cut->sum + (size_t)n * count, count * sizeof(float));
        take_along(cut, 1, cut->changed, cut->kept[cut->linear] + (size_t)n * outputs_of(cut, cut->linear));
    }
}

void fs_cut_before(fs_cut *cut, int images)
{
    for (int s = 0; s < cut->space.steps; s++) {
        if (s == cut->linear)
            run_linear(cut, images);
        else if (!cut->behind[s])
            run_step(cut, s, &cut->space.step[s], images, cut->kept, cut->kept[s] ? cut->kept[s] : cut->space.map[s]);
    }
}

static size_t channel_weights(const fs_op *op)
{
    return op->weights / (size_t)op->channels;
}

void fs_cut_choose(fs_cut *cut, const int *filter, int count, const float *replacement)
{
    cut->filter = filter;
    cut->chosen = count;
    cut->replacement = replacement;
    if (cut->linear < 0)
        return;
    const fs_step *step = &cut->space.step[cut->linear];
    fs_pass pass = pass_of(cut, cut->linear, step);
    for (int i = 0; i < count; i++)
        step->op->kind->channel(&pass, filter[i], cut->weight + (size_t)i * channel_weights(step->op));
}

/* The pixels of the map. */
static size_t pixels_of(const fs_cut *cut)
{
    const fs_op *map = cut->space.step[cut->point].last;
    return (size_t)map->out_height * (size_t)map->out_width;
}

/* What filter `filter` has more than its replacement on an image, into cut->difference; 0 where that is nothing. */
static int take_difference(fs_cut *cut, int image, int filter)
{
    size_t filters = (size_t)cut->space.step[cut->point].last->out_channels, pixels = pixels_of(cut);
    const float *map = cut->kept[cut->point] + (size_t)image * pixels * filters + filter;
    int differs = 0;
    for (size_t p = 0; p < pixels; p++) {
        float instead = cut->replacement ? cut->replacement[(size_t)filter * pixels + p] : 0;
        cut->difference[p] = map[p * filters] - instead;
        differs |= cut->difference[p] != 0;
    }
    return differs;
}

/* The linear step without the chosen filters, into the batch. */
static fs_packed pack_linear(fs_cut *cut, int image, int place)
{
    const fs_op *op = cut->space.step[cut->linear].op;
    size_t count = fs_op_outputs(op), behind = outputs_of(cut, cut->linear);
    float *to = cut->packed[cut->linear] + (size_t)place * behind;
    int differs = 0;
    memcpy(cut->changed, cut->sum + (size_t)image * count, count * sizeof(float));
    for (int i = 0; i < cut->chosen; i++)
        if (take_difference(cut, image, cut->filter[i])) {
            op->kind->subtract(op, cut->weight + (size_t)i * channel_weights(op), cut->difference, cut->changed);
            differs = 1;
        }
    if (!differs)
        return FS_CUT_SAME;
    take_along(cut, 1, cut->changed, to);
    return memcmp(to, cut->kept[cut->linear] + (size_t)image * behind, behind * sizeof *to) ? FS_CUT_PACKED : FS_CUT_HIDDEN;
}

static void copy_kept(fs_cut *cut, int s, int image, int place)
{
    size_t count = outputs_of(cut, s);
    memcpy(cut->packed[s] + (size_t)place * count, cut->kept[s] + (size_t)image * count, count * sizeof(float));
}

/* The map with the chosen filters replaced, into the batch. */
static fs_packed pack_map(fs_cut *cut, int image, int place)
{
    size_t filters = (size_t)cut->space.step[cut->point].last->out_channels, pixels = pixels_of(cut);
    float *to = cut->packed[cut->point] + (size_t)place * filters * pixels;
    int differs = 0;
    copy_kept(cut, cut->point, image, place);
    for (int i = 0; i < cut->chosen; i++) {
        size_t filter = (size_t)cut->filter[i];
        differs |= take_difference(cut, image, cut->filter[i]);
        for (size_t p = 0; p < pixels; p++)
            to[p * filters + filter] = cut->replacement ? cut->replacement[filter * pixels + p] : 0;
    }
    return differs ? FS_CUT_PACKED : FS_CUT_SAME;
}

fs_packed fs_cut_pack(fs_cut *cut, int image, int place)
{
    int own = cut->linear < 0 ? cut->point : cut->linear;
    fs_packed packed = cut->linear < 0 ? pack_map(cut, image, place) : pack_linear(cut, image, place);
    for (int s = 0; s < cut->space.steps && packed == FS_CUT_PACKED; s++)
        if (s != own && cut->packed[s])
            copy_kept(cut, s, image, place);
    return packed;
}

const float *fs_cut_behind(fs_cut *cut, int experiments)
{
    int last = cut->space.steps - 1;
    for (int s = 0; s <= last; s++)
        if (cut->behind[s])
            run_step(cut, s, &cut->space.step[s], experiments, cut->packed, cut->space.map[s]);
    return cut->packed[last] ? cut->packed[last] : cut->space.map[last];
}

static double macs_of(const fs_step *step)
{
    double macs = 0;
    for (const fs_op *op = step->op; op; op = op == step->last ? NULL : op->reader)
        macs += fs_op_macs(op);
    return macs;
}

static fs_cut_cost cost_of(const struct outline *o)
{
    fs_cut_cost cost = {.floats = fs_op_outputs(o->step[o->point].last)};
    for (int s = 0; s < o->steps; s++) {
        *(o->behind[s] ? &cost.behind : &cost.before) += macs_of(&o->step[s]);
        if (is_packed(o, s))
            cost.floats += (s == o->point ? 1 : 2) * fs_op_outputs(o->step[s].last);
    }
    if (o->linear >= 0) {
        const fs_step *step = &o->step[o->linear];
        cost.behind += macs_of(step) / step->op->channels;
        cost.floats += fs_op_outputs(step->op);
    }
    return cost;
}

fs_status fs_cut_find_cost(const fs_network *net, int layer, fs_cut_form form, fs_cut_cost *cost)
{
    size_t ops = (size_t)net->ops;
    fs_step *step = fs_alloc(ops, sizeof *step, "the steps of a network");
    fs_readers *readers = fs_alloc(ops, sizeof *readers, "the steps of a network");
    struct outline outline = {.step = step, .behind = fs_alloc(ops, 1, "the steps of a network")};
    if (step && readers && outline.behind)
        outline.steps = fs_steps_list(net, 0, FS_FOR_STEPS, step, readers);
    if (outline.steps) {
        find_point(&outline, fs_network_probed(net, layer), form);
        *cost = cost_of(&outline);
    }
    free(step);
    free(readers);
    free(outline.behind);
    return outline.steps ? FS_OK : FS_ERROR;
}
