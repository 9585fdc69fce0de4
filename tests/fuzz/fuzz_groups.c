/* A file of groups of filters: its groups are of layers and filters that are there, each once, or it is refused. */
#include <string.h>

#include "filterscope/sets.h"
#include "fuzz.h"

/* Three layers of 3, 64 and 300 filters; those of the second are not knocked out. */
static fs_unit unit[] = {{FS_UNIT_KNOCKOUT, 0, 0, 3}, {FS_UNIT_KNOCKOUT, 2, 0, 300}};
static const fs_plan plan = {.layers = 3,
                             .layer = {{.layer = 1, .filters = 3, .name = "conv1"},
                                       {.layer = 2, .filters = 64, .name = "conv2"},
                                       {.layer = 12, .filters = 300, .name = "fc1"}},
                             .units = 2,
                             .unit = unit};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static void check_group(const fs_group *group)
{
    uint8_t taken[300] = {0};
    fuzz_expect((group->index == 0 || group->index == 2) && group->count > 0);
    for (int i = 0; i < group->count; i++) {
        int filter = group->filter[i];
        fuzz_expect(filter >= 0 && filter < plan.layer[group->index].filters && !taken[filter]);
        taken[filter] = 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fs_group_list list;
    fs_status status = fs_groups_parse("fuzzed", (const char *)data, size, &plan, &list);
    if (status)
        fuzz_expect_refusal(status);
    else
        fuzz_expect(list.groups > 0);
    for (int g = 0; g < list.groups; g++)
        check_group(&list.group[g]);
    fs_groups_free(&list);
    return 0;
}
