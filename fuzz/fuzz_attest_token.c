/* Evidence from a device: the envelope, and the claims as if the MAC had matched. What decodes must encode to the same
 * bytes. */
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/attest/claims.h"
#include "cmxsafe/attest/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[32];
    uint8_t ueid[CMX_EVIDENCE_UEID_LEN], again[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence e;
    struct cmx_buf in, out;

    if (cmx_evidence_verify(data, size, key, &e) == CMX_OK && e.nonce_len < CMX_NONCE_MIN)
        abort();
    if (cmx_evidence_key_id(data, size, ueid) == CMX_OK && size < CMX_EVIDENCE_UEID_LEN)
        abort();
    cmx_buf_init_view(&in, data, size);
    if (cmx_cbor_skip(&in) == CMX_OK && cmx_buf_len(&in) >= size)
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
