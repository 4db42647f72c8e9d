/* measure.h - the digest of one flash range for evidence: SHA-256 with nonce and key mixed in first, so that nothing
 * can be computed before the nonce is known, and nobody without the key can try what flash may hold: a range can be a
 * single byte, and flash holds passwords. Pure: reading is the caller's.
 *
 *     SHA-256( HMAC-SHA256(key, "cmxsafe measurement 3" NUL || begin 4 bytes || end 4 bytes || nonce) ||
 *              for each chunk of 4,096 bytes: 0x01 if all its bytes are 0xff, else 0x00 || chunk )
 *
 * numbers big-endian. The key is the one that MACs the evidence: that message begins with 0x84, this one with 'c'. The
 * encoding is one-to-one (the range's bounds give each chunk's length), so a digest binds every byte just as one over
 * the plain bytes would; erased flash costs a comparison in place of a hash. */
#ifndef CMX_ATTEST_MEASURE_H
#define CMX_ATTEST_MEASURE_H

#include "cmxsafe/attest/ranges.h"
#include "cmxsafe/port/crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_NONCE_MIN 8 /* RFC 9711 section 4.1 */
#define CMX_NONCE_MAX 64

/* key: cmx_identity_evidence_key. CMX_EINVAL: the nonce's length. On error nothing needs to be released; after CMX_OK
 * finish or cmx_sha256_abort does.
 */
CMX_MUST_USE cmx_err cmx_measure_begin(struct cmx_sha256 *h, const uint8_t key[32], const void *nonce, size_t nonce_len,
                                       struct cmx_range range);

/* One chunk as cmx_walk_next cuts them. */
CMX_MUST_USE cmx_err cmx_measure_chunk(struct cmx_sha256 *h, const uint8_t *chunk, size_t len);

CMX_MUST_USE cmx_err cmx_measure_finish(struct cmx_sha256 *h, uint8_t out[CMX_SHA256_LEN]);

#ifdef __cplusplus
}
#endif
#endif
