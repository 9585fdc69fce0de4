/* filterscope eval: the SR of a model file on a data set. */
#include "filterscope/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "filterscope/csv.h"
#include "filterscope/memory.h"
#include "filterscope/share.h"
#include "filterscope/slots.h"
#include "filterscope/stop.h"

struct arguments {
    const char *model, *split, *table;
    int images, batch, safe, mixed;
    fs_data_choice data;
};

/* What it works on, and what comes out. */
struct job {
    struct arguments a;
    fs_model model;
    fs_dataset train, test; /* what isn't needed is empty */
    fs_dataset *data;       /* one of these */
    long long *confusion;   /* [K][K] */
    double loss;
};

static const char usage[] =
    "eval --model MODEL.h5 --data SPEC [--split test|train] [--table confusion|labels|logits] [options]";

static int is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return 1;
    return 0;
}

static fs_status read_arguments(int argc, char **argv, struct arguments *a)
{
    static const char *const splits[] = {"test", "train", NULL}, *const tables[] = {"", "confusion", "labels", "logits", NULL};
    *a = (struct arguments){.split = "test", .table = "", .batch = 100};
    const fs_option options[] = {
        {"model", FS_OPTION_TEXT, &a->model, 0, 0, "model file of filterscope train or analysis/import_torch.py"},
        FS_DATA_OPTIONS(&a->data),
        {"split", FS_OPTION_TEXT, &a->split, 0, 0, "test or train (test)"},
        {"table", FS_OPTION_TEXT, &a->table, 0, 0, "confusion, labels or logits (as CSV, instead of the summary)"},
        {"safe", FS_OPTION_FLAG, &a->safe, 0, 0, "for spreadsheets: a ' before labels that begin with = + - or @"},
        {"images", FS_OPTION_INT, &a->images, 1, 2e9, "the first N images only (all)"},
        {"batch", FS_OPTION_INT, &a->batch, 1, 65536, "images at a time (100)"},
        FS_MIXED_OPTION(&a->mixed),
        {NULL},
    };
    fs_status status = fs_options_read(argc, argv, usage, options, NULL);
    if (!status && (!a->model || !a->data.spec))
        status = fs_fail(FS_USAGE, "usage: filterscope %s", usage);
    if (!status && !is_one_of(a->split, splits))
        status = fs_fail(FS_USAGE, "--split: '%s' is none of test, train", a->split);
    if (!status && !is_one_of(a->table, tables))
        status = fs_fail(FS_USAGE, "--table: '%s' is none of confusion, labels, logits", a->table);
    return status;
}

static fs_status load(struct job *job)
{
    struct arguments *a = &job->a;
    int rank, train = strcmp(a->split, "train") == 0, both = a->data.drop_empty;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    job->data = train ? &job->train : &job->test;
    *(train ? &a->data.train_images : &a->data.test_images) = a->images;
    fs_status status = fs_agree(MPI_COMM_WORLD, rank == 0 ? fs_model_load(a->model, &job->model) : FS_OK);
    if (!status)
        status =
            fs_load_data(&a->data, &job->model, train || both ? &job->train : NULL, NULL, !train || both ? &job->test : NULL);
    if (!status)
        status = fs_share_model(MPI_COMM_WORLD, &job->model);
    if (!status)
        status = fs_check_fits(a->model, &job->model.net, a->data.spec, job->data);
    if (!status)
        status = fs_agree(MPI_COMM_WORLD, fs_dataset_set_scaling(job->data, &job->model.scaling));
    if (status)
        return status;
    size_t labels = (size_t)job->model.net.labels;
    job->confusion = fs_alloc(labels * labels, sizeof *job->confusion, "the confusion matrix");
    return fs_agree(MPI_COMM_WORLD, job->confusion ? FS_OK : FS_ERROR);
}

static void print_logits(void *context, const fs_dataset *data, int first, int images, const float *logits)
{
    const struct job *job = context;
    int labels = job->model.net.labels;
    for (int n = 0; n < images; n++) {
        printf("%d,%d", first + n, data->label[first + n]);
        for (int k = 0; k < labels; k++)
            printf(",%.9g", logits[(size_t)n * labels + k]);
        printf("\n");
    }
}

static long long sum_row(const struct job *job, int label)
{
    long long sum = 0;
    for (int k = 0; k < job->model.net.labels; k++)
        sum += job->confusion[(size_t)label * job->model.net.labels + k];
    return sum;
}

static long long right_of(const struct job *job, int label)
{
    return job->confusion[(size_t)label * job->model.net.labels + label];
}

static void print_labels_csv(const struct job *job)
{
    printf("label,name,images,right,sr\n");
    for (int l = 0; l < job->model.net.labels; l++) {
        long long images = sum_row(job, l);
        printf("%d,", l);
        fs_csv_text(stdout, job->model.label_name[l], FS_LABEL_NAME_BYTES, job->a.safe);
        if (images)
            printf(",%lld,%lld,%.17g\n", images, right_of(job, l), (double)right_of(job, l) / (double)images);
        else
            printf(",0,0,NaN\n");
    }
}

/* Rows are input labels, columns output units. */
static void print_confusion(const struct job *job, const char *separator, const char *format)
{
    int labels = job->model.net.labels;
    for (int l = 0; l < labels; l++)
        for (int k = 0; k < labels; k++) {
            printf(format, job->confusion[(size_t)l * labels + k]);
            printf("%s", k + 1 < labels ? separator : "\n");
        }
}

static void print_confusion_csv(const struct job *job)
{
    int labels = job->model.net.labels;
    for (int k = 0; k < labels; k++)
        printf("%d%s", k, k + 1 < labels ? "," : "\n");
    print_confusion(job, ",", "%lld");
}

static void print_summary(const struct job *job)
{
    enum { MOST_SHOWN = 20 };
    int labels = job->model.net.labels, without = 0;
    long long right = 0;
    for (int l = 0; l < labels; l++) {
        right += right_of(job, l);
        without += sum_row(job, l) == 0;
    }
    printf("eval: %s SR %.4f: %lld of %d right, mean loss %.6f\n", job->a.split, (double)right / job->data->images, right,
           job->data->images, job->loss / job->data->images);
    if (without)
        printf("eval: %d labels have no image\n", without);
    if (labels > MOST_SHOWN) {
        printf("eval: --table confusion prints the %d x %d confusion matrix, --table labels each label's SR\n", labels, labels);
        return;
    }
    printf("label  name                              images   right      SR\n");
    for (int l = 0; l < labels; l++) {
        long long images = sum_row(job, l);
        printf("%5d  %-32s %7lld %7lld", l, job->model.label_name[l], images, right_of(job, l));
        if (images)
            printf("  %6.4f\n", (double)right_of(job, l) / (double)images);
        else
            printf("       -\n");
    }
    printf("confusion: a row an input label, a column an output unit\n");
    print_confusion(job, " ", "%6lld");
}

static void announce(const struct job *job)
{
    fs_config config = {0};
    const fs_network *net = &job->model.net;
    fs_config_set(&config, "model", "%s, CRC %08x", net->arch, fs_network_crc(net));
    fs_config_set(&config, "architecture", "CRC %08x", fs_network_fingerprint(net));
    fs_describe_scaling(&config, net->channels, &job->model.scaling);
    fs_describe_data(&config, job->a.split, job->data);
    fs_print_config("filterscope " FS_VERSION " eval", &config);
}

static fs_status run(struct job *job)
{
    fs_workspace space;
    int rank, logits = strcmp(job->a.table, "logits") == 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fs_status status = fs_agree(MPI_COMM_WORLD, fs_workspace_create(&job->model.net, job->a.batch, FS_FOR_ANSWERS, &space));
    if (status)
        return status;
    if (rank == 0 && !*job->a.table)
        announce(job);
    if (rank == 0 && logits) {
        printf("image,label");
        for (int k = 0; k < job->model.net.labels; k++)
            printf(",unit%d", k);
        printf("\n");
    }
    status = fs_confusion(MPI_COMM_WORLD, &job->model.net, job->data, &space, job->confusion, &job->loss,
                          logits ? print_logits : NULL, job);
    fs_workspace_free(&space);
    if (!status && !isfinite(job->loss))
        status =
            fs_fail(FS_ERROR, "%s: its logits are not finite on these images: the loss is %g", job->a.model, fabs(job->loss));
    if (status || rank > 0 || logits)
        return status;
    if (!*job->a.table)
        print_summary(job);
    else if (strcmp(job->a.table, "labels") == 0)
        print_labels_csv(job);
    else
        print_confusion_csv(job);
    return FS_OK;
}

fs_status fs_cli_eval(int argc, char **argv)
{
    struct job job = {0};
    fs_status status = read_arguments(argc, argv, &job.a);
    if (status)
        return status == FS_STOPPED ? FS_OK : status; /* --help */
    fs_stop_install(0, 0);
    fs_launch launch;
    status = fs_meet_ranks("eval", job.a.mixed, &launch);
    if (!status)
        status = load(&job);
    if (!status)
        status = run(&job);
    free(job.confusion);
    fs_model_free(&job.model);
    fs_dataset_close(&job.train);
    fs_dataset_close(&job.test);
    return status;
}
