/* The text of an architecture: it is read to its end, or refused. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/architecture.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(size + 1, 1);
    uint32_t crc;
    fuzz_expect(text);
    memcpy(text, data, size);
    const fs_arch arch = {.name = "fuzzed", .text = text};
    fs_status status = fs_arch_fingerprint(&arch, &crc);
    if (status)
        fuzz_expect_refusal(status);
    free(text);
    return 0;
}
