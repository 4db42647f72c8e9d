#include "cmxsafe/core/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void cmx_base64_encode(char *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t bits = 0;
    unsigned n = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | p[i];
        for (n += 8; n >= 6; n -= 6)
            *out++ = alphabet[bits >> (n - 6) & 63];
    }
    if (n > 0)
        *out++ = alphabet[bits << (6 - n) & 63];
    *out = 0;
}

static int value(char c)
{
    const char *p = c ? strchr(alphabet, c) : NULL;

    return p ? (int)(p - alphabet) : -1;
}

cmx_err cmx_base64_decode(uint8_t *out, size_t cap, const char *text, size_t len, size_t *out_len)
{
    uint32_t bits = 0;
    unsigned n = 0;
    size_t done = 0;

    if (len % 4 == 0 && len > 0 && text[len - 1] == '=')
        len -= text[len - 2] == '=' ? 2 : 1;
    if (len % 4 == 1)
        return CMX_EFORMAT;
    for (size_t i = 0; i < len; i++) {
        int v = value(text[i]);

        if (v < 0)
            return CMX_EFORMAT;
        bits = bits << 6 | (uint32_t)v;
        n += 6;
        if (n < 8)
            continue;
        if (done == cap)
            return CMX_ENOSPC;
        n -= 8;
        out[done++] = (uint8_t)(bits >> n);
    }
    if (bits & ((1u << n) - 1))
        return CMX_EFORMAT;
    *out_len = done;
    return CMX_OK;
}
