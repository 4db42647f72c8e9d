/* verify.h - turns a token into a verdict: authenticates the evidence, computes the measurements of the reference, and
 * compares them with the evidence. There are two kinds of verifier: one has the device's hardware key, the other has
 * only a struct cmx_attest_key and verifies signed evidence. No I/O beyond the mapped reference files. */
#pragma once

#include "cmxsafe/identity/attest_key.h"
#include "gateway/verify/appraise.h"
#include "gateway/verify/reference.h"

struct verify_key {
    cmx_evidence_form form;
    uint8_t ueid[CMX_UEID_LEN];
    uint8_t mac[CMX_HMAC_KEY_LEN];    /* for CMX_EVIDENCE_MAC */
    uint8_t pub[CMX_P256_PUBLIC_LEN]; /* for CMX_EVIDENCE_SIGNED */
    uint8_t digest[CMX_HMAC_KEY_LEN]; /* key of the measurements */
};

/* Derives the keys that verify MACed evidence. hmac computes HMACs with the device's hardware key (cmx_identity_*). The
 * caller wipes *out after use. */
CMX_MUST_USE cmx_err verify_key_from_hwkey(struct verify_key *out, cmx_hmac_fn hmac, void *arg);

/* Sets *out to the keys that verify signed evidence. */
void verify_key_from_attest_key(struct verify_key *out, const struct cmx_attest_key *k);

/* Pointers are borrowed for the call; gateway and session may be NULL, see struct cmx_expect. */
struct verify_input {
    const uint8_t *token;
    size_t token_len;
    const struct verify_key *key;
    const uint8_t *nonce;
    size_t nonce_len;
    const struct cmx_manifest *manifest;
    const struct reference *reference; /* opened from the manifest by reference_open_manifest */
    const uint8_t *gateway;
    const uint8_t *session;
    size_t session_len;
};

/* Verifies a token and appraises it. CMX_OK: the token is authentic, *e holds its claims, and *v the verdict, which may
 * be negative. Otherwise `why` says what is wrong. CMX_ESIG: the token was not made with this device's key;
 * CMX_EINVAL: the device's public key is not a point on the curve; CMX_EFORMAT, CMX_ETRUNC: the token is malformed
 * or incomplete; CMX_ENOENT: a region is not within the reference. Never trust *v after an error. */
CMX_MUST_USE cmx_err verify_evidence(const struct verify_input *in, struct cmx_evidence *e, struct cmx_verdict *v,
                                     struct cmx_why *why);
