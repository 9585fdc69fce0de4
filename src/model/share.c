#include "filterscope/share.h"

#include <stdio.h>
#include <stdlib.h>

#include "filterscope/mask.h"
#include "filterscope/memory.h"
#include "filterscope/node.h"
#include "filterscope/slots.h"
#include "filterscope/stream.h"

static int rank_of(MPI_Comm comm)
{
    int rank;
    MPI_Comm_rank(comm, &rank);
    return rank;
}

/* Each rank opens the file itself. */
static fs_status share_stream(MPI_Comm comm, fs_dataset *data)
{
    fs_stored at = {0};
    fs_status status = FS_OK;
    int owns = rank_of(comm) == 0;
    if (owns)
        at = *fs_stream_stored(data->stream);
    fs_share_bytes(comm, 0, &at, sizeof at);
    if (!owns) {
        at.row = fs_alloc((size_t)at.images, sizeof *at.row, "rows of images");
        at.offset = fs_alloc((size_t)at.chunks, sizeof *at.offset, "places of chunks");
        status = at.row && at.offset ? FS_OK : FS_ERROR;
    }
    status = fs_agree(comm, status);
    if (!status) {
        fs_share_bytes(comm, 0, at.row, (size_t)at.images * sizeof *at.row);
        fs_share_bytes(comm, 0, at.offset, (size_t)at.chunks * sizeof *at.offset);
        status = fs_agree(comm, owns ? FS_OK : fs_stream_open(&at, &data->stream));
    } else if (!owns) {
        free(at.row);
        free(at.offset);
    }
    return status;
}

static fs_status share_pixels(MPI_Comm comm, fs_dataset *data)
{
    size_t bytes = (size_t)data->images * data->height * data->width * data->channels;
    fs_common common = {data->pixels, data->mapped ? data->mapped : bytes, data->mapped, data->file};
    fs_status status = fs_common_share(comm, "pixels", &common);
    data->pixels = common.data;
    data->mapped = common.mapped;
    data->file = common.file;
    return status;
}

fs_status fs_share_dataset(MPI_Comm comm, fs_dataset *data)
{
    fs_dataset own = *data;
    fs_share_bytes(comm, 0, data, sizeof *data);
    size_t images = (size_t)data->images;
    fs_status status = FS_OK;
    int numbered = data->number != NULL, named = data->label_name != NULL, streams = data->stream != NULL; /* rank 0's */
    if (rank_of(comm) == 0) {
        *data = own;
    } else {
        data->scaled = NULL;
        data->pixels = NULL;
        data->stream = NULL;
        data->mapped = 0;
        data->label = fs_alloc(images, sizeof *data->label, "labels");
        if (named)
            data->label_name = fs_alloc((size_t)data->labels, sizeof *data->label_name, "label names");
        if (numbered)
            data->number = fs_alloc((size_t)data->labels, sizeof *data->number, "numbers of labels");
        status = data->label && (data->label_name || !named) && (data->number || !numbered) ? FS_OK : FS_ERROR;
    }
    status = fs_agree(comm, status);
    if (status)
        return status;
    fs_share_bytes(comm, 0, data->label, images * sizeof *data->label);
    if (named)
        fs_share_bytes(comm, 0, data->label_name, (size_t)data->labels * sizeof *data->label_name);
    if (numbered)
        fs_share_bytes(comm, 0, data->number, (size_t)data->labels * sizeof *data->number);
    return streams ? share_stream(comm, data) : share_pixels(comm, data);
}

/* The same network on a rank that has none, but for its values. */
static fs_status build_as(const fs_model *root, const char *text, fs_model *model)
{
    const fs_network *net = &root->net;
    const fs_arch arch = {.name = net->arch, .text = text, .silent_floor = 1};
    *model = *root;
    model->net = (fs_network){0}; /* the pointers are rank 0's */
    model->last = (fs_values){0}; /* training alone wants it */
    model->label_number = NULL;   /* rank 0 alone reads data */
    model->label_name = fs_alloc((size_t)net->labels, sizeof *model->label_name, "label names");
    model->history = fs_alloc((size_t)root->epochs, sizeof *model->history, "the history");
    if (!model->label_name || !model->history)
        return FS_ERROR;
    return fs_network_create(&arch, net->height, net->width, net->channels, net->labels, 0, &model->net);
}

static fs_status share_masks(MPI_Comm comm, fs_network *net)
{
    for (fs_op *op = net->op; op < net->op + net->ops; op++) {
        int masked = op->mask != NULL; /* rank 0's */
        MPI_Bcast(&masked, 1, MPI_INT, 0, comm);
        fs_status status = fs_agree(comm, masked ? fs_mask_create(op) : FS_OK);
        if (status)
            return status;
        if (masked)
            fs_share_bytes(comm, 0, op->mask, fs_mask_bytes(op));
    }
    return FS_OK;
}

fs_status fs_share_model(MPI_Comm comm, fs_model *model)
{
    fs_model root = *model;
    fs_share_bytes(comm, 0, &root, sizeof root);
    char *text = fs_alloc(FS_ARCH_MOST_BYTES + 2, 1, "the architecture");
    fs_status status = fs_agree(comm, text ? FS_OK : FS_ERROR);
    if (!status) {
        if (rank_of(comm) == 0)
            snprintf(text, FS_ARCH_MOST_BYTES + 2, "%s", model->net.text);
        fs_share_bytes(comm, 0, text, FS_ARCH_MOST_BYTES + 2);
        status = fs_agree(comm, rank_of(comm) == 0 ? FS_OK : build_as(&root, text, model));
    }
    free(text);
    if (status)
        return status;
    fs_network *net = &model->net;
    fs_share_bytes(comm, 0, net->parameter, net->parameters * sizeof(float));
    fs_share_bytes(comm, 0, net->velocity, net->parameters * sizeof(float));
    fs_share_bytes(comm, 0, net->statistic, net->statistics * sizeof(float));
    fs_share_bytes(comm, 0, model->label_name, (size_t)net->labels * sizeof *model->label_name);
    fs_share_bytes(comm, 0, model->history, (size_t)model->epochs * sizeof *model->history);
    return share_masks(comm, net);
}
