/* base64.h - RFC 4648 section 4, as SSH uses it: known_hosts lines (padded) and SHA256 fingerprints (not padded). */
#ifndef CMX_CORE_BASE64_H
#define CMX_CORE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Chars that len bytes need without padding, plus the NUL. */
#define CMX_BASE64_LEN(len) (((len)*4 + 2) / 3 + 1)

/* Unpadded base64 of len bytes; out holds CMX_BASE64_LEN(len) chars. */
void cmx_base64_encode(char *out, const void *data, size_t len);

/* Decodes len chars, padded or not, into out, at most cap bytes. CMX_EFORMAT: a char outside the alphabet, a length
 * that can't be, bits left over; CMX_ENOSPC. */
CMX_MUST_USE cmx_err cmx_base64_decode(uint8_t *out, size_t cap, const char *text, size_t len, size_t *out_len);

#ifdef __cplusplus
}
#endif
#endif
