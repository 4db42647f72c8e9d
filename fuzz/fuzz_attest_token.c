/* Verifies any bytes as a device's evidence. Also decodes the input as claims, because a random token never has a valid
 * proof. Claims that can be decoded must encode to the same bytes. If their nonce is long enough, two tokens made from
 * the claims must verify: one with a MAC, one signed. Also parses the input as the line of an attestation key; a
 * printed key must parse to the same key. */
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/attest/claims.h"
#include "cmxsafe/attest/evidence.h"
#include "cmxsafe/identity/attest_key.h"
#include "cmxsafe/port/crypto.h"

static const uint8_t key[32] = {1};

static void check_key(const struct cmx_attest_key *k)
{
    struct cmx_attest_key again;
    char text[512];
    const char *line;
    struct cmx_buf b;

    cmx_buf_init(&b, text, sizeof text);
    if (k->ueid[0] != 1 || cmx_attest_key_print(k, &b) || cmx_buf_cstr(&b, &line) ||
        cmx_attest_key_parse(line, strlen(line), &again) || memcmp(&again, k, sizeof again) != 0)
        abort();
}

/* Makes a token from the claims. The verifier must accept the token, and must refuse it after one bit has changed. */
static void check_token(const struct cmx_evidence *e, cmx_evidence_form form, size_t change)
{
    static uint8_t pub[CMX_P256_PUBLIC_LEN];
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence again;
    struct cmx_buf b;
    size_t len;

    if (!pub[0] && cmx_p256_public(key, pub))
        abort();
    cmx_buf_init(&b, token, sizeof token);
    if (cmx_evidence_encode(e, form, key, &b))
        abort();
    len = cmx_buf_len(&b);
    for (int changed = 0; changed < 2; changed++) {
        cmx_err err = form == CMX_EVIDENCE_MAC ? cmx_evidence_verify(token, len, key, &again)
                                               : cmx_evidence_verify_signed(token, len, pub, &again);

        if ((err == CMX_OK) == (changed == 1))
            abort();
        token[change % len] ^= 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t point[CMX_P256_PUBLIC_LEN];
    uint8_t again[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_attest_key k;
    struct cmx_evidence e;
    struct cmx_buf in, out;

    if (cmx_evidence_verify(data, size, key, &e) == CMX_OK && e.nonce_len < CMX_NONCE_MIN)
        abort();
    if (cmx_evidence_verify_signed(data, size, point, &e) == CMX_OK && e.nonce_len < CMX_NONCE_MIN)
        abort();
    if (cmx_attest_key_parse((const char *)data, size, &k) == CMX_OK)
        check_key(&k);
    cmx_buf_init_view(&in, data, size);
    if (cmx_claims_decode(&in, &e))
        return 0;
    cmx_buf_init(&out, again, sizeof again);
    if (cmx_claims_encode(&e, &out) || cmx_buf_len(&out) != size - cmx_buf_len(&in) ||
        memcmp(again, data, cmx_buf_len(&out)) != 0)
        abort();
    if (e.nonce_len >= CMX_NONCE_MIN) {
        check_token(&e, CMX_EVIDENCE_MAC, data[0] + size);
        check_token(&e, CMX_EVIDENCE_SIGNED, data[0] + size);
    }
    return 0;
}
