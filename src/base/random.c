#include "filterscope/random.h"

static void philox_round(uint32_t c[4], const uint32_t key[2])
{
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t high0 = (uint32_t)(p0 >> 32), high1 = (uint32_t)(p1 >> 32);
    uint32_t c1 = c[1], c3 = c[3];
    c[0] = high1 ^ c1 ^ key[0];
    c[1] = (uint32_t)p1;
    c[2] = high0 ^ c3 ^ key[1];
    c[3] = (uint32_t)p0;
}

void fs_random4(uint64_t seed, fs_purpose purpose, uint32_t a, uint32_t b, uint32_t counter, uint32_t out[4])
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    out[0] = counter;
    out[1] = b;
    out[2] = a;
    out[3] = (uint32_t)purpose;
    for (int round = 0; round < 10; round++) {
        philox_round(out, key);
        key[0] += 0x9E3779B9u; /* Weyl sequence: golden ratio */
        key[1] += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
}

void fs_random_uniform(uint64_t seed, fs_purpose purpose, uint32_t a, float bound, float *values, size_t count)
{
    uint32_t word[4] = {0};
    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0)
            fs_random4(seed, purpose, a, (uint32_t)(i >> 34), (uint32_t)(i / 4), word);
        float unit = (float)(word[i % 4] >> 8) * 0x1p-24f; /* [0, 1) with 24 bits: exact in a float */
        values[i] = bound * (2.0f * unit - 1.0f);
    }
}

void fs_random_permutation(uint64_t seed, fs_purpose purpose, uint32_t a, uint32_t b, int *order, int count)
{
    for (int i = 0; i < count; i++)
        order[i] = i;
    for (int i = count - 1; i > 0; i--) {
        uint32_t word[4];
        fs_random4(seed, purpose, a, b, (uint32_t)i, word);
        uint64_t wide = (uint64_t)word[0] << 32 | word[1];
        int j = (int)(wide % (uint64_t)(i + 1)); /* bias below 2^-32 */
        int swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

void fs_random_order(uint64_t seed, uint32_t epoch, int *order, int count)
{
    fs_random_permutation(seed, FS_RANDOM_SHUFFLE, epoch, 0, order, count);
}
