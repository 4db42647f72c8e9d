#include "cmxsafe/core/base64.h"

#include <string.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Writes the base64 of the len bytes at p, padded with '=' to `chars` characters. ends: the last two characters of the
 * alphabet. line: characters per line; 0: no newlines. */
static cmx_err encode(struct cmx_buf *out, const uint8_t *p, size_t len, size_t chars, const char *ends, size_t line)
{
    size_t column = 0;

    for (size_t i = 0; i < chars; i++) {
        const size_t at = i * 6 / 8;
        char c = '=';

        if (at < len) {
            const unsigned two = (unsigned)p[at] << 8 | (at + 1 < len ? p[at + 1] : 0u);
            const unsigned v = two >> (10 - i * 6 % 8) & 63;

            c = v < 62 ? standard[v] : ends[v - 62];
        }
        cmx_buf_put_u8(out, (uint8_t)c);
        if (++column == line) {
            column = 0;
            cmx_buf_put_u8(out, '\n');
        }
    }
    if (line && column)
        cmx_buf_put_u8(out, '\n');
    return cmx_buf_error(out);
}

cmx_err cmx_base64_encode(struct cmx_buf *out, const void *data, size_t len, size_t line)
{
    return encode(out, data, len, (len + 2) / 3 * 4, "+/", line);
}

cmx_err cmx_base64_url_encode(struct cmx_buf *out, const void *data, size_t len)
{
    return encode(out, data, len, (len * 4 + 2) / 3, "-_", 0);
}

static const char fingerprint_head[] = "SHA256:";
enum { HEAD_LEN = sizeof fingerprint_head - 1, FINGERPRINT_DIGITS = CMX_FINGERPRINT_LEN - 1 - HEAD_LEN };

void cmx_base64_fingerprint(char out[CMX_FINGERPRINT_LEN], const uint8_t digest[CMX_SHA256_LEN])
{
    struct cmx_buf b;

    memcpy(out, fingerprint_head, HEAD_LEN);
    cmx_buf_init(&b, out + HEAD_LEN, FINGERPRINT_DIGITS);
    (void)encode(&b, digest, 32, FINGERPRINT_DIGITS, "+/", 0); /* out has room for all digits */
    out[CMX_FINGERPRINT_LEN - 1] = 0;
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

bool cmx_base64_is_fingerprint(const char *text, size_t len)
{
    uint8_t digest[CMX_SHA256_LEN];
    size_t n = 0;

    return len == CMX_FINGERPRINT_LEN - 1 && memcmp(text, fingerprint_head, HEAD_LEN) == 0 &&
           cmx_base64_decode(digest, sizeof digest, text + HEAD_LEN, len - HEAD_LEN, &n) == CMX_OK &&
           n == sizeof digest;
}
