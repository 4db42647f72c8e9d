/* crypto.h - the interface to the platform's cryptography: SHA-256, HMAC-SHA-256, ECDSA P-256, random bytes. Two back
 * ends implement it, OpenSSL 3 (port/linux) and PSA Crypto (port/esp); the same published test vectors check both.
 * SSH's own cryptography is libssh's. Any thread; an object belongs to one thread at a time. Errors are CMX_ENOMEM
 * and CMX_EIO unless stated otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/hash_len.h"

#define CMX_P256_PUBLIC_LEN 65 /* 0x04 || X || Y, SEC 1 section 2.3.3 */
#define CMX_P256_SCALAR_LEN 32
#define CMX_P256_SIG_LEN 64 /* r || s, big-endian */

/* Sizes of the objects in words (uintptr_t). Each object has room for the state of either back end. */
#define CMX_SHA256_WORDS 32
#define CMX_HMAC_WORDS 48

/* Fills out with uniform random bytes from the platform's CSPRNG. CMX_EIO: it failed; out is then zero. */
CMX_MUST_USE cmx_err cmx_crypto_random(void *out, size_t len);

/* True if the CPU, or a peripheral that the SSH library uses, accelerates AES. The result decides the order in which
 * ciphers are offered. */
bool cmx_crypto_fast_aes(void);

/* SHA-256, FIPS 180-4, streaming. Storage is in the object; finish or abort releases the back end's resources. */
struct cmx_sha256 {
    uintptr_t opaque[CMX_SHA256_WORDS];
};
CMX_MUST_USE cmx_err cmx_sha256_init(struct cmx_sha256 *h);
CMX_MUST_USE cmx_err cmx_sha256_update(struct cmx_sha256 *h, const void *data, size_t len);
CMX_MUST_USE cmx_err cmx_sha256_finish(struct cmx_sha256 *h, uint8_t out[CMX_SHA256_LEN]);
void cmx_sha256_abort(struct cmx_sha256 *h); /* safe after a failed init, and when called twice */

/* These functions compute the SHA-256 of one buffer, or of head followed by data, with the functions above
 * (port/sha256.c). */
CMX_MUST_USE cmx_err cmx_sha256_of(const void *data, size_t len, uint8_t out[CMX_SHA256_LEN]);
CMX_MUST_USE cmx_err cmx_sha256_of_two(const void *head, size_t head_len, const void *data, size_t len,
                                       uint8_t out[CMX_SHA256_LEN]);

/* HMAC-SHA-256, RFC 2104, streaming. The key is copied, and the copy is wiped at the end. */
struct cmx_hmac {
    uintptr_t opaque[CMX_HMAC_WORDS];
};
CMX_MUST_USE cmx_err cmx_hmac_init(struct cmx_hmac *h, const void *key, size_t key_len);
CMX_MUST_USE cmx_err cmx_hmac_update(struct cmx_hmac *h, const void *data, size_t len);
CMX_MUST_USE cmx_err cmx_hmac_finish(struct cmx_hmac *h, uint8_t out[CMX_SHA256_LEN]);
/* Finishes the message, and starts the next one under the same key, which is cheaper than a new init. */
CMX_MUST_USE cmx_err cmx_hmac_restart(struct cmx_hmac *h, uint8_t out[CMX_SHA256_LEN]);
void cmx_hmac_abort(struct cmx_hmac *h);

/* Computes the MAC of head followed by data, by the calls above (port/hmac.c). */
CMX_MUST_USE cmx_err cmx_hmac_of_two(const uint8_t key[CMX_HMAC_KEY_LEN], const void *head, size_t head_len,
                                     const void *data, size_t len, uint8_t out[CMX_SHA256_LEN]);

/* Verifies an ECDSA P-256 signature over a SHA-256 digest, FIPS 186-5. CMX_ESIG: the signature does not match;
 * CMX_EINVAL: pub is not a point on the curve. */
CMX_MUST_USE cmx_err cmx_p256_verify(const uint8_t pub[CMX_P256_PUBLIC_LEN], const uint8_t digest[CMX_SHA256_LEN],
                                     const uint8_t sig[CMX_P256_SIG_LEN]);

/* Signs a digest. The nonce comes from the platform's random generator. CMX_EINVAL: the scalar is zero or not below the
 * group's order. */
CMX_MUST_USE cmx_err cmx_p256_sign(const uint8_t scalar[CMX_P256_SCALAR_LEN], const uint8_t digest[CMX_SHA256_LEN],
                                   uint8_t sig[CMX_P256_SIG_LEN]);

/* Computes the public point of a private scalar. CMX_EINVAL: the scalar is zero or not below the group's order. */
CMX_MUST_USE cmx_err cmx_p256_public(const uint8_t scalar[CMX_P256_SCALAR_LEN], uint8_t pub[CMX_P256_PUBLIC_LEN]);
