/* Which of a set's labels are used. A label without images has no place in a network: its output unit would be trained on
 * nothing, its row of a field would be the mean of nothing. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "readers.h"

fs_status fs_dataset_used_labels(const fs_dataset *train, const fs_dataset *test, int32_t **number, int *labels)
{
    enum { IN_TRAIN = 1, IN_TEST = 2, IN_BOTH = 3 };
    *labels = 0;
    *number = fs_alloc((size_t)train->labels, sizeof **number, "numbers of labels");
    uint8_t *seen = fs_alloc((size_t)train->labels, 1, "labels");
    fs_status status = *number && seen ? FS_OK : FS_ERROR;
    for (int i = 0; !status && i < train->images; i++)
        seen[train->label[i]] |= IN_TRAIN;
    for (int i = 0; !status && i < test->images; i++)
        seen[test->label[i]] |= IN_TEST;
    for (int k = 0; !status && k < train->labels; k++)
        if (seen[k] == IN_BOTH)
            (*number)[(*labels)++] = k;
    free(seen);
    return status;
}

/* kept[set_labels]: what each label of the set becomes, -1 where it is left out. */
static int32_t *invert(int labels, const int32_t *number, int set_labels)
{
    int32_t *kept = fs_alloc((size_t)set_labels, sizeof *kept, "numbers of labels");
    for (int k = 0; kept && k < set_labels; k++)
        kept[k] = -1;
    for (int k = 0; kept && k < labels; k++)
        kept[number[k]] = k;
    return kept;
}

/* Moves the images whose labels are kept to the front. */
static void keep_images(fs_dataset *data, const int32_t *kept)
{
    int images = 0;
    for (int i = 0; i < data->images; i++) {
        int32_t label = kept[data->label[i]];
        if (label < 0)
            continue;
        fs_data_move(data, i, images);
        data->label[images++] = (uint16_t)label;
    }
    data->images = images; /* of a stream's rows, the first */
}

fs_status fs_dataset_keep_labels(fs_dataset *data, int labels, const int32_t *number)
{
    if (number[labels - 1] >= data->labels)
        return fs_fail(FS_MISMATCH, "label %d is used, but this set has %d labels", number[labels - 1], data->labels);
    int32_t *kept = invert(labels, number, data->labels);
    data->number = fs_alloc((size_t)labels, sizeof *number, "numbers of labels");
    if (!kept || !data->number) {
        free(kept);
        return FS_ERROR;
    }
    memcpy(data->number, number, (size_t)labels * sizeof *number);
    for (int k = 0; k < labels; k++)
        memmove(data->label_name[k], data->label_name[number[k]], sizeof *data->label_name);
    keep_images(data, kept);
    free(kept);
    data->set_labels = data->labels;
    data->labels = labels;
    if (!data->images)
        return fs_fail(FS_ERROR, "no image has one of the %d labels that are used", labels);
    return fs_data_sum(data);
}
