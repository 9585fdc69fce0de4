/* Data sets of the sub-commands: what is read, which labels are used, what they are called, what a configuration says of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "filterscope/share.h"
#include "filterscope/slots.h"

/* " 1-26, 30" of number[labels], cut to what fits. */
static void list_ranges(int labels, const int32_t *number, char *text, size_t size)
{
    size_t used = 0;
    for (int k = 0, last; k < labels && used < size; k = last + 1) {
        for (last = k; last + 1 < labels && number[last + 1] == number[last] + 1;)
            last++;
        used += (size_t)snprintf(text + used, size - used, "%s%d", k ? ", " : " ", number[k]);
        if (last > k && used < size)
            used += (size_t)snprintf(text + used, size - used, "-%d", number[last]);
    }
    if (used >= size)
        memcpy(text + size - 4, "...", 4);
}

static void describe_labels(fs_config *config, const fs_dataset *data)
{
    char ranges[100];
    uint32_t crc = fs_crc32c(0, data->number, (size_t)data->labels * sizeof *data->number);
    list_ranges(data->labels, data->number, ranges, sizeof ranges);
    fs_config_set(config, "labels", "%d of the set's %d:%s, CRC %08x", data->labels, data->set_labels, ranges, crc);
}

void fs_describe_data(fs_config *config, const char *key, const fs_dataset *data)
{
    fs_config_set(config, key, "%d images of %dx%dx%d, %d labels, CRC %08x", data->images, data->height, data->width,
                  data->channels, data->labels, data->crc);
    if (data->number)
        describe_labels(config, data);
}

static void list_numbers(int count, const double *values, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < count && i < 3 && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %.9g", values[i]);
}

void fs_describe_scaling(fs_config *config, int channels, const fs_scaling *s)
{
    char mean[64] = "", std[64] = "";
    uint32_t crc = fs_crc32c(0, s->pixel, sizeof s->pixel);
    crc = fs_crc32c(crc, s->mean, (size_t)channels * sizeof *s->mean);
    crc = fs_crc32c(crc, s->std, (size_t)channels * sizeof *s->std);
    list_numbers(channels, s->mean, mean, sizeof mean);
    list_numbers(channels, s->std, std, sizeof std);
    fs_config_set(config, "scaling", "pixels %.9g .. %.9g, mean%s, std%s, CRC %08x", s->pixel[0], s->pixel[1], mean, std, crc);
}

/* 1 where the labels that have images are as many as the network's. */
static int fits_without_empty(const fs_network *net, const fs_dataset *data)
{
    int32_t *number = NULL;
    int labels = 0;
    fs_status status = data->number ? FS_ERROR : fs_dataset_used_labels(data, data, &number, &labels);
    free(number);
    return !status && labels == net->labels;
}

fs_status fs_check_fits(const char *path, const fs_network *net, const char *spec, const fs_dataset *data)
{
    if (net->height == data->height && net->width == data->width && net->channels == data->channels &&
        net->labels == data->labels)
        return FS_OK;
    fs_fail(FS_MISMATCH, "%s: was trained on %dx%dx%d images with %d labels, %s has %dx%dx%d with %d", path, net->height,
            net->width, net->channels, net->labels, spec, data->height, data->width, data->channels, data->labels);
    if (fits_without_empty(net, data))
        fs_fail(FS_MISMATCH, "%s; --drop-empty-labels leaves %d", fs_message(), net->labels);
    return FS_MISMATCH;
}

fs_status fs_scale_data(const fs_scaling *scaling, fs_dataset *train, fs_dataset *test)
{
    fs_status status = fs_dataset_set_scaling(train, scaling);
    if (!status)
        status = fs_dataset_set_scaling(test, scaling);
    return fs_agree(MPI_COMM_WORLD, status);
}

static fs_status check_splits(const char *spec, const fs_dataset *train, const fs_dataset *test)
{
    if (train->height == test->height && train->width == test->width && train->channels == test->channels)
        return FS_OK;
    return fs_fail(FS_ERROR, "%s: training images are %dx%dx%d, test images %dx%dx%d", spec, train->height, train->width,
                   train->channels, test->height, test->width, test->channels);
}

/* Leaves out the labels without a training or a test image. */
static fs_status drop_empty(const char *spec, fs_dataset *train, fs_dataset *test)
{
    int32_t *number;
    int labels;
    fs_status status = fs_dataset_used_labels(train, test, &number, &labels);
    if (!status && labels < 2)
        status = fs_fail(FS_ERROR, "%s: %d of %d labels have both training and test images: a set needs at least 2", spec,
                         labels, train->labels);
    if (!status && labels < train->labels)
        status = fs_dataset_keep_labels(train, labels, number);
    if (!status && labels < test->labels)
        status = fs_dataset_keep_labels(test, labels, number);
    free(number);
    return status;
}

/* number[] of `text`, as 0-9,12: rising numbers below FS_MAX_LABELS, and ranges of them. */
static fs_status read_labels(const char *text, int32_t *number, int *labels)
{
    const char *rest = text;
    for (*labels = 0;; rest++) {
        int used = 0, first, last, least = *labels ? number[*labels - 1] + 1 : 0;
        if (strspn(rest, "0123456789") == 0 || sscanf(rest, "%5d%n", &first, &used) != 1)
            return fs_fail(FS_USAGE, "--keep-labels: '%s' is no list of labels, as 0-9,12 is, at '%s'", text, rest);
        rest += used;
        last = first;
        used = 0;
        if (*rest == '-' && (strspn(rest + 1, "0123456789") == 0 || sscanf(rest, "-%5d%n", &last, &used) != 1))
            return fs_fail(FS_USAGE, "--keep-labels: '%s' is no list of labels, as 0-9,12 is, at '%s'", text, rest);
        rest += used;
        if (first < least || last < first || last >= FS_MAX_LABELS || (*rest && *rest != ','))
            return fs_fail(FS_USAGE, "--keep-labels: '%s': labels rise, are below %d and stand between commas", text,
                           FS_MAX_LABELS);
        for (int label = first; label <= last; label++)
            number[(*labels)++] = label;
        if (!*rest)
            return *labels > 1 ? FS_OK : fs_fail(FS_USAGE, "--keep-labels: '%s' is one label, a set has two or more", text);
    }
}

static fs_status keep_labels(const char *text, fs_dataset *train, fs_dataset *test)
{
    int labels;
    int32_t *number = fs_alloc(FS_MAX_LABELS, sizeof *number, "numbers of labels");
    fs_status status = number ? read_labels(text, number, &labels) : FS_ERROR;
    if (!status)
        status = fs_dataset_keep_labels(train, labels, number);
    if (!status)
        status = fs_dataset_keep_labels(test, labels, number);
    free(number);
    return status == FS_MISMATCH ? fs_fail(FS_USAGE, "--keep-labels: %s", fs_message()) : status;
}

static fs_status choose_labels(const fs_data_choice *choice, const fs_model *model, fs_dataset *train, fs_dataset *test)
{
    fs_status status = FS_OK;
    if (model && model->label_number) {
        if (train)
            status = fs_dataset_keep_labels(train, model->net.labels, model->label_number);
        if (test && !status)
            status = fs_dataset_keep_labels(test, model->net.labels, model->label_number);
        return status ? fs_fail(status, "%s: %s", choice->spec, fs_message()) : FS_OK;
    }
    if (choice->keep_labels)
        return keep_labels(choice->keep_labels, train, test);
    return choice->drop_empty ? drop_empty(choice->spec, train, test) : FS_OK;
}

/* The names of the file go to the data and, where that has as many labels, to the model. */
static fs_status name_labels(const char *path, fs_model *model, fs_dataset *train, fs_dataset *test)
{
    char(*name)[FS_LABEL_NAME_BYTES];
    int count;
    fs_status status = fs_label_names_read(path, &name, &count);
    fs_dataset *splits[] = {train, test};
    for (int i = 0; i < 2 && !status; i++) {
        fs_dataset *data = splits[i];
        if (data)
            status = fs_dataset_set_names(data, path, count, (const char(*)[FS_LABEL_NAME_BYTES])name);
        if (data && !status && model && model->net.labels == data->labels)
            memcpy(model->label_name, data->label_name, (size_t)data->labels * sizeof *name);
    }
    free(name);
    return status;
}

static uint64_t memory_for(const fs_data_choice *choice)
{
    return choice->memory > 0 ? (uint64_t)(choice->memory * (1 << 30)) + 1 : fs_memory_available() / 2;
}

static int has_company(void)
{
    int ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    return ranks > 1;
}

/* On rank 0. */
static fs_status read_splits(const fs_data_choice *choice, fs_model *model, fs_dataset *train, fs_dataset *held,
                             fs_dataset *test)
{
    fs_status status = FS_OK;
    fs_data_request request = {
        .split = FS_TRAIN, .limit = choice->train_images, .unnamed = choice->label_names != NULL, .shared = has_company()};
    request.memory = memory_for(choice);
    if (train)
        status = fs_dataset_open_as(choice->spec, &request, train);
    request.split = FS_TEST;
    request.memory = 0;
    request.limit = choice->test_images;
    if (train)
        request.labels = train->labels;
    else if (model)
        request.labels = model->label_number ? model->label_number[model->net.labels - 1] + 1 : model->net.labels;
    if (test && !status)
        status = fs_dataset_open_as(choice->spec, &request, test);
    if (train && test && !status)
        status = check_splits(choice->spec, train, test);
    if (!status)
        status = choose_labels(choice, model, train, test);
    if (!status && choice->label_names)
        status = name_labels(choice->label_names, model, train, test);
    if (!status && choice->hold_back > 0)
        status = fs_dataset_hold_back(train, choice->hold_back, held);
    return status;
}

fs_status fs_load_data(const fs_data_choice *choice, fs_model *model, fs_dataset *train, fs_dataset *held, fs_dataset *test)
{
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fs_status status = fs_agree(MPI_COMM_WORLD, rank == 0 ? read_splits(choice, model, train, held, test) : FS_OK);
    fs_dataset *splits[] = {train, choice->hold_back > 0 ? held : NULL, test};
    for (int i = 0; i < 3 && !status; i++)
        if (splits[i])
            status = fs_share_dataset(MPI_COMM_WORLD, splits[i]);
    return status;
}

void fs_print_stream_note(const char *command, const fs_dataset *train)
{
    if (train->stream)
        printf("%s: %.1f GiB of training images stay in %s and are read as they are needed\n", command,
               (double)fs_stream_stored(train->stream)->image * train->images / (1 << 30),
               fs_stream_stored(train->stream)->path);
}

fs_status fs_check_all_labels(const char *spec, const fs_dataset *train, const fs_dataset *test)
{
    int32_t *number;
    int labels, empty = 0;
    fs_status status = fs_dataset_used_labels(train, test, &number, &labels);
    while (!status && empty < labels && number[empty] == empty)
        empty++;
    if (!status && labels < train->labels)
        status =
            fs_fail(FS_ERROR,
                    "%s: no training or no test image of label %d (%s): a sweep needs both. --drop-empty-labels leaves such "
                    "labels out: %d of %d",
                    spec, empty, train->label_name[empty], train->labels - labels, train->labels);
    free(number);
    return status;
}

/* What pandas.read_csv takes for a missing value unless told otherwise; R takes the first. */
static int reads_as_missing(const char *name)
{
    static const char *const missing[] = {"NA",   "N/A",  "n/a",    "#N/A",    "#N/A N/A", "#NA",
                                          "<NA>", "nan",  "NaN",    "-nan",    "-NaN",     "NULL",
                                          "null", "None", "1.#IND", "1.#QNAN", "-1.#IND",  "-1.#QNAN"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        if (strcmp(name, missing[i]) == 0)
            return 1;
    return 0;
}

void fs_print_name_notes(const char *command, int labels, const char (*name)[FS_LABEL_NAME_BYTES])
{
    int first, second, missing = 0;
    if (fs_label_names_alike(labels, name, &first, &second) == FS_OK && first >= 0)
        printf("%s: note: labels %d and %d have the same name, %s\n", command, first, second, name[first]);
    while (missing < labels && !reads_as_missing(name[missing]))
        missing++;
    if (missing < labels)
        printf("%s: note: label %d is named %s, which readers of CSV take for a missing value unless told "
               "(analysis/README.md: read_csv)\n",
               command, missing, name[missing]);
}
