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
#include "phases/feed.h"
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
    const fs_dataset *train, *held, *test; /* held: NULL for none */
    fs_target *target;
    fs_model *model;
    fs_slots own;
    fs_backprop *backprop;
    fs_workspace space;
    fs_feed feed;
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

/* How a batch's step goes: its group's settings, and a factor of its learning rate, which divides its L2. */
struct pace {
    const fs_group_recipe *group;
    double lr, factor;
};

/* What of first .. first+count-1 lies in `part`. */
static void step_array(fs_network *net, const float *gradient, fs_part part, size_t first, size_t count,
                       const struct pace *pace)
{
    size_t last = first + count, end = part.first + part.count;
    first = first > part.first ? first : part.first;
    last = last < end ? last : end;
    if (first < last)
        fs_sgd_step(last - first, (float)(pace->lr * pace->factor), (float)pace->group->momentum,
                    (float)(pace->group->weight_decay / pace->factor), gradient + first, net->parameter + first,
                    net->velocity + first);
}

/* Each rank steps its part of the parameters, and hands them on. */
static void step(const fs_train_settings *settings, const fs_slots *own, const fs_backprop *backprop, double done,
                 fs_network *net)
{
    const fs_recipe *r = &settings->recipe;
    const struct pace conv = {&r->conv, fs_recipe_lr(r, &r->conv, done), 1}, fc = {&r->fc, fs_recipe_lr(r, &r->fc, done), 1};
    const float *gradient = fs_backprop_gradient(backprop);
    const fs_part part = fs_backprop_part(backprop);
    for (const fs_op *op = net->op; op < net->op + net->ops; op++) {
        struct pace pace = op->weight < net->conv_parameters ? conv : fc;
        if (op->frozen)
            continue;
        step_array(net, gradient, part, op->weight, op->weights, &pace);
        if (op->statistics && settings->norm_bias_lr > 0)
            pace.factor = settings->norm_bias_lr;
        step_array(net, gradient, part, op->bias, op->biases, &pace);
    }
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
    step(settings, own, backprop, done, net);
    return FS_OK;
}

/* Parts of the average to all ranks. */
static void join_average(struct loop *l)
{
    if (l->settings->ema > 0)
        fs_slots_hand_on(&l->own, l->model->last.parameter, l->model->net.parameters);
}

/* Rank 0 writes, also momentum and average, of which each rank has its part; all learn how it went. A model that has diverged
 * is not written over one that has not. */
static fs_status save(struct loop *l)
{
    fs_status status = FS_OK;
    double started = fs_seconds();
    fs_slots_hand_on(&l->own, l->model->net.velocity, l->model->net.parameters);
    join_average(l);
    if (l->own.rank == 0) {
        status = fs_network_check(&l->model->net, "training has diverged (a lower --lr or --fc-lr may help)");
        fs_model_exchange(l->model);
        if (!status)
            status = fs_model_replace(l->target, l->model);
        fs_model_exchange(l->model);
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

/* The average, in model->last, goes on after a batch: each rank has its part of the parameters', and all of the statistics'. */
static void follow(const fs_train_settings *settings, int images, fs_part part, fs_model *model)
{
    double an_epoch = ceil((double)images / settings->batch), batches = model->epoch * an_epoch + model->batch;
    double decay = fmin(settings->ema, (1 + batches) / (10 + batches));
    fs_average_step(part.count, (float)(1 - decay), model->net.parameter + part.first, model->last.parameter + part.first);
    fs_average_step(model->net.statistics, (float)(1 - decay), model->net.statistic, model->last.statistic);
}

/* The batches of one epoch from model->batch on. FS_STOPPED after a batch, with the model brought up to it. */
static fs_status run_batches(struct loop *l, int epoch, fs_progress *progress)
{
    fs_model *model = l->model;
    int batch = l->settings->batch, images = l->train->images;
    l->feed = (fs_feed){.data = l->train, .own = &l->own, .order = l->order, .batch = batch};
    fs_feed_start(&l->feed, model->batch * batch);
    for (int first = model->batch * batch; first < images; first += batch) {
        int count = images - first < batch ? images - first : batch;
        fs_batch_sums sums;
        double done = epoch - 1 + (double)first / images;
        fs_status status = fs_feed_next(&l->feed);
        if (status)
            return status;
        if (fs_train_batch(l->settings, l->train, l->order + first, count, done, &l->own, l->backprop, &model->net, &sums))
            return fs_fail(FS_ERROR, "the loss is %g in epoch %d, batch %d: a lower --lr or --fc-lr may help", fabs(sums.loss),
                           epoch, first / batch);
        model->batch++;
        if (l->settings->ema > 0)
            follow(l->settings, images, fs_backprop_part(l->backprop), model);
        model->loss += sums.loss;
        model->right += (long long)sums.right;
        fs_progress_batch(progress, first + count, images, model->loss, (double)model->right);
        int asked = fs_any(l->own.comm, (fs_stop_wanted() ? STOP : 0) | (is_due(l) ? SAVE : 0));
        if (asked & STOP)
            return FS_STOPPED;
        status = asked & SAVE ? save(l) : FS_OK;
        if (status)
            return status;
    }
    return FS_OK;
}

/* *sr: of the network on `data`; NaN where there is none. */
static fs_status measure_on(struct loop *l, const fs_dataset *data, double *sr)
{
    long long right = 0;
    *sr = (double)NAN;
    fs_status status = data ? fs_evaluate(l->own.comm, &l->model->net, data, &l->space, &right) : FS_OK;
    if (data && !status)
        *sr = (double)right / data->images;
    return status;
}

static fs_status measure_both(struct loop *l, double *held_sr, double *test_sr)
{
    fs_status status = measure_on(l, l->held, held_sr);
    return status ? status : measure_on(l, l->test, test_sr);
}

/* Of the average, where there is one, and then of the last weights, too. */
static fs_status measure(struct loop *l, fs_train_row *row)
{
    fs_status status = FS_OK;
    row->last_held_sr = row->last_test_sr = (double)NAN;
    if (l->settings->ema > 0)
        status = measure_both(l, &row->last_held_sr, &row->last_test_sr);
    join_average(l);
    fs_model_exchange(l->model);
    if (!status)
        status = measure_both(l, &row->held_sr, &row->test_sr);
    fs_model_exchange(l->model);
    return status;
}

static void print_epoch(const struct loop *l, const fs_train_row *row)
{
    printf("train: epoch %d/%d  loss %.4f  train SR %.4f", row->epoch, l->settings->recipe.epochs, row->train_loss,
           row->train_sr);
    if (l->held)
        printf("  held back SR %.4f", row->held_sr);
    printf("  test SR %.4f  %.0f s (%.0f images/s)\n", row->test_sr, row->seconds, l->train->images / row->seconds);
    fflush(stdout);
}

/* FS_STOPPED while testing: the model stays after its last batch, and the next start begins with the test. */
static fs_status finish_epoch(struct loop *l, int epoch, double started)
{
    fs_model *model = l->model;
    const fs_recipe *recipe = &l->settings->recipe;
    fs_train_row row = {.epoch = epoch,
                        .lr = fs_recipe_lr(recipe, &recipe->conv, epoch - 0.5),
                        .fc_lr = fs_recipe_lr(recipe, &recipe->fc, epoch - 0.5),
                        .train_loss = model->loss / l->train->images,
                        .train_sr = (double)model->right / l->train->images};
    fs_status status = measure(l, &row);
    if (status)
        return status;
    row.seconds = fs_seconds() - started;
    model->history[epoch - 1] = row;
    model->epoch = epoch;
    model->batch = 0;
    model->right = 0;
    model->loss = 0;
    if (l->own.rank == 0)
        print_epoch(l, &row);
    return FS_OK;
}

static void share_values(MPI_Comm comm, const fs_network *net, const fs_values *values)
{
    fs_share_bytes(comm, 0, values->parameter, net->parameters * sizeof *values->parameter);
    fs_share_bytes(comm, 0, values->statistic, net->statistics * sizeof *values->statistic);
}

/* Ranks that round differently make different moments of the same sums, and averages of these. */
static void share_drifting(const struct loop *l)
{
    const fs_model *model = l->model;
    fs_share_bytes(l->own.comm, 0, model->net.statistic, model->net.statistics * sizeof *model->net.statistic);
    if (l->settings->ema > 0)
        fs_share_bytes(l->own.comm, 0, model->last.statistic, model->net.statistics * sizeof *model->last.statistic);
}

/* Rank 0 has the average from the file, or has begun it. */
static fs_status share_average(struct loop *l)
{
    fs_status status = fs_agree(l->own.comm, l->own.rank == 0 ? FS_OK : fs_model_start_average(l->model));
    if (!status)
        share_values(l->own.comm, &l->model->net, &l->model->last);
    return status;
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
        if (l->settings->mixed)
            share_drifting(l);
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

fs_status fs_train(MPI_Comm comm, const fs_train_settings *settings, const fs_dataset *train, const fs_dataset *held,
                   const fs_dataset *test, fs_target *target, fs_model *model)
{
    struct loop l = {.settings = settings,
                     .train = train,
                     .held = held,
                     .test = test,
                     .target = target,
                     .model = model,
                     .saved = fs_seconds()};
    fs_slots_create(comm, settings->slots, &l.own);
    fs_status status = fs_workspace_create(&model->net, settings->batch, FS_FOR_ANSWERS, &l.space);
    l.backprop = fs_backprop_create(&model->net, &l.own, settings->batch);
    l.order = fs_alloc((size_t)train->images, sizeof *l.order, "the order of the images");
    status = fs_agree(comm, status || !l.backprop || !l.order ? FS_ERROR : FS_OK);
    if (!status && settings->ema > 0)
        status = share_average(&l);
    if (!status)
        status = run_epochs(&l);
    free(l.order);
    fs_backprop_free(l.backprop);
    fs_workspace_free(&l.space);
    return status;
}
