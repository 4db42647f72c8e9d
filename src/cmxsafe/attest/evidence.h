/* evidence.h - a device's evidence as an Entity Attestation Token (EAT, RFC 9711): a CBOR Web Token (RFC
 * 8392) in a COSE_Mac0 with HMAC 256/256 or a COSE_Sign1 with ES256 (RFC 9052; RFC 9053 sections 3.1 and 2.1). Pure.
 *
 *     61( 17( [ << {1: 5} >>, {4: ueid}, << claims >>, tag ] ) )
 *     61( 18( [ << {1: -7} >>, {4: ueid}, << claims >>, signature ] ) )
 *
 * The forms differ in what a verifier needs. A verifier that checks the MAC needs the evidence key, with which it could
 * also forge tokens. A verifier that checks the signature needs only a struct cmx_attest_key. The digests of flash
 * ranges are keyed with the evidence key in the MACed form, and with the appraisal key in the signed form. Claims are a
 * map in deterministic order (RFC 8949 section 4.2.1); docs/ATTESTATION.md lists them. The profile names this encoding;
 * a change that an older verifier would misread gets a new profile. */
#pragma once

#include <stdbool.h>

#include "cmxsafe/attest/measure.h"
#include "cmxsafe/attest/ranges.h"

#define CMX_EVIDENCE_PROFILE "tag:cmxsafe.eu,2025:evidence-3" /* RFC 4151 */
#define CMX_EVIDENCE_TYPE "application/eat+cwt"
#define CMX_EVIDENCE_UEID_LEN 33
#define CMX_EVIDENCE_KEY_LEN CMX_HMAC_KEY_LEN /* a P-256 scalar has the same length */
#define CMX_BOOT_SEED_LEN 32
#define CMX_EVIDENCE_NAME_MAX 64    /* size of a text member, NUL included */
#define CMX_EVIDENCE_TOKEN_MAX 2048 /* maximum size of a token, in bytes */
#define CMX_EVIDENCE_JSON_MAX 3584
#define CMX_EVIDENCE_SESSION_MAX 64

/* The values of dbgstat (RFC 9711 section 4.2.9). */
typedef enum {
    CMX_DEBUG_ENABLED = 0,
    CMX_DEBUG_DISABLED = 1,
    CMX_DEBUG_DISABLED_SINCE_BOOT = 2,
    CMX_DEBUG_DISABLED_PERMANENTLY = 3,
    CMX_DEBUG_DISABLED_FULLY = 4
} cmx_debug_state;

typedef enum { CMX_FLASH_PLAIN = 0, CMX_FLASH_DEVELOPMENT = 1, CMX_FLASH_RELEASE = 2 } cmx_flash_encryption;

/* Where the hardware key is stored. The values equal those of cmx_key_kind. */
typedef enum { CMX_HELD_NONE = 0, CMX_HELD_EFUSE = 1, CMX_HELD_TPM = 2, CMX_HELD_SOFTWARE = 3 } cmx_key_holder;

typedef enum { CMX_EVIDENCE_MAC, CMX_EVIDENCE_SIGNED } cmx_evidence_form;

struct cmx_measurement {
    struct cmx_range range;
    uint8_t digest[CMX_SHA256_LEN]; /* computed by cmx_measure_* */
};

/* A zeroed struct claims no protection: no secure boot, debug enabled, isolation off. */
struct cmx_evidence {
    size_t nonce_len;
    cmx_debug_state debug;
    cmx_key_holder key;
    cmx_flash_encryption flash_encryption;
    uint32_t boot_count;
    uint32_t secure_version;
    uint32_t flash_size;
    size_t session_len; /* 0: not known */
    size_t n_measurements;
    bool secure_boot;
    bool isolation; /* isolation is installed and enforced */
    bool has_policy, has_gateway;
    uint8_t boot_seed[CMX_BOOT_SEED_LEN]; /* random, drawn at each boot */
    uint8_t policy[CMX_SHA256_LEN];
    uint8_t gateway[CMX_SHA256_LEN]; /* SHA-256 of the gateway's host key blob; ssh-keygen -l prints it in base64 */
    uint8_t ueid[CMX_EVIDENCE_UEID_LEN];
    uint8_t nonce[CMX_NONCE_MAX];
    uint8_t session[CMX_EVIDENCE_SESSION_MAX]; /* the SSH session's identifier (RFC 4253 section 7.2) */
    char hw_model[CMX_EVIDENCE_NAME_MAX];      /* "ESP32-S3" */
    char sw_name[CMX_EVIDENCE_NAME_MAX];
    char sw_version[CMX_EVIDENCE_NAME_MAX];
    char slot[CMX_EVIDENCE_NAME_MAX];         /* "ota_0" */
    char slot_state[CMX_EVIDENCE_NAME_MAX];   /* "valid", "pending-verify", ... */
    char key_exchange[CMX_EVIDENCE_NAME_MAX]; /* of the session, such as "curve25519-sha256"; empty: not known */
    struct cmx_measurement measurements[CMX_RANGES_MAX];
};

/* Appends the token. key: cmx_identity_evidence_key for CMX_EVIDENCE_MAC, the scalar of cmx_identity_attest_key for
 * CMX_EVIDENCE_SIGNED. CMX_ENOSPC: out is too small; CMX_EVIDENCE_TOKEN_MAX bytes are enough. CMX_EINVAL: the nonce has
 * a wrong length. */
CMX_MUST_USE cmx_err cmx_evidence_encode(const struct cmx_evidence *e, cmx_evidence_form form,
                                         const uint8_t key[CMX_EVIDENCE_KEY_LEN], struct cmx_buf *out);

/* Appends the claims as one JSON object for people and scripts. Its member "token" (base64url) contains the token,
 * because only the token is authenticated. If token is NULL, the member is absent. CMX_ENOSPC: out is too small;
 * CMX_EVIDENCE_JSON_MAX bytes are enough. */
CMX_MUST_USE cmx_err cmx_evidence_json(const struct cmx_evidence *e, const void *token, size_t token_len,
                                       struct cmx_buf *out);

/* Verifies the MAC, then decodes the claims. CMX_ESIG: the MAC was not computed with this key. CMX_EFORMAT or
 * CMX_ETRUNC: the bytes are not exactly one token of this profile and form, or claims are missing, repeated or out of
 * order. *out is valid only after CMX_OK. */
CMX_MUST_USE cmx_err cmx_evidence_verify(const void *token, size_t len, const uint8_t mac_key[CMX_HMAC_KEY_LEN],
                                         struct cmx_evidence *out);

/* Like cmx_evidence_verify, for a signed token. CMX_ESIG: pub does not verify the signature. CMX_EINVAL: pub is not a
 * point on the curve. */
CMX_MUST_USE cmx_err cmx_evidence_verify_signed(const void *token, size_t len, const uint8_t pub[CMX_P256_PUBLIC_LEN],
                                                struct cmx_evidence *out);

/* Return the words that JSON, manifests and verdicts use, such as "efuse", "release" and "disabled-permanently". Never
 * NULL. */
const char *cmx_evidence_key_holder_name(cmx_key_holder k);
const char *cmx_evidence_flash_encryption_name(cmx_flash_encryption f);
const char *cmx_evidence_debug_state_name(cmx_debug_state d);
