/* base64.h - encodes and decodes base64 (RFC 4648), and writes fingerprints of SSH keys. Pure. Not constant-time: table
 * look-ups depend on the data. Private keys are encoded only on the device that owns them, where no other tenant shares
 * the cache. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/hash_len.h"

/* Appends the base64 of RFC 4648 section 4, padded. line: maximum number of characters in a line; each line ends with a
 * newline. line 0: no newlines. CMX_ENOSPC: out is too small. */
cmx_err cmx_base64_encode(struct cmx_buf *out, const void *data, size_t len, size_t line);

/* Like cmx_base64_encode, in the URL-safe alphabet of section 5, unpadded and without newlines. */
cmx_err cmx_base64_url_encode(struct cmx_buf *out, const void *data, size_t len);

#define CMX_FINGERPRINT_LEN 51 /* "SHA256:", 43 digits, NUL */

/* Writes the fingerprint of an SSH public key as `ssh-keygen -l` prints it. digest: SHA-256 of the key's blob. */
void cmx_base64_fingerprint(char out[CMX_FINGERPRINT_LEN], const uint8_t digest[CMX_SHA256_LEN]);
/* True if the len chars have the form of a fingerprint. */
bool cmx_base64_is_fingerprint(const char *text, size_t len);

/* Decodes len chars, with or without padding, to at most cap bytes at out. CMX_EFORMAT: a char outside the alphabet, an
 * impossible length, or unused bits that are not zero. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err cmx_base64_decode(uint8_t *out, size_t cap, const char *text, size_t len, size_t *out_len);
