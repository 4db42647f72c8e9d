/* claims.h - encodes and decodes the map of claims, and defines the COSE constants (tags, labels, algorithm
 * identifiers) of the token that contains it. Internal to attest. */
#pragma once

#include "cmxsafe/attest/cbor.h"
#include "cmxsafe/attest/evidence.h"

enum { COSE_ALG = 1, COSE_KID = 4, TAG_COSE_MAC0 = 17, TAG_COSE_SIGN1 = 18, TAG_CWT = 61 };

/* The CBOR encodings of the algorithm identifiers 5 and -7 (RFC 9053 sections 3.1 and 2.1). */
enum { COSE_HMAC_256_256 = 0x05, COSE_ES256 = 0x26 };

/* Encode and decode the map of claims, without the token around it. */
CMX_MUST_USE cmx_err cmx_claims_encode(const struct cmx_evidence *e, struct cmx_buf *out);
CMX_MUST_USE cmx_err cmx_claims_decode(struct cmx_buf *in, struct cmx_evidence *out);
