/* An IDX data set: the input is one byte (bit 0: images packed, bit 1: labels packed), 16 bits length of the images file,
 * little-endian, that file, and the labels file. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "filterscope/dataset.h"
#include "fuzz.h"

static char spec[160];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(spec, sizeof spec, "idx:%s", fuzz_path(""));
    return 0;
}

static void put(const char *split, const char *kind, int packed, const uint8_t *bytes, size_t size)
{
    char name[64];
    for (int form = 0; form < 2; form++) {
        snprintf(name, sizeof name, "%s-%s%s", split, kind, form ? ".gz" : "");
        if (form == packed)
            fuzz_write(fuzz_path(name), bytes, size);
        else
            unlink(fuzz_path(name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    size_t images = data[1] | data[2] << 8, rest = size - 3;
    images = images < rest ? images : rest;
    for (int s = 0; s < 2; s++) {
        put(s ? "t10k" : "train", "images-idx3-ubyte", data[0] & 1, data + 3, images);
        put(s ? "t10k" : "train", "labels-idx1-ubyte", data[0] >> 1 & 1, data + 3 + images, rest - images);
    }
    for (int s = 0; s < 2; s++)
        fuzz_dataset(spec, s ? FS_TEST : FS_TRAIN);
    return 0;
}
