/* What filterscope train takes, and the recipe of it. */
#include <math.h>
#include <string.h>

#include "cli/train.h"

static const char usage[] = "train --arch NAME|FILE|--init MODEL.h5 --data SPEC --out MODEL.h5 [options]";

/* Options of the other schedule would do nothing: they are refused. */
static fs_status read_schedule(const char *name, fs_recipe *r)
{
    int cosine = name && strcmp(name, "cosine") == 0;
    if (name && !cosine && strcmp(name, "steps") != 0)
        return fs_fail(FS_USAGE, "--schedule: '%s' is neither steps nor cosine", name);
    if (cosine && (r->decay_every || !isnan(r->conv.lr_decay) || !isnan(r->fc.lr_decay)))
        return fs_fail(FS_USAGE, "--schedule cosine takes no --%s",
                       r->decay_every             ? "lr-every"
                       : !isnan(r->conv.lr_decay) ? "lr-decay"
                                                  : "fc-lr-decay");
    if (!cosine && !isnan(r->warmup))
        return fs_fail(FS_USAGE, "--warmup belongs to --schedule cosine");
    r->schedule = cosine ? FS_COSINE : FS_STEPS;
    return FS_OK;
}

/* *second: whether `word` is the second of two; the first where none is given. */
static fs_status read_word(const char *option, const char *word, const char *first, const char *second, int *is_second)
{
    *is_second = word && strcmp(word, second) == 0;
    if (!word || *is_second || strcmp(word, first) == 0)
        return FS_OK;
    return fs_fail(FS_USAGE, "--%s: '%s' is neither %s nor %s", option, word, first, second);
}

static fs_status read_words(struct fs_train_arguments *a, const char *flips, const char *weights)
{
    fs_status status = read_word("flips", flips, "random", "alternating", &a->alternating);
    if (!status)
        status = read_word("first-weights", weights, "uniform", "identity", &a->identity);
    if (!status && a->init && weights)
        status = fs_fail(FS_USAGE, "--first-weights belongs to a new network, not to --init");
    if (!status && a->data.keep_labels && a->data.drop_empty)
        status = fs_fail(FS_USAGE, "--keep-labels and --drop-empty-labels: one of the two chooses labels");
    if (!status && (a->settings.ema >= 1 || a->data.hold_back >= 1))
        status = fs_fail(FS_USAGE, "--%s: 1 is not below 1", a->data.hold_back >= 1 ? "hold-back" : "ema");
    if (!status && a->settings.norm_bias_lr <= 0)
        status = fs_fail(FS_USAGE, "--norm-bias-lr: %g is not above 0", a->settings.norm_bias_lr);
    return status;
}

fs_status fs_train_read_arguments(int argc, char **argv, struct fs_train_arguments *a)
{
    fs_recipe *r = &a->settings.recipe;
    const double none = (double)NAN;
    const char *schedule = NULL, *flips = NULL, *weights = NULL;
    *a = (struct fs_train_arguments){.reserve = 60, .settings = {.batch = 100, .save_every = 30, .seed = 1, .norm_bias_lr = 1}};
    *r = (fs_recipe){.conv = {none, none, none, none}, .fc = {none, none, none, none}, .warmup = none};
    const fs_option options[] = {
        {"arch", FS_OPTION_TEXT, &a->arch, 0, 0, fs_architecture_names()},
        FS_DATA_OPTIONS(&a->data),
        {"out", FS_OPTION_TEXT, &a->out, 0, 0, "model file; where it exists, training goes on from it"},
        {"init", FS_OPTION_TEXT, &a->init, 0, 0, "model file whose weights and scaling a new training starts from"},
        {"train-layers", FS_OPTION_TEXT, &a->layers, 0, 0,
         "all, a list as conv7,conv8,fc1, or neighbours: of --init's masks, and what they read; others stay as they are (all)"},
        {"pixels", FS_OPTION_TEXT, &a->pixels, 0, 0, "LOW,HIGH: what the pixels 0 and 255 become (-1,1)"},
        {"mean", FS_OPTION_TEXT, &a->mean, 0, 0, "then subtracted, one for all channels or one each as A,B,C (0)"},
        {"std", FS_OPTION_TEXT, &a->std, 0, 0, "then divided by, one for all channels or one each (1)"},
        {"epochs", FS_OPTION_INT, &r->epochs, 1, 1e6,
         "epochs in all (the recipe's, as all that follows: man filterscope; where there is none, 200)"},
        {"batch", FS_OPTION_INT, &a->settings.batch, 1, 65536, "images of a batch (100)"},
        {"lr", FS_OPTION_NUMBER, &r->conv.lr, 0, 1e3, "learning rate of the convolutions (0.011)"},
        {"schedule", FS_OPTION_TEXT, &schedule, 0, 0, "of learning rates: steps, or cosine: up from 0 and down to 0 (steps)"},
        {"warmup", FS_OPTION_NUMBER, &r->warmup, 0, 1e6, "epochs in which a cosine's learning rates rise (a tenth of all)"},
        {"lr-decay", FS_OPTION_NUMBER, &r->conv.lr_decay, 0, 1e3, "its factor after every --lr-every epochs (0.6)"},
        {"lr-every", FS_OPTION_INT, &r->decay_every, 1, 1e6, "epochs between two decays (20)"},
        {"momentum", FS_OPTION_NUMBER, &r->conv.momentum, 0, 1, "Nesterov momentum of the convolutions (0.98)"},
        {"weight-decay", FS_OPTION_NUMBER, &r->conv.weight_decay, 0, 1e3, "L2 of the convolutions (1.15e-3)"},
        {"fc-lr", FS_OPTION_NUMBER, &r->fc.lr, 0, 1e3, "learning rate of the fully connected layers (0.007)"},
        {"fc-lr-decay", FS_OPTION_NUMBER, &r->fc.lr_decay, 0, 1e3, "its factor after every --lr-every epochs (1)"},
        {"fc-momentum", FS_OPTION_NUMBER, &r->fc.momentum, 0, 1, "their Nesterov momentum (0.982)"},
        {"fc-weight-decay", FS_OPTION_NUMBER, &r->fc.weight_decay, 0, 1e3, "their L2 (1.35e-3)"},
        {"label-smoothing", FS_OPTION_NUMBER, &r->label_smoothing, 0, 1, "share of each target spread over all labels (0)"},
        {"flips", FS_OPTION_TEXT, &flips, 0, 0, "random, or alternating: each image in every other epoch (random)"},
        {"first-weights", FS_OPTION_TEXT, &weights, 0, 0,
         "uniform, or identity: of convolutions but the first, as far as it goes (uniform)"},
        {"norm-bias-lr", FS_OPTION_NUMBER, &a->settings.norm_bias_lr, 0, 1e6,
         "factor of the learning rate of batch norm's biases; divides their L2 (1)"},
        {"ema", FS_OPTION_NUMBER, &a->settings.ema, 0, 1,
         "decay a batch of an average of the weights, which is then the network (0: none)"},
        {"hold-back", FS_OPTION_NUMBER, &a->data.hold_back, 0, 1,
         "share of each label's training images that only an SR is taken on, by epoch (0)"},
        {"keep-labels", FS_OPTION_TEXT, &a->data.keep_labels, 0, 0, "the set's labels to be used, as 0-9,12 (all)"},
        {"seed", FS_OPTION_SEED, &a->settings.seed, 0, 0, "of weights, order and augmentation (1)"},
        {"slots", FS_OPTION_INT, &a->settings.slots, 1, FS_MOST_SLOTS, "pieces of a batch, a power of two (ranks, 4 .. 16)"},
        {"train-images", FS_OPTION_INT, &a->data.train_images, 1, 2e9, "the first N training images only (all)"},
        {"test-images", FS_OPTION_INT, &a->data.test_images, 1, 2e9, "the first N test images only (all)"},
        {"save-every", FS_OPTION_NUMBER, &a->settings.save_every, 0, 1e6, "seconds of work that a power failure may cost (30)"},
        {"reserve", FS_OPTION_INT, &a->reserve, 0, 1e6, "stop so many seconds before the job ends (60)"},
        {"stop-at", FS_OPTION_NUMBER, &a->stop_at, 0, 1e12, "stop at this time, in seconds since 1970 (date +%s)"},
        FS_MIXED_OPTION(&a->settings.mixed),
        {NULL},
    };
    fs_status status = fs_options_read(argc, argv, usage, options, NULL);
    if (!status && ((!a->arch && !a->init) || !a->data.spec || !a->out))
        status = fs_fail(FS_USAGE, "usage: filterscope %s", usage);
    if (!status && a->layers && strlen(a->layers) >= FS_CONFIG_VALUE_BYTES)
        status = fs_fail(FS_USAGE, "--train-layers: a list of %zu characters: at most %d", strlen(a->layers),
                         FS_CONFIG_VALUE_BYTES - 1);
    if (!status)
        status = read_words(a, flips, weights);
    if (!status && a->settings.slots)
        status = fs_check_slots(a->settings.slots);
    return status ? status : read_schedule(schedule, r);
}

static void take_default(double *value, double recipe)
{
    if (isnan(*value))
        *value = recipe;
}

static void fill_group(fs_group_recipe *group, const fs_group_recipe *recipe)
{
    take_default(&group->lr, recipe->lr);
    take_default(&group->lr_decay, recipe->lr_decay);
    take_default(&group->momentum, recipe->momentum);
    take_default(&group->weight_decay, recipe->weight_decay);
}

fs_status fs_train_fill_recipe(fs_recipe *own, const fs_recipe *recipe)
{
    own->epochs = own->epochs ? own->epochs : recipe->epochs;
    own->decay_every = own->decay_every ? own->decay_every : recipe->decay_every;
    take_default(&own->warmup, own->epochs / 10.0);
    fill_group(&own->conv, &recipe->conv);
    fill_group(&own->fc, &recipe->fc);
    if (own->warmup >= own->epochs)
        return fs_fail(FS_USAGE, "--warmup: %g is not below the %d epochs", own->warmup, own->epochs);
    return FS_OK;
}
