#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/silence.h"

fs_status fs_fields_create(int filters, int labels, fs_fields *fields)
{
    size_t n = (size_t)filters, k = (size_t)labels;
    fields->field = fs_alloc(n * k * k, sizeof(float), "fields");
    fields->right = fs_alloc(n, sizeof(int32_t), "right answers");
    fields->chosen = fs_alloc(n * k, sizeof(int32_t), "selected units");
    if (fields->field && fields->right && fields->chosen)
        return FS_OK;
    fs_fields_free(fields);
    return FS_ERROR;
}

void fs_fields_free(fs_fields *fields)
{
    free(fields->field);
    free(fields->right);
    free(fields->chosen);
    *fields = (fs_fields){0};
}

fs_status fs_silence_check_labels(const fs_dataset *test)
{
    uint8_t *seen = fs_alloc((size_t)test->labels, 1, "labels");
    if (!seen)
        return FS_ERROR;
    for (int n = 0; n < test->images; n++)
        seen[test->label[n]] = 1;
    fs_status status = FS_OK;
    for (int k = 0; k < test->labels && !status; k++)
        if (!seen[k])
            status = fs_fail(FS_ERROR, "no test image of label %d (%s) among %d: its averaged field is not defined", k,
                             test->label_name[k], test->images);
    free(seen);
    return status;
}
