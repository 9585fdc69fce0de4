#include "phases/views.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filterscope/memory.h"

static int results_stand_alone(const fs_network *net)
{
    int alone = 1;
    for (const fs_op *op = net->op; op < net->op + net->ops; op++)
        alone &= !op->kind->stands_alone || op->kind->stands_alone(op);
    return alone;
}

int fs_probe_first_kept(const fs_network *net, const fs_probe_settings *settings, int images, const fs_probe *probes, int count)
{
    double kept = (double)settings->views * images, floats = settings->cache * (1 << 30) / sizeof(float) / kept - 1;
    int first = count;
    if (settings->views && settings->views < settings->epochs && results_stand_alone(net))
        while (first > 0 && (double)probes[first - 1].features <= floats)
            floats -= (double)probes[--first].features;
    return first;
}

static fs_status check_memory(size_t floats)
{
    double gib = (double)floats * sizeof(float) / (1 << 30);
    double all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30);
    if (gib < all)
        return FS_OK;
    return fs_fail(FS_ERROR, "--cache: the features would take %.1f GiB, and this node has %.1f in all", gib, all);
}

fs_status fs_views_create(MPI_Comm comm, const fs_network *net, const fs_probe_settings *settings, int images,
                          const fs_probe *probes, int count, fs_views *v)
{
    *v = (fs_views){.views = settings->views, .images = images};
    v->first = fs_probe_first_kept(net, settings, images, probes, count);
    v->place = fs_alloc((size_t)count + 1, sizeof *v->place, "features");
    fs_status status = fs_agree(comm, v->place ? FS_OK : FS_ERROR);
    size_t kept = (size_t)v->views * (size_t)images;
    if (status)
        return status;
    for (int p = v->first; p < count; p++)
        v->place[p + 1] = v->place[p] + probes[p].features;
    if (v->first == count)
        return FS_OK;
    status = fs_agree(comm, check_memory(kept * v->place[count]));
    if (!status)
        status = fs_shared_create(comm, kept * v->place[count], "features", &v->feature);
    if (!status)
        status = fs_shared_create(comm, kept, "images", &v->known);
    return status;
}

void fs_views_tell(const fs_views *v, const fs_probe *probes, int count)
{
    if (v->views && v->first == count)
        printf("probe: %d views of each image; no features are kept\n", v->views);
    else if (v->views)
        printf("probe: %d views of each image; features from layer %d on are kept, %.0f MiB on each node\n", v->views,
               probes[v->first].layer, (double)v->feature.bytes / (1 << 20));
    fflush(stdout);
}

void fs_views_meet(const fs_views *v)
{
    if (v->known.data)
        fs_shared_meet(&v->known);
}

static size_t number_of(const fs_views *v, int view, int image)
{
    return (size_t)view * (size_t)v->images + (size_t)image;
}

int fs_views_have(const fs_views *v, int view, const int *image, int images)
{
    int have = v->known.data != NULL;
    for (int n = 0; n < images && have; n++)
        have = v->known.data[number_of(v, view, image[n])] != 0;
    return have;
}

void fs_views_mark(const fs_views *v, int view, const int *image, int images)
{
    for (int n = 0; n < images && v->known.data; n++)
        v->known.data[number_of(v, view, image[n])] = 1;
}

static float *features_of(const fs_views *v, int p, int view, int image)
{
    size_t all = v->feature.bytes / sizeof(float) / ((size_t)v->views * (size_t)v->images);
    return v->feature.data + number_of(v, view, image) * all + v->place[p];
}

void fs_views_keep(const fs_views *v, int p, int view, const int *image, int images, const float *features)
{
    size_t count = v->place[p + 1] - v->place[p];
    for (int n = 0; n < images; n++)
        memcpy(features_of(v, p, view, image[n]), features + (size_t)n * count, count * sizeof *features);
}

void fs_views_fetch(const fs_views *v, int p, int view, const int *image, int images, float *features)
{
    size_t count = v->place[p + 1] - v->place[p];
    for (int n = 0; n < images; n++)
        memcpy(features + (size_t)n * count, features_of(v, p, view, image[n]), count * sizeof *features);
}

void fs_views_free(fs_views *v)
{
    fs_shared_free(&v->feature);
    fs_shared_free(&v->known);
    free(v->place);
    *v = (fs_views){0};
}
