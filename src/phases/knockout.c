/* Phase four: experiments with sets of filters of one layer, most of them single ones, packed into full batches over several
 * sets. */
#include <stdlib.h>

#include "filterscope/cut.h"
#include "filterscope/memory.h"
#include "filterscope/stop.h"
#include "phases/tally.h"

/* One experiment of a batch. */
struct place {
    int set;
    int image; /* from the chunk's first */
};

struct block {
    const fs_knockout_input *in;
    const fs_untouched *untouched;
    const float *replacement; /* of the layer's maps; NULL: 0 */
    const fs_filter_set *set; /* [count] */
    int count;
    fs_knockout *out;
    fs_cut *cut;
    int image, images;   /* the chunk: its first image, how many */
    int32_t *answer;     /* [count][batch]: to the images of the chunk */
    double *loss;        /* [count][batch] */
    struct place *place; /* [batch] */
    int places;
};

/* The answer to experiment (set, image), image from the first. */
static void take_answer(struct block *b, int set, int image, int32_t answer, double loss)
{
    size_t place = (size_t)set * (size_t)b->in->batch + (size_t)image;
    b->answer[place] = answer;
    b->loss[place] = loss;
}

static void run_batch(struct block *b)
{
    if (!b->places)
        return;
    const float *logits = fs_cut_behind(b->cut, b->places);
    for (int i = 0; i < b->places; i++, logits += b->in->net->labels) {
        double loss;
        int32_t answer = fs_answer(b->in, b->image + b->place[i].image, logits, &loss);
        take_answer(b, b->place[i].set, b->place[i].image, answer, loss);
    }
    b->places = 0;
}

/* Whether the experiment changes something; where it doesn't, its answer is known. */
static void pack(struct block *b, int set, int image)
{
    static const int column[] = {[FS_CUT_PACKED] = FS_WORK_RUN, [FS_CUT_SAME] = FS_WORK_SAME, [FS_CUT_HIDDEN] = FS_WORK_HIDDEN};
    fs_packed packed = fs_cut_pack(b->cut, image, b->places);
    b->out->work[set][column[packed]]++;
    if (packed == FS_CUT_PACKED)
        b->place[b->places++] = (struct place){set, image};
    else
        take_answer(b, set, image, b->untouched->answer[b->image + image], b->untouched->loss[b->image + image]);
}

/* All experiments of one set with the chunk; 1 where poll wants to stop. */
static int run_set(struct block *b, int set, fs_poll *poll, void *context)
{
    fs_cut_choose(b->cut, b->set[set].filter, b->set[set].count, b->replacement);
    for (int image = 0; image < b->images; image++) {
        pack(b, set, image);
        if (b->places < b->in->batch)
            continue;
        run_batch(b);
        if (poll(context))
            return 1;
    }
    return 0;
}

static int run_chunk(struct block *b, fs_poll *poll, void *context)
{
    fs_load_images(b->in, b->image, b->images, b->cut->space.input);
    fs_cut_before(b->cut, b->images);
    for (int set = 0; set < b->count; set++)
        if (run_set(b, set, poll, context))
            return 1;
    run_batch(b);
    for (int set = 0; set < b->count; set++) {
        size_t place = (size_t)set * (size_t)b->in->batch;
        fs_tally(b->in, b->untouched, b->image, b->images, b->answer + place, b->loss + place, set, b->out);
    }
    return poll(context);
}

static fs_status run(struct block *b, fs_poll *poll, void *context)
{
    for (b->image = b->in->begin; b->image < b->in->images; b->image += b->in->batch) {
        int left = b->in->images - b->image;
        b->images = left < b->in->batch ? left : b->in->batch;
        if (run_chunk(b, poll, context))
            return fs_stop_fail("phase four");
    }
    return FS_OK;
}

void fs_knockout_room_free(fs_knockout_room *room)
{
    if (room->layer)
        fs_cut_free(&room->cut);
    *room = (fs_knockout_room){0};
}

/* The room as this layer needs it. */
static fs_status prepare(const fs_knockout_input *in, int layer, fs_cut_form form, fs_knockout_room *room)
{
    if (room->layer == layer && room->form == form)
        return FS_OK;
    fs_knockout_room_free(room);
    if (fs_cut_create(in->net, layer, in->batch, form, &room->cut))
        return FS_ERROR;
    room->layer = layer;
    room->form = form;
    return FS_OK;
}

static fs_status run_sets(const fs_knockout_input *in, const fs_untouched *untouched, int which, const fs_filter_set *set,
                          int count, fs_cut_form form, fs_poll *poll, void *context, fs_knockout *knockout)
{
    size_t experiments = (size_t)count * (size_t)in->batch;
    fs_knockout_room own = {0}, *room = in->room ? in->room : &own;
    struct block b = {.in = in,
                      .untouched = untouched,
                      .replacement = untouched->mean[which],
                      .set = set,
                      .count = count,
                      .out = knockout,
                      .cut = &room->cut,
                      .answer = fs_alloc(experiments, sizeof *b.answer, "answers"),
                      .loss = fs_alloc(experiments, sizeof *b.loss, "losses"),
                      .place = fs_alloc((size_t)in->batch, sizeof *b.place, "experiments")};
    fs_status status = FS_ERROR;
    if (b.answer && b.loss && b.place)
        status = prepare(in, in->layer[which], form, room);
    if (!status)
        status = run(&b, poll, context);
    fs_knockout_room_free(&own);
    free(b.answer);
    free(b.loss);
    free(b.place);
    return status;
}

fs_status fs_knockout_filters(const fs_knockout_input *in, const fs_untouched *untouched, int which, int first, int count,
                              fs_poll *poll, void *context, fs_knockout *knockout)
{
    fs_filter_set *set = fs_single_filters(first, count);
    fs_status status = set ? run_sets(in, untouched, which, set, count, FS_CUT_LINEAR, poll, context, knockout) : FS_ERROR;
    free(set);
    return status;
}

fs_status fs_knockout_sets(const fs_knockout_input *in, const fs_untouched *untouched, int which, const fs_filter_set *set,
                           int count, fs_poll *poll, void *context, fs_knockout *knockout)
{
    return run_sets(in, untouched, which, set, count, FS_CUT_WHOLE, poll, context, knockout);
}
