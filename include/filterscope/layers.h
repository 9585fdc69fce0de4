/* The other layers, float32, channels last: batch normalisation, ReLU, pooling, linear, loss, SGD. None is collective.
 * "rows" are pixels of all images of the batch or slot; every output is overwritten unless said otherwise. */
#ifndef FILTERSCOPE_LAYERS_H
#define FILTERSCOPE_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "filterscope/conv.h"

/* Batch normalisation in training (Ioffe and Szegedy, 2015), in steps, so that the sums can be taken over all ranks in
 * between. xhat = (x - mean) * inverse, inverse = 1 / sqrt(variance + FS_BATCHNORM_EPSILON), y = gamma xhat + beta. */
#define FS_BATCHNORM_EPSILON 1e-5
#define FS_BATCHNORM_MOMENTUM 0.1 /* weight of the newest batch in the running statistics, as in PyTorch */

/* sums: float64 [2][channels]: sum of x, sum of x^2 over x [rows][channels]. */
void fs_batchnorm_sums(size_t rows, int channels, const float *x, double *sums);

/* From the sums over the whole batch of `rows` rows: mean and inverse, float32 [channels] each. running (NULL: leave it)
 * is float32 [2][channels], mean and variance, updated with FS_BATCHNORM_MOMENTUM (variance unbiased, as in PyTorch). */
void fs_batchnorm_statistics(double rows, int channels, const double *sums, float *mean, float *inverse, float *running);

/* ceiling: above 0, a clip to 0 .. ceiling follows in the same pass, with INFINITY a ReLU; NaN stays NaN. 0: none does. */
void fs_batchnorm_forward(size_t rows, int channels, const float *x, const float *mean, const float *inverse,
                          const float *gamma, const float *beta, float ceiling, float *y);

/* sums: float64 [2][channels]: sum of dy (= dbeta), sum of dy xhat (= dgamma). y (NULL: none) is the output of the clip that
 * followed: in the same pass dy becomes 0 where it was not between 0 and ceiling. */
void fs_batchnorm_backward_sums(size_t rows, int channels, const float *x, const float *y, float ceiling, float *dy,
                                const float *mean, const float *inverse, double *sums);

/* dx = gamma inverse (dy - sums[0]/batch_rows - xhat sums[1]/batch_rows), sums over the whole batch. dx may be dy. */
void fs_batchnorm_backward(size_t rows, int channels, const float *x, const float *dy, const float *mean, const float *inverse,
                           const float *gamma, const double *sums, double batch_rows, float *dx);

/* Inference with the running statistics [2][channels]; in place on x; ceiling as above. */
void fs_batchnorm_infer(size_t rows, int channels, float *x, const float *running, const float *gamma, const float *beta,
                        float ceiling);

/* In place; NaN stays NaN. */
void fs_relu_forward(size_t count, float *x);

/* In place on dy: 0 where the output y was not positive. */
void fs_relu_backward(size_t count, const float *y, float *dy);

/* Pools of size x size pixels with stride size; height and width are of the input, multiples of size. winner: uint8
 * [images][height/size][width/size][channels], place of the maximum in the window (row-major; the first at a tie);
 * NULL where no backward follows. size <= 16. */
void fs_maxpool_forward(int images, int height, int width, int channels, int size, const float *x, float *y, uint8_t *winner);
void fs_maxpool_backward(int images, int height, int width, int channels, int size, const float *dy, const uint8_t *winner,
                         float *dx);
void fs_avgpool_forward(int images, int height, int width, int channels, int size, const float *x, float *y);
void fs_avgpool_backward(int images, int height, int width, int channels, int size, const float *dy, float *dx);

/* Pools of any window: overlapping, padded, not reaching the far border or reaching over it, where out = (size + pad + pad_end
 * - kernel) / stride + 1, rounded down or up; rounded up, the last window still begins inside the map or the padding before it.
 * The padding never wins a maximum. It counts as zeros in an average, but not what lies beyond it: PyTorch's MaxPool2d and
 * AvgPool2d; with `inside` it does not count either: TensorFlow's "SAME", PyTorch's count_include_pad=False. */
typedef struct fs_window {
    int height, width, channels; /* of the input */
    int out_height, out_width;
    fs_size kernel, stride;
    fs_size pad, pad_end; /* above and left, below and right; less than the kernel */
    int inside;
} fs_window;

/* The backward pass of the maximum finds the winner again in x (row-major; the first at a tie). */
void fs_maxwindow_forward(int images, const fs_window *window, const float *x, float *y);
void fs_maxwindow_backward(int images, const fs_window *window, const float *x, const float *dy, float *dx);
void fs_avgwindow_forward(int images, const fs_window *window, const float *x, float *y);
void fs_avgwindow_backward(int images, const fs_window *window, const float *dy, float *dx);

/* y [images][outputs] = x [images][inputs] weight^T + bias; weight [outputs][inputs]; bias [outputs] or NULL. */
void fs_linear_forward(int images, int inputs, int outputs, const float *x, const float *weight, const float *bias, float *y);
void fs_linear_backward_weight(int images, int inputs, int outputs, const float *x, const float *dy, float *dweight,
                               float *dbias);
void fs_linear_backward_input(int images, int inputs, int outputs, const float *dy, const float *weight, float *dx);

/* Index of the largest of values[count]; the lowest at a tie. */
int fs_argmax(int count, const float *values);

/* Softmax and cross-entropy. logits [images][labels]; label [images].
 *   smoothing  in   0 .. 1: the target is (1 - smoothing) * one-hot + smoothing / labels; 0 is the method's
 *   scale      in   1 / (images of the whole batch)
 *   dlogits    out  (softmax - target) * scale; NULL where no backward follows; may be logits
 *   right      out  number of images whose largest logit is their label's
 * Returns the summed (not mean) loss in nats. */
double fs_softmax_loss(int images, int labels, const float *logits, const uint16_t *label, double smoothing, double scale,
                       float *dlogits, int *right);

/* Nesterov momentum and L2, as PyTorch's SGD: g += weight_decay w; v = momentum v + g; w -= lr (g + momentum v). */
void fs_sgd_step(size_t count, float lr, float momentum, float weight_decay, const float *gradient, float *weight,
                 float *velocity);

/* average[i] += share (value[i] - average[i]) */
void fs_average_step(size_t count, float share, const float *value, float *average);

/* sum[i] += addend[i] */
void fs_add(size_t count, float *sum, const float *addend);

/* sum [columns]: of the rows of matrix [rows][columns], in order. */
void fs_sum_rows(size_t rows, int columns, const float *matrix, float *sum);

#endif
