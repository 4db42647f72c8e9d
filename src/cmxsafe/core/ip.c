#include "cmxsafe/core/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/core/text.h"

static const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t localhost6[CMX_IPV6_LEN] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

void cmx_ip_v4(struct cmx_ip *out, const uint8_t addr[4])
{
    memcpy(out->w, mapped, sizeof mapped);
    memcpy(&out->w[3], addr, 4);
}

void cmx_ip_v6(struct cmx_ip *out, const uint8_t addr[CMX_IPV6_LEN])
{
    memcpy(out->w, addr, CMX_IPV6_LEN);
}

bool cmx_ip_equal(const struct cmx_ip *a, const struct cmx_ip *b)
{
    return memcmp(a->w, b->w, CMX_IPV6_LEN) == 0;
}

bool cmx_ip_is_v4(const struct cmx_ip *a)
{
    return memcmp(a->w, mapped, sizeof mapped) == 0;
}

bool cmx_ip_is_any(const struct cmx_ip *a)
{
    return !(a->w[0] | a->w[1] | a->w[3]) && (!a->w[2] || cmx_ip_is_v4(a));
}

bool cmx_ip_is_loopback(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return cmx_ip_is_v4(a) ? b[12] == 127 : memcmp(b, localhost6, sizeof localhost6) == 0;
}

bool cmx_ip_is_link_local6(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

bool cmx_ip_is_multicast(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return cmx_ip_is_v4(a) ? b[12] >= 224 : b[0] == 0xff;
}

bool cmx_ip_is_host(const struct cmx_ip *a)
{
    return !cmx_ip_is_any(a) && !cmx_ip_is_multicast(a);
}

/* ---- text ---- */

static bool parse6(const char *s, uint8_t out[CMX_IPV6_LEN])
{
    size_t n = 0, gap = 17; /* n: bytes written so far; gap: bytes before the "::", 17: no "::" */

    if (*s == ':' && *++s != ':')
        return false;
    do {
        unsigned group = 0, digits = 0, digit;

        if (*s == ':') { /* the second colon of "::" */
            if (gap <= 16)
                return false;
            gap = n;
            if (!*++s)
                break;
        }
        for (; (digit = cmx_text_digit(*s)) < 16; s++, digits++)
            group = group << 4 | digit;
        if (n == 16 || digits - 1 > 3 || (*s && *s != ':'))
            return false;
        out[n++] = (uint8_t)(group >> 8);
        out[n++] = (uint8_t)group;
    } while (*s++);
    if ((n == 16) != (gap > 16))
        return false;
    if (n < 16) {
        memmove(out + 16 - (n - gap), out + gap, n - gap);
        memset(out + gap, 0, 16 - n);
    }
    return true;
}

bool cmx_ip_parse(struct cmx_ip *out, const char *text)
{
    char again[CMX_IP_TEXT_MAX];
    struct cmx_ip ip;
    uint32_t v4;

    if (inet_pton(AF_INET, text, &v4) == 1) { /* some stacks' inet_pton also reads other forms, such as octal numbers */
        cmx_ip_v4(&ip, (const uint8_t *)&v4);
        cmx_ip_text(&ip, again);
        if (strcmp(text, again) != 0)
            return false;
    } else if (!parse6(text, (uint8_t *)ip.w) || cmx_ip_is_v4(&ip)) {
        return false;
    }
    *out = ip;
    return true;
}

bool cmx_ip_parse_prefix(struct cmx_ip *out, uint32_t *bits, const char *text, size_t len)
{
    char copy[CMX_IP_TEXT_MAX + sizeof "/128"], *slash;
    uint32_t max;

    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    slash = strchr(copy, '/');
    if (slash)
        *slash++ = 0;
    if (!cmx_ip_parse(out, copy))
        return false;
    *bits = max = cmx_ip_is_v4(out) ? 32 : 128;
    return !slash || (cmx_text_u32(slash, strlen(slash), bits) == CMX_OK && *bits <= max);
}

bool cmx_ip_is_text6(const char *text)
{
    struct cmx_ip ip;

    return inet_pton(AF_INET6, text, &ip) == 1;
}

/* Does not use inet_ntop for IPv6: lwIP's writes upper case and may leave out the last group, and the C library's
 * writes some addresses in IPv4 notation. */
void cmx_ip_text(const struct cmx_ip *a, char out[CMX_IP_TEXT_MAX])
{
    const uint8_t *b = (const uint8_t *)a->w;
    unsigned group[8], gap = 8, length = 1, run = 0; /* "::" stands for the first of the longest runs of zero groups */

    if (cmx_ip_is_v4(a)) {
        inet_ntop(AF_INET, &a->w[3], out, CMX_IP_TEXT_MAX);
        return;
    }
    for (unsigned i = 8; i--;) {
        group[i] = (unsigned)(b[2 * i] << 8 | b[2 * i + 1]);
        run = group[i] ? 0 : run + 1;
        if (run > 1 && run >= length) {
            gap = i;
            length = run;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == gap) {
            i += length - 1;
            out += snprintf(out, sizeof ":ffff", i == 7 ? "::" : ":");
        } else {
            out += snprintf(out, sizeof ":ffff", i ? ":%x" : "%x", group[i]);
        }
    }
}

bool cmx_ip_in_prefix(const struct cmx_ip *a, const struct cmx_ip *prefix, unsigned bits)
{
    const uint8_t *x = (const uint8_t *)a->w, *y = (const uint8_t *)prefix->w;
    const bool v4 = cmx_ip_is_v4(a);
    const unsigned before = v4 ? 96 : 0; /* bits of struct cmx_ip that precede the address */

    if (v4 != cmx_ip_is_v4(prefix) || bits > 128 - before)
        return false;
    bits += before;
    if (memcmp(x, y, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || (x[bits / 8] ^ y[bits / 8]) >> (8 - bits % 8) == 0;
}
