/* Edits of a model file: fs_model_load gives a model that holds together, or a refusal. */
#include <stdio.h>

#include "filterscope/model_file.h"
#include "fuzz.h"

static const char *path;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static char kept[128];
    static char names[2][FS_LABEL_NAME_BYTES] = {"cat", "dog"};
    static fs_train_row history[3] = {{1, 0.1, 0.1, 0.7, 0.5, 0.5, 1}, {2, 0.1, 0.1, 0.6, 0.6, 0.5, 1}};
    fs_model model = {.label_name = names, .epochs = 3, .epoch = 2, .batch = 1, .right = 10, .loss = 0.5, .history = history};
    const fs_arch arch = {.name = "small", .text = "conv 4 3x3 pad 1 bias\nbn\nrelu\nmaxpool 2\nfc 8 bias\nbn\nrelu\nfc K\n"};
    fs_config_set(&model.config, "arch", "small");
    fs_config_set(&model.config, "lr", "0.1");
    fuzz_expect(fs_network_create(&arch, 8, 8, 1, 2, 1, &model.net) == FS_OK);
    snprintf(kept, sizeof kept, "%s", fuzz_path("model.h5"));
    path = kept;
    fuzz_expect(fs_model_save(path, &model) == FS_OK);
    fs_network_free(&model.net);
    fuzz_base(path);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fs_model model;
    fuzz_edit(data, size);
    fs_status status = fs_model_load(path, &model);
    if (status) {
        fuzz_expect_refusal(status);
        fuzz_expect(!model.history && !model.label_name && !model.net.ops);
    } else {
        fuzz_expect(model.net.labels >= 2 && model.epoch >= 0 && model.epoch <= model.epochs);
        fuzz_expect(fs_model_is(path));
        fs_model_free(&model);
    }
    fuzz_restore();
    return 0;
}
