/* Prunes the network of FILE by COUNT sets of random clusters, which it prints, and what fs_prune makes of them, a line each:
 *     clusters LAYER       then each filter's labels, as "0,3,7" or "-" for none
 *     mask NAME            then each output's row of the mask, as "0110"
 *     end UNCLUSTERED      1 where filters without clusters keep all kernels
 * masks.py says from the first alone what the others must be.
 *     print_masks FILE LABELS COUNT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/prune.h"
#include "filterscope/random.h"

/* From few labels a filter, of which many have none, to a quarter of them. */
static int is_clustered(int labels, int number, int layer, int filter, int label)
{
    uint32_t word[4];
    fs_random4(7, FS_RANDOM_PROBE, (uint32_t)(number * 64 + layer), (uint32_t)filter, (uint32_t)label, word);
    return word[0] % (uint32_t)(number % 2 ? 4 : 2 * labels) == 0;
}

static int32_t *make_clusters(int labels, int number, int layer, int filters)
{
    int32_t *cluster = fs_alloc((size_t)filters * (size_t)labels, sizeof *cluster, "clusters");
    printf("clusters %d", layer);
    for (int f = 0; f < filters && cluster; f++) {
        const char *between = " ";
        for (int k = 0; k < labels; k++)
            if (is_clustered(labels, number, layer, f, k)) {
                cluster[(size_t)f * (size_t)labels + (size_t)k] = 1 + k % 3;
                printf("%s%d", between, k);
                between = ",";
            }
        printf("%s", *between == ' ' ? " -" : "");
    }
    printf("\n");
    return cluster;
}

static void print_mask(const fs_network *net, const fs_op *op)
{
    char name[FS_OP_NAME_BYTES];
    fs_op_name(net, op, name);
    size_t inputs = fs_mask_kernels(op) / (size_t)op->out_channels;
    printf("mask %s", name);
    for (int o = 0; o < op->out_channels; o++) {
        printf(" ");
        for (size_t i = 0; i < inputs; i++)
            printf("%d", fs_mask_keeps(op, o, (int)i));
    }
    printf("\n");
}

static fs_status prune(const fs_arch *arch, int labels, int number)
{
    fs_network net;
    fs_status status = fs_network_create(arch, 8, 8, 1, labels, 1, &net);
    if (status)
        return status;
    fs_prune_layer *layer = fs_alloc((size_t)net.layers + 1, sizeof *layer, "layers");
    uint8_t *chosen = fs_alloc((size_t)net.ops, 1, "layers");
    fs_pruned *report = fs_alloc((size_t)net.ops, sizeof *report, "layers");
    fs_prune_settings settings = {
        .layer = layer, .chosen = chosen, .keep = (double)NAN, .keep_unclustered = number / 2 % 2, .seed = 1};
    for (int l = 1; l <= net.layers; l++)
        if (fs_network_probed(&net, l))
            layer[l].cluster = make_clusters(labels, number, l, fs_network_probed(&net, l)->out_channels);
    for (int i = 0; i < net.ops; i++)
        chosen[i] = 1;
    status = fs_prune(&net, &settings, report);
    for (int i = 0; i < net.ops && !status; i++)
        if (report[i].masked)
            print_mask(&net, &net.op[i]);
    printf("end %d\n", settings.keep_unclustered);
    for (int l = 1; l <= net.layers; l++)
        free((void *)layer[l].cluster);
    free(layer);
    free(chosen);
    free(report);
    fs_network_free(&net);
    return status;
}

int main(int argc, char **argv)
{
    fs_arch arch = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: print_masks FILE LABELS COUNT\n");
        return 2;
    }
    fs_status status = fs_arch_open(argv[1], &arch);
    for (int number = 0; number < atoi(argv[3]) && !status; number++)
        status = prune(&arch, atoi(argv[2]), number);
    fs_arch_close(&arch);
    if (status)
        fprintf(stderr, "print_masks: %s\n", fs_message());
    return status ? 1 : 0;
}
