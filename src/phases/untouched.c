/* The network as it is: what the experiments of phase four are compared with, and the mean maps that they may put in. */
#include <stdlib.h>

#include "base/simd.h"
#include "filterscope/memory.h"
#include "filterscope/stop.h"
#include "phases/tally.h"

struct pass {
    const fs_slots *own;
    const fs_knockout_input *in;
    fs_untouched *untouched;
    fs_workspace space;
    size_t *place; /* [layers + 1]: where the sums of each layer begin; all 0 where nobody wants means */
    double *sums;  /* [own slots][place[layers]] */
    int slot;      /* in work, of the own ones */
};

FS_SIMD static void add_map(size_t count, const float *restrict map, double *restrict sum)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += map[i];
}

static void on_features(void *context, int layer, int images, const float *features)
{
    struct pass *p = context;
    for (int which = 0; which < p->in->layers; which++) {
        size_t count = p->place[which + 1] - p->place[which];
        double *sum = p->sums + (size_t)p->slot * p->place[p->in->layers] + p->place[which];
        for (int n = 0; n < images && p->in->layer[which] == layer; n++)
            add_map(count, features + (size_t)n * count, sum);
    }
}

static void run_chunk(struct pass *p, int first, int images)
{
    const fs_knockout_input *in = p->in;
    fs_load_images(in, first, images, p->space.input);
    const float *logits = fs_network_infer(in->net, images, p->space.input, 0, p->sums ? on_features : NULL, p, &p->space);
    for (int n = first; n < first + images; n++, logits += in->net->labels)
        p->untouched->answer[n] = fs_answer(in, n, logits, &p->untouched->loss[n]);
}

/* The images of the own slots; 1 where poll wants to stop. */
static int run_slots(struct pass *p, fs_poll *poll, void *context)
{
    for (p->slot = 0; p->slot < p->own->count; p->slot++) {
        int begin, end;
        fs_slots_range(p->own, p->own->first + p->slot, p->in->images, &begin, &end);
        for (int first = begin; first < end; first += p->in->batch) {
            run_chunk(p, first, end - first < p->in->batch ? end - first : p->in->batch);
            if (poll(context))
                return 1;
        }
    }
    return 0;
}

/* From sums [pixels][filters] over all images to mean maps [filters][pixels]. */
static fs_status take_means(struct pass *p)
{
    const fs_knockout_input *in = p->in;
    for (int which = 0; which < in->layers; which++) {
        size_t filters = (size_t)fs_network_probed(in->net, in->layer[which])->out_channels;
        size_t count = p->place[which + 1] - p->place[which], pixels = count / filters;
        float *mean = p->untouched->mean[which] = fs_alloc(count, sizeof *mean, "mean maps");
        for (size_t i = 0; i < count && mean; i++)
            mean[i % filters * pixels + i / filters] = (float)(p->sums[p->place[which] + i] / in->images);
        if (!mean)
            return FS_ERROR;
    }
    return FS_OK;
}

/* What each rank has of its own images, and of its own slots, to all. */
static fs_status gather(struct pass *p)
{
    MPI_Allreduce(MPI_IN_PLACE, p->untouched->answer, p->in->images, MPI_INT32_T, MPI_SUM, p->own->comm);
    MPI_Allreduce(MPI_IN_PLACE, p->untouched->loss, p->in->images, MPI_DOUBLE, MPI_SUM, p->own->comm);
    if (!p->sums)
        return FS_OK;
    fs_slots_fold(p->own, p->sums, p->place[p->in->layers]);
    fs_slots_sum(p->own, p->sums, p->place[p->in->layers]);
    return fs_agree(p->own->comm, take_means(p));
}

static fs_status allocate(struct pass *p)
{
    const fs_knockout_input *in = p->in;
    size_t layers = (size_t)in->layers, slots = p->own->count > 0 ? (size_t)p->own->count : 1;
    p->untouched->layers = in->layers;
    p->untouched->answer = fs_alloc((size_t)in->images, sizeof *p->untouched->answer, "answers");
    p->untouched->loss = fs_alloc((size_t)in->images, sizeof *p->untouched->loss, "losses");
    p->untouched->mean = fs_alloc(layers, sizeof *p->untouched->mean, "mean maps");
    p->place = fs_alloc(layers + 1, sizeof *p->place, "layers");
    if (!p->untouched->answer || !p->untouched->loss || !p->untouched->mean || !p->place)
        return FS_ERROR;
    for (size_t which = 0; which < layers; which++)
        p->place[which + 1] = p->place[which] + fs_op_outputs(fs_network_probed(in->net, in->layer[which]));
    if (in->replacement == FS_REPLACE_MEAN) {
        p->sums = fs_alloc(slots * p->place[layers], sizeof *p->sums, "sums of maps");
        if (!p->sums)
            return FS_ERROR;
    }
    return fs_workspace_create(in->net, in->batch, FS_FOR_PROBES, &p->space);
}

fs_status fs_untouched_measure(const fs_slots *own, const fs_knockout_input *in, fs_poll *poll, void *context,
                               fs_untouched *untouched)
{
    struct pass p = {.own = own, .in = in, .untouched = untouched};
    *untouched = (fs_untouched){0};
    fs_status status = fs_agree(own->comm, allocate(&p));
    if (!status && fs_any(own->comm, run_slots(&p, poll, context)))
        status = fs_stop_fail("phase four");
    if (!status)
        status = gather(&p);
    fs_workspace_free(&p.space);
    free(p.place);
    free(p.sums);
    if (status)
        fs_untouched_free(untouched);
    return status;
}

void fs_untouched_free(fs_untouched *untouched)
{
    for (int which = 0; which < untouched->layers && untouched->mean; which++)
        free(untouched->mean[which]);
    free(untouched->answer);
    free(untouched->loss);
    free(untouched->mean);
    *untouched = (fs_untouched){0};
}
