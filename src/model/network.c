/* From an architecture to operations, offsets and initial weights. */
#include "filterscope/network.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"

/* The network under construction, and where its next line stands. */
struct builder {
    fs_network *net;
    fs_layer now; /* the line in work */
    fs_place place;
    const fs_op *last; /* whose output the next operation sees; NULL for the images */
    int dense;         /* after fc */
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

/* The map that the next operation sees, as the output of the operation before. */
static fs_op map_of(const struct builder *b)
{
    const fs_network *net = b->net;
    const fs_op *last = b->last;
    fs_op images = {.out_height = net->height, .out_width = net->width, .out_channels = net->channels};
    return last ? *last : images;
}

/* An operation that gives out what it takes in, until its kind says otherwise. */
static fs_op operation(const struct builder *b)
{
    fs_op map = map_of(b), op = {.kind = b->now.kind, .inputs = 1, .input = {b->last}, .line = b->place.lines};
    op.height = op.out_height = map.out_height;
    op.width = op.out_width = map.out_width;
    op.channels = op.out_channels = map.out_channels;
    return op;
}

static void append(struct builder *b, fs_op op)
{
    fs_network *net = b->net;
    op.layer = b->dense ? 0 : net->layers;
    op.weight = net->parameters;
    op.bias = op.weight + op.weights;
    op.statistic = net->statistics;
    net->parameters += op.weights + op.biases;
    net->statistics += op.statistics;
    if (!b->dense)
        net->conv_parameters = net->parameters;
    net->op[net->ops] = op;
    b->last = &net->op[net->ops++];
}

/* What may not stand where it does. */
static fs_status check_place(const struct builder *b)
{
    const fs_kind *kind = b->now.kind;
    if (b->place.flat && kind->maps_only)
        return complain(b, "no such layer may follow a flatten or fc");
    if (!b->net->layers && !kind->begins)
        return complain(b, "the first layer must be a conv");
    return FS_OK;
}

static fs_status add_layer(struct builder *b)
{
    const fs_kind *kind = b->now.kind;
    fs_status status = check_place(b);
    if (status)
        return status;
    fs_op op = operation(b);
    b->place.convolutions = b->net->layers;
    if (kind->shape && kind->shape(&b->now, &b->place, &op) != FS_OK)
        return complain(b, "%s", fs_message());
    b->place.flat |= kind->flattens;
    b->dense |= kind->dense;
    b->net->layers += kind->counts;
    b->net->dropouts += kind->ignored;
    if (kind->forward)
        append(b, op);
    return FS_OK;
}

static fs_status check_end(const struct builder *b)
{
    const fs_network *net = b->net;
    fs_op map = map_of(b);
    if (!net->layers)
        return fs_fail(FS_USAGE, "%s: has no conv", net->arch);
    if (map.out_height == 1 && map.out_width == 1 && map.out_channels == net->labels)
        return FS_OK;
    return complain(b, "the last map is %dx%dx%d, for %d labels it must be 1x1x%d ('fc K' gives that)", map.out_height,
                    map.out_width, map.out_channels, net->labels, net->labels);
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
        if (++b->place.lines > FS_ARCH_MOST_LAYERS)
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
        if (op->kind->initialise)
            op->kind->initialise(op, seed, i, net->parameter + op->weight, net->statistic + op->statistic);
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
    struct builder b = {.net = net,
                        .place = {.image_height = height,
                                  .image_width = width,
                                  .image_channels = channels,
                                  .labels = labels,
                                  .silent_floor = arch->silent_floor}};
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

double fs_network_macs(const fs_network *net, int layer)
{
    const fs_op *last = layer ? fs_network_probed(net, layer) : &net->op[net->ops - 1];
    double macs = 0;
    for (const fs_op *op = net->op; op <= last; op++)
        macs += fs_op_macs(op);
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
