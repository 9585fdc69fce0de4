/* The two sets of values of a network whose training keeps an average of the weights. */
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/model_file.h"

fs_status fs_model_start_average(fs_model *model)
{
    const fs_network *net = &model->net;
    model->last.parameter = fs_alloc(net->parameters, sizeof(float), "a second set of parameters");
    model->last.statistic = fs_alloc(net->statistics, sizeof(float), "a second set of running statistics");
    if (!model->last.parameter || !model->last.statistic) {
        fs_model_drop_last(model);
        return FS_ERROR;
    }
    memcpy(model->last.parameter, net->parameter, net->parameters * sizeof(float));
    memcpy(model->last.statistic, net->statistic, net->statistics * sizeof(float));
    return FS_OK;
}

void fs_model_exchange(fs_model *model)
{
    fs_values own = {model->net.parameter, model->net.statistic};
    if (!model->last.parameter)
        return;
    model->net.parameter = model->last.parameter;
    model->net.statistic = model->last.statistic;
    model->last = own;
}

void fs_model_drop_last(fs_model *model)
{
    free(model->last.parameter);
    free(model->last.statistic);
    model->last = (fs_values){0};
}
