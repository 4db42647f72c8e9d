#include "cmxsafe/ota/crc32.h"

/* The table has an entry for each 4-bit value: 64 bytes instead of 1 KB. That is fast enough: flash is slower. */
static const uint32_t table[] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

uint32_t cmx_crc32(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    crc = ~crc;
    while (len-- > 0) {
        crc ^= *p++;
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

/* The ROM's function inverts its seed, as zlib's does, so with the seed UINT32_MAX the register starts at zero. */
uint32_t cmx_crc32_esp(const void *data, size_t len)
{
    return cmx_crc32(UINT32_MAX, data, len);
}
