/* Operations: what a line of an architecture computes. Each kind is a row of a table and one file of src/ops; all other code
 * knows kinds by what their rows say, and never tells them apart itself. */
#ifndef FILTERSCOPE_OP_H
#define FILTERSCOPE_OP_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/conv.h"
#include "filterscope/status.h"

typedef struct fs_kind fs_kind;

enum { FS_UNITS_K = -1, FS_MOST_INPUTS = 32, FS_NAME_BYTES = 32 };
#define FS_HERE "here" /* the name of the current map */

/* One line of an architecture, as its words say. */
typedef struct fs_layer {
    const fs_kind *kind;
    int line;  /* from 1 */
    int units; /* filters, units, channels of the input; FS_UNITS_K for K */
    fs_size size, stride, pad, pad_end, dilation;
    int same; /* pad so that the output is the input over the stride, rounded up */
    int groups;
    int floor, ceil, inside; /* of pools, as given */
    int before, behind;      /* of zeropad */
    int bias;
    double alpha;             /* of an activation: its number */
    char name[FS_NAME_BYTES]; /* of its output; empty for none */
    int probe;                /* its output is probed */
    int sources;              /* of a line that names maps, FS_HERE among them: how many, and which */
    char source[FS_MOST_INPUTS][FS_NAME_BYTES];
    char text[512]; /* the line without comment, its words separated by single blanks */
} fs_layer;

/* Where a line stands. */
typedef struct fs_place {
    int image_height, image_width, image_channels;
    int labels;       /* K */
    int lines;        /* up to this one, from 1 */
    int convolutions; /* before it */
    int flat;         /* after flatten or fc */
    int silent_floor; /* fs_arch.silent_floor */
} fs_place;

/* One operation. Maps are [images][height][width][channels]; a linear operation sees [images][inputs], the map flattened
 * in that order (y, x, channel), and its channels are its units. */
typedef struct fs_op {
    const fs_kind *kind;
    int inputs;                                /* how many */
    const struct fs_op *input[FS_MOST_INPUTS]; /* whose outputs they are; NULL for the images */
    int readers;                               /* how many inputs of operations its output is */
    const struct fs_op *reader;                /* the last of these */
    int layer;                   /* number of the convolution it belongs to, from 1, or of the hidden fully connected
                                                layer, from net->convolutions + 1; 0 for what gives the logits */
    int begins;                  /* is that convolution or fully connected layer */
    int dense;                   /* it, or what it reads, is a fully connected layer */
    int branch;                  /* stands between a "from" and where its branch meets another */
    int probed;                  /* its output is what the probe of `layer` sees */
    int height, width, channels; /* of the first input */
    int out_height, out_width, out_channels; /* of the output */
    fs_size kernel, stride, pad, pad_end;    /* of convolutions and pools */
    fs_size dilation;                        /* of convolutions */
    int groups;                              /* likewise */
    float alpha;                             /* of activations, the number of their line */
    int plain;                               /* of pools: see src/ops/pool.c */
    int inside;                              /* of averages: without the padding */
    int before;                              /* of zeropad: channels */
    size_t weight, weights; /* offset and number in fs_network.parameter: conv [kernel y][kernel x][channels/groups][filters],
                                     batch norm gamma [channels], linear [outputs][inputs] */
    size_t bias, biases;    /* likewise: bias, or batch norm's beta; biases = 0 for none */
    size_t statistic, statistics; /* likewise in fs_network.statistic: batch norm's mean and variance [channels] each */
    int line;                     /* of fs_network.text, from 1 */
    uint8_t *mask;                /* the kernels that are kept (filterscope/mask.h), the network's; NULL: all */
    int frozen;                   /* training leaves its parameters and statistics as they are */
} fs_op;

/* How the weights of an operation that mixes channels lie. A kernel leads from channel i of the input, counted within its
 * group, to channel o of the output: the weights o * output + i * input + p * place for p = 0 .. places - 1. */
typedef struct fs_kernels {
    int outputs, inputs, places;
    size_t output, input, place; /* strides */
} fs_kernels;

/* 1 for the line that says what images the network takes. */
int fs_layer_is_input(const fs_layer *layer);

/* Floats of the operation's first input and output for one image. */
size_t fs_op_inputs(const fs_op *op);
size_t fs_op_outputs(const fs_op *op);

/* Multiply-adds for one image, forward. */
double fs_op_macs(const fs_op *op);

/* Of one without kernels: the channel of input number `input` that goes on as channel `channel` of the output; -1 for none. */
int fs_op_origin(const fs_op *op, int input, int channel);

/* 1, and its shape, where the operation is a convolution. */
int fs_op_conv_shape(const fs_op *op, fs_conv_shape *shape);

/* An operation with those behind it that it takes along in one pass over its output: its output is that of the last. */
typedef struct fs_step {
    const fs_op *op, *last;
    int inputs;                 /* op's, and behind them the addend, where it takes an addition along */
    const fs_op *norm;          /* the batch norm that goes into a convolution's weights; NULL for none */
    fs_conv_after after;        /* what else it takes along, but for the addend */
    int source[FS_MOST_INPUTS]; /* the steps whose outputs are its inputs; -1 for the images */
    int slot_images;            /* in training: the most images of a slot, which algorithms are chosen by; 0 in inference */
} fs_step;

/* One step over some images: a batch of inference, or a slot in training. */
typedef struct fs_pass {
    const fs_step *step;
    int images;
    const float *x[FS_MOST_INPUTS];     /* each [images][of that input] */
    float *y;                           /* [images][outputs] */
    const float *parameter, *statistic; /* of the network: all of them */
    float *prepared, *scratch;
    /* In training alone: */
    uint8_t *kept;    /* [images][kind->kept]: what the backward pass wants to know of the forward pass; NULL in inference */
    int batch_images; /* of all slots of all ranks */
    float *moments;   /* [kind->sums]: what kind->statistics made of the sums of the forward pass */
    const double *totals; /* [kind->sums]: of the backward pass, over the whole batch */
} fs_pass;

struct fs_words;

/* A row of the table. NULL and 0 stand for "has none" and "does not". */
struct fs_kind {
    /* The text */
    const char *word;                                           /* that its line begins with */
    fs_status (*read)(struct fs_words *words, fs_layer *layer); /* the words behind it; FS_USAGE as fs_arch_next */
    int begins;                                                 /* may be the first layer */
    int maps_only;                                              /* may not follow a flatten or fc */
    int flattens, dense;                                        /* what follows is flat; belongs to no convolution */
    int names;                                                  /* its inputs are the maps that it names */
    int branches, joins;                                        /* begins a branch; ends it */
    int counts;                                                 /* is a convolution, which has a number and a probe */
    int pools;                                                  /* is a pool */
    int ignored;                                                /* is for the record: does nothing */
    int keeps_zero;                                             /* makes a map of zeros of one */
    void (*kernels)(const fs_op *op, fs_kernels *kernels);      /* of one that mixes channels; others act on each alone */
    int (*origin)(const fs_op *op, int input, int channel); /* of the others, see fs_op_origin; without: the channel itself */
    int by_channel; /* its weights' last axis is the output's channels: one whose weights and bias are 0 is 0 */

    /* Its output, window, weights, biases, statistics from its line, place and input. FS_USAGE: it does not fit; why is the
     * message. A kind without `forward` is no operation: it says where it may stand, and what follows it. */
    fs_status (*shape)(const fs_layer *layer, const fs_place *place, fs_op *op);
    double (*macs)(const fs_op *op);
    int (*conv)(const fs_op *op, fs_conv_shape *shape); /* fs_op_conv_shape */
    int (*stands_alone)(const fs_op *op);               /* fs_conv_stands_alone; without: an image's result always does */

    /* Its arrays in the model file: /parameter/ARRAY1.WEIGHT, .BIAS, /statistic/ARRAY1.mean, .variance */
    const char *array, *weight, *bias;
    int (*axes)(const fs_op *op, size_t size[4]); /* of the weight, how many; without: one */
    /* First values of op->weights + op->biases parameters and of the statistics, which are 0; `number` is op's among all. */
    void (*initialise)(const fs_op *op, uint64_t seed, int number, float *parameter, float *statistic);

    /* Both directions */
    int in_place;                                          /* y may be x, and dx may be dy */
    int (*take)(fs_step *step, const fs_op *next);         /* 1 where the step takes `next` along, and now says so */
    void (*follow)(const fs_op *op, fs_conv_after *after); /* of what acts on each number alone: how a convolution does it */
    size_t (*scratch)(const fs_step *step, int images);    /* floats */
    void (*forward)(const fs_pass *pass);

    /* Inference, where it has another form than training: floats of what is made of the weights once, and how, with
     * pass->scratch; the pass over images. */
    size_t (*folded)(const fs_step *step);
    void (*fold)(const fs_pass *pass);
    void (*infer)(const fs_pass *pass);

    /* Of one that is linear in each channel of its input, see filterscope/cut.h: the weights of that channel alone, as
     * inference has them, [places][out channels], op->weights / op->channels floats; and y [outputs] of one image less what the
     * channel's `map` [height][width] adds to it. `after` is nothing of theirs. */
    void (*channel)(const fs_pass *pass, int channel, float *weight);
    void (*subtract)(const fs_op *op, const float *weight, const float *map, float *y);

    /* Training. What is made of the weights for each batch, for one direction: floats, and part `part` of `parts` of it. */
    size_t (*prepared)(const fs_step *step);
    void (*prepare)(const fs_pass *pass, int for_input, int part, int parts);
    size_t (*kept)(const fs_op *op);                                        /* bytes an image */
    int reads_input, reads_output;                                          /* in the backward pass */
    void (*backward)(const fs_pass *pass, int input, float *dy, float *dx); /* gradient of input number `input` from 0 */
    void (*gradient)(const fs_pass *pass, const float *dy, float *out);     /* out [weights + biases]: of one slot */
    /* Sums over the whole batch that either pass needs before it: how many, one slot's of them, what is made of the totals. */
    size_t (*sums)(const fs_op *op);
    void (*forward_sums)(const fs_pass *pass, double *sums);
    void (*statistics)(const fs_pass *pass, const double *totals, float *running);
    void (*frozen)(const fs_pass *pass); /* instead, where the operation is frozen: the moments of the running statistics */
    void (*backward_sums)(const fs_pass *pass, float *dy, double *sums);
    void (*gradient_of_totals)(const fs_op *op, const double *totals, float *out);
};

/* All kinds, ended by NULL. */
extern const fs_kind *const fs_kinds[];

#endif
