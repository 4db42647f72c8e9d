/* attest_key.h - the line of text that a verifier needs for checking a device's signed evidence. The manufacturer
 * computes it. With this line an attacker can neither log in as the device nor forge evidence, so a leak at a verifier
 * does not endanger the device's identity. The line is confidential like the firmware itself: the line and a token
 * together suffice for testing guesses of flash content (docs/ATTESTATION.md).
 *
 *     cmxsafe-attest-1 BASE64 COMMENT
 *
 * The base64 holds ueid (33 bytes), public point (65, SEC 1 uncompressed) and appraisal key (32). Pure. */
#pragma once

#include "cmxsafe/identity/identity.h"

#define CMX_ATTEST_KEY_TYPE "cmxsafe-attest-1"
#define CMX_ATTEST_KEY_LINE_MAX 256 /* bytes, NUL included */

struct cmx_attest_key {
    uint8_t ueid[CMX_UEID_LEN];
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    uint8_t appraisal[CMX_HMAC_KEY_LEN];
};

/* Computes *out from the hardware key; hmac, arg and errors: as in identity.h. */
CMX_MUST_USE cmx_err cmx_attest_key_derive(cmx_hmac_fn hmac, void *arg, struct cmx_attest_key *out);

/* Appends the line without newline; the comment is "cmxsafe-" and 12 hex digits of the ueid. CMX_ENOSPC: out is too
 * small. */
CMX_MUST_USE cmx_err cmx_attest_key_print(const struct cmx_attest_key *k, struct cmx_buf *out);

/* Reads one line of len chars; blanks around it, a newline and any comment are allowed. CMX_EFORMAT: not such a line.
 * Does not check whether the point is on the curve; cmx_p256_verify does, and returns CMX_EINVAL if it is not. */
CMX_MUST_USE cmx_err cmx_attest_key_parse(const char *text, size_t len, struct cmx_attest_key *out);
