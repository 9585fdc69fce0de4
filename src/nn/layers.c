/* ReLU, pooling, linear, loss, SGD. */
#include "filterscope/layers.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/simd.h"

FS_SIMD void fs_relu_forward(size_t count, float *x)
{
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] < 0 ? 0 : x[i];
}

FS_SIMD void fs_relu_backward(size_t count, const float *restrict y, float *restrict dy)
{
    for (size_t i = 0; i < count; i++)
        dy[i] = y[i] > 0 ? dy[i] : 0;
}

/* The first pixel of the window of output pixel (oy, ox). */
static const float *window(const float *x, int image, int height, int width, int channels, int size, int oy, int ox)
{
    return x + (((size_t)image * height + (size_t)oy * size) * width + (size_t)ox * size) * channels;
}

FS_SIMD static void max_window(const float *first, int width, int channels, int size, float *restrict y,
                               uint8_t *restrict winner)
{
    memcpy(y, first, channels * sizeof *y);
    if (winner)
        memset(winner, 0, channels);
    for (int place = 1; place < size * size; place++) {
        const float *x = first + ((size_t)(place / size) * width + place % size) * channels;
        if (winner)
            for (int c = 0; c < channels; c++)
                winner[c] = x[c] > y[c] ? (uint8_t)place : winner[c];
        for (int c = 0; c < channels; c++)
            y[c] = x[c] > y[c] ? x[c] : y[c];
    }
}

void fs_maxpool_forward(int images, int height, int width, int channels, int size, const float *x, float *y, uint8_t *winner)
{
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < height / size; oy++)
            for (int ox = 0; ox < width / size; ox++, y += channels) {
                max_window(window(x, n, height, width, channels, size, oy, ox), width, channels, size, y, winner);
                if (winner)
                    winner += channels;
            }
}

/* The window's gradient to its largest pixel, and zeros to the others: each pixel is written once. */
FS_SIMD static void spread_window(float *first, int width, int channels, int size, const float *restrict dy,
                                  const uint8_t *restrict winner)
{
    for (int place = 0; place < size * size; place++) {
        float *restrict dx = first + ((size_t)(place / size) * width + place % size) * channels;
        for (int c = 0; c < channels; c++)
            dx[c] = winner[c] == place ? dy[c] : 0;
    }
}

void fs_maxpool_backward(int images, int height, int width, int channels, int size, const float *dy, const uint8_t *winner,
                         float *dx)
{
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < height / size; oy++)
            for (int ox = 0; ox < width / size; ox++, dy += channels, winner += channels)
                spread_window((float *)window(dx, n, height, width, channels, size, oy, ox), width, channels, size, dy, winner);
}

void fs_avgpool_forward(int images, int height, int width, int channels, int size, const float *x, float *y)
{
    float share = 1.0f / (float)(size * size);
    for (int n = 0; n < images; n++)
        for (int oy = 0; oy < height / size; oy++)
            for (int ox = 0; ox < width / size; ox++, y += channels) {
                const float *first = window(x, n, height, width, channels, size, oy, ox);
                memset(y, 0, channels * sizeof *y);
                for (int place = 0; place < size * size; place++)
                    fs_add((size_t)channels, y, first + ((size_t)(place / size) * width + place % size) * channels);
                for (int c = 0; c < channels; c++)
                    y[c] *= share;
            }
}

void fs_avgpool_backward(int images, int height, int width, int channels, int size, const float *dy, float *dx)
{
    float share = 1.0f / (float)(size * size);
    for (int n = 0; n < images; n++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++, dx += channels) {
                const float *from = dy + (((size_t)n * (height / size) + y / size) * (width / size) + x / size) * channels;
                for (int c = 0; c < channels; c++)
                    dx[c] = share * from[c];
            }
}

void fs_linear_forward(int images, int inputs, int outputs, const float *x, const float *weight, const float *bias, float *y)
{
    if (bias)
        for (int n = 0; n < images; n++)
            memcpy(y + (size_t)n * outputs, bias, outputs * sizeof *y);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, images, outputs, inputs, 1.0f, x, inputs, weight, inputs,
                bias ? 1.0f : 0.0f, y, outputs);
}

void fs_linear_backward_weight(int images, int inputs, int outputs, const float *x, const float *dy, float *dweight,
                               float *dbias)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, outputs, inputs, images, 1.0f, dy, outputs, x, inputs, 0.0f, dweight,
                inputs);
    if (dbias)
        fs_sum_rows((size_t)images, outputs, dy, dbias);
}

void fs_linear_backward_input(int images, int inputs, int outputs, const float *dy, const float *weight, float *dx)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, images, inputs, outputs, 1.0f, dy, outputs, weight, inputs, 0.0f, dx,
                inputs);
}

int fs_argmax(int count, const float *values)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (values[i] > values[best])
            best = i;
    return best;
}

double fs_softmax_loss(int images, int labels, const float *logits, const uint16_t *label, double smoothing, double scale,
                       float *dlogits, int *right)
{
    double loss = 0;
    *right = 0;
    for (int n = 0; n < images; n++, logits += labels) {
        int best = fs_argmax(labels, logits), own = label[n];
        double largest = logits[best], sum = 0, below = 0;
        for (int k = 0; k < labels; k++) {
            sum += exp(logits[k] - largest);
            below += logits[k] - largest;
        }
        loss += log(sum) - (1 - smoothing) * (logits[own] - largest) - smoothing / labels * below;
        *right += best == own;
        if (dlogits) {
            for (int k = 0; k < labels; k++)
                dlogits[k] =
                    (float)((exp(logits[k] - largest) / sum - (1 - smoothing) * (k == own) - smoothing / labels) * scale);
            dlogits += labels;
        }
    }
    return loss;
}

FS_SIMD void fs_sgd_step(size_t count, float lr, float momentum, float weight_decay, const float *restrict gradient,
                         float *restrict weight, float *restrict velocity)
{
    for (size_t i = 0; i < count; i++) {
        float slope = gradient[i] + weight_decay * weight[i];
        velocity[i] = momentum * velocity[i] + slope;
        weight[i] -= lr * (slope + momentum * velocity[i]);
    }
}

FS_SIMD void fs_average_step(size_t count, float share, const float *restrict value, float *restrict average)
{
    for (size_t i = 0; i < count; i++)
        average[i] += share * (value[i] - average[i]);
}

void fs_sum_rows(size_t rows, int columns, const float *matrix, float *sum)
{
    memset(sum, 0, columns * sizeof *sum);
    for (size_t row = 0; row < rows; row++)
        fs_add((size_t)columns, sum, matrix + row * columns);
}

FS_SIMD void fs_add(size_t count, float *restrict sum, const float *restrict addend)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += addend[i];
}
