#include "cmxsafe/attest/ranges.h"

#include <string.h>

#include "cmxsafe/core/text.h"

cmx_err cmx_ranges_default(struct cmx_ranges *out, uint32_t flash_size)
{
    if (flash_size <= CMX_ATTEST_START)
        return CMX_EINVAL;
    out->r[0] = (struct cmx_range){CMX_ATTEST_START, flash_size};
    out->n = 1;
    return CMX_OK;
}

static cmx_err parse_range(struct cmx_range *out, const char *text, size_t len, uint32_t flash_size,
                           struct cmx_why *why)
{
    const char *dash = memchr(text, '-', len);
    size_t left = dash ? (size_t)(dash - text) : 0;

    if (!dash || cmx_text_u32(text, left, &out->begin) || cmx_text_u32(dash + 1, len - left - 1, &out->end))
        return cmx_why_fail(why, CMX_EFORMAT, "not BEGIN-END,... in decimal or 0x-hexadecimal");
    if (out->begin >= out->end)
        return cmx_why_fail(why, CMX_EINVAL, "a range is empty or reversed");
    if (out->end > flash_size)
        return cmx_why_fail(why, CMX_EINVAL, "a range ends beyond the flash");
    return CMX_OK;
}

static cmx_err add(struct cmx_ranges *out, const struct cmx_range *r, struct cmx_why *why)
{
    if (out->n == CMX_RANGES_MAX)
        return cmx_why_fail(why, CMX_ENOSPC, "too many ranges");
    for (size_t i = 0; i < out->n; i++)
        if (r->begin < out->r[i].end && out->r[i].begin < r->end)
            return cmx_why_fail(why, CMX_EINVAL, "ranges overlap");
    out->r[out->n++] = *r;
    return CMX_OK;
}

cmx_err cmx_ranges_parse(struct cmx_ranges *out, const char *text, size_t len, uint32_t flash_size, struct cmx_why *why)
{
    const char *end = text + len;
    cmx_err err = CMX_OK;

    out->n = 0;
    for (const char *p = text; !err; p++) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t n = (size_t)((comma ? comma : end) - p);
        struct cmx_range r;

        err = parse_range(&r, p, n, flash_size, why);
        if (!err)
            err = add(out, &r, why);
        p += n;
        if (!comma)
            break;
    }
    if (err)
        out->n = 0;
    return err;
}

void cmx_ranges_print(const struct cmx_ranges *ranges, struct cmx_buf *out)
{
    for (size_t i = 0; i < ranges->n; i++)
        cmx_buf_printf(out, "%s0x%06lx-0x%06lx", i ? "," : "", (unsigned long)ranges->r[i].begin,
                       (unsigned long)ranges->r[i].end);
}
