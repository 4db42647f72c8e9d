/* base64.h - RFC 4648. Pure. Not constant-time: table look-ups depend on the data. Private keys are encoded only on the
 * device that owns them, where no other tenant shares the cache. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"

/* Encodes as section 4 says, padded. Appends to out. line: characters per line, each of which ends with a newline; 0:
 * no newline. CMX_ENOSPC: out may hold a part. */
CMX_MUST_USE cmx_err cmx_base64_encode(struct cmx_buf *out, const void *data, size_t len, size_t line);

/* Encodes as section 5 says (URL and filename safe), unpadded, no newline. */
CMX_MUST_USE cmx_err cmx_base64_url_encode(struct cmx_buf *out, const void *data, size_t len);

/* Size of the unpadded base64 text of len bytes, NUL included. */
#define CMX_BASE64_LEN(len) (((len)*4 + 2) / 3 + 1)

/* Encodes as section 4 says, unpadded, as a string; out holds CMX_BASE64_LEN(len) chars. */
void cmx_base64_text(char *out, const void *data, size_t len);

#define CMX_FINGERPRINT_LEN 51 /* "SHA256:", 43 digits, NUL */

/* Writes the fingerprint of an SSH key, host key or certificate authority as `ssh-keygen -l` prints it. digest: SHA-256
 * of the key's blob. */
void cmx_base64_fingerprint(char out[CMX_FINGERPRINT_LEN], const uint8_t digest[32]);
/* True if the len chars have the form of a fingerprint. */
bool cmx_base64_is_fingerprint(const char *text, size_t len);

/* Decodes len chars, padded or not, into out, at most cap bytes. CMX_EFORMAT: a char outside the alphabet, an
 * impossible length, or unused bits that are not zero; CMX_ENOSPC. */
CMX_MUST_USE cmx_err cmx_base64_decode(uint8_t *out, size_t cap, const char *text, size_t len, size_t *out_len);
