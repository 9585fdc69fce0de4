#include "phases/tally.h"

#include <stdlib.h>

#include "filterscope/layers.h"
#include "filterscope/memory.h"

fs_status fs_knockout_create(int filters, int labels, fs_knockout *knockout)
{
    size_t n = (size_t)filters, k = (size_t)labels, answers = labels <= FS_KNOCKOUT_MOST_ANSWERS;
    *knockout = (fs_knockout){.right = fs_alloc(n * k, sizeof(int32_t), "right answers"),
                              .answers = answers ? fs_alloc(n * k * k, sizeof(int32_t), "answers") : NULL,
                              .changed = fs_alloc(n, sizeof(int32_t), "changed answers"),
                              .loss = fs_alloc(n * k, sizeof(double), "losses"),
                              .work = fs_alloc(n, sizeof *knockout->work, "numbers of experiments")};
    if (knockout->right && (knockout->answers || !answers) && knockout->changed && knockout->loss && knockout->work)
        return FS_OK;
    fs_knockout_free(knockout);
    return FS_ERROR;
}

void fs_knockout_free(fs_knockout *knockout)
{
    free(knockout->right);
    free(knockout->answers);
    free(knockout->changed);
    free(knockout->loss);
    free(knockout->work);
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
    *loss = fs_softmax_loss(1, in->net->labels, logits, &in->test->label[image], 0, 1.0, NULL, &right);
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
