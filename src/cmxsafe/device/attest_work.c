#include "cmxsafe/device/attest_work.h"

#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/port/port.h"

static cmx_err run_chain(struct cmx_chain *c)
{
    const uint8_t *msg;
    uint32_t offset;
    uint8_t *dst;
    size_t len;

    while (cmx_chain_want(c, &offset, &dst, &len)) {
        cmx_err err = cmx_port_flash_read(offset, dst, len);

        if (err)
            return err;
        cmx_chain_message(c, &msg, &len);
        err = cmx_port_hw_hmac(msg, len, c->h);
        if (err)
            return err;
        cmx_port_watchdog_feed(0);
    }
    return CMX_OK;
}

cmx_err cmx_attest_hash(const struct cmx_ranges *ranges, const uint8_t *challenge, size_t len,
                        uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_chain *c = cmx_mem_alloc(sizeof *c);
    cmx_err err;

    if (!c)
        return CMX_ENOMEM;
    err = cmx_chain_init(c, ranges, challenge, len);
    if (!err)
        err = run_chain(c);
    if (!err)
        memcpy(out, c->h, CMX_SHA256_LEN);
    cmx_mem_free_secret(c); /* the memory contains flash content */
    return err;
}

_Static_assert(CMX_EVIDENCE_TOKEN_MAX + CMX_EVIDENCE_JSON_MAX >= CMX_CHUNK,
               "the buffer for the answer must have room for a chunk");
_Static_assert(sizeof(struct cmx_evidence_job) <= 8 * 1024, "attest_work.h promises to allocate at most 8 KB");

static cmx_err measure(struct cmx_evidence_job *j, struct cmx_range range, uint8_t digest[CMX_SHA256_LEN])
{
    struct cmx_sha256 h;
    struct cmx_walk w;
    uint32_t offset;
    size_t len;
    cmx_err err = cmx_measure_begin(&h, j->key, j->e.nonce, j->e.nonce_len, range);

    if (err)
        return err;
    cmx_chain_walk_init(&w, &range, 1);
    while (!err && cmx_chain_walk_next(&w, &offset, &len)) {
        err = cmx_port_flash_read(offset, j->out, len);
        if (!err)
            err = cmx_measure_chunk(&h, j->out, len);
        cmx_port_watchdog_feed(0);
    }
    if (!err)
        return cmx_sha256_finish(&h, digest);
    cmx_sha256_abort(&h);
    return err;
}

static cmx_err measure_all(struct cmx_evidence_job *j, const struct cmx_ranges *ranges)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < ranges->n && !err; i++) {
        j->e.measurements[i].range = ranges->r[i];
        err = measure(j, ranges->r[i], j->e.measurements[i].digest);
        j->e.n_measurements = i + 1;
    }
    return err;
}

/* Writes the answer into j->out. The JSON contains the token, so it is written after the token and then moved to the
 * front. */
static cmx_err write_answer(struct cmx_evidence_job *j, cmx_evidence_form form, bool json)
{
    struct cmx_buf token, text;
    cmx_err err;

    cmx_buf_init(&token, j->out, CMX_EVIDENCE_TOKEN_MAX);
    err = cmx_evidence_encode(&j->e, form, j->key, &token);
    j->len = cmx_buf_len(&token);
    if (err || !json)
        return err;
    cmx_buf_init(&text, j->out + j->len, sizeof j->out - j->len);
    err = cmx_evidence_json(&j->e, cmx_buf_data(&token), cmx_buf_len(&token), &text);
    j->len = cmx_buf_len(&text);
    memmove(j->out, cmx_buf_data(&text), j->len);
    return err;
}

/* A cmx_key_kind is cast to a cmx_key_holder, so the two enums must have the same values. The token format fixes the
 * values of cmx_key_holder. */
_Static_assert((int)CMX_HELD_NONE == (int)CMX_KEY_NONE && (int)CMX_HELD_EFUSE == (int)CMX_KEY_EFUSE &&
                   (int)CMX_HELD_TPM == (int)CMX_KEY_TPM && (int)CMX_HELD_SOFTWARE == (int)CMX_KEY_SOFTWARE,
               "the key's kind is converted by a cast");

static cmx_err derive_digest_key(struct cmx_evidence_job *j, cmx_evidence_form form)
{
    if (form == CMX_EVIDENCE_SIGNED)
        return cmx_identity_appraisal_key(cmx_identity_hw_hmac, NULL, j->key);
    return cmx_identity_evidence_key(cmx_identity_hw_hmac, NULL, j->key);
}

cmx_err cmx_attest_evidence(struct cmx_evidence_job *j, const struct cmx_ranges *ranges, cmx_evidence_form form,
                            bool json)
{
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    cmx_err err;

    j->e.flash_size = cmx_port_flash_size();
    j->e.key = (cmx_key_holder)cmx_port_hw_key_kind();
    err = cmx_identity_ueid(cmx_identity_hw_hmac, NULL, j->e.ueid);
    if (!err)
        err = derive_digest_key(j, form);
    if (!err)
        err = measure_all(j, ranges);
    /* A MAC over the token uses the same key as the digests, which is already in j->key. */
    if (!err && form == CMX_EVIDENCE_SIGNED)
        err = cmx_identity_attest_key(cmx_identity_hw_hmac, NULL, j->key, pub);
    if (!err)
        err = write_answer(j, form, json);
    cmx_secret_wipe(j->key, sizeof j->key);
    return err;
}
