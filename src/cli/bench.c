/* filterscope bench: the speed of each phase on random images, beside the cores' floating-point peak. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/bench.h"
#include "cli/cli.h"
#include "filterscope/layers.h"
#include "filterscope/memory.h"
#include "filterscope/plan.h"
#include "filterscope/probe.h"
#include "filterscope/random.h"
#include "filterscope/silence.h"
#include "filterscope/stop.h"
#include "filterscope/train.h"

struct bench {
    const char *name, *input, *only;
    fs_arch arch;
    int batch, slots, images, labels, views;
    double seconds, cache;
    int rank, ranks;
    fs_network net;
    fs_dataset data;
    double macs; /* of the convolutions and linear layers, for one image, forward */
    double peak; /* of all ranks together, GFLOP/s */
};

static const char usage[] = "bench [--arch NAME|FILE] [options]";

static fs_status read_arguments(int argc, char **argv, struct bench *b)
{
    *b = (struct bench){.name = "vgg16-fc1", .batch = 128, .images = 2000, .labels = 10, .seconds = 5, .cache = 1};
    const fs_option options[] = {
        {"arch", FS_OPTION_TEXT, &b->name, 0, 0, fs_architecture_names()},
        {"input", FS_OPTION_TEXT, &b->input, 0, 0, "HEIGHTxWIDTHxCHANNELS of the images (the file's input line, else 32x32x3)"},
        {"batch", FS_OPTION_INT, &b->batch, 1, 65536, "images of a batch, over all ranks (128)"},
        {"slots", FS_OPTION_INT, &b->slots, 1, FS_MOST_SLOTS, "pieces of a batch, a power of two (one a rank)"},
        {"images", FS_OPTION_INT, &b->images, 1, 1e6, "images of an epoch of the probes, and to silence filters on (2000)"},
        {"labels", FS_OPTION_INT, &b->labels, 2, FS_MAX_LABELS, "labels (10)"},
        {"views", FS_OPTION_INT, &b->views, 0, 1e6, "of the probes, as in sweep (0)"},
        {"cache", FS_OPTION_NUMBER, &b->cache, 0, 1e6, "GiB on a node for the features of these views (1)"},
        {"seconds", FS_OPTION_NUMBER, &b->seconds, 0.001, 1e5, "of each measurement (5)"},
        {"only", FS_OPTION_TEXT, &b->only, 0, 0, "forward, train or sweep (all three), or layers: each convolution by itself"},
        {NULL},
    };
    fs_status status = fs_options_read(argc, argv, usage, options, NULL);
    MPI_Comm_rank(MPI_COMM_WORLD, &b->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &b->ranks);
    for (int slots = 1; !b->slots; slots *= 2)
        if (slots >= b->ranks)
            b->slots = slots;
    return status ? status : fs_check_slots(b->slots);
}

/* Random images with the labels in turn. */
static fs_status make_data(struct bench *b)
{
    fs_dataset *d = &b->data;
    int images = b->images > b->batch ? b->images : b->batch;
    const fs_network *net = &b->net;
    size_t pixels = (size_t)images * net->height * net->width * net->channels;
    *d = (fs_dataset){
        .images = images, .height = net->height, .width = net->width, .channels = net->channels, .labels = b->labels};
    d->pixels = fs_alloc(pixels, 1, "pixels");
    d->label = fs_alloc((size_t)images, sizeof *d->label, "labels");
    d->label_name = fs_alloc((size_t)b->labels, sizeof *d->label_name, "label names");
    if (!d->pixels || !d->label || !d->label_name)
        return FS_ERROR;
    for (size_t i = 0; i < pixels; i += 16) {
        uint32_t random[4];
        fs_random4(1, FS_RANDOM_AUGMENT, 0, 0, (uint32_t)i, random);
        memcpy(d->pixels + i, random, pixels - i < sizeof random ? pixels - i : sizeof random);
    }
    for (int i = 0; i < images; i++)
        d->label[i] = (uint16_t)(i % b->labels);
    return FS_OK;
}

/* The slowest rank's time since `started`. */
static double took(double started)
{
    double seconds = fs_seconds() - started;
    MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return seconds;
}

static void print_maps(const struct bench *b, const char *what, fs_map_sizes maps)
{
    double mib = sizeof(float) / 1048576.0;
    if (b->rank == 0)
        printf("         %.1f MiB of %s on rank 0, %.1f if none shared memory\n", (double)maps.shared * mib, what,
               (double)maps.alone * mib);
}

/* The products of F(4x4, 3x3) are a fourth of those of direct convolution: so much faster could a network of 3x3 kernels be. */
enum { WINOGRAD_SAVES = 4 };

/* `passes`: forward passes that the work is worth, by its multiply-adds. */
static void print_rate(const struct bench *b, const char *phase, double images, double seconds, double passes)
{
    double rate = images / seconds, gflops = 2 * rate * b->macs * passes / 1e9;
    if (b->rank == 0)
        printf("%-8s %9.1f images/s %9.0f GFLOP/s %6.2f of peak, %.2f of the bound of F(4x4, 3x3)\n", phase, rate, gflops,
               gflops / b->peak, gflops / b->peak / WINOGRAD_SAVES);
    fflush(stdout);
}

static fs_status bench_forward(struct bench *b)
{
    fs_slots own;
    fs_workspace space;
    fs_samples *samples = fs_alloc(1, sizeof *samples, "times");
    fs_slots_create(MPI_COMM_WORLD, b->slots, &own);
    int begin, end;
    fs_slots_share(&own, b->batch, &begin, &end);
    int images = end - begin;
    fs_status status = fs_workspace_create(&b->net, images ? images : 1, FS_FOR_ANSWERS, &space);
    status = fs_agree(MPI_COMM_WORLD, samples ? status : FS_ERROR);
    for (double spent = 0; !status && (spent < b->seconds || samples->count < 3);) {
        double started = fs_seconds();
        for (int n = 0; n < images; n++)
            fs_dataset_scale(&b->data, n, space.input + (size_t)n * fs_op_inputs(b->net.op));
        if (images)
            fs_network_infer(&b->net, images, space.input, 0, NULL, NULL, &space);
        double seconds = took(started);
        fs_samples_add(samples, seconds);
        spent += seconds;
    }
    if (!status) {
        print_rate(b, "forward", b->batch, fs_samples_median(samples), 1);
        print_maps(b, "maps", space.maps);
    }
    free(samples);
    fs_workspace_free(&space);
    return status;
}

/* What a rank alone takes for the transformed weights of a training step, in seconds. */
static double time_of_weights(const struct bench *b)
{
    float *prepared = NULL;
    size_t most = 0;
    double seconds = 0;
    for (int pass = 0; pass < 3; pass++) { /* how much room; forward; backward */
        if (pass == 1 && !(prepared = fs_alloc(most, sizeof *prepared, "prepared weights")))
            return (double)NAN;
        for (int i = 0; i < b->net.ops; i++) {
            const fs_step step = {.op = &b->net.op[i], .slot_images = (b->batch + b->slots - 1) / b->slots};
            const fs_pass own = {.step = &step, .parameter = b->net.parameter, .prepared = prepared};
            const fs_kind *kind = step.op->kind;
            if (!kind->prepare || (i == 0 && pass == 2))
                continue;
            size_t floats = kind->prepared(&step);
            most = floats > most ? floats : most;
            double started = fs_seconds();
            if (pass > 0)
                kind->prepare(&own, pass == 2, 0, 1);
            seconds += pass > 0 ? fs_seconds() - started : 0;
        }
    }
    free(prepared);
    return seconds;
}

/* What a rank alone takes for the step of SGD on all parameters, in seconds. */
static double time_of_sgd(const struct bench *b, const float *gradient)
{
    const fs_group_recipe *group = &b->arch.recipe.conv;
    double least = (double)INFINITY;
    for (int repeat = 0; repeat < 3; repeat++) {
        double started = fs_seconds();
        fs_sgd_step(b->net.parameters, 0, (float)group->momentum, (float)group->weight_decay, gradient, b->net.parameter,
                    b->net.velocity);
        least = fmin(least, fs_seconds() - started);
    }
    return least;
}

static fs_status bench_train(struct bench *b)
{
    fs_slots own;
    fs_slots_create(MPI_COMM_WORLD, b->slots, &own);
    fs_train_settings settings = {.recipe = b->arch.recipe, .batch = b->batch, .slots = b->slots, .seed = 1};
    fs_backprop *backprop = fs_backprop_create(&b->net, &own, b->batch);
    fs_samples *samples = fs_alloc(1, sizeof *samples, "times");
    int *order = fs_alloc((size_t)b->batch, sizeof *order, "the order of the images");
    fs_status status = fs_agree(MPI_COMM_WORLD, backprop && samples && order ? FS_OK : FS_ERROR);
    for (int n = 0; order && n < b->batch; n++)
        order[n] = n;
    settings.recipe.conv.lr = settings.recipe.fc.lr = 1e-3;
    for (double spent = 0; !status && (spent < b->seconds || samples->count < 3);) {
        fs_batch_sums sums;
        double started = fs_seconds();
        fs_train_batch(&settings, &b->data, order, b->batch, 0, &own, backprop, &b->net, &sums);
        double seconds = took(started);
        fs_samples_add(samples, seconds);
        spent += seconds;
    }
    if (!status) {
        print_rate(b, "train", b->batch, fs_samples_median(samples), 3);
        print_maps(b, "maps and their gradients", fs_backprop_maps(backprop));
    }
    double weights = time_of_weights(b), sgd = status ? 0 : time_of_sgd(b, fs_backprop_gradient(backprop));
    if (!status && b->rank == 0)
        printf(
            "         of a step %.1f ms, divided by the ranks of a node, for transforming weights; %.1f ms, by all, for SGD\n",
            weights * 1e3, sgd * 1e3);
    free(order);
    free(samples);
    fs_backprop_free(backprop);
    return status;
}

/* The clock of the probes and of silencing. */
struct clock {
    double end;
    int skipped; /* epochs before the first that counts: in which views are new */
    int least;   /* epochs that count */
    fs_samples samples;
};

static int out_of_time(void *context)
{
    const struct clock *clock = context;
    return fs_seconds() > clock->end && clock->samples.count >= clock->least;
}

static fs_status on_epoch(void *context, int which, const fs_history_row *row, double seconds)
{
    struct clock *clock = context;
    if (which == 0 && row->epoch > clock->skipped)
        fs_samples_add(&clock->samples, seconds);
    return FS_OK;
}

static fs_status on_stop(void *context, int which)
{
    (void)context;
    (void)which;
    return FS_OK;
}

static fs_status drop_fields(void *context, int which, const fs_fields *fields)
{
    (void)context;
    (void)which;
    (void)fields;
    return FS_OK;
}

static fs_status make_probes(const struct bench *b, const fs_plan *plan, fs_probe *probes)
{
    for (int p = 0; p < plan->layers; p++) {
        size_t features = fs_plan_features(plan, p), weights = features * (size_t)b->labels;
        probes[p] = (fs_probe){.layer = plan->layer[p].layer, .features = features};
        probes[p].state.weight = fs_alloc(weights, sizeof(float), "a probe");
        probes[p].state.momentum = fs_alloc(weights, sizeof(float), "a probe");
        if (!probes[p].state.weight || !probes[p].state.momentum)
            return FS_ERROR;
        fs_probe_initialise(&probes[p], b->labels, 1);
    }
    return FS_OK;
}

static fs_status settled(void *clock)
{
    (void)clock;
    return FS_OK;
}

static fs_status train_probes(const struct bench *b, int count, fs_probe *probes, struct clock *clock)
{
    fs_slots own;
    fs_slots_create(MPI_COMM_WORLD, b->slots, &own);
    fs_probe_settings settings = {.epochs = 100000,
                                  .batch = b->batch,
                                  .test_every = 100000,
                                  .lr = 0.01,
                                  .lr_decay = 0.975,
                                  .momentum = 0.975,
                                  .weight_decay = 1e-3,
                                  .views = b->views,
                                  .cache = b->cache,
                                  .seed = 1};
    fs_probe_events events = {clock, on_epoch, on_stop, settled, out_of_time};
    clock->end = fs_seconds() + b->seconds;
    clock->skipped = b->views;
    clock->least = 1;
    fs_status status = fs_probe_train(&own, &b->net, &b->data, &b->data, &settings, probes, count, &events, 0);
    if (status != FS_STOPPED)
        return status;
    double seconds = fs_samples_median(&clock->samples);
    print_rate(b, "probe", b->data.images, seconds, 1);
    if (b->rank == 0)
        printf("         an epoch of %d images for all %d probes: %.3f s\n", b->data.images, count, seconds);
    return FS_OK;
}

static fs_status silence(const struct bench *b, const fs_plan *plan, fs_probe *probes, fs_silence_layer *layers,
                         struct clock *clock)
{
    int filters = 0;
    for (int p = 0; p < plan->layers; p++) {
        const fs_layer_row *row = &plan->layer[p];
        layers[p] = (fs_silence_layer){row->layer, row->filters, row->height * row->width, probes[p].state.weight};
        filters += row->filters;
    }
    clock->samples.count = 0;
    clock->end = INFINITY;
    fs_status status = FS_OK;
    for (double spent = 0; !status && (spent < b->seconds || clock->samples.count < 3);) {
        double started = fs_seconds();
        status =
            fs_silence(MPI_COMM_WORLD, &b->net, &b->data, b->batch, layers, plan->layers, out_of_time, drop_fields, clock, 0);
        double seconds = took(started);
        fs_samples_add(&clock->samples, seconds);
        spent += seconds;
    }
    if (status)
        return status;
    double seconds = fs_samples_median(&clock->samples);
    print_rate(b, "silence", b->data.images, seconds, 1);
    if (b->rank == 0)
        printf("         all %d filters on %d images: %.3f s\n", filters, b->data.images, seconds);
    return FS_OK;
}

static fs_status bench_sweep(struct bench *b)
{
    fs_plan plan;
    fs_status status = fs_plan_create(&b->net, "all", 64, &plan);
    size_t count = (size_t)plan.layers;
    fs_probe *probes = fs_alloc(count, sizeof *probes, "probes");
    fs_silence_layer *layers = fs_alloc(count, sizeof *layers, "layers");
    struct clock *clock = fs_alloc(1, sizeof *clock, "times");
    if (!status)
        status = probes && layers && clock ? make_probes(b, &plan, probes) : FS_ERROR;
    status = fs_agree(MPI_COMM_WORLD, status);
    if (!status)
        status = train_probes(b, plan.layers, probes, clock);
    if (!status)
        status = silence(b, &plan, probes, layers, clock);
    for (size_t p = 0; probes && p < count; p++) {
        free(probes[p].state.weight);
        free(probes[p].state.momentum);
    }
    free(probes);
    free(layers);
    free(clock);
    fs_plan_free(&plan);
    return status;
}

static fs_status bench_layers(struct bench *b)
{
    return b->rank == 0 ? fs_bench_layers(&b->net, (b->batch + b->slots - 1) / b->slots, b->seconds / 10, b->peak / b->ranks)
                        : FS_OK;
}

static const struct {
    const char *name;
    fs_status (*run)(struct bench *b);
    int unasked;
} parts[] = {{"forward", bench_forward, 1}, {"train", bench_train, 1}, {"sweep", bench_sweep, 1}, {"layers", bench_layers, 0}};
enum { PARTS = sizeof parts / sizeof *parts };

static fs_status check_part(const struct bench *b)
{
    for (int i = 0; i < PARTS; i++)
        if (!b->only || strcmp(b->only, parts[i].name) == 0)
            return FS_OK;
    return fs_fail(FS_USAGE, "--only: '%s' is none of forward, train, sweep, layers", b->only);
}

static fs_status measure(struct bench *b)
{
    fs_status status = FS_OK;
    for (int i = 0; i < PARTS && !status; i++)
        if (b->only ? strcmp(b->only, parts[i].name) == 0 : parts[i].unasked)
            status = parts[i].run(b);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    if (b->rank == 0 && !status)
        printf("memory   %9.0f MiB at the most on rank 0\n", (double)use.ru_maxrss / 1024);
    return status;
}

static fs_status make_network(struct bench *b)
{
    fs_layer input;
    fs_status status = fs_arch_open(b->name, &b->arch);
    if (!status)
        status = fs_find_input(&b->arch, b->input, &input);
    if (!status)
        status = fs_network_create(&b->arch, input.size.height, input.size.width, input.units, b->labels, 1, &b->net);
    return status;
}

fs_status fs_cli_bench(int argc, char **argv)
{
    struct bench b;
    fs_launch launch = {0};
    fs_status status = read_arguments(argc, argv, &b);
    if (status)
        return status == FS_STOPPED ? FS_OK : status; /* --help */
    status = check_part(&b);
    if (!status)
        status = make_network(&b);
    if (!status)
        status = make_data(&b);
    status = fs_agree(MPI_COMM_WORLD, status);
    if (!status) {
        b.macs = fs_network_macs(&b.net, 0);
        b.peak = fs_bench_peak();
        MPI_Allreduce(MPI_IN_PLACE, &b.peak, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        fs_describe_launch(argc, argv, 1, &launch);
        if (b.rank == 0)
            printf("filterscope " FS_VERSION " bench: %s, %.1f MMAC an image, batch %d in %d slots, %d ranks; %s; core %s\n"
                   "peak     %9.0f GFLOP/s of float32 multiply-adds\n",
                   b.net.arch, b.macs / 1e6, b.batch, b.slots, b.ranks, launch.libraries, launch.blas_core, b.peak);
        status = fs_agree(MPI_COMM_WORLD, measure(&b));
    }
    fs_network_free(&b.net);
    fs_arch_close(&b.arch);
    fs_dataset_close(&b.data);
    return status;
}
