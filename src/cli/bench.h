/* What the parts of filterscope bench share. */
#ifndef FILTERSCOPE_BENCH_H
#define FILTERSCOPE_BENCH_H

#include <stddef.h>

#include "filterscope/network.h"

enum { FS_BENCH_SAMPLES = 4096 };

/* Times of repeated steps, for their median. */
typedef struct fs_samples {
    int count;
    double seconds[FS_BENCH_SAMPLES];
} fs_samples;

/* Not collective. Adds one; beyond FS_BENCH_SAMPLES it is dropped. */
void fs_samples_add(fs_samples *samples, double seconds);

/* Not collective. Sorts the samples; NaN without any. */
double fs_samples_median(fs_samples *samples);

/* Not collective. float32 multiply-adds of independent vectors in registers, in GFLOP/s of this core: what no code can exceed.
 * Takes about 0.2 s.
 *   lanes  in  floats of a vector at most; this CPU's widest that is not wider is taken */
double fs_bench_peak(void);
double fs_bench_peak_of(int lanes);

/* Not collective. Prints a line for each convolution of `net` on one core with slots of `images` images: effective GFLOP/s
 * (those of the direct convolution over the time) of the forward pass and of both gradients, and the largest error of each
 * against the naive kernel, relative to the largest value; peak is in GFLOP/s. FS_ERROR without memory. */
fs_status fs_bench_layers(const fs_network *net, int images, double seconds, double peak);

#endif
