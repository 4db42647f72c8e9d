/* buf.h - the one bounded buffer for bytes from a peer. The caller owns the storage; nothing here allocates, grows or
 * does I/O. Not thread-safe: one owner at a time.
 *
 * Bytes are written at `end` and read at `start`. The space of bytes that have been read is not used again before
 * cmx_buf_clear. Invariant: start <= end <= cap. After a failed append the buffer reads as empty, so that nobody
 * mistakes a part of the data for all of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

CMX_C_BEGIN

struct cmx_buf {
    uint8_t *mem; /* borrowed */
    size_t cap;   /* bytes at mem */
    size_t start; /* next byte to read */
    size_t end;   /* next byte to write */
    bool failed;  /* an append did not fit */
};

/* Makes b an empty buffer over cap bytes at mem, which must outlive it. */
void cmx_buf_init(struct cmx_buf *b, void *mem, size_t cap);

/* Makes b a full buffer over len bytes at data, for reading only. */
void cmx_buf_init_view(struct cmx_buf *b, const void *data, size_t len);

/* Drops the content. The buffer can then be written again, even after a failure. */
void cmx_buf_clear(struct cmx_buf *b);

size_t cmx_buf_len(const struct cmx_buf *b);          /* bytes to read; 0 if an append did not fit */
size_t cmx_buf_room(const struct cmx_buf *b);         /* bytes that fit at the end */
const uint8_t *cmx_buf_data(const struct cmx_buf *b); /* the first byte to read */

/* cmx_buf_put* and cmx_buf_printf append to b. CMX_ENOSPC: the data does not fit. After that nothing more is appended,
 * and these functions, cmx_buf_error and cmx_buf_cstr return CMX_ENOSPC: a caller may append several times and check
 * once. */
cmx_err cmx_buf_put(struct cmx_buf *b, const void *data, size_t len);
cmx_err cmx_buf_put_str(struct cmx_buf *b, const char *s); /* appends s without its NUL */
cmx_err cmx_buf_printf(struct cmx_buf *b, const char *fmt, ...) CMX_PRINTF(2, 3);
cmx_err cmx_buf_put_u8(struct cmx_buf *b, uint8_t v);
cmx_err cmx_buf_put_be16(struct cmx_buf *b, uint16_t v);
cmx_err cmx_buf_put_be32(struct cmx_buf *b, uint32_t v);
CMX_MUST_USE cmx_err cmx_buf_error(const struct cmx_buf *b); /* CMX_OK: everything fitted so far */

/* cmx_buf_get_* and cmx_buf_skip read from b. CMX_ETRUNC: b has too few bytes; nothing is consumed. */
CMX_MUST_USE cmx_err cmx_buf_get_ptr(struct cmx_buf *b, const uint8_t **out,
                                     size_t len); /* *out is valid until b changes */
CMX_MUST_USE cmx_err cmx_buf_skip(struct cmx_buf *b, size_t len);
CMX_MUST_USE cmx_err cmx_buf_get_u8(struct cmx_buf *b, uint8_t *out);
CMX_MUST_USE cmx_err cmx_buf_get_be32(struct cmx_buf *b, uint32_t *out);

/* Returns the content as a C string: appends a NUL in place, which needs one byte of room. CMX_ENOSPC: there is no
 * room, or an earlier append did not fit; CMX_EFORMAT: the content contains a NUL. *out is valid until b changes. */
CMX_MUST_USE cmx_err cmx_buf_cstr(struct cmx_buf *b, const char **out);

CMX_C_END
