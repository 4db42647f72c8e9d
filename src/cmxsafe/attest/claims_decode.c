#include <string.h>

#include "cmxsafe/attest/claims.h"

typedef cmx_err (*read_fn)(struct cmx_buf *in, struct cmx_evidence *e);

static cmx_err read_exact(struct cmx_buf *in, uint8_t *out, size_t len)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_BYTES, &item);

    if (err)
        return err;
    if (item.value != len)
        return CMX_EFORMAT;
    memcpy(out, item.data, len);
    return CMX_OK;
}

static cmx_err read_between(struct cmx_buf *in, uint8_t *out, size_t min, size_t max, size_t *len)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_BYTES, &item);

    if (err)
        return err;
    if (item.value < min || item.value > max)
        return CMX_EFORMAT;
    memcpy(out, item.data, (size_t)item.value);
    *len = (size_t)item.value;
    return CMX_OK;
}

/* A text, or bytes that hold one. Refuses control characters, because people read these names on terminals. */
static cmx_err read_name(struct cmx_buf *in, cmx_cbor_major major, char out[CMX_EVIDENCE_NAME_MAX])
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, major, &item);

    if (err)
        return err;
    if (item.value >= CMX_EVIDENCE_NAME_MAX)
        return CMX_EFORMAT;
    for (size_t i = 0; i < item.value; i++)
        if (item.data[i] < 0x20 || item.data[i] >= 0x7f)
            return CMX_EFORMAT;
    memcpy(out, item.data, (size_t)item.value);
    out[item.value] = 0;
    return CMX_OK;
}

static cmx_err read_uint(struct cmx_buf *in, uint32_t max, uint32_t *out)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_UINT, &item);

    if (err)
        return err;
    if (item.value > max)
        return CMX_EFORMAT;
    *out = (uint32_t)item.value;
    return CMX_OK;
}

static cmx_err read_nonce(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_between(in, e->nonce, CMX_NONCE_MIN, CMX_NONCE_MAX, &e->nonce_len);
}

static cmx_err read_ueid(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_exact(in, e->ueid, sizeof e->ueid);
}

static cmx_err read_hw_model(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_name(in, CMX_CBOR_BYTES, e->hw_model);
}

static cmx_err read_oem_boot(struct cmx_buf *in, struct cmx_evidence *e)
{
    return cmx_cbor_get_bool(in, &e->secure_boot);
}

static cmx_err read_debug(struct cmx_buf *in, struct cmx_evidence *e)
{
    uint32_t v = 0;
    cmx_err err = read_uint(in, CMX_DEBUG_DISABLED_FULLY, &v);

    e->debug = (cmx_debug_state)v;
    return err;
}

static cmx_err read_profile(struct cmx_buf *in, struct cmx_evidence *e)
{
    char profile[CMX_EVIDENCE_NAME_MAX];
    cmx_err err = read_name(in, CMX_CBOR_TEXT, profile);

    (void)e;
    return err ? err : strcmp(profile, CMX_EVIDENCE_PROFILE) == 0 ? CMX_OK : CMX_EFORMAT;
}

static cmx_err read_boot_count(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_uint(in, UINT32_MAX, &e->boot_count);
}

static cmx_err read_boot_seed(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_exact(in, e->boot_seed, sizeof e->boot_seed);
}

static cmx_err read_sw_name(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_name(in, CMX_CBOR_TEXT, e->sw_name);
}

static cmx_err read_sw_version(struct cmx_buf *in, struct cmx_evidence *e)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_ARRAY, &item);

    if (err)
        return err;
    return item.value == 1 ? read_name(in, CMX_CBOR_TEXT, e->sw_version) : CMX_EFORMAT;
}

static cmx_err read_key(struct cmx_buf *in, struct cmx_evidence *e)
{
    uint32_t v = 0;
    cmx_err err = read_uint(in, CMX_HELD_SOFTWARE, &v);

    e->key = (cmx_key_holder)v;
    return err;
}

static cmx_err read_slot(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_name(in, CMX_CBOR_TEXT, e->slot);
}

static cmx_err read_slot_state(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_name(in, CMX_CBOR_TEXT, e->slot_state);
}

static cmx_err read_secure_version(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_uint(in, UINT32_MAX, &e->secure_version);
}

static cmx_err read_flash_encryption(struct cmx_buf *in, struct cmx_evidence *e)
{
    uint32_t v = 0;
    cmx_err err = read_uint(in, CMX_FLASH_RELEASE, &v);

    e->flash_encryption = (cmx_flash_encryption)v;
    return err;
}

static cmx_err read_flash_size(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_uint(in, UINT32_MAX, &e->flash_size);
}

static cmx_err read_isolation(struct cmx_buf *in, struct cmx_evidence *e)
{
    return cmx_cbor_get_bool(in, &e->isolation);
}

static cmx_err read_policy(struct cmx_buf *in, struct cmx_evidence *e)
{
    e->has_policy = true;
    return read_exact(in, e->policy, sizeof e->policy);
}

static cmx_err read_gateway(struct cmx_buf *in, struct cmx_evidence *e)
{
    e->has_gateway = true;
    return read_exact(in, e->gateway, sizeof e->gateway);
}

static cmx_err read_session(struct cmx_buf *in, struct cmx_evidence *e)
{
    return read_between(in, e->session, 1, sizeof e->session, &e->session_len);
}

static cmx_err read_measurement(struct cmx_buf *in, struct cmx_measurement *m)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_ARRAY, &item);

    if (!err && item.value != 3)
        err = CMX_EFORMAT;
    if (!err)
        err = read_uint(in, UINT32_MAX, &m->range.begin);
    if (!err)
        err = read_uint(in, UINT32_MAX, &m->range.end);
    if (!err && m->range.begin >= m->range.end)
        err = CMX_EFORMAT;
    return err ? err : read_exact(in, m->digest, sizeof m->digest);
}

static cmx_err read_measured(struct cmx_buf *in, struct cmx_evidence *e)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_ARRAY, &item);

    if (err)
        return err;
    if (item.value > CMX_RANGES_MAX)
        return CMX_EFORMAT;
    for (e->n_measurements = 0; e->n_measurements < item.value; e->n_measurements++) {
        err = read_measurement(in, &e->measurements[e->n_measurements]);
        if (err)
            return err;
    }
    return CMX_OK;
}

static cmx_err read_key_exchange(struct cmx_buf *in, struct cmx_evidence *e)
{
    cmx_err err = read_name(in, CMX_CBOR_TEXT, e->key_exchange);

    return err ? err : e->key_exchange[0] ? CMX_OK : CMX_EFORMAT; /* an encoder omits the claim */
}

/* The claims in the order in which a token must have them. */
static const struct {
    int64_t claim;
    bool optional;
    read_fn read;
} table[] = {
    {CLAIM_NONCE, false, read_nonce},
    {CLAIM_UEID, false, read_ueid},
    {CLAIM_HW_MODEL, false, read_hw_model},
    {CLAIM_OEM_BOOT, false, read_oem_boot},
    {CLAIM_DEBUG, false, read_debug},
    {CLAIM_PROFILE, false, read_profile},
    {CLAIM_BOOT_COUNT, false, read_boot_count},
    {CLAIM_BOOT_SEED, false, read_boot_seed},
    {CLAIM_SW_NAME, false, read_sw_name},
    {CLAIM_SW_VERSION, false, read_sw_version},
    {CLAIM_KEY, false, read_key},
    {CLAIM_SLOT, false, read_slot},
    {CLAIM_SLOT_STATE, false, read_slot_state},
    {CLAIM_SECURE_VERSION, false, read_secure_version},
    {CLAIM_FLASH_ENCRYPTION, false, read_flash_encryption},
    {CLAIM_FLASH_SIZE, false, read_flash_size},
    {CLAIM_ISOLATION, false, read_isolation},
    {CLAIM_POLICY, true, read_policy},
    {CLAIM_GATEWAY, true, read_gateway},
    {CLAIM_SESSION, true, read_session},
    {CLAIM_MEASURED, false, read_measured},
    {CLAIM_KEY_EXCHANGE, true, read_key_exchange},
};
#define TABLE_LEN (sizeof table / sizeof table[0])

/* Reads the claims in one pass. Each must be the next row of the table; only rows of optional claims may be skipped. A
 * claim unknown to the profile is refused, so that no claim escapes the verifier. */
cmx_err cmx_claims_decode(struct cmx_buf *in, struct cmx_evidence *out)
{
    struct cmx_cbor_item map;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_MAP, &map);
    size_t at = 0;

    if (err)
        return err;
    memset(out, 0, sizeof *out);
    for (uint64_t i = 0; i < map.value; i++) {
        int64_t claim = 0;

        err = cmx_cbor_get_int(in, &claim);
        while (!err && at < TABLE_LEN && table[at].claim != claim && table[at].optional)
            at++;
        if (!err && (at == TABLE_LEN || table[at].claim != claim))
            err = CMX_EFORMAT;
        if (!err)
            err = table[at++].read(in, out);
        if (err)
            return err;
    }
    while (at < TABLE_LEN && table[at].optional)
        at++;
    return at == TABLE_LEN ? CMX_OK : CMX_EFORMAT;
}
