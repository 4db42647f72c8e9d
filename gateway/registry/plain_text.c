#include "gateway/registry/plain_text.h"

#include <string.h>

/* Reads the len - 1 bytes that follow the first byte of a UTF-8 character. The NUL at the end of a text is not such a
 * byte, so nothing after it is read. */
static bool take_rest(const char *s, size_t len, uint32_t *c)
{
    for (size_t i = 1; i < len; i++) {
        if (((uint8_t)s[i] & 0xc0) != 0x80)
            return false;
        *c = *c << 6 | ((uint8_t)s[i] & 0x3f);
    }
    return true;
}

size_t gw_text_next(const char *s, uint32_t *c)
{
    static const struct {
        uint8_t mask, first;
        uint32_t least;
    } kinds[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    uint8_t first = (uint8_t)*s;

    for (size_t len = 1; len <= 4; len++)
        if ((first & kinds[len - 1].mask) == kinds[len - 1].first) {
            *c = first & (uint8_t)~kinds[len - 1].mask;
            if (take_rest(s, len, c) && *c >= kinds[len - 1].least && *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff))
                return len;
        }
    *c = GW_TEXT_INVALID;
    return 1;
}

bool gw_text_is_deceptive(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0x00, 0x1f},
                  {0x7f, 0x9f},
                  {0xad, 0xad},
                  {0x61c, 0x61c},
                  {0x200b, 0x200f},
                  {0x2028, 0x202e},
                  {0x2060, 0x206f},
                  {0xfeff, 0xfeff},
                  {0xfff9, 0xfffb},
                  {0xe0000, 0xe007f},
                  {GW_TEXT_INVALID, GW_TEXT_INVALID}};

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

cmx_err gw_text_check(const char *what, const char *text, size_t max, struct cmx_why *e)
{
    uint32_t c;

    if (strlen(text) > max)
        return cmx_why_fail(e, CMX_EINVAL, "%s is longer than %zu bytes", what, max);
    while (*text) {
        text += gw_text_next(text, &c);
        if (gw_text_is_deceptive(c))
            return cmx_why_fail(e, CMX_EINVAL, "%s has control or invisible characters, or is not UTF-8", what);
    }
    return CMX_OK;
}
