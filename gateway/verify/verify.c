#include "gateway/verify/verify.h"

#include <string.h>

cmx_err verify_key_from_hwkey(struct verify_key *out, cmx_hmac_fn hmac, void *arg)
{
    cmx_err err = cmx_identity_ueid(hmac, arg, out->ueid);

    out->form = CMX_EVIDENCE_MAC;
    if (!err)
        err = cmx_identity_evidence_key(hmac, arg, out->mac);
    if (!err)
        memcpy(out->digest, out->mac, sizeof out->digest);
    return err;
}

void verify_key_from_attest_key(struct verify_key *out, const struct cmx_attest_key *k)
{
    out->form = CMX_EVIDENCE_SIGNED;
    memcpy(out->ueid, k->ueid, sizeof out->ueid);
    memcpy(out->pub, k->pub, sizeof out->pub);
    memcpy(out->digest, k->appraisal, sizeof out->digest);
}

static cmx_err authenticate(const struct verify_input *in, struct cmx_evidence *e, struct cmx_why *why)
{
    const struct verify_key *k = in->key;
    cmx_err err = k->form == CMX_EVIDENCE_SIGNED ? cmx_evidence_verify_signed(in->token, in->token_len, k->pub, e)
                                                 : cmx_evidence_verify(in->token, in->token_len, k->mac, e);

    if (err == CMX_ESIG)
        cmx_why_set(why, "the %s does not match: the token was not made with this key, or was changed on the way",
                    k->form == CMX_EVIDENCE_SIGNED ? "signature" : "MAC");
    else if (err == CMX_EINVAL)
        cmx_why_set(why, "the public key is not a point on the curve");
    else if (err)
        cmx_why_set(why, "%s", cmx_err_text(err));
    return err;
}

cmx_err verify_evidence(const struct verify_input *in, struct cmx_evidence *e, struct cmx_verdict *v,
                        struct cmx_why *why)
{
    struct cmx_measurement expected[CMX_RANGES_MAX];
    struct cmx_expect x = {.nonce = in->nonce,
                           .nonce_len = in->nonce_len,
                           .ueid = in->key->ueid,
                           .manifest = in->manifest,
                           .measured = expected,
                           .gateway = in->gateway,
                           .session = in->session,
                           .session_len = in->session_len};
    struct cmx_ranges ranges;
    cmx_err err;

    memset(v, 0, sizeof *v);
    err = authenticate(in, e, why);
    if (err)
        return err;
    cmx_manifest_ranges(in->manifest, &ranges);
    for (size_t i = 0; i < ranges.n; i++) {
        expected[i].range = ranges.r[i];
        err = reference_measure(in->reference, ranges.r[i], in->key->digest, in->nonce, in->nonce_len,
                                expected[i].digest);
        if (err) {
            cmx_why_set(why, "can't measure the reference: %s", cmx_err_text(err));
            return err;
        }
    }
    x.n_measured = ranges.n;
    cmx_appraise(e, &x, v);
    return CMX_OK;
}
