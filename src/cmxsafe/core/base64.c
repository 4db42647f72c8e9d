#include "cmxsafe/core/base64.h"

#include <stdbool.h>
#include <string.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* n bytes (1 to 3) make n + 1 characters, and '=' up to four. */
static void encode_group(char out[4], const uint8_t *p, size_t n)
{
    uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0u);

    for (size_t i = 0; i < 4; i++)
        out[i] = i <= n ? standard[v >> (18 - 6 * i) & 63] : '=';
}

cmx_err cmx_base64_encode(struct cmx_buf *out, const void *data, size_t len, size_t line)
{
    const uint8_t *p = data;
    size_t column = 0;
    char group[4];
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < len; i += 3) {
        encode_group(group, p + i, len - i < 3 ? len - i : 3);
        for (size_t k = 0; k < 4 && !err; k++) {
            err = cmx_buf_put_u8(out, (uint8_t)group[k]);
            if (!err && line && ++column == line) {
                column = 0;
                err = cmx_buf_put_u8(out, '\n');
            }
        }
        if (err)
            return err;
    }
    return column ? cmx_buf_put_u8(out, '\n') : CMX_OK;
}

cmx_err cmx_base64url_encode(struct cmx_buf *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    char group[4];
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < len && !err; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;

        encode_group(group, p + i, n);
        for (size_t k = 0; k <= n; k++)
            if (group[k] == '+' || group[k] == '/')
                group[k] = group[k] == '+' ? '-' : '_';
        err = cmx_buf_put(out, group, n + 1);
    }
    return err;
}

void cmx_base64_text(char *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t bits = 0;
    unsigned n = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | p[i];
        for (n += 8; n >= 6; n -= 6)
            *out++ = standard[bits >> (n - 6) & 63];
    }
    if (n > 0)
        *out++ = standard[bits << (6 - n) & 63];
    *out = 0;
}

static int value(char c)
{
    const char *p = c ? strchr(standard, c) : NULL;

    return p ? (int)(p - standard) : -1;
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
