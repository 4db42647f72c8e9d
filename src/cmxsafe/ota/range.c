#include "cmxsafe/ota/range.h"

#include <string.h>
#include <strings.h>

/* Digits up to the character `end`, which is consumed. */
static cmx_err number(const char **p, char end, uint32_t *out)
{
    uint64_t v = 0;
    const char *s = *p;

    for (; *s >= '0' && *s <= '9'; s++) {
        v = v * 10 + (uint64_t)(*s - '0');
        if (v > UINT32_MAX)
            return CMX_EFORMAT;
    }
    if (s == *p || *s != end)
        return CMX_EFORMAT;
    *out = (uint32_t)v;
    *p = s + (end != '\0');
    return CMX_OK;
}

cmx_err cmx_range_parse(struct cmx_range *r, const char *text)
{
    struct cmx_range v;
    cmx_err err;

    if (strncasecmp(text, "bytes ", 6) != 0)
        return CMX_EFORMAT;
    text += 6;
    err = number(&text, '-', &v.first);
    if (!err)
        err = number(&text, '/', &v.last);
    if (!err)
        err = number(&text, '\0', &v.total);
    if (err || v.first > v.last || v.last >= v.total)
        return CMX_EFORMAT;
    *r = v;
    return CMX_OK;
}
