#include "filterscope/crc32c.h"

#include <string.h>

static uint32_t crc_portable(uint32_t crc, const unsigned char *byte, size_t size)
{
    static uint32_t table[256];
    if (!table[1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = value & 1 ? value >> 1 ^ 0x82F63B78u : value >> 1;
            table[i] = value;
        }
    }
    while (size--)
        crc = crc >> 8 ^ table[(crc ^ *byte++) & 0xff];
    return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *byte, size_t size)
{
    uint64_t wide = crc;
    for (; size >= 8; size -= 8, byte += 8) {
        uint64_t word;
        memcpy(&word, byte, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (size--)
        crc = __builtin_ia32_crc32qi(crc, *byte++);
    return crc;
}
#endif

uint32_t fs_crc32c(uint32_t crc, const void *data, size_t size)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_sse42(~crc, data, size);
#endif
    return ~crc_portable(~crc, data, size);
}
