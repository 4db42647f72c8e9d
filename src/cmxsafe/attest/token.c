/* token.c - the COSE_Mac0 around the claims: made, and verified. */
#include <string.h>

#include "cmxsafe/attest/claims.h"
#include "cmxsafe/attest/mac.h"
#include "cmxsafe/core/secret.h"

/* { 1: 5 }: HMAC 256/256. The only protected header that is made and accepted: no algorithm is negotiated. */
#define PROTECTED 0xa1, COSE_ALG, COSE_HMAC_256_256
static const uint8_t protected_header[] = {PROTECTED};

/* RFC 9052 section 6.3: MAC over [ "MAC0", protected, external_aad (empty), payload ]: all before the payload's bytes.
 */
static const uint8_t mac_structure[] = {0x84, 0x64, 'M', 'A', 'C', '0', 0x43, PROTECTED, 0x40};

/* 61(17([ protected, { 4: ueid }, payload, tag ])): all before the ueid's bytes. */
static const uint8_t envelope[] = {0xd8,     TAG_CWT, 0xc0 | TAG_COSE_MAC0, 0x84, 0x43, PROTECTED, 0xa1,
                                   COSE_KID, 0x58,    CMX_EVIDENCE_UEID_LEN};

static cmx_err compute_tag(const uint8_t key[32], const void *payload, size_t len, uint8_t tag[COSE_TAG_LEN])
{
    uint8_t mem[32];
    struct cmx_buf head;
    cmx_err err;

    cmx_buf_init(&head, mem, sizeof mem);
    err = cmx_buf_put(&head, mac_structure, sizeof mac_structure);
    if (!err)
        err = cmx_cbor_put_head(&head, CMX_CBOR_BYTES, (uint32_t)len);
    return err ? err : cmx_attest_mac(key, &head, payload, len, tag);
}

/* The claims as a byte string. They are written first with a head of three bytes, which fits their length or is too
 * long by what shorter claims save; then what is too long is closed. */
static cmx_err put_payload(struct cmx_buf *out, const struct cmx_evidence *e, const uint8_t **payload, size_t *len)
{
    uint8_t head_mem[9];
    struct cmx_buf head, body;
    size_t room = cmx_buf_room(out);
    uint8_t *at = cmx_buf_reserve(out, &room);
    cmx_err err;

    if (room < 3)
        return CMX_ENOSPC;
    cmx_buf_init(&body, at + 3, room - 3);
    err = cmx_claims_encode(e, &body);
    if (err)
        return err;
    *len = cmx_buf_len(&body);
    cmx_buf_init(&head, head_mem, sizeof head_mem);
    err = cmx_cbor_put_head(&head, CMX_CBOR_BYTES, (uint32_t)*len);
    if (err)
        return err;
    if (cmx_buf_len(&head) > 3)
        return CMX_ENOSPC;
    memmove(at + cmx_buf_len(&head), at + 3, *len);
    memcpy(at, cmx_buf_data(&head), cmx_buf_len(&head));
    *payload = at + cmx_buf_len(&head);
    cmx_buf_commit(out, cmx_buf_len(&head) + *len);
    return CMX_OK;
}

cmx_err cmx_evidence_encode(const struct cmx_evidence *e, const uint8_t mac_key[32], struct cmx_buf *out)
{
    uint8_t tag[COSE_TAG_LEN];
    const uint8_t *payload = NULL;
    size_t len = 0;
    cmx_err err;

    if (e->nonce_len < CMX_NONCE_MIN || e->nonce_len > CMX_NONCE_MAX)
        return CMX_EINVAL;
    err = cmx_buf_put(out, envelope, sizeof envelope);
    if (!err)
        err = cmx_buf_put(out, e->ueid, sizeof e->ueid);
    if (!err)
        err = put_payload(out, e, &payload, &len);
    if (!err)
        err = compute_tag(mac_key, payload, len, tag);
    return err ? err : cmx_cbor_put_bytes(out, tag, sizeof tag);
}

struct token {
    const uint8_t *ueid;
    struct cmx_cbor_item payload;
    struct cmx_cbor_item tag;
};

static cmx_err expect_value(struct cmx_buf *b, cmx_cbor_major major, uint64_t value)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(b, major, &item);

    return err ? err : item.value == value ? CMX_OK : CMX_EFORMAT;
}

static cmx_err expect_protected(struct cmx_buf *b)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(b, CMX_CBOR_BYTES, &item);

    if (err)
        return err;
    if (item.value != sizeof protected_header || memcmp(item.data, protected_header, sizeof protected_header) != 0)
        return CMX_EFORMAT;
    return CMX_OK;
}

static cmx_err split(const void *data, size_t len, struct token *t)
{
    struct cmx_buf b;
    struct cmx_cbor_item kid = {CMX_CBOR_BYTES, 0, NULL};
    cmx_err err;

    cmx_buf_init_view(&b, data, len);
    err = expect_value(&b, CMX_CBOR_TAG, TAG_CWT);
    if (!err)
        err = expect_value(&b, CMX_CBOR_TAG, TAG_COSE_MAC0);
    if (!err)
        err = expect_value(&b, CMX_CBOR_ARRAY, 4);
    if (!err)
        err = expect_protected(&b);
    if (!err)
        err = expect_value(&b, CMX_CBOR_MAP, 1);
    if (!err)
        err = expect_value(&b, CMX_CBOR_UINT, COSE_KID);
    if (!err)
        err = cmx_cbor_expect(&b, CMX_CBOR_BYTES, &kid);
    if (!err && kid.value != CMX_EVIDENCE_UEID_LEN)
        err = CMX_EFORMAT;
    if (!err)
        err = cmx_cbor_expect(&b, CMX_CBOR_BYTES, &t->payload);
    if (!err)
        err = cmx_cbor_expect(&b, CMX_CBOR_BYTES, &t->tag);
    if (!err && (t->tag.value != COSE_TAG_LEN || cmx_buf_len(&b) != 0))
        err = CMX_EFORMAT;
    t->ueid = kid.data;
    return err;
}

cmx_err cmx_evidence_key_id(const void *token, size_t len, uint8_t out[CMX_EVIDENCE_UEID_LEN])
{
    struct token t;
    cmx_err err = split(token, len, &t);

    if (!err)
        memcpy(out, t.ueid, CMX_EVIDENCE_UEID_LEN);
    return err;
}

cmx_err cmx_evidence_verify(const void *token, size_t len, const uint8_t mac_key[32], struct cmx_evidence *out)
{
    uint8_t tag[COSE_TAG_LEN];
    struct cmx_buf claims;
    struct token t;
    cmx_err err = split(token, len, &t);

    if (!err)
        err = compute_tag(mac_key, t.payload.data, (size_t)t.payload.value, tag);
    if (err)
        return err;
    if (!cmx_secret_equal(tag, t.tag.data, sizeof tag))
        return CMX_ESIG;
    cmx_buf_init_view(&claims, t.payload.data, (size_t)t.payload.value);
    err = cmx_claims_decode(&claims, out);
    if (err)
        return err;
    /* The key's name stands outside the MAC: it must be the one inside. */
    if (cmx_buf_len(&claims) != 0 || memcmp(out->ueid, t.ueid, sizeof out->ueid) != 0)
        return CMX_EFORMAT;
    return CMX_OK;
}
