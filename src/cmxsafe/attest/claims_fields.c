#include "cmxsafe/attest/claims_fields.h"

#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct cmx_evidence, member)
#define OWN(claim) ((claim)-CLAIM_OWN)
#define SIZED(member) AT(member), 0, sizeof(((struct cmx_evidence *)0)->member)

/* Registered claims, ascending, then the profile's own: descending numbers are ascending encodings. */
const struct cmx_claim_field cmx_claim_fields[CMX_CLAIM_FIELDS] = {
    {"eat_nonce", CLAIM_NONCE, AT(nonce), AT(nonce_len), CMX_NONCE_MAX, CMX_FIELD_BYTES_N},
    {"ueid", CLAIM_UEID, SIZED(ueid), CMX_FIELD_BYTES},
    {"hwmodel", CLAIM_HW_MODEL, SIZED(hw_model), CMX_FIELD_NAME_BYTES},
    {"oemboot", CLAIM_OEM_BOOT, SIZED(secure_boot), CMX_FIELD_BOOL},
    {"dbgstat", CLAIM_DEBUG, SIZED(debug), CMX_FIELD_DEBUG},
    {"eat_profile", CLAIM_PROFILE, 0, 0, 0, CMX_FIELD_PROFILE},
    {"bootcount", CLAIM_BOOT_COUNT, SIZED(boot_count), CMX_FIELD_UINT},
    {"bootseed", CLAIM_BOOT_SEED, SIZED(boot_seed), CMX_FIELD_BYTES},
    {"swname", CLAIM_SW_NAME, SIZED(sw_name), CMX_FIELD_NAME},
    {"swversion", CLAIM_SW_VERSION, SIZED(sw_version), CMX_FIELD_VERSION},
    {"key", OWN(CLAIM_KEY), SIZED(key), CMX_FIELD_KEY},
    {"slot", OWN(CLAIM_SLOT), SIZED(slot), CMX_FIELD_NAME},
    {"slot_state", OWN(CLAIM_SLOT_STATE), SIZED(slot_state), CMX_FIELD_NAME},
    {"secure_version", OWN(CLAIM_SECURE_VERSION), SIZED(secure_version), CMX_FIELD_UINT},
    {"flash_encryption", OWN(CLAIM_FLASH_ENCRYPTION), SIZED(flash_encryption), CMX_FIELD_FLASH},
    {"flash_size", OWN(CLAIM_FLASH_SIZE), SIZED(flash_size), CMX_FIELD_UINT},
    {"isolation", OWN(CLAIM_ISOLATION), SIZED(isolation), CMX_FIELD_BOOL},
    {"policy", OWN(CLAIM_POLICY), AT(policy), AT(has_policy), 32, CMX_FIELD_BYTES_IF},
    {"gateway", OWN(CLAIM_GATEWAY), AT(gateway), AT(has_gateway), 32, CMX_FIELD_BYTES_IF},
    {"session", OWN(CLAIM_SESSION), AT(session), AT(session_len), CMX_EVIDENCE_SESSION_MAX, CMX_FIELD_BYTES_N},
    {"measured", OWN(CLAIM_MEASURED), 0, 0, 0, CMX_FIELD_MEASURED},
    {"key_exchange", OWN(CLAIM_KEY_EXCHANGE), SIZED(key_exchange), CMX_FIELD_NAME_IF},
};

static bool flag(const void *at)
{
    return *(const bool *)at;
}

struct cmx_claim_value cmx_claim_value(const struct cmx_evidence *e, const struct cmx_claim_field *f)
{
    const uint8_t *base = (const uint8_t *)e;
    struct cmx_claim_value v = {.data = base + f->at, .len = f->len};
    size_t n;

    switch (f->kind) {
    case CMX_FIELD_BYTES_N:
        memcpy(&n, base + f->more, sizeof n);
        v.len = n;
        break;
    case CMX_FIELD_BYTES_IF:
        v.len = flag(base + f->more) ? f->len : 0;
        break;
    case CMX_FIELD_NAME_IF:
        v.len = *(const uint8_t *)v.data;
        break;
    case CMX_FIELD_PROFILE:
        v.data = CMX_EVIDENCE_PROFILE;
        break;
    case CMX_FIELD_BOOL:
        v.number = flag(v.data);
        break;
    case CMX_FIELD_UINT:
    case CMX_FIELD_DEBUG:
    case CMX_FIELD_KEY:
    case CMX_FIELD_FLASH:
        memcpy(&v.number, v.data, sizeof v.number);
        break;
    default:
        break;
    }
    return v;
}
