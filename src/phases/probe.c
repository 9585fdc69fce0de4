/* Phase two. One forward pass of the frozen trunk a batch; at each probed layer the hook turns the slot's features into the
 * gradient of that layer's probe at once, so that features are never kept. */
#include "filterscope/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/random.h"
#include "filterscope/stop.h"
#include "phases/feed.h"
#include "phases/progress.h"
#include "phases/views.h"

enum { DEPTH = 13, SUMS = 2 }; /* log2(FS_MOST_SLOTS) + 1; loss and right answers of each probe */

struct trainer {
    const fs_slots *own;
    const fs_network *net;
    const fs_dataset *train, *test;
    const fs_probe_settings *settings;
    fs_probe *probes;
    int count;
    fs_workspace space;
    fs_feed feed;
    int *order;
    uint16_t *label;        /* [batch] of the slot in work */
    float *logits;          /* [batch][labels] */
    float *gradient[DEPTH]; /* for each level of the tree over local slots: all probes' gradients, in order */
    double *slot_sums;      /* [local slots + 1][count][SUMS] */
    int *active;            /* [count]: takes part in this batch */
    int *of_layer;          /* [layers + 1]: probe of a layer, -1 for none */
    size_t *place;          /* [count + 1]: offset of each probe's gradient */
    fs_views views;
    /* what the hook is to do */
    float *slot_gradient; /* NULL: only count right answers */
    double *sums;         /* [count][SUMS] of the slot */
    int batch_images;
    const int *keeps; /* [images of the slot]: their numbers, where their features are to be kept; else NULL */
    int view;
};

void fs_probe_initialise(fs_probe *probe, int labels, uint64_t seed)
{
    size_t weights = probe->features * (size_t)labels;
    fs_random_uniform(seed, FS_RANDOM_PROBE, (uint32_t)probe->layer, 1.0f / sqrtf((float)probe->features), probe->state.weight,
                      weights);
    memset(probe->state.momentum, 0, weights * sizeof *probe->state.momentum);
    probe->state.epoch = probe->state.batch = 0;
    probe->state.right = 0;
    probe->state.loss = 0;
}

static void on_features(void *context, int layer, int images, const float *features)
{
    struct trainer *t = context;
    int p = t->of_layer[layer];
    if (p < 0 || !t->active[p])
        return;
    int labels = t->net->labels, inputs = (int)t->probes[p].features, right;
    fs_linear_forward(images, inputs, labels, features, t->probes[p].state.weight, NULL, t->logits);
    float *dlogits = t->slot_gradient ? t->logits : NULL;
    t->sums[p * SUMS] += fs_softmax_loss(images, labels, t->logits, t->label, 0, 1.0 / t->batch_images, dlogits, &right);
    t->sums[p * SUMS + 1] += right;
    if (dlogits)
        fs_linear_backward_weight(images, inputs, labels, features, dlogits, t->slot_gradient + t->place[p], NULL);
    if (t->keeps && p >= t->views.first)
        fs_views_keep(&t->views, p, t->view, t->keeps, images, features);
}

static int deepest_active(const struct trainer *t)
{
    int deepest = 0;
    for (int p = 0; p < t->count; p++)
        if (t->active[p] && t->probes[p].layer > deepest)
            deepest = t->probes[p].layer;
    return deepest;
}

static int all_active(const struct trainer *t)
{
    int active = 1;
    for (int p = 0; p < t->count; p++)
        active = active && t->active[p];
    return active;
}

/* The trunk up to layer `until` on images image[images], augmented. */
static void run_trunk(struct trainer *t, int epoch, const int *image, int images, int until)
{
    for (int n = 0; n < images; n++)
        fs_dataset_augment(t->train, image[n], t->settings->seed, (uint32_t)epoch,
                           t->space.input + (size_t)n * fs_op_inputs(t->net->op));
    fs_network_infer(t->net, images, t->space.input, until, on_features, t, &t->space);
}

/* All probes on images image[images]: from kept features, as far as there are any, else with the trunk, keeping them. */
static void run_images(struct trainer *t, int epoch, const int *image, int images)
{
    const fs_views *v = &t->views;
    t->view = epoch - 1;
    if (fs_views_have(v, t->view, image, images) && all_active(t)) {
        if (v->first > 0)
            run_trunk(t, epoch, image, images, t->probes[v->first - 1].layer);
        for (int p = v->first; p < t->count; p++) {
            fs_views_fetch(v, p, t->view, image, images, t->space.features);
            on_features(t, t->probes[p].layer, images, t->space.features);
        }
        return;
    }
    t->keeps = v->first < t->count && all_active(t) ? image : NULL;
    run_trunk(t, epoch, image, images, deepest_active(t));
    if (t->keeps)
        fs_views_mark(v, t->view, image, images);
    t->keeps = NULL;
}

static void run_slot(struct trainer *t, int epoch, int first, int slot, float *gradient)
{
    int begin, end;
    fs_slots_range(t->own, slot, t->batch_images, &begin, &end);
    t->sums = t->slot_sums + (size_t)(slot - t->own->first) * t->count * SUMS;
    memset(t->sums, 0, t->count * SUMS * sizeof *t->sums);
    if (begin == end) {
        memset(gradient, 0, t->place[t->count] * sizeof *gradient);
        return;
    }
    const int *image = t->order + first + begin;
    for (int n = 0; n < end - begin; n++)
        t->label[n] = t->train->label[image[n]];
    t->slot_gradient = gradient;
    int views = t->settings->views;
    run_images(t, views ? (epoch - 1) % views + 1 : epoch, image, end - begin);
}

/* The binary tree over local slots first .. first+count-1; the sum ends in gradient[level]. */
static void run_slots(struct trainer *t, int epoch, int batch_first, int first, int count, int level)
{
    if (count == 1) {
        run_slot(t, epoch, batch_first, first, t->gradient[level]);
        return;
    }
    run_slots(t, epoch, batch_first, first, count / 2, level);
    run_slots(t, epoch, batch_first, first + count / 2, count / 2, level + 1);
    fs_add(t->place[t->count], t->gradient[level], t->gradient[level + 1]);
}

static double lr_of(const fs_probe_settings *settings, int epoch)
{
    return settings->lr * pow(settings->lr_decay, epoch);
}

/* Gradients over the whole batch, then the same step on every rank. */
static void step(struct trainer *t, int epoch)
{
    const fs_probe_settings *s = t->settings;
    fs_slots_sum_float(t->own, t->gradient[0], t->place[t->count]);
    for (int p = 0; p < t->count; p++) {
        fs_probe_state *state = &t->probes[p].state;
        if (!t->active[p])
            continue;
        fs_sgd_step(t->place[p + 1] - t->place[p], (float)lr_of(s, epoch), (float)s->momentum, (float)s->weight_decay,
                    t->gradient[0] + t->place[p], state->weight, state->momentum);
        state->batch++;
        state->loss += t->slot_sums[p * SUMS];
        state->right += (int64_t)t->slot_sums[p * SUMS + 1];
    }
}

static fs_status run_batch(struct trainer *t, int epoch, int batch, fs_progress *progress)
{
    int first = batch * t->settings->batch, images = t->train->images - first;
    t->batch_images = images < t->settings->batch ? images : t->settings->batch;
    fs_status status = fs_feed_next(&t->feed);
    if (status)
        return status;
    if (t->own->count)
        run_slots(t, epoch, first, t->own->first, t->own->count, 0);
    fs_slots_fold(t->own, t->slot_sums, (size_t)t->count * SUMS);
    fs_slots_sum(t->own, t->slot_sums, (size_t)t->count * SUMS);
    for (int p = 0; p < t->count; p++)
        if (t->active[p] && !isfinite(t->slot_sums[p * SUMS]))
            return fs_fail(FS_ERROR, "layer %d: the probe's loss is %g in epoch %d, batch %d: a lower --lr may help",
                           t->probes[p].layer, fabs(t->slot_sums[p * SUMS]), epoch, batch);
    step(t, epoch);
    const fs_probe_state *shown = &t->probes[t->of_layer[deepest_active(t)]].state;
    fs_progress_batch(progress, first + t->batch_images, t->train->images, shown->loss, (double)shown->right);
    return FS_OK;
}

/* Probes at the least (epoch, batch) of all are active; returns how many. */
static int choose_active(struct trainer *t, int *epoch, int *batch)
{
    *epoch = *batch = INT32_MAX;
    for (int p = 0; p < t->count; p++) {
        const fs_probe_state *s = &t->probes[p].state;
        if (s->epoch < *epoch || (s->epoch == *epoch && s->batch < *batch)) {
            *epoch = s->epoch;
            *batch = s->batch;
        }
    }
    int active = 0;
    for (int p = 0; p < t->count; p++) {
        t->active[p] = t->probes[p].state.epoch == *epoch && t->probes[p].state.batch == *batch;
        active += t->active[p];
    }
    return *epoch < t->settings->epochs ? active : 0;
}

static void test_chunk(struct trainer *t, int first, int images)
{
    for (int n = 0; n < images; n++) {
        fs_dataset_scale(t->test, first + n, t->space.input + n * fs_op_inputs(t->net->op));
        t->label[n] = t->test->label[first + n];
    }
    fs_network_infer(t->net, images, t->space.input, deepest_active(t), on_features, t, &t->space);
}

/* Right answers of the active probes over the test set, into right[count]; *stop where some rank wants to. */
static void test_probes(struct trainer *t, double *right, const fs_probe_events *events, int *stop)
{
    int chunk = t->settings->batch;
    memset(right, 0, t->count * SUMS * sizeof *right);
    t->sums = right;
    t->slot_gradient = NULL;
    t->batch_images = 1;
    for (long long round = 0; round < t->test->images && !*stop; round += (long long)chunk * t->own->ranks) {
        long long first = round + (long long)chunk * t->own->rank, left = t->test->images - first;
        if (left > 0)
            test_chunk(t, (int)first, left < chunk ? (int)left : chunk);
        *stop = fs_any(t->own->comm, events->poll(events->context)) & FS_PROBE_STOP;
    }
    for (int p = 0; p < t->count; p++)
        right[p] = right[p * SUMS + 1];
    MPI_Allreduce(MPI_IN_PLACE, right, t->count, MPI_DOUBLE, MPI_SUM, t->own->comm); /* whole numbers: exact in any order */
}

/* *stop while testing: the probes stay after their last batch, and the next start begins with the test. */
static fs_status finish_epoch(struct trainer *t, int epoch, double started, const fs_probe_events *events, int *stop)
{
    const fs_probe_settings *s = t->settings;
    int tests = epoch % s->test_every == 0 || epoch == s->epochs;
    double *right = t->slot_sums;
    if (tests)
        test_probes(t, right, events, stop);
    for (int p = 0; p < t->count && !*stop; p++) {
        fs_probe_state *state = &t->probes[p].state;
        if (!t->active[p])
            continue;
        fs_history_row row = {.layer = t->probes[p].layer,
                              .epoch = epoch,
                              .lr = lr_of(s, epoch),
                              .train_loss = state->loss / t->train->images,
                              .train_sr = (double)state->right / t->train->images,
                              .test_sr = tests ? right[p] / t->test->images : (double)NAN};
        state->epoch = epoch;
        state->batch = 0;
        state->loss = 0;
        state->right = 0;
        fs_status status = events->epoch(events->context, p, &row, fs_seconds() - started);
        if (status)
            return status;
    }
    return *stop ? FS_OK : events->settled(events->context);
}

static fs_status save(const struct trainer *t, const fs_probe_events *events)
{
    fs_status status = FS_OK;
    for (int p = 0; p < t->count && !status; p++)
        if (t->active[p] && t->probes[p].state.batch > 0)
            status = events->between(events->context, p);
    return status ? status : events->settled(events->context);
}

static fs_status run(struct trainer *t, const fs_probe_events *events, int speaks)
{
    const fs_probe_settings *s = t->settings;
    int epoch, batch, asked = 0, stop, active, seen = 0, ordered = 0, batches = (t->train->images + s->batch - 1) / s->batch;
    double started = 0;
    char what[96];
    fs_progress progress;
    while ((active = choose_active(t, &epoch, &batch)) > 0) {
        if (epoch + 1 != ordered || active != seen) { /* an epoch begins, or probes that waited join */
            ordered = epoch + 1;
            seen = active;
            started = fs_seconds();
            fs_random_order(s->seed, (uint32_t)ordered, t->order, t->train->images);
            t->feed = (fs_feed){.data = t->train, .own = t->own, .order = t->order, .batch = s->batch};
            fs_feed_start(&t->feed, batch * s->batch);
            fs_views_meet(&t->views);
            snprintf(what, sizeof what, "probe: %d layer%s, epoch %d/%d, deepest", active, active == 1 ? "" : "s", ordered,
                     s->epochs);
            fs_progress_start(&progress, what, speaks, (double)batch * s->batch,
                              (double)(s->epochs - ordered) * t->train->images);
        }
        fs_status status = FS_OK;
        if (batch < batches) { /* else stopped while testing */
            status = run_batch(t, ordered, batch, &progress);
            asked = status ? 0 : fs_any(t->own->comm, events->poll(events->context));
        }
        stop = asked & FS_PROBE_STOP;
        if (!status && !stop && batch + 1 >= batches)
            status = finish_epoch(t, ordered, started, events, &stop);
        if (!status && (stop || asked & FS_PROBE_SAVE))
            status = save(t, events);
        if (status || stop)
            return status ? status : fs_stop_fail("phase two");
        asked = 0;
    }
    return FS_OK;
}

static fs_status allocate(struct trainer *t)
{
    size_t labels = (size_t)t->net->labels, batch = (size_t)t->settings->batch, count = (size_t)t->count;
    t->order = fs_alloc((size_t)t->train->images, sizeof *t->order, "the order of the images");
    t->label = fs_alloc(batch, sizeof *t->label, "labels");
    t->logits = fs_alloc(batch * labels, sizeof(float), "logits");
    t->slot_sums = fs_alloc(((size_t)t->own->count + 1) * count * SUMS, sizeof(double), "sums");
    t->active = fs_alloc(count, sizeof *t->active, "probes");
    t->of_layer = fs_alloc((size_t)t->net->layers + 1, sizeof *t->of_layer, "probes");
    t->place = fs_alloc(count + 1, sizeof *t->place, "probes");
    if (!t->order || !t->label || !t->logits || !t->slot_sums || !t->active || !t->of_layer || !t->place)
        return FS_ERROR;
    memset(t->of_layer, -1, ((size_t)t->net->layers + 1) * sizeof *t->of_layer);
    for (int p = 0; p < t->count; p++) {
        t->of_layer[t->probes[p].layer] = p;
        t->place[p + 1] = t->place[p] + t->probes[p].features * labels;
    }
    for (int level = 0; level == 0 || 1 << level <= t->own->count; level++)
        if (!(t->gradient[level] = fs_alloc(t->place[t->count], sizeof(float), "the probes' gradients")))
            return FS_ERROR;
    return fs_workspace_create(t->net, t->settings->batch, FS_FOR_PROBES, &t->space);
}

fs_status fs_probe_train(const fs_slots *own, const fs_network *net, const fs_dataset *train, const fs_dataset *test,
                         const fs_probe_settings *settings, fs_probe *probes, int count, const fs_probe_events *events,
                         int speaks)
{
    struct trainer t = {
        .own = own, .net = net, .train = train, .test = test, .settings = settings, .probes = probes, .count = count};
    fs_status status = fs_agree(own->comm, allocate(&t));
    if (!status)
        status = fs_views_create(own->comm, net, settings, train->images, probes, count, &t.views);
    if (!status && speaks)
        fs_views_tell(&t.views, probes, count);
    if (!status)
        status = run(&t, events, speaks);
    for (int level = 0; level < DEPTH; level++)
        free(t.gradient[level]);
    free(t.order);
    free(t.label);
    free(t.logits);
    free(t.slot_sums);
    free(t.active);
    free(t.of_layer);
    free(t.place);
    fs_workspace_free(&t.space);
    fs_views_free(&t.views);
    return status;
}
