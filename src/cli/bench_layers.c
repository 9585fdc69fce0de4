/* Each convolution of a network by itself: speed and error. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "filterscope/memory.h"
#include "filterscope/random.h"
#include "filterscope/stop.h"

enum { X, Y, WEIGHT, BIAS, DX, DWEIGHT, PREPARED, SCRATCH, WANTED, ARRAYS };

struct layer {
    fs_conv_shape shape;
    int images;
    size_t size[ARRAYS];
    float *array[ARRAYS];
};

static fs_status allocate(struct layer *l)
{
    const fs_conv_shape *s = &l->shape;
    size_t images = (size_t)l->images, in = (size_t)s->height * s->width * s->channels,
           out = (size_t)fs_conv_out_height(s) * fs_conv_out_width(s) * s->filters, weights = fs_conv_weights(s);
    size_t largest = in > out ? in * images : out * images;
    const size_t size[ARRAYS] = {in * images,
                                 out * images,
                                 weights,
                                 (size_t)s->filters,
                                 in * images,
                                 weights,
                                 fs_conv_prepared(s),
                                 fs_conv_scratch(s, l->images),
                                 largest > weights ? largest : weights};
    memcpy(l->size, size, sizeof size);
    for (int a = 0; a < ARRAYS; a++)
        if (!(l->array[a] = fs_alloc(size[a], sizeof(float), "a layer")))
            return FS_ERROR;
    fs_random_uniform(1, FS_RANDOM_WEIGHTS, X, 1.0f, l->array[X], size[X]);
    fs_random_uniform(1, FS_RANDOM_WEIGHTS, WEIGHT, 1.0f / sqrtf((float)(weights / s->filters)), l->array[WEIGHT], weights);
    fs_random_uniform(1, FS_RANDOM_WEIGHTS, BIAS, 0.1f, l->array[BIAS], size[BIAS]);
    return FS_OK;
}

enum pass { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, PASSES };

static void run(struct layer *l, enum pass pass)
{
    float **a = l->array;
    if (pass == FORWARD)
        fs_conv_forward(&l->shape, l->images, a[X], a[WEIGHT], a[PREPARED], a[BIAS], NULL, a[Y], a[SCRATCH]);
    else if (pass == BACKWARD_INPUT)
        fs_conv_backward_input(&l->shape, l->images, a[Y], a[WEIGHT], a[PREPARED], a[DX], a[SCRATCH]);
    else
        fs_conv_backward_weight(&l->shape, l->images, a[X], a[Y], a[DWEIGHT], NULL, a[SCRATCH]);
}

/* The largest difference from the naive kernel's result, relative to its largest value, on as few images as l->images. */
static double error_of(struct layer *l, enum pass pass, int images)
{
    static const int result[PASSES] = {Y, DX, DWEIGHT};
    run(l, pass);
    float **a = l->array, *wanted = a[WANTED], *found = a[result[pass]];
    if (pass == FORWARD)
        fs_conv_naive_forward(&l->shape, l->images, a[X], a[WEIGHT], a[BIAS], wanted);
    else if (pass == BACKWARD_INPUT)
        fs_conv_naive_backward_input(&l->shape, l->images, a[Y], a[WEIGHT], wanted);
    else
        fs_conv_naive_backward_weight(&l->shape, l->images, a[X], a[Y], wanted, NULL);
    double largest = 0, difference = 0;
    size_t all = l->size[result[pass]], count = pass == BACKWARD_WEIGHT ? all : all / images * l->images;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)wanted[i]));
        difference = fmax(difference, fabs((double)wanted[i] - (double)found[i]));
    }
    return difference / largest;
}

static double time_of(struct layer *l, enum pass pass, double seconds)
{
    fs_samples *samples = &(fs_samples){0};
    fs_conv_prepare(&l->shape, l->array[WEIGHT], pass == BACKWARD_INPUT, 0, 1, l->array[PREPARED]);
    run(l, pass);
    double end = fs_seconds() + seconds;
    do {
        double started = fs_seconds();
        run(l, pass);
        fs_samples_add(samples, fs_seconds() - started);
    } while (fs_seconds() < end);
    return fs_samples_median(samples);
}

static void print_layer(struct layer *l, int number, double seconds, double peak)
{
    const fs_conv_shape *s = &l->shape;
    int images = l->images;
    double flops = 2.0 * l->images * fs_conv_out_height(s) * fs_conv_out_width(s) * (double)fs_conv_weights(s);
    double took[PASSES], error[PASSES];
    for (int pass = 0; pass < PASSES; pass++) {
        took[pass] = time_of(l, (enum pass)pass, seconds);
        l->images = images < 2 ? images : 2;
        error[pass] = error_of(l, (enum pass)pass, images);
        l->images = images;
    }
    printf("%5d %9d %7d %4dx%-4d", number, s->channels, s->filters, s->height, s->width);
    for (int pass = 0; pass < PASSES; pass++)
        printf("  %6.0f %5.2f %9.1f %7.1e", flops / took[pass] / 1e9, flops / took[pass] / 1e9 / peak,
               took[pass] * 1e6 / l->images, error[pass]);
    printf("\n");
    fflush(stdout);
}

fs_status fs_bench_layers(const fs_network *net, int images, double seconds, double peak)
{
    printf("%d images at a time; GFLOP/s of direct convolution over the time, that over the core's peak, us an image, error\n"
           "layer  channels filters   map  %33s%34s%33s\n",
           images, "forward            ", "gradient of input         ", "gradient of weights        ");
    for (int i = 0; i < net->ops; i++) {
        struct layer l = {.images = images};
        if (!fs_op_conv_shape(&net->op[i], &l.shape))
            continue;
        fs_status status = allocate(&l);
        if (!status)
            print_layer(&l, net->op[i].layer, seconds, peak);
        for (int a = 0; a < ARRAYS; a++)
            free(l.array[a]);
        if (status)
            return status;
    }
    return FS_OK;
}
