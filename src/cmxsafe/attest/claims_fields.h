/* claims_fields.h - the table from which claims are encoded as CBOR, decoded, and written as JSON. It has each claim's
 * place in struct cmx_evidence, its name and its encoding. Internal to attest. */
#pragma once

#include "cmxsafe/attest/claims.h"

typedef enum {
    CMX_FIELD_BYTES,      /* len bytes */
    CMX_FIELD_BYTES_N,    /* at most len bytes; the size_t at offset `more` counts them; a count of 0: no claim */
    CMX_FIELD_BYTES_IF,   /* len bytes; the claim is absent if the bool at offset `more` is false */
    CMX_FIELD_NAME_IF,    /* a string; empty: the claim is absent */
    CMX_FIELD_NAME,       /* a string */
    CMX_FIELD_NAME_BYTES, /* a string that CBOR encodes as bytes (RFC 9711 section 4.2.4) */
    CMX_FIELD_PROFILE,    /* CMX_EVIDENCE_PROFILE */
    CMX_FIELD_VERSION,    /* RFC 9711 section 4.2.7: an array with the version only, without its scheme */
    CMX_FIELD_BOOL,
    CMX_FIELD_UINT,  /* 32 bits */
    CMX_FIELD_DEBUG, /* DEBUG, KEY and FLASH are enumerations, written as words in JSON */
    CMX_FIELD_KEY,
    CMX_FIELD_FLASH,
    CMX_FIELD_MEASURED /* the list of measurements */
} cmx_field_kind;

struct cmx_claim_field {
    const char *json;
    int16_t claim; /* the claim's number; if negative, cmx_claim_number adds CMX_CLAIM_OWN */
    uint16_t at;   /* offset of the member in struct cmx_evidence */
    uint8_t more;  /* BYTES_N: offset of the length; BYTES_IF: offset of the bool; enumerations: the greatest value */
    uint8_t len;   /* size of the member in bytes */
    uint8_t kind;  /* cmx_field_kind */
};

#define CMX_CLAIM_FIELDS 22
#define CMX_CLAIM_OWN (-75000) /* private use (RFC 8392 section 9.1), defined by CMX_EVIDENCE_PROFILE */

/* The fields in the order in which deterministic CBOR encodes them. */
extern const struct cmx_claim_field cmx_claim_fields[CMX_CLAIM_FIELDS];

static inline int32_t cmx_claim_number(const struct cmx_claim_field *f)
{
    return f->claim < 0 ? CMX_CLAIM_OWN + f->claim : f->claim;
}

/* A claim's value, borrowed from the evidence e. Which members are set depends on the kind: data and len for bytes,
 * data for strings, data = e for measurements, and number for the others. An optional claim (CMX_FIELD_BYTES_N,
 * _BYTES_IF, _NAME_IF) is absent if len is 0. */
struct cmx_claim_value {
    const void *data;
    size_t len;
    uint32_t number;
};

struct cmx_claim_value cmx_claim_value(const struct cmx_evidence *e, const struct cmx_claim_field *f);
