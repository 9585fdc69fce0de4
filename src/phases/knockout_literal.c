/* Phase four by definition: the whole network for each set of filters, most of them single ones. Slow, and kept as the oracle
 * of the form that spares most. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/stop.h"
#include "phases/tally.h"

struct experiment {
    const fs_knockout_input *in;
    const fs_untouched *untouched;
    fs_network net;            /* the same but for its parameters, which are its own */
    const fs_op *map, *source; /* source: whose filters' parameters make the map 0; NULL: the map is overwritten */
    const float *replacement;
    fs_filter_set set;
    fs_workspace space;
    int32_t *answer; /* [batch] */
    double *loss;
};

/* The batch norm, or the convolution without one, whose filters are those of the map alone, 0 where its own are. */
static const fs_op *find_source(const fs_op *map)
{
    const fs_op *op = map;
    while (op->kind->keeps_zero && op->inputs == 1 && op->input[0] && op->input[0]->readers == 1)
        op = op->input[0];
    return op->kind->by_channel ? op : NULL;
}

/* Filters are the last axis of both weights. */
static void clear_filter(const fs_op *op, int filter, float *parameter)
{
    for (size_t i = (size_t)filter; i < op->weights; i += (size_t)op->out_channels)
        parameter[op->weight + i] = 0;
    if (op->biases)
        parameter[op->bias + (size_t)filter] = 0;
}

static void on_features(void *context, int layer, int images, const float *features)
{
    struct experiment *e = context;
    size_t filters = (size_t)e->map->out_channels, pixels = (size_t)e->map->out_height * (size_t)e->map->out_width;
    float *map = (float *)features; /* of e->space */
    if (layer != e->map->layer)
        return;
    for (size_t i = 0; i < (size_t)images * pixels; i++)
        for (int f = 0; f < e->set.count; f++) {
            size_t filter = (size_t)e->set.filter[f];
            map[i * filters + filter] = e->replacement ? e->replacement[filter * pixels + i % pixels] : 0;
        }
}

static void choose(struct experiment *e, fs_filter_set set)
{
    e->set = set;
    if (!e->source)
        return;
    memcpy(e->net.parameter, e->in->net->parameter, e->net.parameters * sizeof(float));
    for (int f = 0; f < set.count; f++)
        clear_filter(e->source, set.filter[f], e->net.parameter);
    fs_workspace_prepare(&e->net, &e->space);
}

/* The test set; 1 where poll wants to stop. */
static int run_test_set(struct experiment *e, int number, fs_poll *poll, void *context, fs_knockout *knockout)
{
    const fs_knockout_input *in = e->in;
    for (int first = in->begin; first < in->images; first += in->batch) {
        int images = in->images - first < in->batch ? in->images - first : in->batch;
        fs_load_images(in, first, images, e->space.input);
        const float *logits =
            fs_network_infer(&e->net, images, e->space.input, 0, e->source ? NULL : on_features, e, &e->space);
        for (int n = 0; n < images; n++, logits += in->net->labels)
            e->answer[n] = fs_answer(in, first + n, logits, &e->loss[n]);
        fs_tally(in, e->untouched, first, images, e->answer, e->loss, number, knockout);
        knockout->work[number][FS_WORK_RUN] += images;
        if (poll(context))
            return 1;
    }
    return 0;
}

static fs_status prepare(struct experiment *e)
{
    e->net.parameter = fs_alloc(e->net.parameters, sizeof(float), "the network's parameters");
    e->answer = fs_alloc((size_t)e->in->batch, sizeof *e->answer, "answers");
    e->loss = fs_alloc((size_t)e->in->batch, sizeof *e->loss, "losses");
    if (!e->net.parameter || !e->answer || !e->loss)
        return FS_ERROR;
    memcpy(e->net.parameter, e->in->net->parameter, e->net.parameters * sizeof(float));
    return fs_workspace_create(&e->net, e->in->batch, FS_FOR_PROBES, &e->space);
}

fs_status fs_knockout_literal_sets(const fs_knockout_input *in, const fs_untouched *untouched, int which,
                                   const fs_filter_set *set, int count, fs_poll *poll, void *context, fs_knockout *knockout)
{
    const fs_op *map = fs_network_probed(in->net, in->layer[which]);
    struct experiment e = {.in = in,
                           .untouched = untouched,
                           .net = *in->net,
                           .map = map,
                           .source = in->replacement == FS_REPLACE_ZERO ? find_source(map) : NULL,
                           .replacement = untouched->mean[which]};
    fs_status status = prepare(&e);
    for (int s = 0; s < count && !status; s++) {
        choose(&e, set[s]);
        if (run_test_set(&e, s, poll, context, knockout))
            status = fs_stop_fail("phase four");
    }
    fs_workspace_free(&e.space);
    free(e.net.parameter);
    free(e.answer);
    free(e.loss);
    return status;
}

fs_status fs_knockout_literal(const fs_knockout_input *in, const fs_untouched *untouched, int which, int first, int count,
                              fs_poll *poll, void *context, fs_knockout *knockout)
{
    fs_filter_set *set = fs_single_filters(first, count);
    fs_status status = set ? fs_knockout_literal_sets(in, untouched, which, set, count, poll, context, knockout) : FS_ERROR;
    free(set);
    return status;
}
