#include "cmxsafe/ota/range.h"

#include <string.h>
#include <strings.h>

#include "cmxsafe/core/text.h"

/* Reads a number up to the character `end`, which is consumed. */
static cmx_err number(const char **p, char end, uint32_t *out)
{
    size_t n = strspn(*p, "0123456789");
    cmx_err err = cmx_text_u32(*p, n, out);

    *p += n;
    if (err || *(*p)++ != end)
        return CMX_EFORMAT;
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
