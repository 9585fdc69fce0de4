/* filterscope plan: what a sweep will cost. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/cli.h"
#include "cli/sweep.h"
#include "filterscope/silence.h"
#include "filterscope/slots.h"
#include "filterscope/stop.h"

static const char usage[] = "plan --model MODEL.h5 --data SPEC [options of sweep]";

/* Images a second of the whole trunk on this core, from one slot of a batch. */
static fs_status measure_trunk(const struct fs_sweep_job *job, double *rate)
{
    fs_workspace space;
    int images = job->a.settings.probe.batch / job->a.settings.slots;
    images = images < 1 ? 1 : images;
    fs_status status = fs_workspace_create(&job->model.net, images, FS_FOR_PROBES, &space);
    if (status)
        return status;
    double best = 0;
    for (int run = 0; run < 4; run++) {
        double started = fs_seconds();
        fs_network_infer(&job->model.net, images, space.input, job->model.net.layers, NULL, NULL, &space);
        double now = images / (fs_seconds() - started);
        best = now > best ? now : best;
    }
    fs_workspace_free(&space);
    *rate = best;
    return FS_OK;
}

/* Passes of the whole trunk over the training set, for all epochs of the probes: with kept features, later epochs go only as
 * deep as the layers before these. Tells what is kept, and its MiB. */
static double trunk_passes(const struct fs_sweep_job *job, double *kept)
{
    const fs_plan *plan = &job->plan;
    const fs_network *net = &job->model.net;
    const fs_probe_settings *p = &job->a.settings.probe;
    fs_probe probe[FS_MOST_LAYERS] = {0};
    double floats = 0;
    for (int i = 0; i < plan->layers; i++)
        probe[i].features = fs_plan_features(plan, i);
    int first = fs_probe_first_kept(net, p, job->train.images, probe, plan->layers);
    if (first == plan->layers)
        return p->epochs;
    for (int i = first; i < plan->layers; i++)
        floats += (double)p->views * job->train.images * (double)probe[i].features;
    *kept = floats * sizeof(float) / (1 << 20);
    printf("views: features from layer %d on are kept, %.0f MiB on each node of a team\n", plan->layer[first].layer, *kept);
    double before = first ? fs_plan_trunk_cost(net, plan, first - 1) : 0;
    return p->views + (p->epochs - p->views) * before / fs_plan_trunk_cost(net, plan, plan->layers - 1);
}

/* Hours on one core, and MiB of features that are kept. */
static double print_units(const struct fs_sweep_job *job, double rate, double *kept)
{
    const fs_plan *plan = &job->plan;
    const fs_network *net = &job->model.net;
    const fs_probe_settings *p = &job->a.settings.probe;
    double probes = 0, blocks = plan->own_units - plan->layers;
    printf("layer  map              features  probe MAC/image  silence units\n");
    for (int i = 0; i < plan->layers; i++) {
        const fs_layer_row *l = &plan->layer[i];
        int units = (l->filters + job->a.filters_per_unit - 1) / job->a.filters_per_unit;
        printf("%5d  %4d x %3d x %3d %9zu %16.0f %14d\n", l->layer, l->filters, l->height, l->width, fs_plan_features(plan, i),
               fs_plan_probe_cost(net, plan, i), units);
        probes += fs_plan_probe_cost(net, plan, i);
    }
    double deepest = fs_plan_trunk_cost(net, plan, plan->layers - 1), tests = (double)p->epochs / p->test_every;
    double trained = (double)job->train.images, tested = tests * job->test.images;
    double trunk = trunk_passes(job, kept) * trained + tested, logits = (p->epochs * trained + tested) * probes / deepest;
    double hours = (trunk + logits) / rate / 3600;
    if (job->a.settings.literal)
        for (int i = 0; i < plan->layers; i++)
            hours +=
                plan->layer[i].filters * (double)job->test.images / rate * fs_plan_trunk_cost(net, plan, i) / deepest / 3600;
    printf("\nunits: %d probes, %.0f blocks of filters\n", plan->layers, blocks);
    printf("time:  about %.2f hours on one core like this (%.0f images/s measured), %.2f on %d ranks\n", hours, rate,
           hours / job->a.settings.slots, job->a.settings.slots);
    return hours;
}

/* Of phase four: before anything is spared where a map is 0 or a change is hidden. Hours on one core, and MiB on
 * each rank. */
static double print_knockout(const struct fs_sweep_job *job, double rate, double *more)
{
    const fs_plan *plan = &job->plan;
    double images = job->a.settings.knockout_images, cost = 0, filters = 0, sets = 0, floats = 0;
    for (int unit = plan->own_units + 1; unit < plan->units; unit++) {
        const fs_unit *u = &plan->unit[unit];
        int literal = job->a.settings.literal;
        cost += literal ? u->count * fs_network_macs(&job->model.net, 0) : fs_plan_knockout_cost(plan, unit);
        *(u->kind == FS_UNIT_KNOCKOUT ? &filters : &sets) += u->count;
        floats = fmax(floats, (double)(u->kind == FS_UNIT_KNOCKOUT ? plan->cut : plan->whole)[u->index].floats);
    }
    *more = floats * job->a.settings.probe.batch * sizeof(float) / (1 << 20);
    double passes = cost / fs_network_macs(&job->model.net, 0), hours = passes * images / rate / 3600;
    printf(
        "knock-out: %d blocks of %.0f filters and %.0f groups and points of curves, %.0f experiments with %.0f images at the "
        "price of %.0f passes\n",
        plan->units - plan->own_units - 1, filters, sets, (filters + sets) * images, images, passes);
    printf("time:  about %.2f hours on one core like this, at the most, %.2f on %d ranks; %.0f MiB more on each rank\n", hours,
           hours / job->a.settings.slots, job->a.settings.slots, *more);
    double blocks = plan->units - plan->own_units - 1; /* each is one rank's */
    printf("in about an hour: KNOCKOUT=%s sbatch --ntasks=%.0f jobs/vgg16_sweep.sh\n", job->a.knockout,
           ceil(hours < blocks ? hours : blocks));
    return hours;
}

/* The setting of jobs/vgg16_sweep.sh that is this option; NULL: it is one of SWEEP_OPTIONS. */
static const char *setting_of(const char *word)
{
    static const char *const settings[][2] = {
        {"--model", "MODEL"}, {"--data", "DATA"}, {"--out", "RESULTS"}, {"--epochs", "PROBE_EPOCHS"}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strcmp(word, settings[i][0]) == 0)
            return settings[i][1];
    return NULL;
}

static void print_quoted(const char *text)
{
    for (putchar('\''); *text; text++)
        *text == '\'' ? (void)fputs("'\\''", stdout) : (void)putchar(*text);
    putchar('\'');
}

/* MiB of images, which the ranks of a node have in common. */
static double images_of(const struct fs_sweep_job *job)
{
    const fs_dataset *test = &job->test;
    return ((job->train.stream ? 0.0 : job->train.images) + test->images) * test->height * test->width * test->channels /
           (1 << 20);
}

/* MiB on each rank for phase three's fields: twice those of the largest layer, since they get half of what is free. */
static double fields_of(const struct fs_sweep_job *job)
{
    int most = fs_plan_most_filters(&job->plan), ranks = job->a.settings.slots;
    return 2 * fs_silence_bytes(job->model.net.labels, ranks, ranks, most, most) / ranks / (1 << 20);
}

/* This sweep as a job: a rank a slot, time for twice the work and a start, and half as much memory again as this process
 * has had, which holds the same model and maps of a slot; of `common` MiB, which it has, and of `kept`, each rank its part. */
static void print_job(int argc, char **argv, int ranks, double hours, double common, double kept, double more)
{
    enum { START = 10, ROUND = 50 }; /* minutes; MiB */
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double minutes = ceil(START + 2 * 60 * hours / ranks), own = (double)used.ru_maxrss / 1024 - common,
           memory = 1.5 * (own + common / ranks) + kept / ranks + more;
    printf("job:   EPOCHS=0 ");
    for (int i = 1; i + 1 < argc; i++) {
        const char *setting = setting_of(argv[i]);
        if (!setting)
            continue;
        printf("%s=", setting);
        print_quoted(argv[++i]);
        putchar(' ');
    }
    int others = 0;
    for (int i = 1; i < argc; i++) {
        if (setting_of(argv[i]))
            i++;
        else
            printf("%s%s", others++ ? " " : "SWEEP_OPTIONS='", argv[i]);
    }
    printf("%ssbatch --ntasks=%d --time=%.0f:%02.0f:00 --mem-per-cpu=%.0fM jobs/vgg16_sweep.sh\n", others ? "' " : "", ranks,
           floor(minutes / 60), fmod(minutes, 60), ROUND * ceil(memory / ROUND));
}

fs_status fs_cli_plan(int argc, char **argv)
{
    struct fs_sweep_job job = {0};
    double rate = 0, kept = 0, more = 0;
    fs_status status = fs_sweep_read_arguments(argc, argv, usage, 0, &job.a);
    if (status)
        return status == FS_STOPPED ? FS_OK : status;
    status = fs_sweep_load(&job);
    if (!status) {
        fs_sweep_take_slots(&job, NULL);
        status = measure_trunk(&job, &rate);
    }
    if (!status) {
        fs_results_plan plan = fs_sweep_describe(&job, fs_sweep_parts(&job));
        fs_print_config("filterscope " FS_VERSION " plan", &job.config);
        double hours = print_units(&job, rate, &kept);
        if (job.a.knockout)
            hours += print_knockout(&job, rate, &more);
        more = fmax(more, fields_of(&job)); /* a phase after the other */
        printf("file:  %.1f MiB\n", (double)fs_results_bytes(&plan) / (1 << 20));
        print_job(argc, argv, job.a.settings.slots, hours, images_of(&job), kept, more);
    }
    fs_sweep_release(&job);
    return status;
}
