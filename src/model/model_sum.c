/* The checksums of the model file. */
#include "model/model_sum.h"

#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/mask.h"
#include "model/arrays.h"
#include "model/label_numbers.h"

static fs_status sum_array(const fs_array *array, void *context)
{
    uint32_t *crc = context;
    *crc = fs_crc32c(*crc, array->values, array->count * sizeof(float));
    return FS_OK;
}

static uint32_t sum_text(uint32_t crc, const char *text)
{
    return fs_crc32c(crc, text, strlen(text) + 1);
}

int fs_model_version(const fs_model *model)
{
    if (model->last.parameter || fs_config_get(&model->config, "held-back"))
        return FS_MODEL_VERSION_LONG;
    return fs_network_masked(&model->net) ? FS_MODEL_VERSION_MASKED : FS_MODEL_VERSION;
}

uint32_t fs_model_sum_history(const fs_model *model)
{
    int is_long = fs_model_version(model) == FS_MODEL_VERSION_LONG;
    uint32_t crc = 0;
    for (int e = 0; e < model->epoch; e++) {
        const fs_train_row *r = &model->history[e];
        const double row[] = {r->epoch, r->lr, r->fc_lr, r->train_loss, r->train_sr, r->test_sr, r->seconds};
        const double more[] = {r->held_sr, r->last_test_sr, r->last_held_sr};
        crc = fs_crc32c(crc, row, sizeof row);
        crc = is_long ? fs_crc32c(crc, more, sizeof more) : crc;
    }
    return crc;
}

uint32_t fs_model_sum(const fs_model *model)
{
    const fs_network *net = &model->net;
    const int32_t numbers[] = {net->height, net->width, net->channels, net->labels, model->epochs, model->epoch, model->batch};
    const int64_t right = model->right;
    uint32_t crc = sum_text(sum_text(0, net->arch), net->text);
    crc = fs_crc32c(crc, model->scaling.pixel, sizeof model->scaling.pixel);
    crc = fs_crc32c(crc, model->scaling.mean, (size_t)net->channels * sizeof *model->scaling.mean);
    crc = fs_crc32c(crc, model->scaling.std, (size_t)net->channels * sizeof *model->scaling.std);
    crc = fs_crc32c(crc, numbers, sizeof numbers);
    crc = fs_crc32c(crc, &right, sizeof right);
    crc = fs_crc32c(crc, &model->loss, sizeof model->loss);
    for (int i = 0; i < model->config.count; i++)
        crc = sum_text(sum_text(crc, model->config.entry[i].key), model->config.entry[i].value);
    if (*model->kinds)
        crc = sum_text(crc, model->kinds);
    for (int k = 0; k < net->labels; k++)
        crc = sum_text(crc, model->label_name[k]);
    crc = fs_label_numbers_sum(crc, model);
    fs_each_array(net, sum_array, &crc);
    crc = fs_network_mask_crc(crc, net);
    fs_each_last_array(net, &model->last, sum_array, &crc);
    return crc;
}
