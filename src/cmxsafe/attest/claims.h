/* claims.h - the claims' numbers, shared by encoder and decoder; internal to attest.
 * Positive: IANA's CBOR Web Token Claims registry (RFC 9711 section 10.2.1). Below -65536: private use (RFC 8392
 * section 9.1), defined by CMX_EVIDENCE_PROFILE. */
#ifndef CMX_ATTEST_CLAIMS_H
#define CMX_ATTEST_CLAIMS_H

#include "cmxsafe/attest/cbor.h"
#include "cmxsafe/attest/evidence.h"

enum {
    CLAIM_NONCE = 10,
    CLAIM_UEID = 256,
    CLAIM_HW_MODEL = 259,
    CLAIM_OEM_BOOT = 262,
    CLAIM_DEBUG = 263,
    CLAIM_PROFILE = 265,
    CLAIM_BOOT_COUNT = 267,
    CLAIM_BOOT_SEED = 268,
    CLAIM_SW_NAME = 270,
    CLAIM_SW_VERSION = 271,
    CLAIM_OWN = -75000, /* the profile's own claims follow, descending */
    CLAIM_KEY = -75001,
    CLAIM_SLOT = -75002,
    CLAIM_SLOT_STATE = -75003,
    CLAIM_SECURE_VERSION = -75004,
    CLAIM_FLASH_ENCRYPTION = -75005,
    CLAIM_FLASH_SIZE = -75006,
    CLAIM_ISOLATION = -75007,
    CLAIM_POLICY = -75008,
    CLAIM_GATEWAY = -75009,
    CLAIM_SESSION = -75010,
    CLAIM_MEASURED = -75011,
    CLAIM_KEY_EXCHANGE = -75012
};

enum { COSE_ALG = 1, COSE_KID = 4, TAG_COSE_MAC0 = 17, TAG_COSE_SIGN1 = 18, TAG_CWT = 61 };

/* CBOR encodings of the algorithms (RFC 9053 tables 7 and 1): 5 and -7. */
enum { COSE_HMAC_256_256 = 0x05, COSE_ES256 = 0x26 };

/* Encode and decode the map of claims, without the token around it. */
CMX_MUST_USE cmx_err cmx_claims_encode(const struct cmx_evidence *e, struct cmx_buf *out);
CMX_MUST_USE cmx_err cmx_claims_decode(struct cmx_buf *in, struct cmx_evidence *out);

#endif
