/* evidence_token.c - encodes and verifies the COSE_Mac0 or COSE_Sign1 around the claims. */
#include <string.h>

#include "cmxsafe/attest/claims.h"
#include "cmxsafe/core/secret.h"

#define PROOF_MAX CMX_P256_SIG_LEN
#define PROTECTED(alg) 0xa1, COSE_ALG, alg /* { 1: alg }, the whole protected header */
#define PROTECTED_LEN 3
#define ENVELOPE_LEN 12
#define STRUCTURE_MAX 32 /* maximum size of mac_structure or sig_structure and the payload's head */

/* The beginning of the encoding of 61(TAG([ protected, { 4: ueid }, payload, proof ])), up to the ueid's bytes. */
#define ENVELOPE(tag, alg)                                                                                             \
    {                                                                                                                  \
        0xd8, TAG_CWT, 0xc0 | (tag), 0x84, 0x40 | PROTECTED_LEN, PROTECTED(alg), 0xa1, COSE_KID, 0x58,                 \
            CMX_EVIDENCE_UEID_LEN                                                                                      \
    }

/* RFC 9052 sections 6.3 and 4.4: the MAC or signature covers [ context, protected, external_aad (empty), payload ].
 * mac_structure and sig_structure are the encodings of all elements before the payload. */
static const uint8_t mac_structure[] = {0x84, 0x64, 'M', 'A', 'C', '0', 0x43, PROTECTED(COSE_HMAC_256_256), 0x40};
static const uint8_t sig_structure[] = {
    0x84, 0x6a, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1', 0x43, PROTECTED(COSE_ES256), 0x40};

static const struct form {
    uint8_t envelope[ENVELOPE_LEN];
    uint8_t structure_len;
    uint8_t proof_len;
    const uint8_t *structure;
} forms[] = {
    [CMX_EVIDENCE_MAC] = {ENVELOPE(TAG_COSE_MAC0, COSE_HMAC_256_256), sizeof mac_structure, CMX_SHA256_LEN,
                          mac_structure},
    [CMX_EVIDENCE_SIGNED] = {ENVELOPE(TAG_COSE_SIGN1, COSE_ES256), sizeof sig_structure, CMX_P256_SIG_LEN,
                             sig_structure},
};

/* Writes to mem everything that the MAC or signature covers before the payload's bytes. */
static cmx_err put_structure(const struct form *f, size_t payload_len, struct cmx_buf *out, uint8_t mem[STRUCTURE_MAX])
{
    cmx_buf_init(out, mem, STRUCTURE_MAX);
    cmx_buf_put(out, f->structure, f->structure_len);
    return cmx_cbor_put_head(out, CMX_CBOR_BYTES, (uint32_t)payload_len);
}

static cmx_err compute_tag(const uint8_t key[CMX_HMAC_KEY_LEN], const void *payload, size_t len,
                           uint8_t tag[CMX_SHA256_LEN])
{
    uint8_t mem[STRUCTURE_MAX];
    struct cmx_buf head;
    cmx_err err = put_structure(&forms[CMX_EVIDENCE_MAC], len, &head, mem);

    return err ? err : cmx_hmac_of_two(key, mem, cmx_buf_len(&head), payload, len, tag);
}

/* Computes the digest that ES256 signs. */
static cmx_err compute_digest(const void *payload, size_t len, uint8_t digest[CMX_SHA256_LEN])
{
    uint8_t mem[STRUCTURE_MAX];
    struct cmx_buf head;
    cmx_err err = put_structure(&forms[CMX_EVIDENCE_SIGNED], len, &head, mem);

    return err ? err : cmx_sha256_of_two(mem, cmx_buf_len(&head), payload, len, digest);
}

_Static_assert(CMX_EVIDENCE_KEY_LEN == CMX_P256_SCALAR_LEN, "one buffer holds either key");

static cmx_err sign(const uint8_t scalar[CMX_P256_SCALAR_LEN], const void *payload, size_t len,
                    uint8_t sig[CMX_P256_SIG_LEN])
{
    uint8_t digest[CMX_SHA256_LEN];
    cmx_err err = compute_digest(payload, len, digest);

    return err ? err : cmx_p256_sign(scalar, digest, sig);
}

/* Appends the claims as a byte string. The head of this byte string contains the claims' length, so the claims are
 * encoded twice: first into the free space of out, only to count their bytes. *payload stays valid: a buffer never
 * moves its content. */
static cmx_err put_payload(struct cmx_buf *out, const struct cmx_evidence *e, const uint8_t **payload, size_t *len)
{
    struct cmx_buf trial = *out;
    cmx_err err = cmx_claims_encode(e, &trial);

    *len = cmx_buf_len(&trial) - cmx_buf_len(out);
    cmx_cbor_put_head(out, CMX_CBOR_BYTES, (uint32_t)*len);
    *payload = cmx_buf_data(out) + cmx_buf_len(out);
    return err ? err : cmx_claims_encode(e, out);
}

cmx_err cmx_evidence_encode(const struct cmx_evidence *e, cmx_evidence_form form,
                            const uint8_t key[CMX_EVIDENCE_KEY_LEN], struct cmx_buf *out)
{
    const struct form *f = &forms[form];
    uint8_t proof[PROOF_MAX];
    const uint8_t *payload = NULL;
    size_t len = 0;
    cmx_err err;

    if (e->nonce_len < CMX_NONCE_MIN || e->nonce_len > CMX_NONCE_MAX)
        return CMX_EINVAL;
    cmx_buf_put(out, f->envelope, sizeof f->envelope);
    cmx_buf_put(out, e->ueid, sizeof e->ueid);
    err = put_payload(out, e, &payload, &len);
    if (!err)
        err = form == CMX_EVIDENCE_MAC ? compute_tag(key, payload, len, proof) : sign(key, payload, len, proof);
    return err ? err : cmx_cbor_put_bytes(out, proof, f->proof_len);
}

struct token {
    const uint8_t *ueid;
    struct cmx_cbor_item payload;
    struct cmx_cbor_item proof;
};

/* Locates the parts of a token. The envelope has only one valid encoding, so its bytes are compared with this
 * encoding. */
static cmx_err split(const void *data, size_t len, cmx_evidence_form form, struct token *t)
{
    const struct form *f = &forms[form];
    const uint8_t *bytes = data;
    struct cmx_buf b;
    cmx_err err;

    if (len < sizeof f->envelope + CMX_EVIDENCE_UEID_LEN)
        return CMX_ETRUNC;
    if (memcmp(bytes, f->envelope, sizeof f->envelope) != 0)
        return CMX_EFORMAT;
    t->ueid = bytes + sizeof f->envelope;
    bytes = t->ueid + CMX_EVIDENCE_UEID_LEN;
    cmx_buf_init_view(&b, bytes, len - sizeof f->envelope - CMX_EVIDENCE_UEID_LEN);
    err = cmx_cbor_expect(&b, CMX_CBOR_BYTES, &t->payload);
    if (!err)
        err = cmx_cbor_expect(&b, CMX_CBOR_BYTES, &t->proof);
    if (!err && (t->proof.value != f->proof_len || cmx_buf_len(&b) != 0))
        err = CMX_EFORMAT;
    return err;
}

static cmx_err decode(const struct token *t, struct cmx_evidence *out)
{
    struct cmx_buf claims;
    cmx_err err;

    cmx_buf_init_view(&claims, t->payload.data, (size_t)t->payload.value);
    err = cmx_claims_decode(&claims, out);
    if (err)
        return err;
    /* The MAC or signature does not cover the header's ueid, so this ueid must equal the one in the claims. */
    if (cmx_buf_len(&claims) != 0 || memcmp(out->ueid, t->ueid, sizeof out->ueid) != 0)
        return CMX_EFORMAT;
    return CMX_OK;
}

cmx_err cmx_evidence_verify(const void *token, size_t len, const uint8_t mac_key[CMX_HMAC_KEY_LEN],
                            struct cmx_evidence *out)
{
    uint8_t tag[CMX_SHA256_LEN];
    struct token t;
    cmx_err err = split(token, len, CMX_EVIDENCE_MAC, &t);

    if (!err)
        err = compute_tag(mac_key, t.payload.data, (size_t)t.payload.value, tag);
    if (err)
        return err;
    return cmx_secret_equal(tag, t.proof.data, sizeof tag) ? decode(&t, out) : CMX_ESIG;
}

cmx_err cmx_evidence_verify_signed(const void *token, size_t len, const uint8_t pub[CMX_P256_PUBLIC_LEN],
                                   struct cmx_evidence *out)
{
    uint8_t digest[CMX_SHA256_LEN];
    struct token t;
    cmx_err err = split(token, len, CMX_EVIDENCE_SIGNED, &t);

    if (!err)
        err = compute_digest(t.payload.data, (size_t)t.payload.value, digest);
    if (!err)
        err = cmx_p256_verify(pub, digest, t.proof.data);
    return err ? err : decode(&t, out);
}
