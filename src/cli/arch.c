/* filterscope arch: an architecture, or that of a model file, with its shapes, parameters and multiply-adds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "filterscope/model_file.h"

static const char usage[] = "arch NAME|FILE|MODEL.h5 [--input HEIGHTxWIDTHxCHANNELS] [--labels K] [--table shapes|text|layers]";

/* The operation that line `line` of net->text stands for; NULL for a line without. */
static const fs_op *op_of_line(const fs_network *net, int line)
{
    for (int i = 0; i < net->ops; i++)
        if (net->op[i].line == line)
            return &net->op[i];
    return NULL;
}

typedef void print_line(const fs_op *op, int line, const char *text, int length);

static void each_line(const fs_network *net, print_line *print)
{
    const char *text = net->text;
    for (int line = 1; *text; line++) {
        int length = (int)strcspn(text, "\n");
        print(op_of_line(net, line), line, text, length);
        text += length + 1;
    }
}

/* The operation that joins branches between a probe's point and the convolution before it; NULL for none. */
static const fs_op *join_before(const fs_op *op)
{
    while (op && op->inputs == 1 && !op->begins)
        op = op->input[0];
    return op && op->inputs > 1 ? op : NULL;
}

static void print_shape(const fs_op *op, int line, const char *text, int length)
{
    char map[40] = "", probe[48] = "";
    const fs_op *join = join_before(op);
    if (op)
        snprintf(map, sizeof map, "%dx%dx%d", op->out_height, op->out_width, op->out_channels);
    if (op && op->probed)
        snprintf(probe, sizeof probe, "probe %d%s%s", op->layer, join ? ": of the " : "", join ? join->kind->word : "");
    printf("%4d  %-32.*s %14s", line, length, text, map);
    if (op)
        printf(" %12zu %14.0f", op->weights + op->biases, fs_op_macs(op));
    printf(op && op->probed ? "  %s\n" : "%s\n", probe);
}

static void print_text(const fs_op *op, int line, const char *text, int length)
{
    (void)op;
    (void)line;
    printf("%.*s\n", length, text);
}

static void print_row(const fs_op *op, int line, const char *text, int length)
{
    if (!op)
        return;
    printf("%d,%.*s,%d,%d,%d,%d,%d,%d,%d,%d,%d,", line, (int)strcspn(text, " \n"), text, op->layer, op->dense, op->probed,
           op->height, op->width, op->channels, op->out_height, op->out_width, op->out_channels);
    printf("%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,", op->kernel.height, op->kernel.width, op->stride.height, op->stride.width,
           op->pad.height, op->pad.width, op->pad_end.height, op->pad_end.width, op->dilation.height, op->dilation.width,
           op->groups);
    printf("%d,%zu,%.0f,%.*s\n", op->biases > 0, op->weights + op->biases, fs_op_macs(op), length, text);
}

static void print_shapes(const fs_network *net)
{
    printf("%s: %d convolutions, %dx%dx%d images, %d labels\n", net->arch, net->convolutions, net->height, net->width,
           net->channels, net->labels);
    printf("   #  layer                                   output   parameters   MACs an image\n");
    each_line(net, print_shape);
    printf("      %-32s %14s %12zu %14.0f\n", "all", "", net->parameters, fs_network_macs(net, 0));
    printf("fingerprint %08x\n", fs_network_fingerprint(net));
}

static fs_status print_table(const fs_network *net, const char *table)
{
    if (strcmp(table, "shapes") == 0) {
        print_shapes(net);
    } else if (strcmp(table, "text") == 0) {
        each_line(net, print_text);
    } else if (strcmp(table, "layers") == 0) {
        printf(
            "line,kind,layer,dense,probed,height,width,channels,out_height,out_width,out_channels,kernel_height,kernel_width,"
            "stride_height,stride_width,pad_height,pad_width,pad_bottom,pad_right,dilation_height,dilation_width,groups,"
            "bias,parameters,macs,text\n");
        each_line(net, print_row);
    } else {
        return fs_fail(FS_USAGE, "--table: '%s' is none of shapes, text, layers", table);
    }
    return FS_OK;
}

static fs_status print_arch(const char *name, const char *size, int labels, const char *table)
{
    fs_arch arch;
    fs_layer input;
    fs_network net = {0};
    fs_status status = fs_arch_open(name, &arch);
    if (!status)
        status = fs_find_input(&arch, size, &input);
    if (!status)
        status = fs_network_create(&arch, input.size.height, input.size.width, input.units, labels, 0, &net);
    if (!status)
        status = print_table(&net, table);
    fs_network_free(&net);
    fs_arch_close(&arch);
    return status;
}

/* A model file says itself what its input and labels are. */
static fs_status print_model(const char *path, const char *size, int labels, const char *table)
{
    fs_model model;
    if (size || labels)
        return fs_fail(FS_USAGE, "--%s does not belong to a model file (%s)", size ? "input" : "labels", path);
    fs_status status = fs_model_load(path, &model);
    if (!status)
        status = print_table(&model.net, table);
    fs_model_free(&model);
    return status;
}

fs_status fs_cli_arch(int argc, char **argv)
{
    const char *name = NULL, *size = NULL, *table = "shapes";
    int labels = 0;
    const fs_option options[] = {
        {"input", FS_OPTION_TEXT, &size, 0, 0, "of the network (the file's input line, else 32x32x3)"},
        {"labels", FS_OPTION_INT, &labels, 2, FS_MAX_LABELS, "K (10)"},
        {"table", FS_OPTION_TEXT, &table, 0, 0, "shapes, text or layers (shapes; text is an architecture file, layers CSV)"},
        {NULL},
    };
    fs_status status = fs_options_read(argc, argv, usage, options, &name);
    if (status)
        return status == FS_STOPPED ? FS_OK : status; /* --help */
    return fs_model_is(name) ? print_model(name, size, labels, table) : print_arch(name, size, labels ? labels : 10, table);
}
