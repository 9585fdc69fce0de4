/* A CIFAR data set: the input is one byte (bit 0: CIFAR-100), 16 bits length of the file of names, little-endian, that file,
 * and the records, which every batch file has. */
#include <stdio.h>

#include "filterscope/dataset.h"
#include "fuzz.h"

static char folder[128];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(folder, sizeof folder, "%s", fuzz_path(""));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const files[2][6] = {
        {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"},
        {"train.bin", "test.bin"}};
    if (size < 3)
        return 0;
    int hundred = data[0] & 1;
    size_t names = data[1] | data[2] << 8, rest = size - 3;
    names = names < rest ? names : rest;
    fuzz_write(fuzz_path(hundred ? "fine_label_names.txt" : "batches.meta.txt"), data + 3, names);
    for (int i = 0; i < 6 && files[hundred][i]; i++)
        fuzz_write(fuzz_path(files[hundred][i]), data + 3 + names, rest - names);
    char spec[160];
    snprintf(spec, sizeof spec, "%s:%s", hundred ? "cifar100" : "cifar10", folder);
    for (int s = 0; s < 2; s++)
        fuzz_dataset(spec, s ? FS_TEST : FS_TRAIN);
    return 0;
}
