/* measure.h - the digest of one flash range for evidence: a SHA-256 whose input begins with a keyed hash of the nonce.
 * So the digest cannot be computed before the nonce is known. Without the key, a digest does not help to guess flash
 * content, such as a password, even if the range has only a few bytes. Pure: the caller reads flash.
 *
 *     SHA-256( HMAC-SHA256(key, "cmxsafe measurement 3" NUL || begin 4 bytes || end 4 bytes || nonce) ||
 *              for each chunk of 4,096 bytes: 0x01 if all its bytes are 0xff, else 0x00 || chunk )
 *
 * Numbers are big-endian. In MACed evidence the key is the evidence key. That key also computes the MAC over the token,
 * but the input of that MAC begins with 0x84 and not with 'c', so the two uses cannot be confused. In signed evidence
 * the key is the appraisal key, which has no other use. Different flash content gives different input to the SHA-256,
 * because the range's bounds determine each chunk's length. An erased chunk is only compared, which is faster than
 * hashing it. */
#pragma once

#include "cmxsafe/attest/ranges.h"
#include "cmxsafe/port/crypto.h"

#define CMX_NONCE_MIN 8 /* RFC 9711 section 4.1 */
#define CMX_NONCE_MAX 64

/* Begins a measurement. key: cmx_identity_evidence_key or cmx_identity_appraisal_key. CMX_EINVAL: the nonce is not
 * CMX_NONCE_MIN to CMX_NONCE_MAX bytes long. After CMX_OK the caller must call cmx_sha256_finish, whose digest is
 * the measurement, or cmx_sha256_abort. After an error nothing needs to be released. */
CMX_MUST_USE cmx_err cmx_measure_begin(struct cmx_sha256 *h, const uint8_t key[CMX_HMAC_KEY_LEN], const void *nonce,
                                       size_t nonce_len, struct cmx_range range);

/* Adds the next chunk of the range: cmx_chain_walk_next returns its offset and length. */
CMX_MUST_USE cmx_err cmx_measure_chunk(struct cmx_sha256 *h, const uint8_t *chunk, size_t len);
