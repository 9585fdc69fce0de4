/* filterscope sweep: phases two to four. */
#include "cli/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "filterscope/memory.h"
#include "filterscope/model_file.h"
#include "filterscope/share.h"
#include "filterscope/silence.h"
#include "filterscope/slots.h"
#include "filterscope/stop.h"

/* What a results file may have beside phases two and three. */
enum { KNOCKOUT = 1, GROUPS = 2, CURVES = 4 };

static const char sweep_usage[] = "sweep --model MODEL.h5 --data SPEC --out RESULTS.h5 [options]";

static fs_status read_sets(struct fs_sweep_arguments *a)
{
    fs_set_choice *sets = &a->settings.sets;
    const char *without = a->groups ? "groups" : a->curve ? "curve" : NULL;
    if (!a->knockout && without)
        return fs_fail(FS_USAGE, "--%s: without --knockout zero or mean", without);
    if (a->draws >= 0 && !without)
        return fs_fail(FS_USAGE, "--draws: without --groups or --curve");
    sets->draws = a->draws < 0 ? 10 : a->draws;
    sets->seed = a->settings.probe.seed;
    sets->by_label = a->groups && strcmp(a->groups, "labels") == 0;
    if (a->curve && strlen(a->curve) > FS_CONFIG_VALUE_BYTES / 2)
        return fs_fail(FS_USAGE, "--curve: a list of %zu characters: at most %d", strlen(a->curve), FS_CONFIG_VALUE_BYTES / 2);
    fs_status status = a->curve ? fs_orders_read(a->curve, sets) : FS_OK;
    if (!status && a->curve && !sets->orders && !sets->draws)
        status = fs_fail(FS_USAGE, "--curve: '%s' with --draws 0: no order at all", a->curve);
    return status;
}

static fs_status read_knockout(struct fs_sweep_arguments *a)
{
    fs_sweep_settings *s = &a->settings;
    if (!a->knockout && (s->knockout_images || strcmp(a->knockout_layers, "all") != 0))
        return fs_fail(FS_USAGE, "--%s: without --knockout zero or mean",
                       s->knockout_images ? "knockout-images" : "knockout-layers");
    if (a->knockout && strcmp(a->knockout, "zero") != 0 && strcmp(a->knockout, "mean") != 0)
        return fs_fail(FS_USAGE, "--knockout: '%s' is neither zero nor mean", a->knockout);
    if (strlen(a->knockout_layers) >= FS_CONFIG_VALUE_BYTES)
        return fs_fail(FS_USAGE, "--knockout-layers: a list of %zu characters: at most %d", strlen(a->knockout_layers),
                       FS_CONFIG_VALUE_BYTES - 1);
    s->replacement = !a->knockout ? FS_REPLACE_NONE : *a->knockout == 'z' ? FS_REPLACE_ZERO : FS_REPLACE_MEAN;
    return read_sets(a);
}

fs_status fs_sweep_read_arguments(int argc, char **argv, const char *usage, int needs_out, struct fs_sweep_arguments *a)
{
    fs_probe_settings *p = &a->settings.probe;
    *a = (struct fs_sweep_arguments){
        .layers = "all", .knockout_layers = "all", .filters_per_unit = 64, .reserve = 60, .draws = -1};
    a->settings.threshold = 0.3;
    a->settings.save_every = FS_SYNC_SECONDS;
    *p = (fs_probe_settings){.epochs = 200,
                             .batch = 100,
                             .test_every = 10,
                             .lr = 0.01,
                             .lr_decay = 0.975,
                             .momentum = 0.975,
                             .weight_decay = 1e-3,
                             .cache = 1,
                             .seed = 1};
    const fs_option options[] = {
        {"model", FS_OPTION_TEXT, &a->model, 0, 0, "model file of filterscope train"},
        FS_DATA_OPTIONS(&a->data),
        {"out", FS_OPTION_TEXT, &a->out, 0, 0, "results file; where it exists, the sweep goes on from it"},
        {"layers", FS_OPTION_TEXT, &a->layers, 0, 0, "layers to probe, all or as 1,4-6,fc1 (all)"},
        {"epochs", FS_OPTION_INT, &p->epochs, 1, 100000, "epochs of each probe (200)"},
        {"batch", FS_OPTION_INT, &p->batch, 1, 65536, "images of a batch (100)"},
        {"lr", FS_OPTION_NUMBER, &p->lr, 0, 1e3, "learning rate of the probes (0.01)"},
        {"lr-decay", FS_OPTION_NUMBER, &p->lr_decay, 0, 1e3, "its factor at the start of every epoch (0.975)"},
        {"momentum", FS_OPTION_NUMBER, &p->momentum, 0, 1, "Nesterov momentum of the probes (0.975)"},
        {"weight-decay", FS_OPTION_NUMBER, &p->weight_decay, 0, 1e3, "L2 of the probes (1e-3)"},
        {"threshold", FS_OPTION_NUMBER, &a->settings.threshold, 0, 1, "of the clipped field, strictly above (0.3)"},
        {"views", FS_OPTION_INT, &p->views, 0, 1e6, "augmented views of an image, in turn; 0: a new one every epoch (0)"},
        {"cache", FS_OPTION_NUMBER, &p->cache, 0, 1e6, "GiB on a node for the features of these views (1)"},
        {"test-every", FS_OPTION_INT, &p->test_every, 1, 1e6, "epochs between two test SRs; always after the last (10)"},
        {"filters-per-unit", FS_OPTION_INT, &a->filters_per_unit, 1, 1e6, "filters that are recorded together (64)"},
        {"seed", FS_OPTION_SEED, &p->seed, 0, 0, "of the probes' weights, order and augmentation (1)"},
        {"slots", FS_OPTION_INT, &a->settings.slots, 1, FS_MOST_SLOTS, "pieces of a batch, a power of two (ranks, 4 .. 16)"},
        {"team", FS_OPTION_INT, &a->settings.team, 1, FS_MOST_SLOTS, "most ranks that share a batch (slots)"},
        {"train-images", FS_OPTION_INT, &a->data.train_images, 1, 2e9, "the first N training images only (all)"},
        {"test-images", FS_OPTION_INT, &a->data.test_images, 1, 2e9, "the first N test images only (all)"},
        {"field-memory", FS_OPTION_NUMBER, &a->settings.field_memory, 0, 1e6,
         "GiB of a node for fields of phase three; of more, a pass each over the test set (half of what is free)"},
        {"literal", FS_OPTION_FLAG, &a->settings.literal, 0, 0, "run the test set once for every filter, as the paper says"},
        {"knockout", FS_OPTION_TEXT, &a->knockout, 0, 0, "zero or mean: then take each filter out of the trained network"},
        {"knockout-layers", FS_OPTION_TEXT, &a->knockout_layers, 0, 0,
         "layers whose filters or units are taken out (all probed)"},
        {"knockout-images", FS_OPTION_INT, &a->settings.knockout_images, 1, 2e9, "the first N test images for that (all)"},
        {"groups", FS_OPTION_TEXT, &a->groups, 0, 0, "labels or FILE: then take groups of filters out together"},
        {"curve", FS_OPTION_TEXT, &a->curve, 0, 0, "take out one after the other: by clusters, -noise, sr, drop, random ..."},
        {"draws", FS_OPTION_INT, &a->draws, 0, FS_MOST_DRAWS, "random groups for each group, orders for each layer (10)"},
        {"save-every", FS_OPTION_NUMBER, &a->settings.save_every, 0, 1e6, "seconds of work that a power failure may cost (30)"},
        {"reserve", FS_OPTION_INT, &a->reserve, 0, 1e6, "stop so many seconds before the job ends (60)"},
        {"stop-at", FS_OPTION_NUMBER, &a->stop_at, 0, 1e12, "stop at this time, in seconds since 1970 (date +%s)"},
        FS_MIXED_OPTION(&a->mixed),
        {NULL},
    };
    fs_status status = fs_options_read(argc, argv, usage, options, NULL);
    if (!status && (!a->model || !a->data.spec || (needs_out && !a->out)))
        status = fs_fail(FS_USAGE, "usage: filterscope %s", usage);
    if (!status && strlen(a->layers) >= FS_CONFIG_VALUE_BYTES)
        status =
            fs_fail(FS_USAGE, "--layers: a list of %zu characters: at most %d", strlen(a->layers), FS_CONFIG_VALUE_BYTES - 1);
    if (!status && a->settings.slots)
        status = fs_check_slots(a->settings.slots);
    return status ? status : read_knockout(a);
}

static fs_status check_model(const struct fs_sweep_arguments *a, const fs_model *model, const fs_dataset *data)
{
    const fs_network *net = &model->net;
    if (model->epoch < model->epochs)
        return fs_fail(FS_MISMATCH, "%s: training is not finished: %d of %d epochs (train --epochs %d ends it there)", a->model,
                       model->epoch, model->epochs, model->epoch ? model->epoch : 1);
    return fs_check_fits(a->model, net, a->data.spec, data);
}

/* What the results depend on: those of phases two and three, and of `parts` of phase four. */
static void describe(const struct fs_sweep_job *job, fs_config *config, int parts)
{
    const struct fs_sweep_arguments *a = &job->a;
    const fs_probe_settings *p = &a->settings.probe;
    fs_config_set(config, "model", "%s, CRC %08x", job->model.net.arch, fs_network_crc(&job->model.net));
    fs_config_set(config, "architecture", "CRC %08x", fs_network_fingerprint(&job->model.net));
    fs_describe_scaling(config, job->model.net.channels, &job->model.scaling);
    fs_describe_data(config, "train-data", &job->train);
    fs_describe_data(config, "test-data", &job->test);
    fs_config_set(config, "layers", "%s", a->layers);
    fs_config_set(config, "epochs", "%d", p->epochs);
    fs_config_set(config, "batch", "%d", p->batch);
    fs_config_set(config, "lr", "%.15g", p->lr);
    fs_config_set(config, "lr-decay", "%.15g", p->lr_decay);
    fs_config_set(config, "momentum", "%.15g", p->momentum);
    fs_config_set(config, "weight-decay", "%.15g", p->weight_decay);
    if (p->views)
        fs_config_set(config, "views", "%d", p->views);
    fs_config_set(config, "threshold", "%.15g", a->settings.threshold);
    fs_config_set(config, "test-every", "%d", p->test_every);
    fs_config_set(config, "filters-per-unit", "%d", a->filters_per_unit);
    fs_config_set(config, "seed", "%llu", (unsigned long long)p->seed);
    fs_config_set(config, "slots", "%d", a->settings.slots);
    fs_config_set(config, "silencing", "%s", a->settings.literal ? "literal" : "one pass");
    if (!parts)
        return;
    const fs_set_choice *sets = &a->settings.sets;
    fs_config_set(config, "knockout", "%s", a->knockout);
    fs_config_set(config, "knockout-layers", "%s", a->knockout_layers);
    fs_config_set(config, "knockout-images", "%d", a->settings.knockout_images);
    if (parts & GROUPS && sets->by_label)
        fs_config_set(config, "groups", "labels, %d draws", sets->draws);
    else if (parts & GROUPS)
        fs_config_set(config, "groups", "%d of a file, CRC %08x, %d draws", sets->list.groups, sets->list.crc, sets->draws);
    if (parts & CURVES)
        fs_config_set(config, "curve", "%s, %d draws", a->curve, sets->draws);
}

/* What the command asks for, and what a file of that configuration has. */
int fs_sweep_parts(const struct fs_sweep_job *job)
{
    return (job->a.knockout ? KNOCKOUT : 0) | (job->a.groups ? GROUPS : 0) | (job->a.curve ? CURVES : 0);
}

static int parts_of(const fs_config *config)
{
    return (fs_config_get(config, "knockout") ? KNOCKOUT : 0) | (fs_config_get(config, "groups") ? GROUPS : 0) |
           (fs_config_get(config, "curve") ? CURVES : 0);
}

/* Those of the job's units that belong to these parts, into job->unit; returns how many. */
static int list_units(const struct fs_sweep_job *job, int parts)
{
    static const int part_of[] = {
        [FS_UNIT_BASELINE] = KNOCKOUT, [FS_UNIT_KNOCKOUT] = KNOCKOUT, [FS_UNIT_GROUPS] = GROUPS, [FS_UNIT_CURVES] = CURVES};
    int units = 0;
    for (int unit = 0; unit < job->plan.units; unit++) {
        const fs_unit *u = &job->plan.unit[unit];
        if (u->kind <= FS_UNIT_SILENCE || part_of[u->kind] & parts)
            job->unit[units++] = *u;
    }
    return units;
}

static fs_results_plan results_plan(const struct fs_sweep_job *job, int parts)
{
    return (fs_results_plan){.labels = job->model.net.labels,
                             .label_name = (const char(*)[FS_LABEL_NAME_BYTES])job->model.label_name,
                             .layers = job->plan.layers,
                             .layer = job->plan.layer,
                             .epochs = job->a.settings.probe.epochs,
                             .units = list_units(job, parts),
                             .unit = job->unit,
                             .config = &job->config};
}

/* Writes the configuration and the units anew, too: they live as long as the job. */
fs_results_plan fs_sweep_describe(struct fs_sweep_job *job, int parts)
{
    job->config.count = 0;
    describe(job, &job->config, parts);
    return results_plan(job, parts);
}

/* Model files of other tools, and old ones, may hold any bytes; what is stored here has to be readable. */
static fs_status check_names(const struct fs_sweep_job *job)
{
    char what[256];
    fs_status status = FS_OK;
    for (int k = 0; k < job->model.net.labels && !status; k++) {
        const char *name = job->model.label_name[k];
        snprintf(what, sizeof what, "%.200s: the name of label %d,", job->a.model, k);
        status = fs_text_check(what, name, strlen(name));
    }
    return status ? fs_fail(status, "%s: --label-names FILE gives others", fs_message()) : FS_OK;
}

void fs_sweep_take_slots(struct fs_sweep_job *job, const fs_config *stored)
{
    const char *slots = stored ? fs_config_get(stored, "slots") : NULL;
    int ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (!job->a.settings.slots)
        job->a.settings.slots = slots && atoi(slots) > 0 ? atoi(slots) : fs_default_slots(ranks);
}

/* 1 where the file could not be opened because of a damaged table that this command can give back. A file whose configuration
 * cannot be read doesn't tell its slots: then each number is tried. The message stays the one that says what is wrong. */
static int repair(struct fs_sweep_job *job)
{
    char message[FS_MESSAGE_BYTES];
    int slots = job->a.settings.slots, repaired = 0;
    snprintf(message, sizeof message, "%s", fs_message());
    for (int tried = slots ? slots : 1; tried <= FS_MOST_SLOTS && !repaired; tried *= 2) {
        job->a.settings.slots = tried;
        for (int parts = fs_sweep_parts(job); parts >= 0 && !repaired; parts--) {
            if (parts & ~fs_sweep_parts(job))
                continue;
            fs_results_plan plan = fs_sweep_describe(job, parts);
            repaired = fs_results_repair(job->target.path, &plan) == FS_OK;
        }
        if (slots)
            break;
    }
    job->a.settings.slots = slots;
    fs_fail(FS_MISMATCH, "%s", message);
    return repaired;
}

static fs_status create_results(struct fs_sweep_job *job)
{
    fs_sweep_take_slots(job, NULL);
    fs_results_plan plan = fs_sweep_describe(job, fs_sweep_parts(job));
    fs_status status = check_names(job);
    if (!status)
        status = fs_results_create(job->target.path, &plan);
    return status ? status : fs_target_hold(&job->target, 0);
}

/* The file of a sweep without phase four, or parts of it, gets their places. */
static fs_status extend_results(struct fs_sweep_job *job)
{
    fs_results_plan plan = fs_sweep_describe(job, fs_sweep_parts(job));
    printf("sweep: %s gets room for phase four\n", job->a.out);
    fs_status status = fs_results_extend(&job->target, &plan);
    fs_target_drop(&job->target);
    return status ? status : fs_target_hold(&job->target, 0);
}

/* With the CPUs of the start before, where work is left. What is damaged is no reason to stop here: it is made anew later. */
static void compare_kinds(const struct fs_sweep_job *job, int adds, fs_results *results)
{
    fs_launch earlier;
    int number, complete;
    if (fs_results_read_complete(results, &complete, NULL) == FS_OK && complete && !adds)
        return;
    if (fs_results_read_launch(results, &earlier, &number) == FS_OK && number >= 0)
        fs_compare_kinds("sweep", earlier.kinds, job->launch.kinds);
}

/* Creates the results file, or finds that it was made for the same sweep. On rank 0. */
static fs_status find_results(struct fs_sweep_job *job)
{
    fs_results *results = NULL;
    fs_status status = fs_target_hold(&job->target, 0);
    if (status || job->target.held < 0)
        return status ? status : create_results(job);
    status = fs_results_open(job->target.path, MPI_COMM_NULL, &results);
    if (status == FS_MISMATCH && repair(job))
        status = fs_results_open(job->target.path, MPI_COMM_NULL, &results);
    if (status)
        return status;
    const fs_results_plan *stored = fs_results_plan_of(results);
    fs_sweep_take_slots(job, stored->config);
    int asked = fs_sweep_parts(job), adds = asked & ~parts_of(stored->config);
    fs_results_plan now = fs_sweep_describe(job, asked & ~adds);
    status = fs_results_match(job->a.out, stored, &now);
    if (!status)
        compare_kinds(job, adds, results);
    fs_results_close(results);
    return status || !adds ? status : extend_results(job);
}

void fs_sweep_release(struct fs_sweep_job *job)
{
    fs_plan_free(&job->plan);
    fs_groups_free(&job->a.settings.sets.list);
    free(job->unit);
    fs_model_free(&job->model);
    fs_dataset_close(&job->train);
    fs_dataset_close(&job->test);
}

static fs_status add_knockout(struct fs_sweep_job *job)
{
    fs_sweep_settings *s = &job->a.settings;
    if (!s->knockout_images)
        s->knockout_images = job->test.images;
    if (s->knockout_images > job->test.images)
        return fs_fail(FS_ERROR, "--knockout-images: %d of %d test images", s->knockout_images, job->test.images);
    fs_status status = fs_agree(MPI_COMM_WORLD, fs_plan_add_knockout(&job->model.net, job->a.knockout_layers, &job->plan));
    if (!status && job->a.groups && !s->sets.by_label)
        status = fs_groups_load(MPI_COMM_WORLD, job->a.groups, &job->plan, &s->sets.list);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, fs_plan_add_sets(&job->model.net, &s->sets, &job->plan));
    return status;
}

/* Model, data and plan on every rank. */
fs_status fs_sweep_load(struct fs_sweep_job *job)
{
    struct fs_sweep_arguments *a = &job->a;
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fs_status status = fs_agree(MPI_COMM_WORLD, rank == 0 ? fs_model_load(a->model, &job->model) : FS_OK);
    if (!status)
        status = fs_load_data(&a->data, &job->model, &job->train, NULL, &job->test);
    if (!status)
        status = fs_share_model(MPI_COMM_WORLD, &job->model);
    if (!status)
        status = check_model(a, &job->model, &job->train);
    if (!status)
        status = fs_scale_data(&job->model.scaling, &job->train, &job->test);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, fs_silence_check_labels(&job->test));
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, fs_plan_create(&job->model.net, a->layers, a->filters_per_unit, &job->plan));
    if (!status && a->knockout)
        status = add_knockout(job);
    if (!status) {
        job->unit = fs_alloc((size_t)job->plan.units, sizeof *job->unit, "units");
        status = fs_agree(MPI_COMM_WORLD, job->unit ? FS_OK : FS_ERROR);
    }
    if (!status && a->out && !a->settings.literal)
        status = fs_silence_check_memory(MPI_COMM_WORLD, job->model.net.labels, fs_plan_most_filters(&job->plan));
    return status;
}

static void announce(const struct fs_sweep_job *job)
{
    int ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    fs_print_config("filterscope " FS_VERSION " sweep", &job->config);
    fs_print_name_notes("sweep", job->model.net.labels, (const char(*)[FS_LABEL_NAME_BYTES])job->model.label_name);
    printf("  %-18s %d\n  %-18s %s\n", "ranks", ranks, "out", job->a.out);
    fs_print_stream_note("sweep", &job->train);
    fflush(stdout);
}

static fs_status sweep(struct fs_sweep_job *job, int argc, char **argv)
{
    fs_sweep_settings *s = &job->a.settings;
    int rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    fs_status status = fs_sweep_load(job);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, rank == 0 ? find_results(job) : FS_OK);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, rank > 0 ? fs_target_hold(&job->target, 0) : FS_OK);
    if (status)
        return status;
    MPI_Bcast(&s->slots, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (!s->team || s->team > s->slots)
        s->team = s->slots;
    if (rank == 0)
        announce(job);
    fs_describe_launch(argc, argv, (ranks + s->team - 1) / s->team, &job->launch);
    fs_sweep_input input = {&job->model.net, &job->train, &job->test, &job->plan, s, &job->launch, &job->target};
    status = fs_sweep(MPI_COMM_WORLD, &input);
    if (rank == 0 && !status)
        printf("sweep: complete: %s\n", job->a.out);
    return status;
}

fs_status fs_cli_sweep(int argc, char **argv)
{
    struct fs_sweep_job job = {0};
    fs_status status = fs_sweep_read_arguments(argc, argv, sweep_usage, 1, &job.a);
    if (status)
        return status == FS_STOPPED ? FS_OK : status; /* --help */
    fs_stop_install(job.a.reserve, job.a.stop_at);
    fs_lock *lock = NULL;
    const fs_input inputs[] = {{"model", job.a.model}, {NULL}};
    status = fs_meet_ranks("sweep", job.a.mixed, &job.launch);
    if (!status)
        status = fs_lock_output(job.a.out, inputs, &job.target, &lock);
    if (!status)
        status = sweep(&job, argc, argv);
    if (status == FS_OK || status == FS_STOPPED)
        fs_print_memory("sweep");
    fs_target_drop(&job.target);
    fs_lock_release(lock);
    fs_sweep_release(&job);
    return status;
}
