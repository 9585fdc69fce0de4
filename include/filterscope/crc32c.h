/* CRC-32C (Castagnoli, polynomial 0x1EDC6F41), as in RFC 3720 appendix B.4: "123456789" gives 0xE3069283. */
#ifndef FILTERSCOPE_CRC32C_H
#define FILTERSCOPE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Not collective. Continues `crc` (0 at the start) over `size` bytes. fs_crc32c(fs_crc32c(0, a, n), b, m) is the CRC of
 * a followed by b. Uses the SSE 4.2 instruction where the CPU has it; the value is the same without. */
uint32_t fs_crc32c(uint32_t crc, const void *data, size_t size);

#endif
