#include "cmxsafe/core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/check.h"

static void check(const struct cmx_buf *b)
{
    CMX_CHECK(b->start <= b->end && b->end <= b->cap);
    (void)b;
}

void cmx_buf_init(struct cmx_buf *b, void *mem, size_t cap)
{
    *b = (struct cmx_buf){.mem = mem, .cap = cap};
}

void cmx_buf_init_view(struct cmx_buf *b, const void *data, size_t len)
{
    /* The cast removes const, but nothing is written: the owner of a view only consumes it, and never calls
     * cmx_buf_cstr or a function that appends. */
    *b = (struct cmx_buf){.mem = (uint8_t *)(uintptr_t)data, .cap = len, .end = len};
}

void cmx_buf_clear(struct cmx_buf *b)
{
    cmx_buf_init(b, b->mem, b->cap);
}

size_t cmx_buf_len(const struct cmx_buf *b)
{
    check(b);
    return b->failed ? 0 : b->end - b->start;
}

size_t cmx_buf_room(const struct cmx_buf *b)
{
    check(b);
    return b->cap - b->end;
}

const uint8_t *cmx_buf_data(const struct cmx_buf *b)
{
    check(b);
    return b->mem + b->start;
}

cmx_err cmx_buf_put(struct cmx_buf *b, const void *data, size_t len)
{
    b->failed = b->failed || len > cmx_buf_room(b);
    if (b->failed)
        return CMX_ENOSPC;
    if (len > 0)
        memcpy(b->mem + b->end, data, len);
    b->end += len;
    return CMX_OK;
}

cmx_err cmx_buf_put_str(struct cmx_buf *b, const char *s)
{
    return cmx_buf_put(b, s, strlen(s));
}

cmx_err cmx_buf_printf(struct cmx_buf *b, const char *fmt, ...)
{
    const size_t room = cmx_buf_room(b);
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf((char *)b->mem + b->end, room, fmt, ap);
    va_end(ap);
    b->failed = b->failed || n < 0 || (size_t)n >= room;
    if (b->failed)
        return CMX_ENOSPC;
    b->end += (size_t)n;
    return CMX_OK;
}

static cmx_err put_be(struct cmx_buf *b, uint32_t v, size_t bytes)
{
    uint8_t out[4];

    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    return cmx_buf_put(b, out, bytes);
}

cmx_err cmx_buf_put_u8(struct cmx_buf *b, uint8_t v)
{
    return put_be(b, v, 1);
}

cmx_err cmx_buf_put_be16(struct cmx_buf *b, uint16_t v)
{
    return put_be(b, v, 2);
}

cmx_err cmx_buf_put_be32(struct cmx_buf *b, uint32_t v)
{
    return put_be(b, v, 4);
}

cmx_err cmx_buf_error(const struct cmx_buf *b)
{
    return b->failed ? CMX_ENOSPC : CMX_OK;
}

cmx_err cmx_buf_get_ptr(struct cmx_buf *b, const uint8_t **out, size_t len)
{
    if (len > cmx_buf_len(b))
        return CMX_ETRUNC;
    *out = b->mem + b->start;
    b->start += len;
    return CMX_OK;
}

cmx_err cmx_buf_skip(struct cmx_buf *b, size_t len)
{
    const uint8_t *p;

    return cmx_buf_get_ptr(b, &p, len);
}

cmx_err cmx_buf_get_u8(struct cmx_buf *b, uint8_t *out)
{
    const uint8_t *p;
    cmx_err err = cmx_buf_get_ptr(b, &p, 1);

    if (!err)
        *out = *p;
    return err;
}

cmx_err cmx_buf_get_be32(struct cmx_buf *b, uint32_t *out)
{
    const uint8_t *p;
    cmx_err err = cmx_buf_get_ptr(b, &p, 4);

    if (!err)
        *out = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return err;
}

cmx_err cmx_buf_cstr(struct cmx_buf *b, const char **out)
{
    if (memchr(cmx_buf_data(b), 0, cmx_buf_len(b)))
        return CMX_EFORMAT;
    if (b->failed || cmx_buf_room(b) == 0)
        return CMX_ENOSPC;
    b->mem[b->end] = 0;
    *out = (const char *)b->mem + b->start;
    return CMX_OK;
}
