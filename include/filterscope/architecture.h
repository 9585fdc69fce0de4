/* Architectures as text: a convolutional network, a layer a line. A line's input is the output of the line before, the current
 * map, unless it names others.
 *
 * Words are separated by blanks; "#" starts a comment; empty lines do not count. SIZE is one number, or two as HEIGHTxWIDTH.
 *
 *     input HEIGHTxWIDTHxCHANNELS              optional, first: the only input that the network takes (without: any)
 *     conv FILTERS SIZE [stride SIZE] [pad PAD] [dilation SIZE] [groups N] [bias]
 *                                              stride and dilation 1, no padding, one group, no bias unless said otherwise.
 *                                              PAD is SIZE, TOPxBOTTOMxLEFTxRIGHT, or "same" for TensorFlow's, which may be
 *                                              one more at the end; zeros. Groups as many as channels and filters: depthwise
 *     bn                                       batch normalisation of each channel: epsilon 1e-5, momentum 0.1, with gamma and
 *                                              beta
 *     relu, relu6, silu, gelu, sigmoid, tanh, hardswish, hardsigmoid
 *     leakyrelu SLOPE, elu SCALE               below 0 SLOPE x, SCALE (exp(x) - 1); all activations are PyTorch's
 *     hardsigmoid SLOPE                        SLOPE x + 0.5 between 0 and 1: 0.2 in Keras before 3; without, PyTorch's 1/6
 *     prelu                                    leakyrelu whose slope is learned, one for each channel, from 0.25
 *     maxpool SIZE [stride SIZE] [pad PAD] [floor|ceil]
 *     avgpool SIZE [stride SIZE] [pad PAD] [floor|ceil] [inside]
 *                                              stride = size, pad 0 unless said otherwise. Where the windows leave a rest of
 *                                              the map, one of the two must be said: "floor" leaves it out (PyTorch's
 *                                              default), "ceil" gives it a window of its own that reaches over the border
 *                                              (Caffe's rule, PyTorch's ceil_mode). An average counts the zeros of the
 *                                              padding, not what lies beyond it, as in PyTorch; with "inside", and with
 *                                              "pad same", which is TensorFlow's, it counts what is inside the map alone.
 *                                              A pad is less than the size, and never wins a maximum
 *     globalmax, globalavg                     over the whole map
 *     subsample SIZE                           the first of each so many pixels, as a stride does
 *     zeropad channels A B                     A channels of zeros before the map's, B behind: with subsample the shortcut
 *                                              without parameters of the CIFAR ResNets (option A)
 *     dropout P                                for the record: does nothing, in training neither (ours); the P of a network
 *                                              that was trained elsewhere stays in the text
 *     flatten                                  optional, where the maps end: fc implies it
 *     fc UNITS [bias]                          fully connected; trains with the settings of the fully connected layers, but
 *                                              with those of the convolutions where a line behind it gives a convolution's map
 *     ... as NAME                              last on a line: a name for its output, from here on
 *     from NAME                                makes that the current map: a branch begins
 *     add NAME [NAME ...]                      the current map plus those, all of one shape: the branch ends, here and below
 *     concat NAME NAME [NAME ...]              the channels of those one after the other; "here" is the current map
 *     scale NAME                               that times the current map, which is as large or 1x1 (squeeze-and-excite)
 *     ... probe                                last on a line: its output is probed
 *
 * The first layer is a conv (or a dropout). After flatten or fc come fc, bn, activations and dropout only; a bn between flatten
 * and fc wants a 1x1 map. FILTERS and UNITS may be K, the number of labels; the last map is 1x1 with K channels. For example, a
 * small network of another making:
 *
 *     input 32x32x3
 *     conv 32 5x5 stride 2 bias
 *     relu
 *     conv 64 3x3 pad 1        # no bias where batch normalisation follows
 *     bn
 *     relu
 *     globalavg
 *     fc K bias
 *
 * A convolution's number is its place among the convolutions, from 1: what --layers wants. Hidden fully connected layers behind
 * all maps have the numbers that follow, and are probed likewise, at the end of their chains. A convolution's probe sees the
 * map after all that stands between it and the next conv or the first fc, a global pool included: after conv + bn + relu and
 * the pool that follows, as in method, phase two; for other orders this is the rule (ours). It also ends where another line
 * reads the map or branches meet, and a convolution on a branch, from "from" to where that meets another, has no probe. Where
 * a line says "probe", those lines alone are probed, each by the number of the last convolution before it that is on no
 * branch (on a branch, of the last one): a filter's map behind an add is the sum, not what its convolution gives (ours). A
 * residual block:
 *
 *     relu as a
 *     conv 16 3x3 pad 1
 *     bn
 *     relu
 *     conv 16 3x3 pad 1
 *     bn
 *     add a
 *     relu as b probe */
#ifndef FILTERSCOPE_ARCHITECTURE_H
#define FILTERSCOPE_ARCHITECTURE_H

#include <stdint.h>

#include "filterscope/op.h"
#include "filterscope/status.h"

/* Settings of phase one for one group of parameters. */
typedef struct fs_group_recipe {
    double lr;       /* of the first epoch; of a cosine the largest */
    double lr_decay; /* lr is multiplied by this every fs_recipe.decay_every epochs, with FS_STEPS */
    double momentum;
    double weight_decay; /* L2 */
} fs_group_recipe;

typedef enum fs_schedule { FS_STEPS, FS_COSINE } fs_schedule;

typedef struct fs_recipe {
    int epochs;
    int decay_every;      /* epochs; of FS_STEPS */
    fs_group_recipe conv; /* convolutions and their batch normalisation */
    fs_group_recipe fc;   /* fully connected layers and what follows them */
    fs_schedule schedule;
    double warmup;          /* epochs; of FS_COSINE */
    double label_smoothing; /* 0 .. 1: see fs_softmax_loss */
} fs_recipe;

/* Not collective. The learning rate of `group` after `done` of recipe->epochs epochs, which may be in the midst of one.
 *   FS_STEPS   lr * lr_decay^floor(done / decay_every) (method, phase one)
 *   FS_COSINE  lr * done / warmup at first, then lr * (1 + cos(pi (done - warmup) / (epochs - warmup))) / 2, to 0 (ours) */
double fs_recipe_lr(const fs_recipe *recipe, const fs_group_recipe *group, double done);

typedef struct fs_arch {
    const char *name; /* a built-in one's, or the file's without folder and ending */
    const char *text;
    fs_recipe recipe; /* see man filterscope; of a file AVGG-16's (ours) */
    int silent_floor; /* 1 for the text of a model file: pools may leave a rest out without "floor", as they once could */
} fs_arch;

enum { FS_ARCH_NAME_BYTES = 32, FS_ARCH_MOST_BYTES = 1 << 16, FS_ARCH_MOST_LAYERS = 1024 };

/* Not collective, like everything here. All built-in architectures, the method's first, ended by a row whose name is NULL. */
const fs_arch *fs_arch_table(void);

/* NULL where there is none of that name; the message lists those there are. */
const fs_arch *fs_arch_find(const char *name);

/* The built-in architecture of that name or, where there is none, the one in the file of that name. *arch is to be released
 * with fs_arch_close. FS_USAGE: neither; the message lists the built-in ones. FS_ERROR: the file cannot be read, is larger than
 * FS_ARCH_MOST_BYTES or no text. Whether the text is an architecture shows when a network is built from it. */
fs_status fs_arch_open(const char *name, fs_arch *arch);
void fs_arch_close(fs_arch *arch);

/* An architecture of that name and text, as a model file has them, with the recipe of the built-in one of that name, else a
 * file's; to be released likewise. FS_ERROR: no memory. */
fs_status fs_arch_copy(const char *name, const char *text, fs_arch *arch);

/* CRC-32C of the layers, a line each as fs_layer.text: comments and blanks do not count. FS_USAGE as fs_arch_next. */
fs_status fs_arch_fingerprint(const fs_arch *arch, uint32_t *crc);

/* Reads the next layer from *text, which moves on behind its line; *line is the number of the last line read, 0 at the start.
 *   name  in   of the architecture, for messages
 *   more  out  0 at the end of the text, with *layer unchanged, else 1
 * FS_USAGE: a word that does not fit, with architecture, line and word in the message. */
fs_status fs_arch_next(const char *name, const char **text, int *line, fs_layer *layer, int *more);

#endif
