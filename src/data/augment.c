/* From bytes to the network's input, with and without augmentation. */
#include <assert.h>
#include <string.h>

#include "filterscope/dataset.h"
#include "filterscope/random.h"

/* 2p/255 - 1 for every p, rounded once. A table that the compiler fills gives the same bits on every CPU, which
 * arithmetic at run time (with or without fused multiply-add) does not, and needs no initialisation by threads. */
#define SCALED(p) (float)(2.0 * (p) / 255.0 - 1.0)
#define SCALED_4(p) SCALED(p), SCALED(p + 1), SCALED(p + 2), SCALED(p + 3)
#define SCALED_16(p) SCALED_4(p), SCALED_4(p + 4), SCALED_4(p + 8), SCALED_4(p + 12)
#define SCALED_64(p) SCALED_16(p), SCALED_16(p + 16), SCALED_16(p + 32), SCALED_16(p + 48)
static const float scaled[256] = {SCALED_64(0), SCALED_64(64), SCALED_64(128), SCALED_64(192)};

enum { SHIFT_MOST = 4 };

/* Inputs for the values of channel `channel`. */
static const float *table_of(const fs_dataset *data, int channel)
{
    return data->scaled ? data->scaled + 256 * (size_t)channel : scaled;
}

/* `count` pixels from left to right into x. */
static void scale(const fs_dataset *data, const uint8_t *pixels, size_t count, float *x)
{
    int channels = data->channels;
    for (int c = 0; c < channels; c++) {
        const float *table = table_of(data, c);
        for (size_t i = (size_t)c; i < count * (size_t)channels; i += (size_t)channels)
            x[i] = table[pixels[i]];
    }
}

static const uint8_t *image_pixels(const fs_dataset *data, int image)
{
    assert(image >= 0 && image < data->images);
    if (data->stream)
        return fs_stream_pixels(data->stream, image);
    return data->pixels + (size_t)image * data->height * data->width * data->channels;
}

void fs_dataset_scale(const fs_dataset *data, int image, float *x)
{
    scale(data, image_pixels(data, image), (size_t)data->height * data->width, x);
}

/* `count` pixels from left to right into x; their sources run from `last` to the left. */
static void scale_mirrored(const fs_dataset *data, const uint8_t *last, int count, float *x)
{
    int channels = data->channels;
    for (int c = 0; c < channels; c++) {
        const float *table = table_of(data, c);
        for (int i = 0; i < count; i++)
            x[(ptrdiff_t)i * channels + c] = table[last[c - (ptrdiff_t)i * channels]];
    }
}

static int clamp(int value, int most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

/* One row, moved to the right by `shift` columns (to the left where it is negative). Column i of the output comes from
 * column i - shift of the row, or of its mirror image; columns first..end-1 have such a source. */
static void augment_row(const fs_dataset *data, const uint8_t *row, int flip, int shift, float *x)
{
    int width = data->width, channels = data->channels;
    int first = clamp(shift, width), end = clamp(width + shift, width);
    memset(x, 0, (size_t)first * channels * sizeof *x);
    memset(x + (size_t)end * channels, 0, (size_t)(width - end) * channels * sizeof *x);
    if (first == end) /* an image narrower than its shift has left the frame */
        return;
    x += (size_t)first * channels;
    if (flip)
        scale_mirrored(data, row + (size_t)(width - 1 - (first - shift)) * channels, end - first, x);
    else
        scale(data, row + (size_t)(first - shift) * channels, (size_t)(end - first), x);
}

/* `word` is what the epoch draws for the image. */
static int flips(const fs_dataset *data, int image, uint64_t seed, uint32_t epoch, uint32_t word)
{
    uint32_t once[4];
    if (!data->alternating)
        return (int)(word & 1);
    fs_random4(seed, FS_RANDOM_AUGMENT, 0, (uint32_t)image, 0, once);
    return (int)((once[0] ^ epoch) & 1);
}

void fs_dataset_augment(const fs_dataset *data, int image, uint64_t seed, uint32_t epoch, float *x)
{
    uint32_t word[4];
    fs_random4(seed, FS_RANDOM_AUGMENT, epoch, (uint32_t)image, 0, word);
    int flip = flips(data, image, seed, epoch, word[0]);
    int shift_x = (int)(word[1] % (2 * SHIFT_MOST + 1)) - SHIFT_MOST; /* bias below 2^-28 */
    int shift_y = (int)(word[2] % (2 * SHIFT_MOST + 1)) - SHIFT_MOST;
    const uint8_t *pixels = image_pixels(data, image);
    size_t row = (size_t)data->width * data->channels;
    for (int y = 0; y < data->height; y++, x += row) {
        int source = y - shift_y;
        if (source < 0 || source >= data->height)
            memset(x, 0, row * sizeof *x);
        else
            augment_row(data, pixels + (size_t)source * row, flip, shift_x, x);
    }
}
