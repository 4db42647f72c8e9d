#include <string.h>

#include "cmxsafe/attest/claims_fields.h"

static cmx_err put_measurements(struct cmx_buf *b, const struct cmx_evidence *e)
{
    cmx_err err = cmx_cbor_put_head(b, CMX_CBOR_ARRAY, (uint32_t)e->n_measurements);

    for (size_t i = 0; i < e->n_measurements; i++) {
        const struct cmx_measurement *m = &e->measurements[i];

        cmx_cbor_put_head(b, CMX_CBOR_ARRAY, 3);
        cmx_cbor_put_head(b, CMX_CBOR_UINT, m->range.begin);
        cmx_cbor_put_head(b, CMX_CBOR_UINT, m->range.end);
        err = cmx_cbor_put_bytes(b, m->digest, sizeof m->digest);
    }
    return err;
}

static cmx_err put_value(struct cmx_buf *b, cmx_field_kind kind, const struct cmx_claim_value *v)
{
    switch (kind) {
    case CMX_FIELD_VERSION:
        cmx_cbor_put_head(b, CMX_CBOR_ARRAY, 1);
        return cmx_cbor_put_text(b, v->data);
    case CMX_FIELD_NAME:
    case CMX_FIELD_NAME_IF:
    case CMX_FIELD_PROFILE:
        return cmx_cbor_put_text(b, v->data);
    case CMX_FIELD_NAME_BYTES:
        return cmx_cbor_put_bytes(b, v->data, strlen(v->data));
    case CMX_FIELD_BYTES:
    case CMX_FIELD_BYTES_N:
    case CMX_FIELD_BYTES_IF:
        return cmx_cbor_put_bytes(b, v->data, v->len);
    case CMX_FIELD_BOOL:
        return cmx_cbor_put_bool(b, v->number != 0);
    case CMX_FIELD_MEASURED:
        return put_measurements(b, v->data);
    default:
        return cmx_cbor_put_head(b, CMX_CBOR_UINT, v->number);
    }
}

/* Returns the number of claims that are present. */
static uint32_t count(const struct cmx_evidence *e)
{
    return CMX_CLAIM_FIELDS - 4u + e->has_policy + e->has_gateway + (e->session_len > 0) + (e->key_exchange[0] != 0);
}

cmx_err cmx_claims_encode(const struct cmx_evidence *e, struct cmx_buf *out)
{
    cmx_err err = cmx_cbor_put_head(out, CMX_CBOR_MAP, count(e));

    for (size_t i = 0; i < CMX_CLAIM_FIELDS; i++) {
        const struct cmx_claim_field *f = &cmx_claim_fields[i];
        const struct cmx_claim_value v = cmx_claim_value(e, f);

        if (f->kind <= CMX_FIELD_NAME_IF && v.len == 0)
            continue;
        cmx_cbor_put_int(out, cmx_claim_number(f));
        err = put_value(out, (cmx_field_kind)f->kind, &v);
    }
    return err;
}
