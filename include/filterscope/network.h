/* A network built from an architecture: a list of operations over flat parameters. */
#ifndef FILTERSCOPE_NETWORK_H
#define FILTERSCOPE_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/architecture.h"
#include "filterscope/op.h"
#include "filterscope/status.h"

typedef struct fs_network {
    char arch[FS_ARCH_NAME_BYTES];
    char *text;                  /* the architecture, one layer a line, without comments: what its fingerprint is of */
    int height, width, channels; /* of the input */
    int labels;                  /* K */
    int convolutions;
    int layers;   /* numbers 1 .. layers: the convolutions, then the hidden fully connected layers */
    int dropouts; /* in the text; there is no operation for them */
    int ops;
    fs_op *op; /* [ops] */
    size_t parameters;
    size_t conv_parameters; /* parameters of the convolution group come first */
    size_t statistics;
    float *parameter; /* [parameters] */
    float *velocity;  /* [parameters], momentum of SGD */
    float *statistic; /* [statistics], running mean and variance */
} fs_network;

/* Builds `arch` for images of height x width x channels and K labels. Convolution and linear weights and biases are uniform
 * in +-1/sqrt(fan_in) (ours; PyTorch's default) from `seed`, gamma 1, beta 0, running mean 0 and variance 1.
 * FS_USAGE: the text is no architecture, or does not fit such images and labels; architecture, line and word are in the
 * message. FS_ERROR: no memory. Zeroed after a failure; else release with fs_network_free. */
fs_status fs_network_create(const fs_arch *arch, int height, int width, int channels, int labels, uint64_t seed,
                            fs_network *net);
void fs_network_free(fs_network *net);

/* Makes all convolutions but the first begin as identities as far as they go: in each group, filter i gives channel i on, for
 * as many as there are of both; the other filters keep their random weights (Dirac initialisation: Zagoruyko and Komodakis
 * 2017, arXiv:1706.00388; in part and after the first convolution: Jordan 2024, arXiv:2404.00498). Biases stay as they are. */
void fs_network_start_as_identity(fs_network *net);

/* The operation that layer 1 .. net->layers begins with: a convolution, or a fully connected layer that is not on a branch and
 * whose units others read. */
const fs_op *fs_network_layer(const fs_network *net, int layer);

/* The operation whose output the probe of that layer sees; NULL where that is not probed. */
const fs_op *fs_network_probed(const fs_network *net, int layer);

/* Multiply-adds for one image, forward, of convolutions and linear layers up to `layer` (0: the whole network). */
double fs_network_macs(const fs_network *net, int layer);

/* CRC-32C of the text: the architecture's fingerprint. */
uint32_t fs_network_fingerprint(const fs_network *net);

/* CRC-32C of architecture, input shape, parameters and running statistics: what a resumed sweep compares. */
uint32_t fs_network_crc(const fs_network *net);

/* FS_ERROR where a parameter, its momentum or a running statistic is not finite, or a variance is negative, naming `origin`,
 * array and element. */
fs_status fs_network_check(const fs_network *net, const char *origin);

/* Floats of the maps, or of the maps and their gradients: as they share memory by their life times, and if they did not. */
typedef struct fs_map_sizes {
    size_t shared, alone;
} fs_map_sizes;

/* What a workspace is for; the less of a network's maps anybody sees, the more is done in one pass. */
typedef enum fs_use {
    FS_FOR_ANSWERS, /* the logits alone: fs_network_infer has no hook and runs to the end */
    FS_FOR_PROBES,  /* probed maps, too */
    FS_FOR_STEPS    /* steps that are run one by one, each with the whole batch */
} fs_use;

/* Steps first .. last run together for so many images at a time. */
typedef struct fs_band {
    int first, last;
    int images;
} fs_band;

/* Buffers of one inference at a time, and the steps that it takes. */
typedef struct fs_workspace {
    int images;      /* largest batch */
    float *input;    /* [images][height][width][channels], for the caller to fill */
    float *features; /* [images][largest probed map], likewise, while no inference runs */
    int steps;
    fs_step *step; /* [steps] */
    int bands;
    fs_band *band;  /* [bands] */
    float **map;    /* [steps]: the output of each, in a buffer that it shares with others */
    int *whole;     /* [steps]: it holds the whole batch, else the images of its band */
    float **folded; /* [steps]: what is made of its weights once, in `weights` */
    int buffers;
    float **buffer; /* [buffers] */
    fs_map_sizes maps;
    float *scratch, *weights;
} fs_workspace;

/* FS_ERROR without memory. Zeroed after a failure; else release with fs_workspace_free. */
fs_status fs_workspace_create(const fs_network *net, int images, fs_use use, fs_workspace *space);
void fs_workspace_free(fs_workspace *space);

/* To be called after the network's weights have changed; fs_workspace_create has done it. */
void fs_workspace_prepare(const fs_network *net, fs_workspace *space);

/* Sees the probed map of convolution `layer`: features [images][height][width][filters]. */
typedef void fs_feature_hook(void *context, int layer, int images, const float *features);

/* Forward pass in inference mode over x [images][height][width][channels], images <= space->images. Runs up to and
 * including layer `until` (0: the whole network), calling `hook` (NULL: none) at every probed layer on the
 * way. Returns the last map: the logits [images][labels] for until = 0. Owned by `space`, valid until its next use. */
const float *fs_network_infer(const fs_network *net, int images, const float *x, int until, fs_feature_hook *hook,
                              void *context, fs_workspace *space);

#endif
