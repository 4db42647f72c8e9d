/* measure.h - the digest of one flash range for evidence: SHA-256 that begins with a keyed hash of the nonce. The
 * digest cannot be computed before the nonce is known, and guesses of flash content cannot be tested without the key: a
 * range can be a single byte, and flash holds passwords. Pure: the caller reads flash.
 *
 *     SHA-256( HMAC-SHA256(key, "cmxsafe measurement 3" NUL || begin 4 bytes || end 4 bytes || nonce) ||
 *              for each chunk of 4,096 bytes: 0x01 if all its bytes are 0xff, else 0x00 || chunk )
 *
 * Numbers are big-endian. The key is the evidence key, whose other messages (the MAC over a token) begin with 0x84 and
 * not with 'c'. In signed evidence it is the appraisal key, which has no other use. The encoding is one-to-one (the
 * range's bounds give each chunk's length), so the digest binds every byte; erased flash costs a comparison instead of
 * a hash. */
#pragma once

#include "cmxsafe/attest/ranges.h"
#include "cmxsafe/port/crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_NONCE_MIN 8 /* RFC 9711 section 4.1 */
#define CMX_NONCE_MAX 64

/* Begins a measurement. key: cmx_identity_evidence_key or cmx_identity_appraisal_key. CMX_EINVAL: the nonce is not
 * CMX_NONCE_MIN to CMX_NONCE_MAX bytes long. After CMX_OK call cmx_measure_finish, or cmx_sha256_abort to give up;
 * after an error nothing needs to be released.
 */
CMX_MUST_USE cmx_err cmx_measure_begin(struct cmx_sha256 *h, const uint8_t key[32], const void *nonce, size_t nonce_len,
                                       struct cmx_range range);

/* Adds one chunk, as cmx_chain_walk_next divides a range. */
CMX_MUST_USE cmx_err cmx_measure_chunk(struct cmx_sha256 *h, const uint8_t *chunk, size_t len);

CMX_MUST_USE cmx_err cmx_measure_finish(struct cmx_sha256 *h, uint8_t out[CMX_SHA256_LEN]);

#ifdef __cplusplus
}
#endif
