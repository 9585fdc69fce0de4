/* Batch normalisation. Loops run over channels inside, which are contiguous: they vectorise, and each channel's sum is
 * taken in row order whatever the vector width. */
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "filterscope/layers.h"

FS_SIMD void fs_batchnorm_sums(size_t rows, int channels, const float *x, double *sums)
{
    double *restrict first = sums, *restrict second = sums + channels;
    memset(sums, 0, 2 * (size_t)channels * sizeof *sums);
    for (size_t row = 0; row < rows; row++, x += channels)
        for (int c = 0; c < channels; c++) {
            double value = x[c];
            first[c] += value;
            second[c] += value * value;
        }
}

void fs_batchnorm_statistics(double rows, int channels, const double *sums, float *mean, float *inverse, float *running)
{
    double unbias = rows > 1 ? rows / (rows - 1) : 1.0;
    for (int c = 0; c < channels; c++) {
        double average = sums[c] / rows;
        double variance = sums[channels + c] / rows - average * average;
        if (variance < 0) /* rounding; a NaN passes through and is noticed in the loss */
            variance = 0;
        mean[c] = (float)average;
        inverse[c] = (float)(1.0 / sqrt(variance + FS_BATCHNORM_EPSILON));
        if (running) {
            double keep = 1.0 - FS_BATCHNORM_MOMENTUM;
            running[c] = (float)(keep * running[c] + FS_BATCHNORM_MOMENTUM * average);
            running[channels + c] = (float)(keep * running[channels + c] + FS_BATCHNORM_MOMENTUM * variance * unbias);
        }
    }
}

FS_SIMD void fs_batchnorm_forward(size_t rows, int channels, const float *x, const float *mean, const float *inverse,
                                  const float *gamma, const float *beta, float ceiling, float *restrict y)
{
    float floor = ceiling > 0 ? 0.0f : -INFINITY, most = ceiling > 0 ? ceiling : INFINITY;
    for (size_t row = 0; row < rows; row++, x += channels, y += channels)
        for (int c = 0; c < channels; c++) {
            float value = gamma[c] * ((x[c] - mean[c]) * inverse[c]) + beta[c];
            value = value < floor ? floor : value;
            y[c] = value > most ? most : value;
        }
}

/* The slope of a clip to 0 .. ceiling, which gave y. */
static inline float slope_of_clip(float y, float ceiling, float dy)
{
    return ((y > 0) & (y < ceiling)) ? dy : 0;
}

FS_SIMD void fs_batchnorm_backward_sums(size_t rows, int channels, const float *x, const float *y, float ceiling, float *dy,
                                        const float *mean, const float *inverse, double *sums)
{
    double *restrict first = sums, *restrict second = sums + channels;
    memset(sums, 0, 2 * (size_t)channels * sizeof *sums);
    for (size_t row = 0; row < rows; row++, x += channels, dy += channels) {
        for (int c = 0; c < channels && y; c++) /* the row stays in cache */
            dy[c] = slope_of_clip(y[row * channels + c], ceiling, dy[c]);
        for (int c = 0; c < channels; c++) {
            float xhat = (x[c] - mean[c]) * inverse[c];
            first[c] += dy[c];
            second[c] += (double)dy[c] * xhat;
        }
    }
}

FS_SIMD void fs_batchnorm_backward(size_t rows, int channels, const float *x, const float *dy, const float *mean,
                                   const float *inverse, const float *gamma, const double *sums, double batch_rows, float *dx)
{
    float share = (float)(1.0 / batch_rows);
    for (size_t row = 0; row < rows; row++, x += channels, dy += channels, dx += channels) /* dx may be dy, at the same place */
        FS_INDEPENDENT for (int c = 0; c < channels; c++)
        {
            float xhat = (x[c] - mean[c]) * inverse[c];
            float away = share * ((float)sums[c] + xhat * (float)sums[channels + c]);
            dx[c] = gamma[c] * inverse[c] * (dy[c] - away);
        }
}

FS_SIMD void fs_batchnorm_infer(size_t rows, int channels, float *x, const float *running, const float *gamma,
                                const float *beta, float ceiling)
{
    enum { GROUP = 64 }; /* channels whose scale and shift are kept at hand */
    for (int from = 0; from < channels; from += GROUP) {
        float scale[GROUP], shift[GROUP];
        int count = channels - from < GROUP ? channels - from : GROUP;
        for (int c = 0; c < count; c++) {
            scale[c] = (float)(gamma[from + c] / sqrt(running[channels + from + c] + FS_BATCHNORM_EPSILON));
            shift[c] = beta[from + c] - running[from + c] * scale[c];
        }
        float floor = ceiling > 0 ? 0.0f : -INFINITY, most = ceiling > 0 ? ceiling : INFINITY;
        for (size_t row = 0; row < rows; row++) {
            float *restrict out = x + row * channels + from;
            for (int c = 0; c < count; c++) {
                float value = scale[c] * out[c] + shift[c];
                value = value < floor ? floor : value; /* keeps NaN */
                out[c] = value > most ? most : value;
            }
        }
    }
}
