#include "cmxsafe/attest/claims_fields.h"

#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct cmx_evidence, member)
#define UP_TO(greatest, member) AT(member), greatest, sizeof(((struct cmx_evidence *)0)->member)
#define SIZED(member) UP_TO(0, member)

/* The claims in the order of their encoded numbers. IANA's CBOR Web Token Claims (RFC 9711 section 10.2.1) come first,
 * in ascending order. The profile's own claims have negative numbers and come in descending order: CBOR encodes a
 * negative number n as -1 - n, which grows as n falls. */
const struct cmx_claim_field cmx_claim_fields[CMX_CLAIM_FIELDS] = {
    {"eat_nonce", 10, AT(nonce), AT(nonce_len), CMX_NONCE_MAX, CMX_FIELD_BYTES_N},
    {"ueid", 256, SIZED(ueid), CMX_FIELD_BYTES},
    {"hwmodel", 259, SIZED(hw_model), CMX_FIELD_NAME_BYTES},
    {"oemboot", 262, SIZED(secure_boot), CMX_FIELD_BOOL},
    {"dbgstat", 263, UP_TO(CMX_DEBUG_DISABLED_FULLY, debug), CMX_FIELD_DEBUG},
    {"eat_profile", 265, 0, 0, 0, CMX_FIELD_PROFILE},
    {"bootcount", 267, SIZED(boot_count), CMX_FIELD_UINT},
    {"bootseed", 268, SIZED(boot_seed), CMX_FIELD_BYTES},
    {"swname", 270, SIZED(sw_name), CMX_FIELD_NAME},
    {"swversion", 271, SIZED(sw_version), CMX_FIELD_VERSION},
    {"key", -1, UP_TO(CMX_HELD_SOFTWARE, key), CMX_FIELD_KEY},
    {"slot", -2, SIZED(slot), CMX_FIELD_NAME},
    {"slot_state", -3, SIZED(slot_state), CMX_FIELD_NAME},
    {"secure_version", -4, SIZED(secure_version), CMX_FIELD_UINT},
    {"flash_encryption", -5, UP_TO(CMX_FLASH_RELEASE, flash_encryption), CMX_FIELD_FLASH},
    {"flash_size", -6, SIZED(flash_size), CMX_FIELD_UINT},
    {"isolation", -7, SIZED(isolation), CMX_FIELD_BOOL},
    {"policy", -8, AT(policy), AT(has_policy), 32, CMX_FIELD_BYTES_IF},
    {"gateway", -9, AT(gateway), AT(has_gateway), 32, CMX_FIELD_BYTES_IF},
    {"session", -10, AT(session), AT(session_len), CMX_EVIDENCE_SESSION_MAX, CMX_FIELD_BYTES_N},
    {"measured", -11, 0, 0, 0, CMX_FIELD_MEASURED},
    {"key_exchange", -12, SIZED(key_exchange), CMX_FIELD_NAME_IF},
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
