/* text.h - strict conversions between text and values. A failed call changes no output, unless stated otherwise. No
 * locale, no allocation. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

/* Returns the value of a hexadecimal digit of either case; 16 for any other character. */
unsigned cmx_text_digit(char c);

/* True for an ASCII letter or decimal digit. */
bool cmx_text_is_alnum(char c);

/* Writes len bytes in lower-case hex; out holds 2 * len + 1 chars. */
void cmx_text_hex_encode(char *out, const void *data, size_t len);

/* Decodes exactly 2 * len hex digits of either case. CMX_EFORMAT: hex is anything else. */
CMX_MUST_USE cmx_err cmx_text_hex_decode(uint8_t *out, size_t len, const char *hex);

/* Reads the whole string as an unsigned number, decimal or 0x-hexadecimal, within [min, max]. CMX_EFORMAT: not a
 * number. CMX_EINVAL: out of range. */
CMX_MUST_USE cmx_err cmx_text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);

/* Like cmx_text_u64, but for len chars instead of a string, and for any number of up to 32 bits. CMX_EFORMAT: not such
 * a number. */
CMX_MUST_USE cmx_err cmx_text_u32(const char *s, size_t len, uint32_t *out);

/* Splits "HOST", "HOST:PORT", "[IPV6]" or "[IPV6]:PORT" in place. *host is without brackets; *port is unchanged if text
 * has no port. Text with several colons and no bracket is an IPv6 address. Returns false if a bracket is not closed, or
 * if what follows the host is not a port from 1 to 65535; even then text may have been split and *host set. */
CMX_MUST_USE bool cmx_text_split_host(char *text, const char **host, uint16_t *port);

/* Copies s with its NUL. CMX_ENOSPC: cap is too small. */
CMX_MUST_USE cmx_err cmx_text_copy(char *out, size_t cap, const char *s);

/* Replaces control characters by '?': C0, DEL, and C1 both as a byte and in UTF-8 (U+0080 to U+009F). The result can be
 * written to a terminal or a log. Other UTF-8 text is kept. */
void cmx_text_clean(char *s);

/* Returns c if it is printable ASCII, otherwise '?'. For texts whose format allows only printable ASCII. */
char cmx_text_printable(char c);

/* Copies len bytes, at most cap - 1, each through cmx_text_printable, and appends a NUL. */
void cmx_text_clean_ascii(char *out, size_t cap, const void *data, size_t len);

/* Formats like vsnprintf and cleans like cmx_text_clean; text that does not fit in cap ends in "...". cap > 3. */
void cmx_text_format(char *out, size_t cap, const char *fmt, va_list ap) CMX_PRINTF(3, 0);

/* Decodes the %XX escapes (RFC 3986 section 2.1) of len chars into out, at most cap bytes. plus_is_space: '+' is a
 * space, as in HTML forms. out may hold any byte value, NUL too. CMX_EFORMAT: an escape is malformed. CMX_ENOSPC: out
 * is too small. After an error, `out` may have been partly written. */
CMX_MUST_USE cmx_err cmx_text_url_decode(const char *s, size_t len, int plus_is_space, uint8_t *out, size_t cap,
                                         size_t *out_len);
