/* Writes COUNT random K x K fields to FILE (float32) and prints what fs_measure_filter says of each, a line a field: clusters,
 * covered, ones, noise, internal, external, dead, then each label's cluster. measure.py prints the same from the file alone.
 *     print_measures FILE LABELS COUNT */
#include <stdio.h>
#include <stdlib.h>

#include "filterscope/clusters.h"
#include "filterscope/memory.h"
#include "filterscope/random.h"

/* Every third field is plain noise, a third has blocks on the diagonal, a third is skewed to negative values (many dead). */
static void make_field(int labels, uint32_t number, float *field)
{
    size_t count = (size_t)labels * labels;
    uint32_t word[4];
    fs_random4(5, FS_RANDOM_WEIGHTS, number, 1, 0, word);
    fs_random_uniform(5, FS_RANDOM_PROBE, number, 1.0f, field, count);
    int blocks = 1 + (int)(word[0] % (uint32_t)labels);
    for (size_t i = 0; i < count; i++) {
        int row = (int)(i / labels), column = (int)(i % labels);
        if (number % 3 == 1 && row % blocks == column % blocks)
            field[i] = 0.8f + 0.6f * field[i];
        if (number % 3 == 2)
            field[i] -= (float)(word[1] % 3) * 0.5f;
    }
}

int main(int argc, char **argv)
{
    int labels = argc == 4 ? atoi(argv[2]) : 0, count = argc == 4 ? atoi(argv[3]) : 0;
    FILE *file = labels > 0 && count > 0 ? fopen(argv[1], "wb") : NULL;
    if (!file) {
        fprintf(stderr, "usage: print_measures FILE LABELS COUNT\n");
        return 2;
    }
    float *field = fs_alloc((size_t)labels * labels, sizeof *field, "a field");
    int32_t *cluster = fs_alloc((size_t)labels, sizeof *cluster, "clusters");
    for (int number = 0; field && cluster && number < count; number++) {
        fs_filter_measure m;
        make_field(labels, (uint32_t)number, field);
        fwrite(field, sizeof *field, (size_t)labels * labels, file);
        if (fs_measure_filter(labels, field, 0.3, cluster, &m))
            return 1;
        printf("%d %d %d %d %d %d %d", m.clusters, m.covered, m.ones, m.noise, m.internal, m.external, m.dead);
        for (int k = 0; k < labels; k++)
            printf(" %d", (int)cluster[k]);
        printf("\n");
    }
    free(field);
    free(cluster);
    return fclose(file) == 0 && field && cluster ? 0 : 1;
}
