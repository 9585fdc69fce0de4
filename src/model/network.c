/* From an architecture to operations, offsets and initial weights. */
#include "filterscope/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "filterscope/random.h"

enum { MOST_OPS = 256 };

/* The network under construction, and the map that the next operation will see. */
struct builder {
    fs_network *net;
    int height, width, channels;
    int dense; /* after "|" */
};

static fs_op *append(struct builder *b, fs_op_kind kind)
{
    fs_network *net = b->net;
    fs_op *op = &net->op[net->ops++];
    op->kind = kind;
    op->layer = b->dense ? 0 : net->layers;
    op->height = op->out_height = b->height;
    op->width = op->out_width = b->width;
    op->channels = op->out_channels = b->channels;
    return op;
}

static void add_parameters(struct builder *b, fs_op *op, size_t weights, size_t biases)
{
    fs_network *net = b->net;
    op->weight = net->parameters;
    op->weights = weights;
    op->bias = net->parameters + weights;
    op->biases = biases;
    net->parameters += weights + biases;
    if (!b->dense)
        net->conv_parameters = net->parameters;
}

static void add_conv(struct builder *b, int filters)
{
    b->net->layers++;
    fs_op *op = append(b, FS_CONV);
    op->kernel = 3;
    op->stride = op->pad = 1;
    op->out_channels = b->channels = filters;
    add_parameters(b, op, (size_t)9 * op->channels * filters, (size_t)filters);
    op = append(b, FS_BATCHNORM);
    add_parameters(b, op, (size_t)filters, (size_t)filters);
    op->statistic = b->net->statistics;
    b->net->statistics += 2 * (size_t)filters;
    append(b, FS_RELU);
}

static fs_status add_pool(struct builder *b, fs_op_kind kind, int size)
{
    if (size < 1 || b->height % size || b->width % size)
        return fs_fail(FS_USAGE, "%s: a %dx%d pool does not divide the %dx%d map after convolution %d (%dx%d images)",
                       b->net->arch, size, size, b->height, b->width, b->net->layers, b->net->height, b->net->width);
    fs_op *op = append(b, kind);
    op->kernel = op->stride = size;
    op->out_height = b->height /= size;
    op->out_width = b->width /= size;
    return FS_OK;
}

static void add_linear(struct builder *b, int outputs, int hidden)
{
    fs_op *op = append(b, FS_LINEAR);
    op->out_height = op->out_width = b->height = b->width = 1;
    op->out_channels = b->channels = outputs;
    add_parameters(b, op, fs_op_inputs(op) * (size_t)outputs, hidden ? (size_t)outputs : 0);
    if (hidden)
        append(b, FS_RELU);
}

static fs_status add_word(struct builder *b, const char *word)
{
    if (word[0] == '|')
        b->dense = 1;
    else if (word[0] == 'M')
        return add_pool(b, FS_MAXPOOL, atoi(word + 1));
    else if (word[0] == 'A')
        return add_pool(b, FS_AVGPOOL, atoi(word + 1));
    else if (word[0] == 'K')
        add_linear(b, b->net->labels, 0);
    else if (b->dense)
        add_linear(b, atoi(word), 1);
    else
        add_conv(b, atoi(word));
    return FS_OK;
}

static fs_status add_words(struct builder *b, const char *layers)
{
    char words[256], *rest = words, *word;
    snprintf(words, sizeof words, "%s", layers);
    while ((word = strtok_r(rest, " ", &rest))) {
        fs_status status = add_word(b, word);
        if (status)
            return status;
    }
    return FS_OK;
}

/* The last operation that carries a layer's number is where its probe looks. */
static void mark_probed(fs_network *net)
{
    for (int i = 0; i < net->ops; i++)
        net->op[i].probed = net->op[i].layer > 0 && (i + 1 == net->ops || net->op[i + 1].layer != net->op[i].layer);
}

static void initialise(fs_network *net, uint64_t seed)
{
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        if (op->kind == FS_BATCHNORM) {
            for (size_t c = 0; c < op->weights; c++) {
                net->parameter[op->weight + c] = 1.0f;
                net->statistic[op->statistic + op->weights + c] = 1.0f;
            }
        } else if (op->weights) {
            float fan_in = op->kind == FS_CONV ? (float)(op->kernel * op->kernel * op->channels) : (float)fs_op_inputs(op);
            fs_random_uniform(seed, FS_RANDOM_WEIGHTS, (uint32_t)i, 1.0f / sqrtf(fan_in), net->parameter + op->weight,
                              op->weights + op->biases);
        }
    }
}

static fs_status allocate(fs_network *net)
{
    net->parameter = fs_alloc(net->parameters, sizeof(float), "the network's parameters");
    net->velocity = fs_alloc(net->parameters, sizeof(float), "the network's momentum");
    net->statistic = fs_alloc(net->statistics, sizeof(float), "the network's running statistics");
    return net->parameter && net->velocity && net->statistic ? FS_OK : FS_ERROR;
}

fs_status fs_network_create(const fs_arch *arch, int height, int width, int channels, int labels, uint64_t seed,
                            fs_network *net)
{
    *net = (fs_network){.height = height, .width = width, .channels = channels, .labels = labels};
    snprintf(net->arch, sizeof net->arch, "%s", arch->name);
    struct builder b = {.net = net, .height = height, .width = width, .channels = channels};
    fs_status status = FS_ERROR;
    net->op = fs_alloc(MOST_OPS, sizeof *net->op, "the network's operations");
    if (!net->op)
        goto cleanup;
    status = add_words(&b, arch->layers);
    if (status)
        goto cleanup;
    mark_probed(net);
    status = allocate(net);
    if (status)
        goto cleanup;
    initialise(net, seed);
    return FS_OK;
cleanup:
    fs_network_free(net);
    return status;
}

void fs_network_free(fs_network *net)
{
    free(net->op);
    free(net->parameter);
    free(net->velocity);
    free(net->statistic);
    *net = (fs_network){0};
}

const fs_op *fs_network_probed(const fs_network *net, int layer)
{
    const fs_op *op = net->op;
    while (!(op->probed && op->layer == layer))
        op++;
    return op;
}

fs_conv_shape fs_op_conv_shape(const fs_op *op)
{
    return (fs_conv_shape){op->height, op->width, op->channels, op->out_channels, op->kernel, op->stride, op->pad};
}

size_t fs_op_inputs(const fs_op *op)
{
    return (size_t)op->height * op->width * op->channels;
}

size_t fs_op_outputs(const fs_op *op)
{
    return (size_t)op->out_height * op->out_width * op->out_channels;
}

double fs_network_macs(const fs_network *net, int layer)
{
    double macs = 0;
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        if (layer && (op->layer == 0 || op->layer > layer))
            break;
        if (op->kind == FS_CONV)
            macs += (double)op->weights * op->out_height * op->out_width;
        else if (op->kind == FS_LINEAR)
            macs += (double)op->weights;
    }
    return macs;
}

uint32_t fs_network_crc(const fs_network *net)
{
    int32_t shape[4] = {net->height, net->width, net->channels, net->labels};
    uint32_t crc = fs_crc32c(0, net->arch, sizeof net->arch);
    crc = fs_crc32c(crc, shape, sizeof shape);
    crc = fs_crc32c(crc, net->parameter, net->parameters * sizeof(float));
    return fs_crc32c(crc, net->statistic, net->statistics * sizeof(float));
}

static fs_status check_finite(const float *values, size_t count, const char *origin, int op, const char *kind)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return fs_fail(FS_ERROR, "%s: %s %zu of operation %d is %g", origin, kind, i, op, values[i]);
    return FS_OK;
}

fs_status fs_network_check_finite(const fs_network *net, const char *origin)
{
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        fs_status status = check_finite(net->parameter + op->weight, op->weights, origin, i, "weight");
        if (!status)
            status = check_finite(net->parameter + op->bias, op->biases, origin, i, "bias");
        if (!status && op->kind == FS_BATCHNORM)
            status = check_finite(net->statistic + op->statistic, 2 * op->weights, origin, i, "running statistic");
        if (status)
            return status;
    }
    return FS_OK;
}
