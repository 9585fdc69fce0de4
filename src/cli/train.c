/* filterscope train: phase one. */
#include "filterscope/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/layers.h"
#include "cli/train.h"
#include "filterscope/mask.h"
#include "filterscope/memory.h"
#include "filterscope/plan.h"
#include "filterscope/share.h"
#include "filterscope/stop.h"
#include "model/trace.h"

struct splits {
    fs_dataset train, test;
    fs_dataset held; /* no image where none is held back */
};

static void describe_group(fs_config *config, const char *prefix, const fs_group_recipe *group, fs_schedule schedule)
{
    char key[FS_CONFIG_KEY_BYTES];
    const struct {
        const char *name;
        double value;
    } settings[] = {
        {"lr", group->lr}, {"momentum", group->momentum}, {"weight-decay", group->weight_decay}, {"lr-decay", group->lr_decay}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings - (schedule != FS_STEPS); i++) {
        snprintf(key, sizeof key, "%s%s", prefix, settings[i].name);
        fs_config_set(config, key, "%.15g", settings[i].value);
    }
}

static void describe_recipe(fs_config *config, const fs_recipe *r)
{
    describe_group(config, "", &r->conv, r->schedule);
    describe_group(config, "fc-", &r->fc, r->schedule);
    if (r->schedule == FS_STEPS) {
        fs_config_set(config, "lr-every", "%d", r->decay_every);
    } else {
        fs_config_set(config, "schedule", "cosine");
        fs_config_set(config, "warmup", "%.15g", r->warmup);
        fs_config_set(config, "epochs", "%d", r->epochs);
    }
    if (r->label_smoothing > 0)
        fs_config_set(config, "label-smoothing", "%.15g", r->label_smoothing);
}

/* What differs from the method, as far as it does. */
static void describe_departures(const struct fs_train_arguments *a, const fs_dataset *held, fs_config *config)
{
    const fs_train_settings *s = &a->settings;
    if (held->images)
        fs_describe_data(config, "held-back", held);
    if (a->alternating)
        fs_config_set(config, "flips", "alternating");
    if (a->identity)
        fs_config_set(config, "first-weights", "identity");
    if (s->norm_bias_lr < 1 || s->norm_bias_lr > 1)
        fs_config_set(config, "norm-bias-lr", "%.15g", s->norm_bias_lr);
    if (s->ema > 0)
        fs_config_set(config, "ema", "%.15g", s->ema);
}

/* What the weights depend on; epochs do not belong to it but with a cosine, so that a training can be made longer. `start` is
 * the model that training starts from, its network empty for none. */
static void describe(const struct fs_train_arguments *a, const fs_arch *arch, uint32_t fingerprint, const fs_model *start,
                     const struct splits *data, fs_config *config)
{
    const fs_dataset *train = &data->train;
    const fs_train_settings *s = &a->settings;
    fs_config_set(config, "arch", "%s", arch->name);
    fs_config_set(config, "architecture", "CRC %08x", fingerprint);
    if (start->net.op)
        fs_config_set(config, "init", "%s, CRC %08x", start->net.arch, fs_network_crc(&start->net));
    if (fs_network_masked(&start->net))
        fs_config_set(config, "masks", "CRC %08x, %zu of %zu parameters are kept", fs_network_mask_crc(0, &start->net),
                      start->net.parameters - fs_network_pruned(&start->net), start->net.parameters);
    if (a->layers && strcmp(a->layers, "all") != 0)
        fs_config_set(config, "train-layers", "%s", a->layers);
    fs_describe_scaling(config, train->channels, &start->scaling);
    fs_describe_data(config, "train-data", train);
    fs_describe_data(config, "test-data", &data->test);
    describe_recipe(config, &s->recipe);
    describe_departures(a, &data->held, config);
    fs_config_set(config, "batch", "%d", s->batch);
    fs_config_set(config, "seed", "%llu", (unsigned long long)s->seed);
    fs_config_set(config, "slots", "%d", s->slots);
}

static fs_status plan_epochs(const char *path, int epochs, fs_model *model)
{
    if (epochs < model->epoch || (epochs == model->epoch && model->batch))
        return fs_fail(FS_MISMATCH, "%s: has %d epochs%s, this command has --epochs %d", path, model->epoch,
                       model->batch ? " and a part of the next" : "", epochs);
    fs_train_row *history = fs_alloc((size_t)epochs, sizeof *history, "the history");
    if (!history)
        return FS_ERROR;
    if (model->history)
        memcpy(history, model->history, (size_t)model->epoch * sizeof *history);
    free(model->history);
    model->history = history;
    model->epochs = epochs;
    return FS_OK;
}

/* What training starts from: scaling and, with --init, weights. start->net stays empty without. */
static fs_status find_start(const struct fs_train_arguments *a, const fs_arch *arch, uint32_t fingerprint,
                            const fs_dataset *train, fs_model *start)
{
    fs_status status = FS_OK;
    fs_scaling_default(&start->scaling);
    if (a->init)
        status = fs_model_load(a->init, start);
    if (!status && a->init && fs_network_fingerprint(&start->net) != fingerprint)
        status = fs_fail(FS_MISMATCH, "%s: has another architecture (%s) than %s", a->init, start->net.arch, arch->name);
    if (!status && a->init)
        status = fs_check_fits(a->init, &start->net, a->data.spec, train);
    if (!status)
        status = fs_read_scaling(a->pixels, a->mean, a->std, train->channels, &start->scaling);
    return status;
}

/* The model knows which of the set's labels it was trained on, where these are not all. */
static fs_status number_labels(const fs_dataset *train, fs_model *model)
{
    if (!train->number)
        return FS_OK;
    model->label_number = fs_alloc((size_t)train->labels, sizeof *model->label_number, "numbers of labels");
    if (!model->label_number)
        return FS_ERROR;
    memcpy(model->label_number, train->number, (size_t)train->labels * sizeof *model->label_number);
    return FS_OK;
}

/* A network as `arch` says, with the weights of `start` where that has any. */
static fs_status create_model(const struct fs_train_arguments *a, const fs_arch *arch, const fs_model *start,
                              const fs_dataset *train, fs_model *model)
{
    fs_network *net = &model->net;
    fs_arch own = *arch;
    own.silent_floor = start->net.op != NULL; /* then the text is that of a model file */
    fs_status status =
        fs_network_create(&own, train->height, train->width, train->channels, train->labels, a->settings.seed, net);
    if (status)
        return status;
    if (start->net.op) {
        memcpy(net->parameter, start->net.parameter, net->parameters * sizeof *net->parameter);
        memcpy(net->statistic, start->net.statistic, net->statistics * sizeof *net->statistic);
        status = fs_network_copy_masks(&start->net, net);
    } else if (a->identity) {
        fs_network_start_as_identity(net);
    }
    if (!status && a->settings.ema > 0)
        status = fs_model_start_average(model);
    if (status)
        return status;
    model->scaling = start->scaling;
    model->label_name = fs_alloc((size_t)train->labels, sizeof *model->label_name, "label names");
    if (!model->label_name)
        return FS_ERROR;
    memcpy(model->label_name, train->label_name, (size_t)train->labels * sizeof *model->label_name);
    return number_labels(train, model);
}

/* What a sweep refuses is said now, not after the training. A part of the images, or a training that has begun, may go on. */
static fs_status check_sweep(const struct fs_train_arguments *a, int resumes, const fs_dataset *train, const fs_dataset *test,
                             const fs_network *net)
{
    fs_plan plan = {0};
    fs_status status = fs_check_all_labels(a->data.spec, train, test);
    if (status && (resumes || a->data.train_images || a->data.test_images)) {
        printf("train: note: %s\n", fs_message());
        status = FS_OK;
    }
    if (!status)
        status = fs_plan_create(net, "all", 1, &plan);
    fs_plan_free(&plan);
    return status;
}

/* --label-names names a new model. */
static fs_status check_names(const struct fs_train_arguments *a, const fs_model *model, const fs_dataset *train)
{
    for (int k = 0; k < train->labels && a->data.label_names; k++)
        if (strcmp(model->label_name[k], train->label_name[k]) != 0)
            return fs_fail(FS_MISMATCH, "%s: label %d is %s there, %s in %s; sweep and eval take other names by --label-names",
                           a->out, k, model->label_name[k], train->label_name[k], a->data.label_names);
    return FS_OK;
}

/* The model tells all kinds of CPU that it was trained on, as far as they fit. */
static void note_kinds(const struct fs_train_arguments *a, fs_model *model)
{
    const char *now = a->launch.kinds;
    fs_compare_kinds("train", model->kinds, now);
    size_t used = strlen(model->kinds);
    if (!strstr(model->kinds, now))
        snprintf(model->kinds + used, sizeof model->kinds - used, "%s%s", used ? "; " : "", now);
}

/* A new model, or the one in the file where that was made with the same configuration. On rank 0. */
static fs_status find_model(struct fs_train_arguments *a, const fs_arch *arch, const fs_target *target,
                            const struct splits *data, fs_model *model)
{
    const fs_dataset *train = &data->train;
    fs_config now = {0};
    fs_model start = {0};
    uint32_t fingerprint;
    int resumes = target->held >= 0, ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    fs_status status = fs_arch_fingerprint(arch, &fingerprint);
    if (!status && resumes)
        status = fs_model_load(target->path, model);
    if (!status)
        status = find_start(a, arch, fingerprint, train, &start);
    const char *slots = status ? NULL : fs_config_get(&model->config, "slots");
    if (!a->settings.slots)
        a->settings.slots = slots ? atoi(slots) : fs_default_slots(ranks);
    if (!status)
        describe(a, arch, fingerprint, &start, data, &now);
    if (!status)
        status = resumes ? fs_config_match(a->out, &model->config, &now) : create_model(a, arch, &start, train, model);
    fs_model_free(&start);
    if (status)
        return status;
    if (a->settings.ema > 0 && !model->last.parameter)
        return fs_fail(FS_MISMATCH, "%s: has no average of the weights, and was trained with --ema", a->out);
    model->config = now;
    if (model->epoch < a->settings.recipe.epochs)
        note_kinds(a, model);
    status = check_names(a, model, train);
    if (!status)
        status = check_sweep(a, resumes, train, &data->test, &model->net);
    return status ? status : plan_epochs(a->out, a->settings.recipe.epochs, model);
}

static void announce(const struct fs_train_arguments *a, const fs_dataset *train, const fs_model *model)
{
    int ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    fs_print_config("filterscope " FS_VERSION " train", &model->config);
    printf("  %-18s %d\n  %-18s %d\n  %-18s %zu\n  %-18s %s\n", "epochs", a->settings.recipe.epochs, "ranks", ranks,
           "parameters", model->net.parameters, "out", a->out);
    fs_print_name_notes("train", model->net.labels, (const char(*)[FS_LABEL_NAME_BYTES])model->label_name);
    fs_print_stream_note("train", train);
    if (model->net.dropouts)
        printf("train: dropout does nothing here\n");
    if (ranks > a->settings.slots)
        printf("train: %d of %d ranks have work: --slots %d would use more\n", a->settings.slots, ranks, 2 * a->settings.slots);
    if (model->epoch == a->settings.recipe.epochs)
        printf("train: all %d epochs are done  test SR %.4f\n", model->epoch, model->history[model->epoch - 1].test_sr);
    else if (model->epoch || model->batch)
        printf("train: goes on after epoch %d, batch %d\n", model->epoch, model->batch);
    fflush(stdout);
}

/* What --train-layers leaves out is frozen: on each rank, as no file says it. */
static fs_status freeze(const struct fs_train_arguments *a, fs_network *net)
{
    int neighbours = a->layers && strcmp(a->layers, "neighbours") == 0;
    if (!a->layers || strcmp(a->layers, "all") == 0)
        return FS_OK;
    if (neighbours && !fs_network_masked(net))
        return fs_fail(FS_USAGE, "--train-layers neighbours: no layer has a mask (filterscope prune)");
    uint8_t *trained = fs_alloc((size_t)net->ops, 1, "layers");
    fs_status status = trained ? FS_OK : FS_ERROR;
    if (!status && neighbours)
        fs_find_neighbours(net, trained);
    else if (!status)
        status = fs_choose_layers("--train-layers", a->layers, net, trained);
    if (!status)
        fs_freeze_others(net, trained);
    free(trained);
    return status;
}

static fs_status load_splits(const struct fs_train_arguments *a, struct splits *data)
{
    fs_status status = fs_load_data(&a->data, NULL, &data->train, &data->held, &data->test);
    data->train.alternating = a->alternating;
    return status;
}

static fs_status scale(const fs_scaling *scaling, struct splits *data)
{
    fs_status status = fs_scale_data(scaling, &data->train, &data->test);
    if (!status && data->held.images)
        status = fs_agree(MPI_COMM_WORLD, fs_dataset_set_scaling(&data->held, scaling));
    return status;
}

static fs_status run(struct fs_train_arguments *a, const fs_arch *arch, fs_target *target, struct splits *data, fs_model *model)
{
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fs_status status = fs_agree(MPI_COMM_WORLD, rank == 0 ? fs_target_hold(target, 1) : FS_OK);
    if (!status)
        status = load_splits(a, data);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, rank == 0 ? find_model(a, arch, target, data, model) : FS_OK);
    if (status)
        return status;
    MPI_Bcast(&a->settings.slots, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (rank == 0)
        fs_model_exchange(model); /* to train the last weights */
    status = fs_share_model(MPI_COMM_WORLD, model);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, freeze(a, &model->net));
    if (!status)
        status = scale(&model->scaling, data);
    if (status)
        return status;
    if (rank == 0)
        announce(a, &data->train, model);
    return fs_train(MPI_COMM_WORLD, &a->settings, &data->train, data->held.images ? &data->held : NULL, &data->test, target,
                    model);
}

/* Without --arch, that of --init. */
static fs_status open_arch(const struct fs_train_arguments *a, fs_arch *arch)
{
    fs_model start;
    if (a->arch)
        return fs_arch_open(a->arch, arch);
    fs_status status = fs_model_load(a->init, &start);
    if (!status)
        status = fs_arch_copy(start.net.arch, start.net.text, arch);
    fs_model_free(&start);
    return status;
}

fs_status fs_cli_train(int argc, char **argv)
{
    struct fs_train_arguments a;
    struct splits data = {0};
    fs_model model = {0};
    fs_status status = fs_train_read_arguments(argc, argv, &a);
    if (status)
        return status == FS_STOPPED ? FS_OK : status; /* --help */
    fs_arch arch = {0};
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    status = fs_agree(MPI_COMM_WORLD, rank == 0 ? open_arch(&a, &arch) : FS_OK);
    if (status)
        return status;
    MPI_Bcast(&arch.recipe, (int)sizeof arch.recipe, MPI_BYTE, 0, MPI_COMM_WORLD);
    status = fs_train_fill_recipe(&a.settings.recipe, &arch.recipe);
    fs_stop_install(a.reserve, a.stop_at);
    fs_lock *lock = NULL;
    fs_target target = {.held = -1};
    const fs_input inputs[] = {{"arch", a.arch}, {"init", a.init}, {NULL}};
    if (!status)
        status = fs_meet_ranks("train", a.settings.mixed, &a.launch);
    if (!status)
        status = fs_lock_output(a.out, inputs, &target, &lock);
    if (!status)
        status = run(&a, &arch, &target, &data, &model);
    if (status == FS_OK || status == FS_STOPPED)
        fs_print_memory("train");
    fs_target_drop(&target);
    fs_lock_release(lock);
    fs_arch_close(&arch);
    fs_model_free(&model);
    fs_dataset_close(&data.train);
    fs_dataset_close(&data.test);
    fs_dataset_close(&data.held);
    return status;
}
