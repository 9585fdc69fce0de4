/* Phase one: the training loop. */
#include "filterscope/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/layers.h"
#include "filterscope/mask.h"
#include "filterscope/memory.h"
#include "filterscope/random.h"
#include "filterscope/stop.h"
#include "phases/progress.h"

/* Right answers among the images of one chunk. */
static int evaluate_chunk(const fs_network *net, const fs_dataset *data, int first, int images, fs_workspace *space)
{
    int hits;
    for (int n = 0; n < images; n++)
        fs_dataset_scale(data, first + n, space->input + (size_t)n * fs_op_inputs(net->op));
    const float *logits = fs_network_infer(net, images, space->input, 0, NULL, NULL, space);
    fs_softmax_loss(images, net->labels, logits, data->label + first, 0, 1.0, NULL, &hits);
    return hits;
}

fs_status fs_evaluate(MPI_Comm comm, const fs_network *net, const fs_dataset *data, fs_workspace *space, long long *right)
{
    int rank, ranks;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &ranks);
    *right = 0;
    fs_workspace_prepare(net, space);
    for (long long round = 0; round < data->images; round += (long long)ranks * space->images) {
        long long first = round + (long long)rank * space->images, left = data->images - first;
        long long hits = 0;
        if (left > 0)
            hits = evaluate_chunk(net, data, (int)first, left < space->images ? (int)left : space->images, space);
        *right += hits;
        if (fs_any(comm, fs_stop_wanted() != NULL))
            return FS_STOPPED;
    }
    MPI_Allreduce(MPI_IN_PLACE, right, 1, MPI_LONG_LONG, MPI_SUM, comm);
    return FS_OK;
}

enum { STOP = 1, SAVE = 2 }; /* what a rank may ask for between batches */

/* Everything the loop hands around. */
struct loop {
    const fs_train_settings *settings;
    const fs_dataset *train, *test;
    fs_target *target;
    fs_model *model;
    fs_slots own;
    fs_backprop *backprop;
    fs_workspace space;
    int *order;         /* [training images] of the epoch */
    double saved, cost; /* when the model was last written (fs_seconds), and what that took */
};

/* This rank's images of the batch, augmented. */
static void load_batch(const fs_train_settings *settings, const fs_dataset *train, const int *order, int images, int epoch,
                       const fs_slots *own, fs_backprop *b, size_t inputs)
{
    int begin, end;
    fs_slots_share(own, images, &begin, &end);
    float *x = fs_backprop_input(b);
    for (int n = begin; n < end; n++, x += inputs) {
        fs_dataset_augment(train, order[n], settings->seed, (uint32_t)epoch, x);
        fs_backprop_label(b)[n - begin] = train->label[order[n]];
    }
}

static void step_group(fs_network *net, const float *gradient, size_t first, size_t last, const fs_group_recipe *group,
                       double lr)
{
    fs_sgd_step(last - first, (float)lr, (float)group->momentum, (float)group->weight_decay, gradient + first,
                net->parameter + first, net->velocity + first);
}

/* Where the parameters from `first` on that all train, or are all frozen, end: at `last` at the latest. */
static size_t end_of_stretch(const fs_network *net, size_t first, size_t last, int *frozen)
{
    const fs_op *op = net->op, *end = net->op + net->ops;
    while (op->weight + op->weights + op->biases <= first)
        op++;
    *frozen = op->frozen;
    while (op < end && op->weight < last && (op->frozen == *frozen || !op->weights))
        op++;
    return op < end && op->weight < last ? op->weight : last;
}

static void step_trained(fs_network *net, const float *gradient, size_t first, size_t last, const fs_group_recipe *group,
                         double lr)
{
    for (size_t end; first < last; first = end) {
        int frozen;
        end = end_of_stretch(net, first, last, &frozen);
        if (!frozen)
            step_group(net, gradient, first, end, group, lr);
    }
}

/* The parameters of `part` that lie in first .. last-1. */
static void step_part(fs_network *net, const float *gradient, fs_part part, size_t first, size_t last,
                      const fs_group_recipe *group, double lr)
{
    size_t end = part.first + part.count;
    step_trained(net, gradient, first > part.first ? first : part.first, last < end ? last : end, group, lr);
}

/* Each rank steps its part of the parameters, and hands them on. */
static void step(const fs_recipe *recipe, const fs_slots *own, const fs_backprop *backprop, double done, fs_network *net)
{
    const float *gradient = fs_backprop_gradient(backprop);
    const fs_part part = fs_backprop_part(backprop);
    size_t conv = net->conv_parameters;
    step_part(net, gradient, part, 0, conv, &recipe->conv, fs_recipe_lr(recipe, &recipe->conv, done));
    step_part(net, gradient, part, conv, net->parameters, &recipe->fc, fs_recipe_lr(recipe, &recipe->fc, done));
    fs_network_apply_masks(net);
    fs_slots_hand_on(own, net->parameter, net->parameters);
}

fs_status fs_train_batch(const fs_train_settings *settings, const fs_dataset *train, const int *order, int images, double done,
                         const fs_slots *own, fs_backprop *backprop, fs_network *net, fs_batch_sums *sums)
{
    load_batch(settings, train, order, images, (int)done + 1, own, backprop, fs_op_inputs(net->op));
    fs_backprop_run(backprop, images, settings->recipe.label_smoothing, sums);
    if (!isfinite(sums->loss))
        return FS_ERROR;
    step(&settings->recipe, own, backprop, done, net);
    return FS_OK;
}

/* Rank 0 writes, also the momentum, of which each rank has its part; all learn how it went. A model that has diverged is not
 * written over one that has not. */
static fs_status save(struct loop *l)
{
    fs_status status = FS_OK;
    double started = fs_seconds();
    fs_slots_hand_on(&l->own, l->model->net.velocity, l->model->net.parameters);
    if (l->own.rank == 0) {
        status = fs_network_check(&l->model->net, "training has diverged (a lower --lr or --fc-lr may help)");
        if (!status)
            status = fs_model_replace(l->target, l->model);
    }
    l->saved = fs_seconds();
    l->cost = l->saved - started;
    return fs_agree(l->own.comm, status);
}

/* What rank 0 asks for between batches: to save amid a long epoch. Saving takes a hundredth of the time at the most. */
static int is_due(const struct loop *l)
{
    double wait = l->settings->save_every > 100 * l->cost ? l->settings->save_every : 100 * l->cost;
    return l->own.rank == 0 && fs_seconds() - l->saved >= wait;
}

/* The batches of one epoch from model->batch on. FS_STOPPED after a batch, with the model brought up to it. */
static fs_status run_batches(struct loop *l, int epoch, fs_progress *progress)
{
    fs_model *model = l->model;
    int batch = l->settings->batch, images = l->train->images;
    for (int first = model->batch * batch; first < images; first += batch) {
        int count = images - first < batch ? images - first : batch;
        fs_batch_sums sums;
        double done = epoch - 1 + (double)first / images;
        if (fs_train_batch(l->settings, l->train, l->order + first, count, done, &l->own, l->backprop, &model->net, &sums))
            return fs_fail(FS_ERROR, "the loss is %g in epoch %d, batch %d: a lower --lr or --fc-lr may help", fabs(sums.loss),
                           epoch, first / batch);
        model->batch++;
        model->loss += sums.loss;
        model->right += (long long)sums.right;
        fs_progress_batch(progress, first + count, images, model->loss, (double)model->right);
        int asked = fs_any(l->own.comm, (fs_stop_wanted() ? STOP : 0) | (is_due(l) ? SAVE : 0));
        if (asked & STOP)
            return FS_STOPPED;
        fs_status status = asked & SAVE ? save(l) : FS_OK;
        if (status)
            return status;
    }
    return FS_OK;
}

/* FS_STOPPED while testing: the model stays after its last batch, and the next start begins with the test. */
static fs_status finish_epoch(struct loop *l, int epoch, double started)
{
    fs_model *model = l->model;
    const fs_recipe *recipe = &l->settings->recipe;
    long long right;
    fs_status status = fs_evaluate(l->own.comm, &model->net, l->test, &l->space, &right);
    if (status)
        return status;
    fs_train_row *row = &model->history[epoch - 1];
    *row = (fs_train_row){.epoch = epoch,
                          .lr = fs_recipe_lr(recipe, &recipe->conv, epoch - 0.5),
                          .fc_lr = fs_recipe_lr(recipe, &recipe->fc, epoch - 0.5),
                          .train_loss = model->loss / l->train->images,
                          .train_sr = (double)model->right / l->train->images,
                          .test_sr = (double)right / l->test->images,
                          .seconds = fs_seconds() - started};
    model->epoch = epoch;
    model->batch = 0;
    model->right = 0;
    model->loss = 0;
    if (l->own.rank == 0) {
        printf("train: epoch %d/%d  loss %.4f  train SR %.4f  test SR %.4f  %.0f s (%.0f images/s)\n", epoch, recipe->epochs,
               row->train_loss, row->train_sr, row->test_sr, row->seconds, l->train->images / row->seconds);
        fflush(stdout);
    }
    return FS_OK;
}

static fs_status run_epochs(struct loop *l)
{
    fs_model *model = l->model;
    fs_status status = FS_OK;
    while (model->epoch < l->settings->recipe.epochs && !status) {
        int epoch = model->epoch + 1;
        double started = fs_seconds();
        char what[64];
        snprintf(what, sizeof what, "train: epoch %d/%d", epoch, l->settings->recipe.epochs);
        fs_progress progress;
        fs_progress_start(&progress, what, l->own.rank == 0, model->batch * l->settings->batch,
                          (double)(l->settings->recipe.epochs - epoch) * l->train->images);
        fs_random_order(l->settings->seed, (uint32_t)epoch, l->order, l->train->images);
        if (l->settings->mixed) /* ranks that round differently make different moments of the same sums */
            fs_share_bytes(l->own.comm, 0, model->net.statistic, model->net.statistics * sizeof *model->net.statistic);
        status = run_batches(l, epoch, &progress);
        if (status && status != FS_STOPPED)
            return status;
        if (status == FS_OK)
            status = finish_epoch(l, epoch, started);
        fs_status saved = save(l);
        if (saved)
            return saved;
    }
    if (status == FS_STOPPED) {
        char where[64];
        snprintf(where, sizeof where, "epoch %d after batch %d", model->epoch + 1, model->batch);
        return fs_stop_fail(where);
    }
    return status;
}

fs_status fs_train(MPI_Comm comm, const fs_train_settings *settings, const fs_dataset *train, const fs_dataset *test,
                   fs_target *target, fs_model *model)
{
    struct loop l = {
        .settings = settings, .train = train, .test = test, .target = target, .model = model, .saved = fs_seconds()};
    fs_slots_create(comm, settings->slots, &l.own);
    fs_status status = fs_workspace_create(&model->net, settings->batch, FS_FOR_ANSWERS, &l.space);
    l.backprop = fs_backprop_create(&model->net, &l.own, settings->batch);
    l.order = fs_alloc((size_t)train->images, sizeof *l.order, "the order of the images");
    status = fs_agree(comm, status || !l.backprop || !l.order ? FS_ERROR : FS_OK);
    if (!status)
        status = run_epochs(&l);
    free(l.order);
    fs_backprop_free(l.backprop);
    fs_workspace_free(&l.space);
    return status;
}
