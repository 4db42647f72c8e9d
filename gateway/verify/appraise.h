/* appraise.h - compares authenticated evidence (cmx_evidence_verify) with what the verifier expects, check by check
 * (RFC 9334 section 8.1). Pure. A zeroed verdict is not ok. */
#pragma once

#include "gateway/verify/manifest.h"

#define CMX_CHECKS_MAX 40

/* The pointers are borrowed for the call to cmx_appraise. */
struct cmx_expect {
    const uint8_t *nonce; /* the nonce that was sent; required */
    size_t nonce_len;
    const uint8_t *ueid;                 /* ueid of the expected device, CMX_EVIDENCE_UEID_LEN bytes; required */
    const struct cmx_manifest *manifest; /* required */
    /* The reference's measurements of the ranges from cmx_manifest_ranges, in their order; required. */
    const struct cmx_measurement *measured;
    size_t n_measured;
    const uint8_t *gateway; /* SHA-256 of the gateway's host key; NULL: use the manifest's digest; if it has none, don't
                               check the host key */
    const uint8_t *session; /* the SSH session identifier that the verifier sees; NULL: not checked */
    size_t session_len;
};

typedef enum { CMX_CHECK_FAILED = 0, CMX_CHECK_PASSED = 1, CMX_CHECK_SKIPPED = 2 } cmx_check_result;

struct cmx_check {
    const char *name; /* static text, such as "nonce", "secure-boot", "region" */
    cmx_check_result result;
    char found[CMX_EVIDENCE_NAME_MAX + 8]; /* the value in the evidence, as text */
};

struct cmx_verdict {
    bool ok; /* every required check was made, and none failed */
    struct cmx_check checks[CMX_CHECKS_MAX];
    size_t n;
};

void cmx_appraise(const struct cmx_evidence *e, const struct cmx_expect *x, struct cmx_verdict *out);
