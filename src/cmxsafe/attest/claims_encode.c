#include <string.h>

#include "cmxsafe/attest/claims.h"

static cmx_err put_text(struct cmx_buf *b, int64_t claim, const char *text)
{
    cmx_err err = cmx_cbor_put_int(b, claim);

    return err ? err : cmx_cbor_put_text(b, text);
}

static cmx_err put_bytes(struct cmx_buf *b, int64_t claim, const void *data, size_t len)
{
    cmx_err err = cmx_cbor_put_int(b, claim);

    return err ? err : cmx_cbor_put_bytes(b, data, len);
}

static cmx_err put_uint(struct cmx_buf *b, int64_t claim, uint64_t value)
{
    cmx_err err = cmx_cbor_put_int(b, claim);

    return err ? err : cmx_cbor_put_head(b, CMX_CBOR_UINT, value);
}

static cmx_err put_bool(struct cmx_buf *b, int64_t claim, bool value)
{
    cmx_err err = cmx_cbor_put_int(b, claim);

    return err ? err : cmx_cbor_put_bool(b, value);
}

/* RFC 9711 section 4.2.7: an array, the version first; no scheme. */
static cmx_err put_version(struct cmx_buf *b, const char *version)
{
    cmx_err err = cmx_cbor_put_int(b, CLAIM_SW_VERSION);

    if (!err)
        err = cmx_cbor_put_head(b, CMX_CBOR_ARRAY, 1);
    return err ? err : cmx_cbor_put_text(b, version);
}

static cmx_err put_measurements(struct cmx_buf *b, const struct cmx_evidence *e)
{
    cmx_err err = cmx_cbor_put_int(b, CLAIM_MEASURED);

    if (!err)
        err = cmx_cbor_put_head(b, CMX_CBOR_ARRAY, e->n_measurements);
    for (size_t i = 0; i < e->n_measurements && !err; i++) {
        const struct cmx_measurement *m = &e->measurements[i];

        err = cmx_cbor_put_head(b, CMX_CBOR_ARRAY, 3);
        if (!err)
            err = cmx_cbor_put_head(b, CMX_CBOR_UINT, m->range.begin);
        if (!err)
            err = cmx_cbor_put_head(b, CMX_CBOR_UINT, m->range.end);
        if (!err)
            err = cmx_cbor_put_bytes(b, m->digest, sizeof m->digest);
    }
    return err;
}

/* Registered claims, ascending. */
static cmx_err put_standard(struct cmx_buf *b, const struct cmx_evidence *e)
{
    cmx_err err = put_bytes(b, CLAIM_NONCE, e->nonce, e->nonce_len);

    if (!err)
        err = put_bytes(b, CLAIM_UEID, e->ueid, sizeof e->ueid);
    if (!err)
        err = put_bytes(b, CLAIM_HW_MODEL, e->hw_model, strlen(e->hw_model));
    if (!err)
        err = put_bool(b, CLAIM_OEM_BOOT, e->secure_boot);
    if (!err)
        err = put_uint(b, CLAIM_DEBUG, e->debug);
    if (!err)
        err = put_text(b, CLAIM_PROFILE, CMX_EVIDENCE_PROFILE);
    if (!err)
        err = put_uint(b, CLAIM_BOOT_COUNT, e->boot_count);
    if (!err)
        err = put_bytes(b, CLAIM_BOOT_SEED, e->boot_seed, sizeof e->boot_seed);
    if (!err)
        err = put_text(b, CLAIM_SW_NAME, e->sw_name);
    return err ? err : put_version(b, e->sw_version);
}

/* The profile's own claims: descending numbers are ascending encodings. */
static cmx_err put_private(struct cmx_buf *b, const struct cmx_evidence *e)
{
    cmx_err err = put_uint(b, CLAIM_KEY, e->key);

    if (!err)
        err = put_text(b, CLAIM_SLOT, e->slot);
    if (!err)
        err = put_text(b, CLAIM_SLOT_STATE, e->slot_state);
    if (!err)
        err = put_uint(b, CLAIM_SECURE_VERSION, e->secure_version);
    if (!err)
        err = put_uint(b, CLAIM_FLASH_ENCRYPTION, e->flash_encryption);
    if (!err)
        err = put_uint(b, CLAIM_FLASH_SIZE, e->flash_size);
    if (!err)
        err = put_bool(b, CLAIM_ISOLATION, e->isolation);
    if (!err && e->has_policy)
        err = put_bytes(b, CLAIM_POLICY, e->policy, sizeof e->policy);
    if (!err && e->has_gateway)
        err = put_bytes(b, CLAIM_GATEWAY, e->gateway, sizeof e->gateway);
    if (!err && e->session_len)
        err = put_bytes(b, CLAIM_SESSION, e->session, e->session_len);
    return err ? err : put_measurements(b, e);
}

cmx_err cmx_claims_encode(const struct cmx_evidence *e, struct cmx_buf *out)
{
    uint64_t n = 18u + e->has_policy + e->has_gateway + (e->session_len > 0);
    cmx_err err = cmx_cbor_put_head(out, CMX_CBOR_MAP, n);

    if (!err)
        err = put_standard(out, e);
    return err ? err : put_private(out, e);
}
