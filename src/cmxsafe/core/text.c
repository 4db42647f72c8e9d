#include "cmxsafe/core/text.h"

#include <stdio.h>
#include <string.h>

void cmx_text_hex_encode(char *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = 0;
}

unsigned cmx_text_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c |= 0x20; /* to lower case */
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

bool cmx_text_is_alnum(char c)
{
    const char lower = c | 0x20;

    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z');
}

cmx_err cmx_text_hex_decode(uint8_t *out, size_t len, const char *hex)
{
    for (size_t i = 0; i < 2 * len; i++)
        if (cmx_text_digit(hex[i]) > 15) /* the NUL is not a digit, so a shorter string is refused */
            return CMX_EFORMAT;
    if (hex[2 * len])
        return CMX_EFORMAT;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(cmx_text_digit(hex[2 * i]) << 4 | cmx_text_digit(hex[2 * i + 1]));
    return CMX_OK;
}

cmx_err cmx_text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t base = 10;
    uint64_t v = 0;

    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        base = 16;
        s += 2;
    }
    if (!*s)
        return CMX_EFORMAT;
    for (; *s; s++) {
        unsigned d = cmx_text_digit(*s);

        if (d >= base)
            return CMX_EFORMAT;
        if (v > (UINT64_MAX - d) / base)
            return CMX_EINVAL;
        v = v * base + d;
    }
    if (v < min || v > max)
        return CMX_EINVAL;
    *out = v;
    return CMX_OK;
}

cmx_err cmx_text_u32(const char *s, size_t len, uint32_t *out)
{
    const char *end = s + len;
    unsigned base = 10;
    uint32_t v = 0;

    if (len > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        base = 16;
        s += 2;
    }
    if (s == end)
        return CMX_EFORMAT;
    for (; s < end; s++) {
        unsigned d = cmx_text_digit(*s);

        if (d >= base || v > (UINT32_MAX - d) / base)
            return CMX_EFORMAT;
        v = v * base + d;
    }
    *out = v;
    return CMX_OK;
}

bool cmx_text_split_host(char *text, const char **host, uint16_t *port)
{
    char *end = strchr(text, text[0] == '[' ? ']' : ':');
    uint32_t number;

    *host = text;
    if (text[0] == '[') {
        if (!end)
            return false;
        *host = text + 1;
        *end++ = 0;
    } else if (end && strchr(end + 1, ':')) {
        return true;
    }
    if (!end || !*end)
        return true;
    if (*end != ':')
        return false;
    *end++ = 0;
    if (cmx_text_u32(end, strlen(end), &number) || number == 0 || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

cmx_err cmx_text_copy(char *out, size_t cap, const char *s)
{
    size_t n = strlen(s);

    if (n >= cap)
        return CMX_ENOSPC;
    memcpy(out, s, n + 1);
    return CMX_OK;
}

/* True for C0, DEL and C1. Terminals obey C1 both as one byte and in UTF-8 (0xc2, then the same byte). */
static bool is_control(uint8_t c, uint8_t before)
{
    return c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0 && (before < 0x80 || before == 0xc2));
}

void cmx_text_clean(char *s)
{
    for (uint8_t before = 0; *s; before = (uint8_t)*s++)
        if (is_control((uint8_t)*s, before))
            *s = '?';
}

char cmx_text_printable(char c)
{
    return c >= 0x20 && c < 0x7f ? c : '?';
}

void cmx_text_clean_ascii(char *out, size_t cap, const void *data, size_t len)
{
    const char *in = data;
    size_t n = len < cap ? len : cap - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = cmx_text_printable(in[i]);
    out[n] = 0;
}

void cmx_text_format(char *out, size_t cap, const char *fmt, va_list ap)
{
    int n = vsnprintf(out, cap, fmt, ap);

    if (n < 0)
        out[0] = 0;
    else if ((size_t)n >= cap)
        memcpy(out + cap - 4, "...", 4);
    cmx_text_clean(out);
}

cmx_err cmx_text_url_decode(const char *s, size_t len, int plus_is_space, uint8_t *out, size_t cap, size_t *out_len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; n++) {
        uint8_t c = (uint8_t)s[i];

        if (n == cap)
            return CMX_ENOSPC;
        if (c == '%') {
            unsigned hi = len - i > 2 ? cmx_text_digit(s[i + 1]) : 16;
            unsigned lo = len - i > 2 ? cmx_text_digit(s[i + 2]) : 16;

            if ((hi | lo) > 15)
                return CMX_EFORMAT;
            c = (uint8_t)(hi << 4 | lo);
            i += 3;
        } else {
            if (c == '+' && plus_is_space)
                c = ' ';
            i++;
        }
        out[n] = c;
    }
    *out_len = n;
    return CMX_OK;
}
