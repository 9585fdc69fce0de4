#include "model/trace.h"

int fs_trace(const fs_op *map, int channel, fs_trace_visit *visit, void *context)
{
    fs_trace_answer answer = visit(context, map, channel);
    int known = answer != FS_TRACE_UNKNOWN;
    if (answer != FS_TRACE_GOES_ON || !map || map->kind->kernels)
        return known;
    for (int k = 0; k < map->inputs; k++) {
        int origin = fs_op_origin(map, k, channel);
        if (origin >= 0)
            known &= fs_trace(map->input[k], origin, visit, context);
    }
    return known;
}

/* Operations of a network, by number. */
struct marks {
    const fs_network *net;
    unsigned char *mark;
    int found;
};

static fs_trace_answer mark(void *context, const fs_op *map, int channel)
{
    struct marks *m = context;
    (void)channel;
    if (map && map->kind->kernels)
        m->mark[map - m->net->op] = 1;
    return FS_TRACE_GOES_ON;
}

static fs_trace_answer find_mark(void *context, const fs_op *map, int channel)
{
    struct marks *m = context;
    (void)channel;
    m->found |= map && map->kind->kernels && m->mark[map - m->net->op];
    return m->found ? FS_TRACE_ENDS : FS_TRACE_GOES_ON;
}

void fs_find_neighbours(const fs_network *net, unsigned char *trained)
{
    struct marks m = {.net = net, .mark = trained};
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        trained[i] |= op->mask != NULL;
        for (int c = 0; op->mask && c < op->channels; c++)
            fs_trace(op->input[0], c, mark, &m);
    }
}

void fs_freeze_others(fs_network *net, const unsigned char *trained)
{
    for (int i = 0; i < net->ops; i++) {
        fs_op *op = &net->op[i];
        struct marks m = {.net = net, .mark = (unsigned char *)trained};
        if (op->kind->kernels)
            m.found = trained[i];
        for (int c = 0; c < op->out_channels && !op->kind->kernels && !m.found; c++)
            fs_trace(op, c, find_mark, &m);
        op->frozen = !m.found;
    }
}
