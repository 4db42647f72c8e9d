/* text.h - strict conversions between text and values. A failed call changes no output. No locale, no allocation. */
#ifndef CMX_CORE_TEXT_H
#define CMX_CORE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Lower-case hex of len bytes; out holds 2 * len + 1 chars. */
void cmx_hex_encode(char *out, const void *data, size_t len);

/* Hex digits of either case, exactly 2 * len of them. CMX_EFORMAT otherwise. */
CMX_MUST_USE cmx_err cmx_hex_decode(uint8_t *out, size_t len, const char *hex);

/* Unsigned number, decimal or 0x-hexadecimal, the whole string, within [min, max]. CMX_EFORMAT or CMX_EINVAL (range).
 */
CMX_MUST_USE cmx_err cmx_text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);

/* The same of len chars that end anywhere, for numbers of 32 bits. CMX_EFORMAT. */
CMX_MUST_USE cmx_err cmx_text_u32(const char *s, size_t len, uint32_t *out);

/* Word n, from 0, of words that stand behind each other, each with its NUL: a table of pointers is as large again. */
const char *cmx_text_nth(const char *words, unsigned n);

/* Copies with the NUL. CMX_ENOSPC: does not fit in cap. */
CMX_MUST_USE cmx_err cmx_text_copy(char *out, size_t cap, const char *s);

/* Control characters become '?', C1's (U+0080 to U+009F) among them: what then goes to a terminal is only text. */
void cmx_text_clean(char *s);

/* %XX decoding (RFC 3986 section 2.1) of len chars into out, at most cap bytes; plus_is_space as HTML forms do it.
 * Any byte value may come out, NUL too. CMX_EFORMAT: a broken escape; CMX_ENOSPC. */
CMX_MUST_USE cmx_err cmx_url_decode(const char *s, size_t len, int plus_is_space, uint8_t *out, size_t cap,
                                    size_t *out_len);

#ifdef __cplusplus
}
#endif
#endif
