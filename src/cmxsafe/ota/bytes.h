/* bytes.h - little-endian numbers in ESP-IDF's flash formats, at any alignment. */
#pragma once

#include <stdint.h>

static inline uint16_t cmx_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t cmx_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void cmx_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void cmx_put_le32(uint8_t *p, uint32_t v)
{
    cmx_put_le16(p, (uint16_t)v);
    cmx_put_le16(p + 2, (uint16_t)(v >> 16));
}
