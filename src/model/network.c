/* From an architecture to operations, offsets and initial weights. */
#include "filterscope/network.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"
#include "filterscope/random.h"

/* The network under construction, and the map that the next operation will see. */
struct builder {
    fs_network *net;
    fs_layer now; /* the line in work */
    int height, width, channels;
    int flat;  /* after flatten or fc */
    int dense; /* after fc */
    int lines; /* of net->text */
    int silent_floor;
};

static fs_status complain(const struct builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

static fs_status complain(const struct builder *b, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return fs_fail(FS_USAGE, "%s: line %d: '%s': %s", b->net->arch, b->now.line, b->now.text, text);
}

static fs_op *append(struct builder *b, fs_op_kind kind)
{
    fs_network *net = b->net;
    fs_op *op = &net->op[net->ops++];
    op->kind = kind;
    op->layer = b->dense ? 0 : net->layers;
    op->line = b->lines;
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

static int units_of(const struct builder *b)
{
    return b->now.units == FS_UNITS_K ? b->net->labels : b->now.units;
}

/* Size of the output along an axis; 0 where the window is larger than the padded map. */
static int steps(int size, int kernel, int stride, int pad)
{
    return size + 2 * pad < kernel ? 0 : (size + 2 * pad - kernel) / stride + 1;
}

/* 1 where a further window begins inside the map or the padding before it: what "ceil" takes and "floor" leaves out. */
static int leaves_rest(int size, int kernel, int stride, int pad)
{
    return (size + 2 * pad - kernel) % stride && steps(size, kernel, stride, pad) * stride < size + pad;
}

/* What there is of one image is counted by an int. */
static fs_status check_size(const struct builder *b, const char *what, int height, int width, int channels)
{
    if ((double)height * width * channels <= INT_MAX)
        return FS_OK;
    return complain(b, "a %s of %dx%dx%d is too large: at most %d numbers", what, height, width, channels, INT_MAX);
}

static fs_status add_conv(struct builder *b)
{
    int filters = units_of(b), kernel = b->now.size.height, stride = b->now.stride.height, pad = b->now.pad.height;
    int height = steps(b->height, kernel, stride, pad), width = steps(b->width, kernel, stride, pad);
    if (!height || !width)
        return complain(b, "a %dx%d kernel on a %dx%d map (%dx%d images)", kernel, kernel, b->height, b->width, b->net->height,
                        b->net->width);
    fs_status status = check_size(b, "map", height, width, filters);
    if (!status)
        status = check_size(b, "window", kernel, kernel, b->channels);
    if (status)
        return status;
    b->net->layers++;
    fs_op *op = append(b, FS_CONV);
    op->kernel = kernel;
    op->stride = stride;
    op->pad = pad;
    op->out_height = b->height = height;
    op->out_width = b->width = width;
    op->out_channels = b->channels = filters;
    add_parameters(b, op, (size_t)kernel * kernel * op->channels * filters, b->now.bias ? (size_t)filters : 0);
    return FS_OK;
}

static void add_batchnorm(struct builder *b)
{
    fs_op *op = append(b, FS_BATCHNORM);
    add_parameters(b, op, (size_t)b->channels, (size_t)b->channels);
    op->statistic = b->net->statistics;
    b->net->statistics += 2 * (size_t)b->channels;
}

static fs_status fail_rest(const struct builder *b)
{
    const fs_layer *l = &b->now;
    char stride[40] = "";
    if (l->stride.height != l->size.height || l->stride.width != l->size.width)
        snprintf(stride, sizeof stride, " of stride %dx%d", l->stride.height, l->stride.width);
    return complain(b,
                    "a %dx%d pool%s does not divide the %dx%d map after convolution %d (%dx%d images); 'floor' leaves the rest "
                    "out, 'ceil' gives it a window",
                    l->size.height, l->size.width, stride, b->height, b->width, b->net->layers, b->net->height, b->net->width);
}

/* A pool as b->now says. */
static fs_status add_pool(struct builder *b, fs_op_kind plain, fs_op_kind window)
{
    enum { MOST_PLAIN = 16 }; /* see fs_maxpool_forward */
    const fs_layer *l = &b->now;
    int height = steps(b->height, l->size.height, l->stride.height, l->pad.height);
    int width = steps(b->width, l->size.width, l->stride.width, l->pad.width);
    if (!height || !width)
        return complain(b, "a %dx%d pool on a %dx%d map (%dx%d images)", l->size.height, l->size.width, b->height, b->width,
                        b->net->height, b->net->width);
    int rows_left = leaves_rest(b->height, l->size.height, l->stride.height, l->pad.height);
    int columns_left = leaves_rest(b->width, l->size.width, l->stride.width, l->pad.width);
    if ((rows_left || columns_left) && !l->floor && !l->ceil && !b->silent_floor)
        return fail_rest(b);
    height += l->ceil && rows_left;
    width += l->ceil && columns_left;
    int divides = b->height % l->size.height == 0 && b->width % l->size.width == 0 && !l->pad.height && !l->pad.width;
    int own_stride = l->stride.height != l->size.height || l->stride.width != l->size.width;
    int is_plain = divides && !own_stride && l->size.height == l->size.width && l->size.height <= MOST_PLAIN;
    fs_op *op = append(b, is_plain ? plain : window);
    if (is_plain)
        op->kernel = op->stride = l->size.height;
    op->kernel2 = l->size;
    op->stride2 = l->stride;
    op->pad2 = l->pad;
    op->out_height = b->height = height;
    op->out_width = b->width = width;
    return FS_OK;
}

static fs_status add_global(struct builder *b, fs_op_kind plain, fs_op_kind window)
{
    b->now.size = b->now.stride = (fs_size){b->height, b->width};
    return add_pool(b, plain, window);
}

static fs_status add_linear(struct builder *b)
{
    int outputs = units_of(b);
    size_t inputs = (size_t)b->height * b->width * b->channels;
    if (inputs > INT_MAX)
        return complain(b, "%zu inputs are too many", inputs);
    b->flat = b->dense = 1;
    fs_op *op = append(b, FS_LINEAR);
    op->out_height = op->out_width = b->height = b->width = 1;
    op->out_channels = b->channels = outputs;
    add_parameters(b, op, inputs * (size_t)outputs, b->now.bias ? (size_t)outputs : 0);
    return FS_OK;
}

static fs_status check_input(const struct builder *b)
{
    const fs_layer *l = &b->now;
    const fs_network *net = b->net;
    if (net->ops || b->lines > 1)
        return complain(b, "the input comes before all layers");
    if (l->size.height == net->height && l->size.width == net->width && l->units == net->channels)
        return FS_OK;
    return complain(b, "the images are %dx%dx%d", net->height, net->width, net->channels);
}

/* What may not stand where it does. */
static fs_status check_place(const struct builder *b)
{
    fs_layer_kind kind = b->now.kind;
    int maps_only = kind == FS_LAYER_CONV || kind == FS_LAYER_MAXPOOL || kind == FS_LAYER_AVGPOOL ||
                    kind == FS_LAYER_GLOBALMAX || kind == FS_LAYER_GLOBALAVG;
    if (b->flat && maps_only)
        return complain(b, "no such layer may follow a flatten or fc");
    if (b->flat && kind == FS_LAYER_BN && (b->height > 1 || b->width > 1))
        return complain(b, "normalises channels: it belongs before the flatten of a %dx%d map", b->height, b->width);
    if (!b->net->layers && kind != FS_LAYER_CONV && kind != FS_LAYER_DROPOUT && kind != FS_LAYER_INPUT)
        return complain(b, "the first layer must be a conv");
    return FS_OK;
}

static fs_status add_layer(struct builder *b)
{
    fs_status status = check_place(b);
    if (status)
        return status;
    switch (b->now.kind) {
    case FS_LAYER_INPUT:
        return check_input(b);
    case FS_LAYER_CONV:
        return add_conv(b);
    case FS_LAYER_BN:
        add_batchnorm(b);
        return FS_OK;
    case FS_LAYER_RELU:
        append(b, FS_RELU);
        return FS_OK;
    case FS_LAYER_MAXPOOL:
        return add_pool(b, FS_MAXPOOL, FS_MAXWINDOW);
    case FS_LAYER_AVGPOOL:
        return add_pool(b, FS_AVGPOOL, FS_AVGWINDOW);
    case FS_LAYER_GLOBALMAX:
        return add_global(b, FS_MAXPOOL, FS_MAXWINDOW);
    case FS_LAYER_GLOBALAVG:
        return add_global(b, FS_AVGPOOL, FS_AVGWINDOW);
    case FS_LAYER_DROPOUT:
        b->net->dropouts++;
        return FS_OK;
    case FS_LAYER_FLATTEN:
        b->flat = 1;
        return FS_OK;
    case FS_LAYER_FC:
        return add_linear(b);
    }
    abort(); /* every kind is above */
}

static fs_status check_end(const struct builder *b)
{
    const fs_network *net = b->net;
    if (!net->layers)
        return fs_fail(FS_USAGE, "%s: has no conv", net->arch);
    if (b->height == 1 && b->width == 1 && b->channels == net->labels)
        return FS_OK;
    return complain(b, "the last map is %dx%dx%d, for %d labels it must be 1x1x%d ('fc K' gives that)", b->height, b->width,
                    b->channels, net->labels, net->labels);
}

static fs_status add_layers(struct builder *b, const char *text)
{
    fs_network *net = b->net;
    size_t used = 0, room = strlen(text) + 2; /* a line end that the last line may lack */
    int line = 0, more;
    net->text = fs_alloc(room, 1, "the architecture");
    if (!net->text)
        return FS_ERROR;
    for (;;) {
        fs_status status = fs_arch_next(net->arch, &text, &line, &b->now, &more);
        if (status || !more)
            return status ? status : check_end(b);
        if (++b->lines > FS_ARCH_MOST_LAYERS)
            return complain(b, "more than %d layers", FS_ARCH_MOST_LAYERS);
        used += (size_t)snprintf(net->text + used, room - used, "%s\n", b->now.text);
        status = add_layer(b);
        if (status)
            return status;
    }
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
    struct builder b = {.net = net, .height = height, .width = width, .channels = channels, .silent_floor = arch->silent_floor};
    fs_status status = FS_ERROR;
    net->op = fs_alloc(FS_ARCH_MOST_LAYERS, sizeof *net->op, "the network's operations");
    if (!net->op)
        goto cleanup;
    status = add_layers(&b, arch->text);
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
    free(net->text);
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

fs_window fs_op_window(const fs_op *op)
{
    return (fs_window){op->height,        op->width,          op->channels,      op->out_height,
                       op->out_width,     op->kernel2.height, op->kernel2.width, op->stride2.height,
                       op->stride2.width, op->pad2.height,    op->pad2.width};
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

uint32_t fs_network_fingerprint(const fs_network *net)
{
    return fs_crc32c(0, net->text, strlen(net->text));
}

uint32_t fs_network_crc(const fs_network *net)
{
    int32_t shape[4] = {net->height, net->width, net->channels, net->labels};
    uint32_t crc = fs_crc32c(0, net->arch, sizeof net->arch);
    crc = fs_crc32c(crc, net->text, strlen(net->text));
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
