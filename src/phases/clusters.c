/* From a K x K field to clusters, noise and SNR: method, phase three, steps 3 to 8. */
#include "filterscope/clusters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "filterscope/memory.h"

/* The largest element; NaN where some element is. */
static float largest_of(const float *field, size_t count)
{
    float largest = field[0];
    for (size_t i = 0; i < count; i++) {
        if (isnan(field[i]))
            return field[i];
        largest = field[i] > largest ? field[i] : largest;
    }
    return largest;
}

/* B of step 4, one byte an element; returns its ones. */
static int clip(size_t count, const float *field, float largest, double threshold, uint8_t *b)
{
    int ones = 0;
    for (size_t i = 0; i < count; i++) {
        b[i] = (double)field[i] / (double)largest > threshold;
        ones += b[i];
    }
    return ones;
}

/* Whether B is all ones between `label` and every label that is in cluster `number` already. */
static int joins(int labels, const uint8_t *b, const int32_t *cluster, int32_t number, int label)
{
    for (int other = 0; other < labels; other++)
        if (cluster[other] == number && !(b[other * labels + label] && b[label * labels + other]))
            return 0;
    return 1;
}

/* Step 5. Labels with B[k,k] = 1 in ascending order; the first unassigned one opens a cluster, later ones join greedily. */
static int find_clusters(int labels, const uint8_t *b, int32_t *cluster)
{
    int clusters = 0;
    for (int first = 0; first < labels; first++) {
        if (cluster[first] || !b[first * labels + first])
            continue;
        cluster[first] = ++clusters;
        for (int k = first + 1; k < labels; k++)
            if (!cluster[k] && b[k * labels + k] && joins(labels, b, cluster, clusters, k))
                cluster[k] = clusters;
    }
    return clusters;
}

/* Step 6. A one in the column of a covered label is internal noise unless its row is of the same cluster. */
static void count_noise(int labels, const uint8_t *b, const int32_t *cluster, fs_filter_measure *measure)
{
    int blocks = 0;
    for (int row = 0; row < labels; row++)
        for (int column = 0; column < labels; column++) {
            int own = cluster[column] && cluster[row] == cluster[column];
            blocks += own;
            measure->internal += cluster[column] && !own && b[row * labels + column];
        }
    measure->noise = measure->ones - blocks;
    measure->external = measure->noise - measure->internal;
}

fs_status fs_measure_filter(int labels, const float *field, double threshold, int32_t *cluster, fs_filter_measure *measure)
{
    size_t count = (size_t)labels * labels;
    float largest = largest_of(field, count);
    *measure = (fs_filter_measure){.largest = largest};
    memset(cluster, 0, labels * sizeof *cluster);
    if (!isfinite(largest) || largest <= 0) {
        measure->dead = 1;
        return FS_OK;
    }
    uint8_t *b = fs_alloc(count, 1, "a clipped field");
    if (!b)
        return FS_ERROR;
    measure->ones = clip(count, field, largest, threshold, b);
    measure->clusters = find_clusters(labels, b, cluster);
    for (int k = 0; k < labels; k++)
        measure->covered += cluster[k] > 0;
    count_noise(labels, b, cluster, measure);
    free(b);
    return FS_OK;
}

/* Adds a filter's clusters to the histogram and to sum |c|(|c|-1). */
static double count_sizes(int labels, int clusters, const int32_t *cluster, int32_t *histogram)
{
    double pairs = 0;
    for (int number = 1; number <= clusters; number++) {
        int size = 0;
        for (int k = 0; k < labels; k++)
            size += cluster[k] == number;
        histogram[size]++;
        pairs += (double)size * (size - 1);
    }
    return pairs;
}

static void add_means(fs_layer_means *sum, const fs_filter_measure *m)
{
    sum->clusters += m->clusters;
    sum->covered += m->covered;
    sum->noise += m->noise;
}

static void divide_means(fs_layer_means *sum, int filters)
{
    sum->clusters /= filters; /* 0/0 is the NaN that is promised */
    sum->covered /= filters;
    sum->noise /= filters;
}

void fs_measure_layer(int labels, int filters, const fs_filter_measure *measure, const int32_t *cluster, int32_t *histogram,
                      fs_layer_measure *layer)
{
    double pairs = 0, off_diagonal = (double)labels * (labels - 1);
    *layer = (fs_layer_measure){.filters = filters};
    memset(histogram, 0, ((size_t)labels + 1) * sizeof *histogram);
    for (int f = 0; f < filters; f++) {
        const fs_filter_measure *m = &measure[f];
        layer->dead += m->dead;
        pairs += count_sizes(labels, m->clusters, cluster + (size_t)f * labels, histogram);
        add_means(&layer->all, m);
        if (m->clusters) {
            layer->clustered++;
            add_means(&layer->with, m);
        }
    }
    double covered = layer->all.covered, noise = layer->all.noise, clusters = layer->all.clusters;
    layer->cluster_size = covered / clusters;
    layer->signal = covered / labels;
    layer->noise_internal = pairs / off_diagonal;
    layer->noise_external = noise / off_diagonal;
    layer->snr = layer->signal / (layer->noise_internal + layer->noise_external);
    divide_means(&layer->all, filters);
    divide_means(&layer->with, layer->clustered);
}
