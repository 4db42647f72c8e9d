/* identity.h - a device's keys and name, all derived from its hardware key: SSH key, ueid, evidence keys. The device
 * stores none of them in flash. The manufacturer computes the same keys and name from private_key.bin, and can
 * therefore enrol the device before it is first switched on. Test vectors: docs/ATTESTATION.md.
 *
 * Each call computes the MAC of a label (core/label.h) with `hmac` (cmx_identity_hw_hmac or cmx_own_key_hmac on a
 * device; a computation with private_key.bin elsewhere) and returns its errors. Any thread. */
#pragma once

#include <stdint.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/label.h"
#include "cmxsafe/port/crypto.h"

#define CMX_UEID_LEN 33              /* 0x01 (RAND) and 256 bits, RFC 9711 section 4.2.1.1 */
#define CMX_IDENTITY_PRIVATE_MAX 512 /* size of cmx_identity_ssh_private's buffer, in bytes */
#define CMX_IDENTITY_PUBLIC_MAX 256
#define CMX_IDENTITY_KEY_TYPE "ecdsa-sha2-nistp256" /* type of the SSH key, as OpenSSH names it */

/* Derives the device's Universal Entity ID. Public. */
CMX_MUST_USE cmx_err cmx_identity_ueid(cmx_hmac_fn hmac, void *arg, uint8_t out[CMX_UEID_LEN]);

/* Derives the evidence key: the key for the MAC over evidence, and for the digests in MACed evidence. It can
 * also be used to forge such evidence. The caller wipes it. */
CMX_MUST_USE cmx_err cmx_identity_evidence_key(cmx_hmac_fn hmac, void *arg, uint8_t out[CMX_HMAC_KEY_LEN]);

/* Derives the appraisal key: the key for the digests in signed evidence. Verifiers have it in order to compute the
 * expected digests. It cannot be used to forge evidence. The caller wipes it. */
CMX_MUST_USE cmx_err cmx_identity_appraisal_key(cmx_hmac_fn hmac, void *arg, uint8_t out[CMX_HMAC_KEY_LEN]);

/* Derives the device's SSH key, ECDSA P-256: private scalar (wiped by the caller) and public point. FIPS 186-5 A.2.2:
 * candidates are tested, counter 0 first, until one is in [1, n-1], where n is the group's order. */
CMX_MUST_USE cmx_err cmx_identity_ssh_key(cmx_hmac_fn hmac, void *arg, uint8_t scalar[CMX_P256_SCALAR_LEN],
                                          uint8_t pub[CMX_P256_PUBLIC_LEN]);

/* Derives the key that signs evidence (ES256), like cmx_identity_ssh_key but under a label of its own. */
CMX_MUST_USE cmx_err cmx_identity_attest_key(cmx_hmac_fn hmac, void *arg, uint8_t scalar[CMX_P256_SCALAR_LEN],
                                             uint8_t pub[CMX_P256_PUBLIC_LEN]);

/* Appends the private key in OpenSSH's own format (PROTOCOL.key), without passphrase. The caller wipes `out`, which may
 * hold a part of the key after an error. */
CMX_MUST_USE cmx_err cmx_identity_ssh_private(cmx_hmac_fn hmac, void *arg, struct cmx_buf *out);

/* Appends one authorized_keys line without newline: type, base64, "cmxsafe-" and 12 hex digits of the ueid.
 * fingerprint: the key's fingerprint is written here, as ssh-keygen -lf prints it; may be NULL. */
CMX_MUST_USE cmx_err cmx_identity_ssh_public(cmx_hmac_fn hmac, void *arg, struct cmx_buf *out,
                                             char fingerprint[CMX_FINGERPRINT_LEN]);

/* Writes the private key as cmx_identity_ssh_private does, with cmx_port_hw_hmac; has the type of cmx_gateway.key_load.
 * arg is not used. CMX_ENOKEY: the device has no hardware key. */
CMX_MUST_USE cmx_err cmx_identity_key_load(void *arg, struct cmx_buf *out);

/* Calls cmx_port_hw_hmac; has the type cmx_hmac_fn. */
CMX_MUST_USE cmx_err cmx_identity_hw_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);
