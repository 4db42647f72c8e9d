/* evidence_json.c - evidence for people: words and JSON. Member names are RFC 9711's where it has them. */
#include <string.h>

#include "cmxsafe/attest/evidence.h"
#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/json.h"

static const char *word(const char *const *words, size_t n, unsigned at)
{
    return at < n ? words[at] : "unknown";
}

const char *cmx_key_holder_name(cmx_key_holder k)
{
    static const char *const words[] = {"none", "efuse", "tpm", "software"};

    return word(words, 4, (unsigned)k);
}

const char *cmx_flash_encryption_name(cmx_flash_encryption f)
{
    static const char *const words[] = {"off", "development", "release"};

    return word(words, 3, (unsigned)f);
}

const char *cmx_debug_state_name(cmx_debug_state d)
{
    static const char *const words[] = {"enabled", "disabled", "disabled-since-boot", "disabled-permanently",
                                        "disabled-fully-and-permanently"};

    return word(words, 5, (unsigned)d);
}

static void put_measurements(struct cmx_json *j, const struct cmx_evidence *e)
{
    cmx_json_array(j, "measured");
    for (size_t i = 0; i < e->n_measurements; i++) {
        cmx_json_object(j, NULL);
        cmx_json_u64(j, "begin", e->measurements[i].range.begin);
        cmx_json_u64(j, "end", e->measurements[i].range.end);
        cmx_json_hex(j, "digest", e->measurements[i].digest, sizeof e->measurements[i].digest);
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

static void put_optional_hex(struct cmx_json *j, const char *key, const void *data, size_t len, bool there)
{
    if (there)
        cmx_json_hex(j, key, data, len);
    else
        cmx_json_null(j, key);
}

static void put_claims(struct cmx_json *j, const struct cmx_evidence *e)
{
    cmx_json_str(j, "eat_profile", CMX_EVIDENCE_PROFILE);
    cmx_json_hex(j, "eat_nonce", e->nonce, e->nonce_len);
    cmx_json_hex(j, "ueid", e->ueid, sizeof e->ueid);
    cmx_json_str(j, "hwmodel", e->hw_model);
    cmx_json_bool(j, "oemboot", e->secure_boot);
    cmx_json_str(j, "dbgstat", cmx_debug_state_name(e->debug));
    cmx_json_u64(j, "bootcount", e->boot_count);
    cmx_json_hex(j, "bootseed", e->boot_seed, sizeof e->boot_seed);
    cmx_json_str(j, "swname", e->sw_name);
    cmx_json_str(j, "swversion", e->sw_version);
    cmx_json_str(j, "key", cmx_key_holder_name(e->key));
    cmx_json_str(j, "slot", e->slot);
    cmx_json_str(j, "slot_state", e->slot_state);
    cmx_json_u64(j, "secure_version", e->secure_version);
    cmx_json_str(j, "flash_encryption", cmx_flash_encryption_name(e->flash_encryption));
    cmx_json_u64(j, "flash_size", e->flash_size);
    cmx_json_bool(j, "isolation", e->isolation);
    put_optional_hex(j, "policy", e->policy, sizeof e->policy, e->has_policy);
    put_optional_hex(j, "gateway", e->gateway, sizeof e->gateway, e->has_gateway);
    put_optional_hex(j, "session", e->session, e->session_len, e->session_len > 0);
    put_measurements(j, e);
}

/* The token, as the document's last member: base64url needs no escaping, so it is written in place. */
static cmx_err put_token(struct cmx_buf *out, const void *token, size_t len)
{
    cmx_err err = cmx_buf_put_str(out, ",\"token\":\"");

    if (!err)
        err = cmx_base64url_encode(out, token, len);
    return err ? err : cmx_buf_put_str(out, "\"}");
}

cmx_err cmx_evidence_json(const struct cmx_evidence *e, const void *token, size_t token_len, struct cmx_buf *out)
{
    struct cmx_json j;
    cmx_err err;

    cmx_json_init(&j, out);
    cmx_json_object(&j, NULL);
    put_claims(&j, e);
    cmx_json_end(&j);
    err = cmx_json_finish(&j);
    if (err || !token)
        return err;
    out->end--; /* reopens the object: its closing brace is the last byte written */
    return put_token(out, token, token_len);
}
