/* A part of the training images that training does not see: what settings are chosen on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"
#include "filterscope/random.h"
#include "readers.h"

enum { KEY = 0 }; /* instead of a seed: all trainings hold back the same images */

/* The images of `label`: image[], of which there are as many as are returned. */
static int images_of(const fs_dataset *data, int label, int *image)
{
    int count = 0;
    for (int i = 0; i < data->images; i++)
        if (data->label[i] == label)
            image[count++] = i;
    return count;
}

/* chosen[i] = 1 for the images to be held back. `image` and `order` are [images]. */
static fs_status choose(const fs_dataset *data, double share, int *image, int *order, uint8_t *chosen)
{
    for (int label = 0; label < data->labels; label++) {
        int count = images_of(data, label, image), held = (int)lround(share * count);
        if (count && held == count)
            return fs_fail(FS_USAGE, "a share of %g holds back all of the %d training images of label %d (%s)", share, count,
                           label, data->label_name[label]);
        fs_random_permutation(KEY, FS_RANDOM_HELD, (uint32_t)label, 0, order, count);
        for (int i = 0; i < held; i++)
            chosen[image[order[i]]] = 1;
    }
    return FS_OK;
}

/* The chosen images, into `held`; also of a set whose images stay in their file. */
static fs_status copy(const fs_dataset *data, const uint8_t *chosen, int *image, fs_dataset *held)
{
    size_t bytes = (size_t)data->height * data->width * data->channels;
    int held_back = 0;
    for (int i = 0; i < data->images; i++)
        if (chosen[i])
            image[held_back++] = i;
    for (int i = 0; i < held_back; i++)
        held->label[i] = data->label[image[i]];
    if (data->stream)
        return fs_stream_read(data->stream, held_back, image, held->pixels);
    for (int i = 0; i < held_back; i++)
        memcpy(held->pixels + i * bytes, data->pixels + image[i] * bytes, bytes);
    return FS_OK;
}

static fs_status split(fs_dataset *data, const uint8_t *chosen, int *image, fs_dataset *held)
{
    int kept = 0;
    fs_status status = copy(data, chosen, image, held);
    for (int i = 0; i < data->images; i++)
        if (!chosen[i])
            fs_data_move(data, i, kept++);
    data->images = kept;
    if (!status)
        status = fs_data_sum(data);
    return status ? status : fs_data_sum(held);
}

static fs_status allocate(const fs_dataset *data, const uint8_t *chosen, fs_dataset *held)
{
    *held = *data; /* its shape; what it owns comes next */
    held->number = NULL;
    held->label_name = NULL;
    held->scaled = NULL;
    held->stream = NULL;
    held->mapped = 0;
    held->images = 0;
    for (int i = 0; i < data->images; i++)
        held->images += chosen[i];
    held->pixels = fs_alloc((size_t)held->images * data->height * data->width * data->channels, 1, "images held back");
    held->label = fs_alloc((size_t)held->images, sizeof *held->label, "labels of images held back");
    return held->pixels && held->label ? FS_OK : FS_ERROR;
}

fs_status fs_dataset_hold_back(fs_dataset *data, double share, fs_dataset *held)
{
    int *image = fs_alloc((size_t)data->images, sizeof *image, "images of a label");
    int *order = fs_alloc((size_t)data->images, sizeof *order, "images of a label");
    uint8_t *chosen = fs_alloc((size_t)data->images, 1, "images to be held back");
    fs_status status = image && order && chosen ? choose(data, share, image, order, chosen) : FS_ERROR;
    *held = (fs_dataset){0};
    if (!status)
        status = allocate(data, chosen, held);
    if (!status && !held->images)
        status = fs_fail(FS_USAGE, "a share of %g holds back none of the %d training images", share, data->images);
    if (!status)
        status = split(data, chosen, image, held);
    if (status)
        fs_dataset_close(held);
    free(image);
    free(order);
    free(chosen);
    return status;
}
