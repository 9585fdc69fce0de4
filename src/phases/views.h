/* Features of a fixed number of augmented views of each image, kept in memory: what a trunk that is frozen would compute again
 * and again. Those of the deepest layers are kept, as many as there is room for. */
#ifndef FILTERSCOPE_VIEWS_H
#define FILTERSCOPE_VIEWS_H

#include "filterscope/node.h"
#include "filterscope/probe.h"

typedef struct fs_views {
    int views, images;
    int first;         /* probes first .. count-1 are kept; count for none */
    size_t *place;     /* [count + 1]: where in an image's features those of a probe begin */
    fs_shared feature; /* [views][images][place[count]] */
    fs_shared known;   /* [views][images]: 1 where that image's are there */
} fs_views;

/* Collective on comm. For settings->views views of `images` images and probes[count] on net: fs_probe_first_kept. FS_ERROR on
 * every rank where one has no memory. */
fs_status fs_views_create(MPI_Comm comm, const fs_network *net, const fs_probe_settings *settings, int images,
                          const fs_probe *probes, int count, fs_views *v);

/* Not collective. Prints what is kept, where there are views. */
void fs_views_tell(const fs_views *v, const fs_probe *probes, int count);

/* Collective on that comm. What ranks of this node have kept is there for all of them from now on. */
void fs_views_meet(const fs_views *v);

/* Not collective. `view` is of 0 .. views - 1, image [images]: numbers of images. 1 where the features of all of them are
 * there. */
int fs_views_have(const fs_views *v, int view, const int *image, int images);

/* Not collective. features [images][features of probe p] into the memory or out of it; after all probes, fs_views_mark. */
void fs_views_keep(const fs_views *v, int p, int view, const int *image, int images, const float *features);
void fs_views_fetch(const fs_views *v, int p, int view, const int *image, int images, float *features);
void fs_views_mark(const fs_views *v, int view, const int *image, int images);

/* Collective on that comm. Does nothing to a zeroed one. */
void fs_views_free(fs_views *v);

#endif
