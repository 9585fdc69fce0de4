/* A network built from an architecture: a list of operations over flat parameters. */
#ifndef FILTERSCOPE_NETWORK_H
#define FILTERSCOPE_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/architecture.h"
#include "filterscope/conv.h"
#include "filterscope/layers.h"
#include "filterscope/status.h"

/* What an operation does. FS_MAXPOOL and FS_AVGPOOL are the plain pools: square, stride = size, dividing their map; the WINDOW
 * kinds are all others: overlapping, padded, leaving a rest out, or global over a map that is not square. */
typedef enum fs_op_kind {
    FS_CONV,
    FS_BATCHNORM,
    FS_RELU,
    FS_MAXPOOL,
    FS_AVGPOOL,
    FS_LINEAR,
    FS_MAXWINDOW,
    FS_AVGWINDOW
} fs_op_kind;

/* One operation. Maps are [images][height][width][channels]; a linear operation sees [images][inputs], the map flattened
 * in that order (y, x, channel), and its channels are its units. */
typedef struct fs_op {
    fs_op_kind kind;
    int layer;  /* number of the convolution it belongs to, from 1; 0 for fully connected layers */
    int probed; /* 1 for the last operation before the next convolution or the first linear one: its output is what
                   the probe of `layer` sees */
    int height, width, channels;             /* of the input */
    int out_height, out_width, out_channels; /* of the output */
    int kernel, stride, pad;                 /* convolutions; pools have kernel = stride = size */
    size_t weight, weights; /* offset and number in fs_network.parameter: conv [kernel][kernel][channels][filters], batch
                               norm gamma [channels], linear [outputs][inputs] */
    size_t bias, biases;    /* likewise: bias, or batch norm's beta; biases = 0 for none */
    size_t statistic;       /* batch norm: offset of mean [channels] and variance [channels] in fs_network.statistic */
    fs_size kernel2, stride2, pad2; /* of the WINDOW kinds, by axis */
    int line;                       /* of fs_network.text, from 1 */
} fs_op;

typedef struct fs_network {
    char arch[FS_ARCH_NAME_BYTES];
    char *text;                  /* the architecture, one layer a line, without comments: what its fingerprint is of */
    int height, width, channels; /* of the input */
    int labels;                  /* K */
    int layers;                  /* convolutions */
    int dropouts;                /* in the text; there is no operation for them */
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

/* The operation whose output the probe of convolution layer 1 .. net->layers sees. */
const fs_op *fs_network_probed(const fs_network *net, int layer);

fs_conv_shape fs_op_conv_shape(const fs_op *op);
fs_window fs_op_window(const fs_op *op); /* of a WINDOW kind */

/* Floats of the operation's input and output for one image. */
size_t fs_op_inputs(const fs_op *op);
size_t fs_op_outputs(const fs_op *op);

/* Multiply-adds for one image, forward, of convolutions and linear layers up to convolution `layer` (0: the whole network). */
double fs_network_macs(const fs_network *net, int layer);

/* CRC-32C of the text: the architecture's fingerprint. */
uint32_t fs_network_fingerprint(const fs_network *net);

/* CRC-32C of architecture, input shape, parameters and running statistics: what a resumed sweep compares. */
uint32_t fs_network_crc(const fs_network *net);

/* FS_ERROR where a parameter or running statistic is not finite, naming layer, kind and value; FS_OK otherwise. */
fs_status fs_network_check_finite(const fs_network *net, const char *origin);

/* Buffers of one inference at a time. */
typedef struct fs_workspace {
    int images;      /* largest batch */
    float *input;    /* [images][height][width][channels], for the caller to fill */
    float *map[2];   /* activations, in turn */
    float *scratch;  /* of the convolutions */
    float *prepared; /* of all convolutions, in order: weights with the batch norm that follows folded in, and shifts */
} fs_workspace;

/* FS_ERROR without memory. Zeroed after a failure; else release with fs_workspace_free. */
fs_status fs_workspace_create(const fs_network *net, int images, fs_workspace *space);
void fs_workspace_free(fs_workspace *space);

/* To be called after the network's weights have changed; fs_workspace_create has done it. */
void fs_workspace_prepare(const fs_network *net, fs_workspace *space);

/* Sees the probed map of convolution `layer`: features [images][height][width][filters]. */
typedef void fs_feature_hook(void *context, int layer, int images, const float *features);

/* Forward pass in inference mode over x [images][height][width][channels], images <= space->images. Runs up to and
 * including convolution layer `until` (0: the whole network), calling `hook` (NULL: none) at every convolution layer on the
 * way. Returns the last map: the logits [images][labels] for until = 0. Owned by `space`, valid until its next use. */
const float *fs_network_infer(const fs_network *net, int images, const float *x, int until, fs_feature_hook *hook,
                              void *context, fs_workspace *space);

#endif
