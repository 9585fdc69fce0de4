/* A data set that opens holds together. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "filterscope/dataset.h"
#include "fuzz.h"

void fuzz_dataset(const char *spec, fs_split split)
{
    fs_dataset data;
    fs_status status = fs_dataset_open(spec, split, 0, &data);
    if (status) {
        fuzz_expect_refusal(status);
        fuzz_expect(!data.pixels && !data.label && !data.label_name);
        return;
    }
    fuzz_expect(data.images >= 1 && data.labels >= 2 && data.height >= 1 && data.width >= 1);
    for (int i = 0; i < data.images; i++)
        fuzz_expect(data.label[i] < data.labels);
    for (int k = 0; k < data.labels; k++)
        fuzz_expect(memchr(data.label_name[k], 0, FS_LABEL_NAME_BYTES) &&
                    fs_text_check("name", data.label_name[k], strlen(data.label_name[k])) == FS_OK);
    float *x = calloc((size_t)data.height * (size_t)data.width * (size_t)data.channels, sizeof *x);
    fs_dataset_scale(&data, data.images - 1, x);
    fs_dataset_augment(&data, data.images - 1, 1, 1, x);
    free(x);
    fs_dataset_close(&data);
}
