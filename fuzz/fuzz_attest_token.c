/* Verifies any bytes as a device's evidence. Also decodes the input as claims, which otherwise happens only after a
 * valid proof. Claims that can be decoded must encode to the same bytes. Also parses the input as the line of an
 * attestation key. */
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/attest/claims.h"
#include "cmxsafe/attest/evidence.h"
#include "cmxsafe/identity/attest_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[32], point[CMX_P256_PUBLIC_LEN];
    uint8_t again[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_attest_key k;
    struct cmx_evidence e;
    struct cmx_buf in, out;

    if (cmx_evidence_verify(data, size, key, &e) == CMX_OK && e.nonce_len < CMX_NONCE_MIN)
        abort();
    if (cmx_evidence_verify_signed(data, size, point, &e) == CMX_OK && e.nonce_len < CMX_NONCE_MIN)
        abort();
    if (cmx_attest_key_parse((const char *)data, size, &k) == CMX_OK && k.ueid[0] != 1)
        abort();
    cmx_buf_init_view(&in, data, size);
    if (cmx_claims_decode(&in, &e))
        return 0;
    cmx_buf_init(&out, again, sizeof again);
    if (cmx_claims_encode(&e, &out) || cmx_buf_len(&out) != size - cmx_buf_len(&in) ||
        memcmp(again, data, cmx_buf_len(&out)) != 0)
        abort();
    return 0;
}
