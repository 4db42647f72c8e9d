#include "cmxsafe/attest/cbor.h"

#include <string.h>

cmx_err cmx_cbor_put_head(struct cmx_buf *b, cmx_cbor_major major, uint32_t value)
{
    uint8_t top = (uint8_t)((unsigned)major << 5);

    if (value < 24)
        return cmx_buf_put_u8(b, (uint8_t)(top | value));
    cmx_buf_put_u8(b, value <= UINT8_MAX ? top | 24 : value <= UINT16_MAX ? top | 25 : top | 26);
    if (value <= UINT8_MAX)
        return cmx_buf_put_u8(b, (uint8_t)value);
    return value <= UINT16_MAX ? cmx_buf_put_be16(b, (uint16_t)value) : cmx_buf_put_be32(b, value);
}

cmx_err cmx_cbor_put_int(struct cmx_buf *b, int32_t value)
{
    if (value >= 0)
        return cmx_cbor_put_head(b, CMX_CBOR_UINT, (uint32_t)value);
    return cmx_cbor_put_head(b, CMX_CBOR_NINT, ~(uint32_t)value); /* -1 - value */
}

cmx_err cmx_cbor_put_bytes(struct cmx_buf *b, const void *data, size_t len)
{
    cmx_cbor_put_head(b, CMX_CBOR_BYTES, (uint32_t)len);
    return cmx_buf_put(b, data, len);
}

cmx_err cmx_cbor_put_text(struct cmx_buf *b, const char *text)
{
    cmx_cbor_put_head(b, CMX_CBOR_TEXT, (uint32_t)strlen(text));
    return cmx_buf_put_str(b, text);
}

cmx_err cmx_cbor_put_bool(struct cmx_buf *b, bool value)
{
    return cmx_cbor_put_head(b, CMX_CBOR_SIMPLE, value ? CMX_CBOR_TRUE : CMX_CBOR_FALSE);
}

/* Reads an item's argument. info: the low five bits of the item's first byte. least[]: for each size of an argument (1,
 * 2, 4, 8 bytes), the smallest value that needs this size. A smaller value has a shorter encoding and is refused (RFC
 * 8949 section 4.2.1). */
static cmx_err get_argument(struct cmx_buf *b, unsigned info, uint64_t *out)
{
    static const uint64_t least[] = {24, UINT8_MAX + 1ull, UINT16_MAX + 1ull, UINT32_MAX + 1ull};
    const uint8_t *p;
    uint64_t v = 0;
    cmx_err err;

    if (info < 24) {
        *out = info;
        return CMX_OK;
    }
    if (info > 27)
        return CMX_EFORMAT; /* a reserved value, or an indefinite length */
    err = cmx_buf_get_ptr(b, &p, (size_t)1 << (info - 24));
    if (err)
        return err;
    for (size_t i = 0; i < (size_t)1 << (info - 24); i++)
        v = v << 8 | p[i];
    if (v < least[info - 24])
        return CMX_EFORMAT;
    *out = v;
    return CMX_OK;
}

cmx_err cmx_cbor_get(struct cmx_buf *b, struct cmx_cbor_item *out)
{
    uint8_t first = 0;
    cmx_err err = cmx_buf_get_u8(b, &first);

    if (!err)
        err = get_argument(b, first & 31, &out->value);
    if (err)
        return err;
    out->major = (cmx_cbor_major)(first >> 5);
    out->data = NULL;
    if (out->major == CMX_CBOR_SIMPLE)
        return out->value >= CMX_CBOR_FALSE && out->value <= CMX_CBOR_NULL ? CMX_OK : CMX_EFORMAT;
    if (out->major != CMX_CBOR_BYTES && out->major != CMX_CBOR_TEXT)
        return CMX_OK;
    if (out->value > cmx_buf_len(b))
        return CMX_ETRUNC;
    return cmx_buf_get_ptr(b, &out->data, (size_t)out->value);
}

cmx_err cmx_cbor_expect(struct cmx_buf *b, cmx_cbor_major major, struct cmx_cbor_item *out)
{
    cmx_err err = cmx_cbor_get(b, out);

    return err ? err : out->major == major ? CMX_OK : CMX_EFORMAT;
}

cmx_err cmx_cbor_get_int(struct cmx_buf *b, int64_t *out)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_get(b, &item);

    if (err)
        return err;
    if ((item.major != CMX_CBOR_UINT && item.major != CMX_CBOR_NINT) || item.value > INT64_MAX)
        return CMX_EFORMAT;
    *out = item.major == CMX_CBOR_UINT ? (int64_t)item.value : -1 - (int64_t)item.value;
    return CMX_OK;
}

cmx_err cmx_cbor_get_bool(struct cmx_buf *b, bool *out)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(b, CMX_CBOR_SIMPLE, &item);

    if (err)
        return err;
    if (item.value == CMX_CBOR_NULL)
        return CMX_EFORMAT;
    *out = item.value == CMX_CBOR_TRUE;
    return CMX_OK;
}
