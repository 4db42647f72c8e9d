#include "gateway/verify/appraise.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"

/* Appends a check. wanted: the manifest or the caller requires the check; if not, it is skipped. holds: the check
 * passes. */
static struct cmx_check *add(struct cmx_verdict *v, const char *name, bool wanted, bool holds, const char *found)
{
    struct cmx_check *c;

    if (v->n == CMX_CHECKS_MAX) {
        v->ok = false; /* cannot happen, because the number of regions is bounded */
        return &v->checks[CMX_CHECKS_MAX - 1];
    }
    c = &v->checks[v->n++];
    c->name = name;
    c->result = !wanted ? CMX_CHECK_SKIPPED : holds ? CMX_CHECK_PASSED : CMX_CHECK_FAILED;
    snprintf(c->found, sizeof c->found, "%s", found);
    if (c->result == CMX_CHECK_FAILED)
        v->ok = false;
    return c;
}

static void add_bytes(struct cmx_verdict *v, const char *name, const uint8_t *found, size_t found_len,
                      const uint8_t *wanted, size_t wanted_len)
{
    char hex[65] = "absent";
    bool holds = wanted && found_len == wanted_len && cmx_secret_equal(found, wanted, wanted_len);

    if (found_len)
        cmx_text_hex_encode(hex, found, found_len < 32 ? found_len : 32);
    add(v, name, wanted != NULL, holds, hex);
}

static void add_text(struct cmx_verdict *v, const char *name, const char *found, const char *wanted)
{
    add(v, name, wanted[0] != 0, strcmp(found, wanted) == 0, found);
}

/* True for hybrid key exchanges with ML-KEM (FIPS 203) or NTRU Prime, with any curve and hash. */
static bool is_post_quantum(const char *key_exchange)
{
    return strncmp(key_exchange, "mlkem", 5) == 0 || strncmp(key_exchange, "sntrup", 6) == 0;
}

static void check_identity(struct cmx_verdict *v, const struct cmx_evidence *e, const struct cmx_expect *x)
{
    const struct cmx_manifest *m = x->manifest;
    bool hardware = e->key == CMX_HELD_EFUSE || e->key == CMX_HELD_TPM;

    add_bytes(v, "nonce", e->nonce, e->nonce_len, x->nonce, x->nonce_len);
    add_bytes(v, "ueid", e->ueid, sizeof e->ueid, x->ueid, CMX_EVIDENCE_UEID_LEN);
    add(v, "key", m->require & CMX_REQUIRE_HARDWARE_KEY, hardware, cmx_evidence_key_holder_name(e->key));
    add_text(v, "hardware", e->hw_model, m->hardware);
    add_bytes(v, "gateway", e->gateway, e->has_gateway ? sizeof e->gateway : 0,
              x->gateway       ? x->gateway
              : m->has_gateway ? m->gateway
                               : NULL,
              CMX_SHA256_LEN);
    add_bytes(v, "session", e->session, e->session_len, x->session, x->session_len);
    add(v, "key-exchange", m->require & CMX_REQUIRE_POST_QUANTUM, is_post_quantum(e->key_exchange),
        e->key_exchange[0] ? e->key_exchange : "absent");
}

static void check_software(struct cmx_verdict *v, const struct cmx_evidence *e, const struct cmx_manifest *m)
{
    char number[12];

    add_text(v, "name", e->sw_name, m->name);
    add_text(v, "version", e->sw_version, m->version);
    snprintf(number, sizeof number, "%lu", (unsigned long)e->secure_version);
    add(v, "secure-version", m->secure_version > 0, e->secure_version >= m->secure_version, number);
    add(v, "slot-state", m->require & CMX_REQUIRE_CONFIRMED, strcmp(e->slot_state, "valid") == 0, e->slot_state);
}

static void check_platform(struct cmx_verdict *v, const struct cmx_evidence *e, const struct cmx_manifest *m)
{
    add(v, "secure-boot", m->require & CMX_REQUIRE_SECURE_BOOT, e->secure_boot, e->secure_boot ? "on" : "off");
    add(v, "flash-encryption", m->require & CMX_REQUIRE_FLASH_ENCRYPTION, e->flash_encryption == CMX_FLASH_RELEASE,
        cmx_evidence_flash_encryption_name(e->flash_encryption));
    add(v, "debug", m->require & CMX_REQUIRE_DEBUG_OFF, e->debug != CMX_DEBUG_ENABLED,
        cmx_evidence_debug_state_name(e->debug));
    add(v, "isolation", m->require & CMX_REQUIRE_ISOLATION, e->isolation, e->isolation ? "active" : "off");
    add_bytes(v, "policy", e->policy, e->has_policy ? sizeof e->policy : 0, m->has_policy ? m->policy : NULL,
              sizeof e->policy);
}

static void check_flash(struct cmx_verdict *v, const struct cmx_evidence *e, const struct cmx_expect *x)
{
    char text[40];
    struct cmx_ranges ranges;
    bool whole;

    cmx_manifest_ranges(x->manifest, &ranges);
    whole = x->measured && x->n_measured == ranges.n && e->n_measurements == ranges.n;

    snprintf(text, sizeof text, "0x%lx", (unsigned long)e->flash_size);
    add(v, "flash-size", true, e->flash_size == x->manifest->flash_size, text);
    snprintf(text, sizeof text, "%u", (unsigned)e->n_measurements);
    add(v, "regions", true, whole, text);
    for (size_t i = 0; whole && i < x->n_measured; i++) {
        const struct cmx_measurement *have = &e->measurements[i], *want = &x->measured[i];
        bool same = have->range.begin == want->range.begin && have->range.end == want->range.end &&
                    cmx_secret_equal(have->digest, want->digest, sizeof want->digest);

        snprintf(text, sizeof text, "0x%06lx-0x%06lx", (unsigned long)want->range.begin,
                 (unsigned long)want->range.end);
        add(v, "region", true, same, text);
    }
}

void cmx_appraise(const struct cmx_evidence *e, const struct cmx_expect *x, struct cmx_verdict *out)
{
    memset(out, 0, sizeof *out);
    if (!x->nonce || !x->ueid || !x->manifest)
        return;
    out->ok = true;
    check_identity(out, e, x);
    check_software(out, e, x->manifest);
    check_platform(out, e, x->manifest);
    check_flash(out, e, x);
}
