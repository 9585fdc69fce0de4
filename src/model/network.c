/* From an architecture to operations, offsets and initial weights. */
#include "filterscope/network.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/crc32c.h"
#include "filterscope/memory.h"

/* A map that the next operation may see. */
struct map {
    const fs_op *op; /* whose output it is; NULL for the images */
    int flat;        /* after flatten or fc */
    int dense;       /* after fc */
};

struct name {
    char text[FS_NAME_BYTES];
    struct map map;
};

/* The network under construction, and where its next line stands. */
struct builder {
    fs_network *net;
    fs_layer now; /* the line in work */
    fs_place place;
    struct map here; /* the current map */
    int trunk;       /* number of the last convolution that is on no branch */
    int branch;      /* after "from" */
    int marks;       /* "probe" so far */
    int names;
    struct name name[FS_ARCH_MOST_LAYERS];
    int line[FS_ARCH_MOST_LAYERS + 1]; /* of the file, of each line of net->text */
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

static fs_status find_map(const struct builder *b, const char *name, struct map *map)
{
    *map = b->here;
    if (strcmp(name, FS_HERE) == 0)
        return FS_OK;
    for (int i = 0; i < b->names; i++)
        if (strcmp(b->name[i].text, name) == 0) {
            *map = b->name[i].map;
            return FS_OK;
        }
    return complain(b, "no line above is named '%s'", name);
}

static fs_status add_name(struct builder *b)
{
    for (int i = 0; i < b->names; i++)
        if (strcmp(b->name[i].text, b->now.name) == 0)
            return complain(b, "another line is named '%s'", b->now.name);
    struct name *name = &b->name[b->names++];
    memcpy(name->text, b->now.name, sizeof name->text);
    name->map = b->here;
    return FS_OK;
}

/* The inputs of the operation: the current map, or those that the line names. *map is flat or dense where they all are. */
static fs_status find_inputs(const struct builder *b, fs_op *op, struct map *map)
{
    op->inputs = b->now.kind->names ? b->now.sources : 1;
    *map = (struct map){.flat = 1, .dense = 1};
    for (int k = 0; k < op->inputs; k++) {
        struct map input = b->here;
        fs_status status = b->now.kind->names ? find_map(b, b->now.source[k], &input) : FS_OK;
        for (int before = 0; before < k && !status; before++)
            if (op->input[before] == input.op)
                status = complain(b, "'%s' and '%s' are the same map", b->now.source[before], b->now.source[k]);
        if (status)
            return status;
        op->input[k] = input.op;
        map->flat &= input.flat;
        map->dense &= input.dense;
    }
    map->op = op->input[0];
    return FS_OK;
}

/* As if it were an operation's output: that of `op`, or the images. */
static fs_op output_of(const struct builder *b, const fs_op *op)
{
    const fs_network *net = b->net;
    fs_op images = {.out_height = net->height, .out_width = net->width, .out_channels = net->channels};
    return op ? *op : images;
}

/* An operation that gives out what it takes in, until its kind says otherwise. */
static void take_shape(const struct builder *b, fs_op *op)
{
    fs_op input = output_of(b, op->input[0]);
    op->height = op->out_height = input.out_height;
    op->width = op->out_width = input.out_width;
    op->channels = op->out_channels = input.out_channels;
}

static fs_op *append(struct builder *b, fs_op op, const struct map *map)
{
    fs_network *net = b->net;
    fs_op *own = &net->op[net->ops++];
    op.layer = map->dense ? 0 : b->branch ? net->convolutions : b->trunk;
    op.begins = op.kind->counts;
    op.dense = map->dense;
    op.branch = b->branch;
    op.weight = net->parameters;
    op.bias = op.weight + op.weights;
    op.statistic = net->statistics;
    net->parameters += op.weights + op.biases;
    net->statistics += op.statistics;
    if (!map->dense)
        net->conv_parameters = net->parameters;
    *own = op;
    for (int k = 0; k < op.inputs; k++) {
        fs_op *input = op.input[k] ? &net->op[op.input[k] - net->op] : NULL;
        if (!input)
            continue;
        input->readers++;
        input->reader = own;
    }
    return own;
}

/* What may not stand where it does. */
static fs_status check_place(const struct builder *b)
{
    const fs_kind *kind = b->now.kind;
    if (b->place.flat && kind->maps_only)
        return complain(b, "no such layer may follow a flatten or fc");
    if (!b->net->convolutions && !kind->begins)
        return complain(b, "the first layer must be a conv");
    if (b->now.probe && !kind->forward)
        return complain(b, "'probe' belongs to a line that computes");
    return FS_OK;
}

static fs_status add_layer(struct builder *b)
{
    const fs_kind *kind = b->now.kind;
    fs_op op = {.kind = kind, .line = b->place.lines};
    struct map map;
    fs_status status = find_inputs(b, &op, &map);
    if (status)
        return status;
    b->place.flat = map.flat;
    b->place.convolutions = b->net->convolutions;
    status = check_place(b);
    if (status)
        return status;
    take_shape(b, &op);
    if (kind->shape && kind->shape(&b->now, &b->place, &op) != FS_OK)
        return complain(b, "%s", fs_message());
    map.flat |= kind->flattens;
    map.dense |= kind->dense;
    b->branch = (b->branch || kind->branches) && !kind->joins;
    b->net->convolutions += kind->counts;
    b->trunk = kind->counts && !b->branch ? b->net->convolutions : b->trunk;
    b->net->dropouts += kind->ignored;
    if (kind->forward) {
        fs_op *own = append(b, op, &map);
        map.op = own;
        own->probed = b->now.probe;
        b->marks += b->now.probe;
    }
    b->here = map;
    return !status && *b->now.name ? add_name(b) : status;
}

/* Line `number` of net->text, of `length` bytes. */
static const char *line_of(const fs_network *net, int number, int *length)
{
    const char *text = net->text;
    for (int line = 1; line < number; line++)
        text = strchr(text, '\n') + 1;
    *length = (int)strcspn(text, "\n");
    return text;
}

static fs_status complain_of(const struct builder *b, const fs_op *op, const char *what)
{
    int length;
    const char *text = line_of(b->net, op->line, &length);
    return fs_fail(FS_USAGE, "%s: line %d: '%.*s': %s", b->net->arch, b->line[op->line], length, text, what);
}

static fs_status check_readers(const struct builder *b)
{
    const fs_network *net = b->net;
    for (const fs_op *op = net->op; op < net->op + net->ops; op++)
        if (!op->readers && op != b->here.op)
            return complain_of(b, op, "nothing uses its map");
    return FS_OK;
}

/* Each layer has one probe, which sees its map or units. */
static fs_status check_marks(const struct builder *b)
{
    int line[FS_ARCH_MOST_LAYERS + 1] = {0}; /* of each layer's probe */
    for (const fs_op *op = b->net->op; op < b->net->op + b->net->ops; op++) {
        char what[64];
        if (!op->probed)
            continue;
        if (!op->layer)
            return complain_of(b, op, "a probe sees maps or hidden units, not what the last fc gives");
        snprintf(what, sizeof what, "the probe of layer %d is on line %d", op->layer, line[op->layer]);
        if (line[op->layer])
            return complain_of(b, op, what);
        line[op->layer] = b->line[op->line];
    }
    return FS_OK;
}

/* Whether others read the units of a fully connected layer. */
static int is_hidden(const fs_op *op)
{
    while (op->readers == 1 && op->reader->inputs == 1 && !op->reader->kind->dense)
        op = op->reader;
    return op->readers > 0;
}

/* The hidden fully connected layers behind all maps take the numbers behind those of the convolutions; what stands behind one
 * belongs to it. */
static void number_dense(fs_network *net)
{
    fs_op *end = net->op + net->ops, *first = end;
    while (first > net->op && first[-1].dense)
        first--;
    net->layers = net->convolutions;
    for (fs_op *op = first; op < end; op++) {
        op->begins = op->kind->dense && !op->branch && is_hidden(op);
        op->layer = op->begins ? ++net->layers : op->kind->dense ? 0 : op->input[0]->layer;
    }
}

static fs_status check_end(const struct builder *b)
{
    const fs_network *net = b->net;
    fs_op map = output_of(b, b->here.op);
    if (!net->convolutions)
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
        b->line[b->place.lines] = b->now.line;
        used += (size_t)snprintf(net->text + used, room - used, "%s\n", b->now.text);
        status = add_layer(b);
        if (status)
            return status;
    }
}

/* The end of the chain behind a layer: before the next one, the fc of the logits, or where a branch begins or ends. */
static fs_op *end_of_chain(fs_network *net, fs_op *op)
{
    const fs_op *next = op->reader;
    while (op->readers == 1 && next->inputs == 1 && next->layer && !next->begins) {
        op = &net->op[next - net->op];
        next = op->reader;
    }
    return op;
}

/* Where no line says what is probed: each layer that is on no branch, at the end of its chain. */
static void mark_probed(fs_network *net)
{
    for (fs_op *op = net->op; op < net->op + net->ops; op++)
        if (op->begins && !op->branch)
            end_of_chain(net, op)->probed = 1;
}

static void initialise(fs_network *net, uint64_t seed)
{
    for (int i = 0; i < net->ops; i++) {
        const fs_op *op = &net->op[i];
        if (op->kind->initialise)
            op->kind->initialise(op, seed, i, net->parameter + op->weight, net->statistic + op->statistic);
    }
}

/* The middle of the kernel; of an even one, the later of the two, as PyTorch's dirac_ has it. */
static int middle_of(const fs_op *op)
{
    return op->kernel.height / 2 * op->kernel.width + op->kernel.width / 2;
}

static void start_as_identity(const fs_op *op, float *weight)
{
    fs_kernels k;
    op->kind->kernels(op, &k);
    int filters = k.outputs / op->groups; /* of a group */
    for (int o = 0; o < k.outputs; o++) {
        float *kernel = weight + (size_t)o * k.output;
        int own = o % filters;
        if (own >= k.inputs)
            continue;
        for (int i = 0; i < k.inputs; i++)
            for (int p = 0; p < k.places; p++)
                kernel[(size_t)i * k.input + (size_t)p * k.place] = i == own && p == middle_of(op);
    }
}

void fs_network_start_as_identity(fs_network *net)
{
    for (int i = 1; i < net->ops; i++) /* the first is a convolution */
        if (net->op[i].kind->counts)
            start_as_identity(&net->op[i], net->parameter + net->op[i].weight);
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
    struct builder *b = fs_alloc(1, sizeof *b, "the network's construction");
    fs_status status = FS_ERROR;
    net->op = fs_alloc(FS_ARCH_MOST_LAYERS, sizeof *net->op, "the network's operations");
    if (!net->op || !b)
        goto cleanup;
    *b = (struct builder){.net = net,
                          .place = {.image_height = height,
                                    .image_width = width,
                                    .image_channels = channels,
                                    .labels = labels,
                                    .silent_floor = arch->silent_floor}};
    status = add_layers(b, arch->text);
    if (!status)
        status = check_readers(b);
    if (status)
        goto cleanup;
    number_dense(net);
    if (!b->marks)
        mark_probed(net);
    status = check_marks(b);
    if (!status)
        status = allocate(net);
    if (status)
        goto cleanup;
    initialise(net, seed);
cleanup:
    free(b);
    if (status)
        fs_network_free(net);
    return status;
}

void fs_network_free(fs_network *net)
{
    for (int i = 0; net->op && i < net->ops; i++)
        free(net->op[i].mask);
    free(net->op);
    free(net->text);
    free(net->parameter);
    free(net->velocity);
    free(net->statistic);
    *net = (fs_network){0};
}

const fs_op *fs_network_layer(const fs_network *net, int layer)
{
    const fs_op *op = net->op;
    while (!op->begins || op->layer != layer)
        op++;
    return op;
}

const fs_op *fs_network_probed(const fs_network *net, int layer)
{
    for (const fs_op *op = net->op; op < net->op + net->ops; op++)
        if (op->probed && op->layer == layer)
            return op;
    return NULL;
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
