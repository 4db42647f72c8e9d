#include "cmxsafe/core/ip.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/core/text.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t localhost6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

void cmx_ip_v4(struct cmx_ip *out, const uint8_t addr[4])
{
    memcpy(out->w, mapped, 12);
    memcpy(&out->w[3], addr, 4);
}

void cmx_ip_v6(struct cmx_ip *out, const uint8_t addr[16])
{
    memcpy(out->w, addr, 16);
}

bool cmx_ip_equal(const struct cmx_ip *a, const struct cmx_ip *b)
{
    return memcmp(a->w, b->w, 16) == 0;
}

bool cmx_ip_is_v4(const struct cmx_ip *a)
{
    return memcmp(a->w, mapped, 12) == 0;
}

bool cmx_ip_is_any(const struct cmx_ip *a)
{
    return !a->w[3] && (cmx_ip_is_v4(a) || !(a->w[0] | a->w[1] | a->w[2]));
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

/* ---- text ---- */

/* Accepts only the form that inet_ntop writes. Some stacks' inet_pton also accepts other forms, such as octal
 * numbers. */
static bool parse4(const char *s, uint32_t *out)
{
    char again[CMX_IP_TEXT_MAX];

    return inet_pton(AF_INET, s, out) == 1 && inet_ntop(AF_INET, out, again, sizeof again) && strcmp(s, again) == 0;
}

/* Reads one to four hexadecimal digits at *s, and moves *s past them. */
static bool take_group(const char **s, unsigned *out)
{
    const char *begin = *s;

    for (*out = 0; cmx_text_digit(**s) < 16 && *s - begin < 4; (*s)++)
        *out = *out << 4 | cmx_text_digit(**s);
    return *s > begin;
}

static bool parse6(const char *s, uint8_t out[16])
{
    size_t n = 0, gap = 16; /* n: bytes written so far; gap: bytes before the "::", 16: no "::" */

    memset(out, 0, 16);
    if (*s == ':' && *++s != ':')
        return false;
    for (;;) {
        unsigned group;

        if (*s == ':') { /* the second colon of "::" */
            if (gap < 16)
                return false;
            gap = n;
            if (!*++s)
                break;
        }
        if (n == 16 || !take_group(&s, &group))
            return false;
        out[n++] = (uint8_t)(group >> 8);
        out[n++] = (uint8_t)group;
        if (!*s)
            break;
        if (n == 16 || *s++ != ':')
            return false;
    }
    if ((n == 16) != (gap == 16))
        return false;
    if (gap < 16) {
        memmove(out + 16 - (n - gap), out + gap, n - gap);
        memset(out + gap, 0, 16 - n);
    }
    return true;
}

bool cmx_ip_parse(struct cmx_ip *out, const char *text)
{
    struct cmx_ip ip;
    uint32_t v4;

    if (parse4(text, &v4)) {
        cmx_ip_v4(out, (const uint8_t *)&v4);
        return true;
    }
    if (!parse6(text, (uint8_t *)ip.w) || cmx_ip_is_v4(&ip))
        return false;
    *out = ip;
    return true;
}

bool cmx_ip_is_text6(const char *text)
{
    struct cmx_ip ip;

    return inet_pton(AF_INET6, text, &ip) == 1;
}

void cmx_ip_text(const struct cmx_ip *a, char out[CMX_IP_TEXT_MAX])
{
    size_t len;
    const uint8_t *bytes = cmx_ip_bytes(a, &len);

    if (!inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, out, CMX_IP_TEXT_MAX))
        out[0] = 0;
}

bool cmx_ip_in_prefix(const struct cmx_ip *a, const struct cmx_ip *prefix, unsigned bits)
{
    size_t len, prefix_len;
    const uint8_t *x = cmx_ip_bytes(a, &len), *y = cmx_ip_bytes(prefix, &prefix_len);

    if (len != prefix_len || bits > 8 * len || memcmp(x, y, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || (x[bits / 8] ^ y[bits / 8]) >> (8 - bits % 8) == 0;
}
