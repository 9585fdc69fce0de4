#define _GNU_SOURCE /* qsort_r */
#include "filterscope/drops.h"

#include <math.h>
#include <stdlib.h>

#include "filterscope/memory.h"
#include "filterscope/random.h"

static int rising(const void *left, const void *right, void *values)
{
    const int a = *(const int *)left, b = *(const int *)right;
    double x = ((const double *)values)[a], y = ((const double *)values)[b];
    return x != y ? (x > y) - (x < y) : (a > b) - (a < b);
}

void fs_order(int count, const double *value, int *order)
{
    for (int i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, (size_t)count, sizeof *order, rising, (void *)value);
}

/* The end of the run of equal values that begins at place `first` of the order. */
static int end_of_ties(int count, const int *order, const double *value, int first)
{
    int end = first + 1;
    while (end < count && value[order[end]] == value[order[first]])
        end++;
    return end;
}

double fs_auc(int count, int width, const int *order, const double *value, const uint8_t *positive, const int *weight)
{
    double wins = 0, positives = 0, others = 0;
    for (int first = 0, end; first < count; first = end) {
        double tied[2] = {0};
        end = end_of_ties(count, order, value, first);
        for (int i = first; i < end; i++)
            tied[positive[order[i]]] += weight ? weight[order[i] / width] : 1;
        wins += tied[1] * (others + tied[0] / 2);
        others += tied[0];
        positives += tied[1];
    }
    return wins / (positives * others); /* 0/0 is the NaN that is promised */
}

static void draw_sample(int groups, uint32_t stream, int sample, int *weight)
{
    for (int g = 0; g < groups; g++)
        weight[g] = 0;
    for (int g = 0; g < groups; g += 4) {
        uint32_t word[4];
        fs_random4(1, FS_RANDOM_BOOTSTRAP, stream, (uint32_t)sample, (uint32_t)g, word);
        for (int i = 0; i < 4 && g + i < groups; i++)
            weight[(uint64_t)word[i] * (uint64_t)groups >> 32]++;
    }
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

fs_status fs_auc_interval(int count, int width, const int *order, const double *value, const uint8_t *positive, uint32_t stream,
                          int samples, double *low, double *high)
{
    int *weight = fs_alloc((size_t)(count / width), sizeof *weight, "a sample");
    double *auc = fs_alloc((size_t)samples, sizeof *auc, "samples");
    int drawn = 0;
    *low = *high = (double)NAN;
    for (int sample = 0; sample < samples && weight && auc; sample++) {
        draw_sample(count / width, stream, sample, weight);
        auc[drawn] = fs_auc(count, width, order, value, positive, weight);
        drawn += !isnan(auc[drawn]);
    }
    if (drawn) {
        qsort(auc, (size_t)drawn, sizeof *auc, by_value);
        *low = auc[(int)(0.025 * (drawn - 1))];
        *high = auc[(int)ceil(0.975 * (drawn - 1))];
    }
    fs_status status = weight && auc ? FS_OK : FS_ERROR;
    free(weight);
    free(auc);
    return status;
}

static void find_ranks(int count, const double *value, double *rank, int *order)
{
    fs_order(count, value, order);
    for (int first = 0, end; first < count; first = end) {
        end = end_of_ties(count, order, value, first);
        for (int i = first; i < end; i++)
            rank[order[i]] = 0.5 * (first + end - 1);
    }
}

double fs_rank_correlation(int count, const double *a, const double *b, double *room, int *order)
{
    double *x = room, *y = room + count, middle = 0.5 * (count - 1), both = 0, of_a = 0, of_b = 0;
    for (int i = 0; i < count; i++)
        if (isnan(a[i]) || isnan(b[i]))
            return (double)NAN;
    find_ranks(count, a, x, order);
    find_ranks(count, b, y, order);
    for (int i = 0; i < count; i++) {
        both += (x[i] - middle) * (y[i] - middle);
        of_a += (x[i] - middle) * (x[i] - middle);
        of_b += (y[i] - middle) * (y[i] - middle);
    }
    return both / sqrt(of_a * of_b);
}
