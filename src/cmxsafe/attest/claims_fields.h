/* claims_fields.h - where each claim lies in struct cmx_evidence, what it is called and how it is written: one table
 * for CBOR and JSON. Not for other modules. Measurements, the last claim, are no single value and stand outside it. */
#ifndef CMX_ATTEST_CLAIMS_FIELDS_H
#define CMX_ATTEST_CLAIMS_FIELDS_H

#include "cmxsafe/attest/claims.h"

typedef enum {
    CMX_FIELD_BYTES,      /* len of them */
    CMX_FIELD_BYTES_N,    /* as many as the size_t at `more` says; none: no claim */
    CMX_FIELD_BYTES_IF,   /* len of them if the bool at `more` is set, else no claim */
    CMX_FIELD_NAME,       /* a string */
    CMX_FIELD_NAME_BYTES, /* a string that CBOR has as bytes (RFC 9711 section 4.2.4) */
    CMX_FIELD_PROFILE,    /* CMX_EVIDENCE_PROFILE */
    CMX_FIELD_VERSION,    /* RFC 9711 section 4.2.7: an array, the version first; no scheme */
    CMX_FIELD_BOOL,
    CMX_FIELD_UINT,  /* 32 bits */
    CMX_FIELD_DEBUG, /* the enumerations: words in JSON */
    CMX_FIELD_KEY,
    CMX_FIELD_FLASH
} cmx_field_kind;

struct cmx_claim_field {
    const char *json;
    int16_t claim; /* of the profile's own: less CLAIM_OWN */
    uint16_t at;
    uint8_t more;
    uint8_t len;
    uint8_t kind; /* cmx_field_kind */
};

#define CMX_CLAIM_FIELDS 20

/* In the order in which deterministic CBOR has them. */
extern const struct cmx_claim_field cmx_claim_fields[CMX_CLAIM_FIELDS];

/* data and len of bytes (0: no claim), data of a string, number of what is one. Borrows from e. */
struct cmx_claim_value {
    const void *data;
    size_t len;
    uint32_t number;
};

struct cmx_claim_value cmx_claim_value(const struct cmx_evidence *e, const struct cmx_claim_field *f);

#endif
