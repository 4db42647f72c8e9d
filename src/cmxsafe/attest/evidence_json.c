/* evidence_json.c - writes evidence as JSON, and converts the evidence's enumeration values to names. A claim that RFC
 * 9711 defines has its name in that RFC. */
#include <string.h>

#include "cmxsafe/attest/claims_fields.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/text.h"

#define WORD(words, at) ((unsigned)(at) < sizeof(words) / sizeof *(words) ? (words)[at] : "unknown")

const char *cmx_evidence_key_holder_name(cmx_key_holder k)
{
    static const char *const words[] = {"none", "efuse", "tpm", "software"};

    return WORD(words, k);
}

const char *cmx_evidence_flash_encryption_name(cmx_flash_encryption f)
{
    static const char *const words[] = {"off", "development", "release"};

    return WORD(words, f);
}

const char *cmx_evidence_debug_state_name(cmx_debug_state d)
{
    static const char *const words[] = {"enabled", "disabled", "disabled-since-boot", "disabled-permanently",
                                        "disabled-fully-and-permanently"};

    return WORD(words, d);
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

static void put_claim(struct cmx_json *j, const struct cmx_claim_field *f, const struct cmx_claim_value *v)
{
    if (f->kind <= CMX_FIELD_NAME_IF && !v->len) {
        cmx_json_null(j, f->json);
        return;
    }
    switch (f->kind) {
    case CMX_FIELD_BYTES:
    case CMX_FIELD_BYTES_N:
    case CMX_FIELD_BYTES_IF:
        cmx_json_hex(j, f->json, v->data, v->len);
        return;
    case CMX_FIELD_MEASURED:
        put_measurements(j, v->data);
        return;
    case CMX_FIELD_BOOL:
        cmx_json_bool(j, f->json, v->number != 0);
        return;
    case CMX_FIELD_UINT:
        cmx_json_u64(j, f->json, v->number);
        return;
    case CMX_FIELD_DEBUG:
        cmx_json_str(j, f->json, cmx_evidence_debug_state_name((cmx_debug_state)v->number));
        return;
    case CMX_FIELD_KEY:
        cmx_json_str(j, f->json, cmx_evidence_key_holder_name((cmx_key_holder)v->number));
        return;
    case CMX_FIELD_FLASH:
        cmx_json_str(j, f->json, cmx_evidence_flash_encryption_name((cmx_flash_encryption)v->number));
        return;
    default:
        cmx_json_str(j, f->json, v->data);
        return;
    }
}

static void put_claims(struct cmx_json *j, const struct cmx_evidence *e)
{
    for (size_t i = 0; i < CMX_CLAIM_FIELDS; i++) {
        const struct cmx_claim_value v = cmx_claim_value(e, &cmx_claim_fields[i]);

        put_claim(j, &cmx_claim_fields[i], &v);
    }
}

cmx_err cmx_evidence_json(const struct cmx_evidence *e, const void *token, size_t token_len, struct cmx_buf *out)
{
    struct cmx_json j;

    cmx_json_init(&j, out);
    cmx_json_object(&j, NULL);
    put_claims(&j, e);
    if (token)
        cmx_json_base64url(&j, "token", token, token_len);
    cmx_json_end(&j);
    return cmx_json_finish(&j);
}
