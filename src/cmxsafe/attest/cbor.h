/* cbor.h - the part of CBOR (RFC 8949) that evidence needs, in its deterministic form (section 4.2.1): shortest heads,
 * definite lengths. Pure; writes to and reads from a bounded buffer. The reader accepts only this form. */
#pragma once

#include <stdbool.h>

#include "cmxsafe/core/buf.h"

typedef enum {
    CMX_CBOR_UINT = 0,
    CMX_CBOR_NINT = 1, /* the encoded number is -1 - value */
    CMX_CBOR_BYTES = 2,
    CMX_CBOR_TEXT = 3,
    CMX_CBOR_ARRAY = 4,
    CMX_CBOR_MAP = 5,
    CMX_CBOR_TAG = 6,
    CMX_CBOR_SIMPLE = 7
} cmx_cbor_major;

#define CMX_CBOR_FALSE 20
#define CMX_CBOR_TRUE 21
#define CMX_CBOR_NULL 22

/* cmx_cbor_put_* append an item to b. Numbers have at most 32 bits. CMX_ENOSPC: the item does not fit, or something
 * did not fit before (buf.h). */
cmx_err cmx_cbor_put_head(struct cmx_buf *b, cmx_cbor_major major, uint32_t value);
cmx_err cmx_cbor_put_int(struct cmx_buf *b, int32_t value);
cmx_err cmx_cbor_put_bytes(struct cmx_buf *b, const void *data, size_t len);
cmx_err cmx_cbor_put_text(struct cmx_buf *b, const char *text);
cmx_err cmx_cbor_put_bool(struct cmx_buf *b, bool value);

struct cmx_cbor_item {
    cmx_cbor_major major;
    /* Depends on major. UINT, NINT, TAG, SIMPLE: the number; BYTES, TEXT: length in bytes; ARRAY, MAP: count of
     * elements or pairs. */
    uint64_t value;
    const uint8_t *data; /* BYTES, TEXT: the string's `value` bytes, in the buffer */
};

/* Reads one head and, if it begins a string, the string's bytes. CMX_ETRUNC: the buffer ends too early. CMX_EFORMAT:
 * the item is not in the deterministic form, or is of a kind that evidence does not use (a float, an indefinite
 * length). */
CMX_MUST_USE cmx_err cmx_cbor_get(struct cmx_buf *b, struct cmx_cbor_item *out);

/* cmx_cbor_expect, cmx_cbor_get_int and cmx_cbor_get_bool read an item like cmx_cbor_get, but accept only one kind.
 * CMX_EFORMAT: the item is of another kind. */
CMX_MUST_USE cmx_err cmx_cbor_expect(struct cmx_buf *b, cmx_cbor_major major, struct cmx_cbor_item *out);
CMX_MUST_USE cmx_err cmx_cbor_get_int(struct cmx_buf *b, int64_t *out);
CMX_MUST_USE cmx_err cmx_cbor_get_bool(struct cmx_buf *b, bool *out);
