#include "phases/tally.h"

#include <math.h>
#include <stdlib.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"

fs_status fs_knockout_create(int filters, int labels, fs_knockout *knockout)
{
    size_t n = (size_t)filters, k = (size_t)labels, answers = labels <= FS_KNOCKOUT_MOST_ANSWERS;
    *knockout = (fs_knockout){.losses = n * k, .counts = n * (k + answers * k * k + 1 + FS_WORK_COLUMNS)};
    knockout->loss = fs_alloc(fs_knockout_bytes(knockout), 1, "counts of experiments");
    if (!knockout->loss)
        return *knockout = (fs_knockout){0}, FS_ERROR;
    knockout->right = (int32_t *)(knockout->loss + knockout->losses);
    knockout->changed = knockout->right + n * k;
    knockout->work = (int32_t(*)[FS_WORK_COLUMNS])(knockout->changed + n);
    knockout->answers = answers ? (int32_t *)(knockout->work + n) : NULL;
    return FS_OK;
}

size_t fs_knockout_bytes(const fs_knockout *knockout)
{
    return knockout->losses * sizeof(double) + knockout->counts * sizeof(int32_t);
}

void fs_knockout_add(const fs_knockout *more, fs_knockout *sum)
{
    for (size_t i = 0; i < sum->losses; i++)
        sum->loss[i] += more->loss[i];
    for (size_t i = 0; i < sum->counts; i++)
        sum->right[i] += more->right[i];
}

void fs_knockout_free(fs_knockout *knockout)
{
    free(knockout->loss);
    *knockout = (fs_knockout){0};
}

void fs_tally(const fs_knockout_input *in, const fs_untouched *untouched, int first, int images, const int32_t *answer,
              const double *loss, int f, fs_knockout *knockout)
{
    size_t labels = (size_t)in->net->labels, filter = (size_t)f;
    for (int n = 0; n < images; n++) {
        size_t label = in->test->label[first + n], row = filter * labels + label;
        knockout->right[row] += (size_t)answer[n] == label;
        knockout->loss[row] += loss[n];
        knockout->changed[filter] += answer[n] != untouched->answer[first + n];
        if (knockout->answers)
            knockout->answers[row * labels + (size_t)answer[n]]++;
    }
}

void fs_knockout_of_untouched(const fs_knockout_input *in, const fs_untouched *untouched, fs_knockout *knockout)
{
    fs_tally(in, untouched, 0, in->images, untouched->answer, untouched->loss, 0, knockout);
}

int32_t fs_answer(const fs_knockout_input *in, int image, const float *logits, double *loss)
{
    int right;
    *loss = round(fs_softmax_loss(1, in->net->labels, logits, &in->test->label[image], 0, 1.0, NULL, &right) / FS_LOSS_STEP) *
            FS_LOSS_STEP;
    return fs_argmax(in->net->labels, logits);
}

fs_filter_set *fs_single_filters(int first, int count)
{
    size_t n = (size_t)count;
    fs_filter_set *set = fs_alloc(n, sizeof *set + sizeof(int), "filters");
    int *filter = (int *)(set + (set ? n : 0));
    for (int f = 0; set && f < count; f++) {
        filter[f] = first + f;
        set[f] = (fs_filter_set){&filter[f], 1};
    }
    return set;
}

void fs_load_images(const fs_knockout_input *in, int first, int images, float *x)
{
    for (int n = 0; n < images; n++)
        fs_dataset_scale(in->test, first + n, x + (size_t)n * fs_op_inputs(in->net->op));
}
