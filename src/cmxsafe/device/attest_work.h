/* attest_work.h - the two computations of the attestation service, without HTTP. They use the flash and the key through
 * port.h, feed the watchdog after each chunk, and allocate at most 8 KB. The caller runs one at a time. */
#pragma once

#include "cmxsafe/attest/chain.h"
#include "cmxsafe/attest/evidence.h"

/* Computes the value of /hash. CMX_EINVAL: as for cmx_chain_init. CMX_ENOKEY: there is no usable hardware key. CMX_EIO:
 * reading flash or computing a MAC failed. CMX_ENOMEM: out of memory. */
CMX_MUST_USE cmx_err cmx_attest_hash(const struct cmx_ranges *ranges, const uint8_t *challenge, size_t len,
                                     uint8_t out[CMX_SHA256_LEN]);

struct cmx_evidence_job {
    size_t len;                        /* length of the answer in out */
    struct cmx_evidence e;             /* the caller sets nonce and facts */
    uint8_t key[CMX_EVIDENCE_KEY_LEN]; /* first the key for the digests, then the key for the token */
    uint8_t out[CMX_EVIDENCE_TOKEN_MAX + CMX_EVIDENCE_JSON_MAX]; /* a buffer for chunks of flash, and then the answer */
};

/* Sets ueid, key, flash_size and the measurements of ranges in j->e, and writes the token or the JSON into j->out.
 * CMX_EINVAL: the nonce has a wrong length. CMX_ENOKEY: there is no usable hardware key. CMX_EIO: reading flash or
 * computing a hash, MAC or signature failed. CMX_ENOMEM: out of memory. */
CMX_MUST_USE cmx_err cmx_attest_evidence(struct cmx_evidence_job *j, const struct cmx_ranges *ranges,
                                         cmx_evidence_form form, bool json);
