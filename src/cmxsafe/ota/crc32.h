/* crc32.h - CRC-32 (ISO 3309, reflected, polynomial 0xedb88320) in the two forms that updates use. Detects transmission
 * and flash errors, not attacks. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* cmx_crc32 computes the value of zlib's crc32(). crc: CMX_CRC32_INIT in the first call, then the previous result. */
#define CMX_CRC32_INIT 0u
#define CMX_CRC32_HEX 9 /* a CRC in hexadecimal, NUL included */
uint32_t cmx_crc32(uint32_t crc, const void *data, size_t len);

/* Computes the CRC with the seed that ESP-IDF uses for otadata: esp_rom_crc32_le(UINT32_MAX, ...). */
uint32_t cmx_crc32_esp(const void *data, size_t len);
