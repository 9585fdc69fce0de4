/* How an image becomes the network's input: scaled, flipped and shifted. */
#define _GNU_SOURCE /* nftw */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filterscope/dataset.h"
#include "filterscope/random.h"
#include "small_sets.h"

/* A set in memory with pixel values 0..255 in no simple order. */
static fs_dataset make_set(int images, int height, int width, int channels)
{
    fs_dataset data = {.images = images, .height = height, .width = width, .channels = channels, .labels = 2};
    size_t bytes = (size_t)images * height * width * channels;
    data.pixels = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data.pixels[i] = (uint8_t)(i * 2654435761u >> 16);
    return data;
}

static size_t image_values(const fs_dataset *data)
{
    return (size_t)data->height * data->width * data->channels;
}

static void bytes_are_scaled_to_minus_one_to_one(void **state)
{
    (void)state;
    fs_dataset data = {.images = 2, .height = 16, .width = 16, .channels = 1};
    uint8_t pixels[512];
    float x[256];
    for (int i = 0; i < 512; i++)
        pixels[i] = (uint8_t)i;
    data.pixels = pixels;
    fs_dataset_scale(&data, 1, x);
    assert_true(x[0] == -1.0f && x[255] == 1.0f);
    for (int p = 0; p < 256; p++)
        assert_true(fabs(x[p] - (2.0 * p - 255.0) / 255.0) <= 0x1p-25); /* half a unit in the last place, at most */

    pixels[256] = 255; /* the second image's first pixel */
    fs_dataset_scale(&data, 1, x);
    assert_true(x[0] == 1.0f);
}

/* By definition, pixel by pixel. */
static void naive_augment(const fs_dataset *data, int image, uint64_t seed, uint32_t epoch, float *x)
{
    uint32_t word[4];
    fs_random4(seed, FS_RANDOM_AUGMENT, epoch, (uint32_t)image, 0, word);
    int flip = word[0] & 1, shift_x = (int)(word[1] % 9) - 4, shift_y = (int)(word[2] % 9) - 4;
    if (data->alternating) {
        fs_random4(seed, FS_RANDOM_AUGMENT, 0, (uint32_t)image, 0, word);
        flip = (word[0] & 1) != (epoch & 1);
    }
    for (int y = 0; y < data->height; y++)
        for (int column = 0; column < data->width; column++)
            for (int c = 0; c < data->channels; c++) {
                int from_y = y - shift_y, from_x = column - shift_x;
                int inside = from_y >= 0 && from_y < data->height && from_x >= 0 && from_x < data->width;
                if (flip)
                    from_x = data->width - 1 - from_x;
                *x++ = inside ? (float)(2.0 * pixel(data, image, from_y, from_x, c) / 255.0 - 1.0) : 0.0f;
            }
}

static void augmentation_equals_its_definition_on_any_shape(void **state)
{
    (void)state;
    static const int shape[][3] = {{32, 32, 3}, {32, 32, 1}, {9, 5, 3}, {5, 9, 1}, {4, 4, 3}, {3, 2, 1}, {1, 1, 3}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        fs_dataset data = make_set(300, shape[i][0], shape[i][1], shape[i][2]);
        size_t bytes = image_values(&data) * sizeof(float);
        float *x = malloc(bytes), *expected = malloc(bytes);
        for (int image = 0; image < data.images; image++) {
            memset(x, 0xff, bytes);
            fs_dataset_augment(&data, image, 5, 2, x);
            naive_augment(&data, image, 5, 2, expected);
            assert_memory_equal(x, expected, bytes);
        }
        free(x);
        free(expected);
        fs_dataset_close(&data);
    }
}

static void an_image_is_flipped_in_every_other_epoch_where_flips_alternate(void **state)
{
    (void)state;
    fs_dataset data = make_set(100, 8, 6, 3);
    float x[144], expected[144];
    data.alternating = 1;
    for (uint32_t epoch = 1; epoch < 4; epoch++)
        for (int image = 0; image < data.images; image++) {
            fs_dataset_augment(&data, image, 5, epoch, x);
            naive_augment(&data, image, 5, epoch, expected);
            assert_memory_equal(x, expected, sizeof x);
        }
    fs_dataset_close(&data);
}

/* No byte is scaled to 0, since 255 is odd: the zeros are exactly the vacated pixels. */
static void vacated_pixels_are_exactly_zero(void **state)
{
    (void)state;
    fs_dataset data = make_set(200, 32, 32, 3);
    static float x[CIFAR_PIXELS];
    for (int image = 0; image < data.images; image++) {
        uint32_t word[4];
        fs_random4(9, FS_RANDOM_AUGMENT, 0, (uint32_t)image, 0, word);
        int shift_x = abs((int)(word[1] % 9) - 4), shift_y = abs((int)(word[2] % 9) - 4);
        int zeros = 0;
        fs_dataset_augment(&data, image, 9, 0, x);
        for (int i = 0; i < CIFAR_PIXELS; i++)
            zeros += x[i] == 0.0f;
        assert_int_equal(zeros, 3 * (PLANE - (SIDE - shift_x) * (SIDE - shift_y)));
    }
    fs_dataset_close(&data);
}

static void augmentation_is_a_pure_function_of_seed_epoch_and_image(void **state)
{
    (void)state;
    fs_dataset data = make_set(2, 32, 32, 3);
    static float first[CIFAR_PIXELS], other[CIFAR_PIXELS];
    int same[3] = {0};
    memcpy(data.pixels + CIFAR_PIXELS, data.pixels, CIFAR_PIXELS); /* two images alike */
    for (uint32_t epoch = 0; epoch < 100; epoch++) {
        fs_dataset_augment(&data, 0, 1, epoch, first);
        fs_dataset_augment(&data, 0, 1, epoch + 1000, other);
        same[0] += memcmp(first, other, sizeof first) == 0;
        fs_dataset_augment(&data, 0, 1 + (1ull << 32), epoch, other);
        same[1] += memcmp(first, other, sizeof first) == 0;
        fs_dataset_augment(&data, 1, 1, epoch, other);
        same[2] += memcmp(first, other, sizeof first) == 0;
        fs_dataset_augment(&data, 0, 1, epoch, other);
        assert_memory_equal(first, other, sizeof first);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(same[i], 0, 6); /* two draws agree with p = 1/162 */
    fs_dataset_close(&data);
}

/* Every pixel of a 16 x 16 image says where it was, so flip and shift can be read off the output's middle. */
static void flips_come_in_half_and_all_81_shifts_alike(void **state)
{
    (void)state;
    enum { IMAGES = 8100 };
    fs_dataset data = {.images = IMAGES, .height = 16, .width = 16, .channels = 1};
    data.pixels = malloc(IMAGES * 256);
    for (int i = 0; i < IMAGES * 256; i++)
        data.pixels[i] = (uint8_t)i;
    int flips = 0, seen[9][9] = {{0}};
    for (int image = 0; image < IMAGES; image++) {
        float x[256];
        fs_dataset_augment(&data, image, 3, 1, x);
        int middle = (int)((x[8 * 16 + 8] + 1) * 127.5f + 0.5f), right = (int)((x[8 * 16 + 9] + 1) * 127.5f + 0.5f);
        int flip = right < middle;
        int shift_y = 8 - middle / 16, shift_x = 8 - (flip ? 15 - middle % 16 : middle % 16);
        assert_int_equal(abs(right - middle), 1);
        assert_true(abs(shift_y) <= 4 && abs(shift_x) <= 4);
        flips += flip;
        seen[shift_y + 4][shift_x + 4]++;
    }
    assert_in_range(flips, IMAGES / 2 - 225, IMAGES / 2 + 225); /* five standard deviations */
    for (int i = 0; i < 81; i++)
        assert_in_range(seen[i / 9][i % 9], 50, 150); /* 100 expected; five standard deviations */
    free(data.pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_scaled_to_minus_one_to_one),
        cmocka_unit_test(augmentation_equals_its_definition_on_any_shape),
        cmocka_unit_test(an_image_is_flipped_in_every_other_epoch_where_flips_alternate),
        cmocka_unit_test(vacated_pixels_are_exactly_zero),
        cmocka_unit_test(augmentation_is_a_pure_function_of_seed_epoch_and_image),
        cmocka_unit_test(flips_come_in_half_and_all_81_shifts_alike),
    };
    return cmocka_run_group_tests_name("augment", tests, NULL, NULL);
}
