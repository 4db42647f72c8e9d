#include <string.h>

#include "cmxsafe/attest/claims_fields.h"

static cmx_err read_bytes(struct cmx_buf *in, uint8_t *out, size_t min, size_t max, size_t *len)
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

static cmx_err read_exact(struct cmx_buf *in, uint8_t *out, size_t len)
{
    return read_bytes(in, out, len, len, &len);
}

/* Reads a name. major: CMX_CBOR_TEXT or CMX_CBOR_BYTES, according to the name's encoding. Accepts only printable ASCII,
 * because people read these names on terminals. */
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

/* Reads an array of min to max elements. */
static cmx_err read_array(struct cmx_buf *in, size_t min, size_t max, size_t *n)
{
    struct cmx_cbor_item item;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_ARRAY, &item);

    if (err)
        return err;
    if (item.value < min || item.value > max)
        return CMX_EFORMAT;
    *n = (size_t)item.value;
    return CMX_OK;
}

static cmx_err read_profile(struct cmx_buf *in)
{
    char profile[CMX_EVIDENCE_NAME_MAX];
    cmx_err err = read_name(in, CMX_CBOR_TEXT, profile);

    return err ? err : strcmp(profile, CMX_EVIDENCE_PROFILE) == 0 ? CMX_OK : CMX_EFORMAT;
}

static cmx_err read_version(struct cmx_buf *in, char out[CMX_EVIDENCE_NAME_MAX])
{
    size_t n;
    cmx_err err = read_array(in, 1, 1, &n);

    return err ? err : read_name(in, CMX_CBOR_TEXT, out);
}

static cmx_err read_measurement(struct cmx_buf *in, struct cmx_measurement *m)
{
    size_t n;
    cmx_err err = read_array(in, 3, 3, &n);

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
    size_t n = 0;
    cmx_err err = read_array(in, 0, CMX_RANGES_MAX, &n);

    for (e->n_measurements = 0; !err && e->n_measurements < n; e->n_measurements++)
        err = read_measurement(in, &e->measurements[e->n_measurements]);
    return err;
}

/* read_number copies a uint32_t into these members, so each must have that size. */
_Static_assert(sizeof(((struct cmx_evidence *)0)->debug) == sizeof(uint32_t), "debug");
_Static_assert(sizeof(((struct cmx_evidence *)0)->key) == sizeof(uint32_t), "key");
_Static_assert(sizeof(((struct cmx_evidence *)0)->flash_encryption) == sizeof(uint32_t), "flash_encryption");
_Static_assert(sizeof(((struct cmx_evidence *)0)->boot_count) == sizeof(uint32_t), "boot_count");
_Static_assert(sizeof(((struct cmx_evidence *)0)->secure_version) == sizeof(uint32_t), "secure_version");
_Static_assert(sizeof(((struct cmx_evidence *)0)->flash_size) == sizeof(uint32_t), "flash_size");

static cmx_err read_number(struct cmx_buf *in, uint32_t greatest, void *out)
{
    uint32_t v = 0;
    cmx_err err = read_uint(in, greatest, &v);

    memcpy(out, &v, sizeof v);
    return err;
}

static cmx_err read_value(struct cmx_buf *in, const struct cmx_claim_field *f, struct cmx_evidence *e)
{
    uint8_t *at = (uint8_t *)e + f->at;
    void *more = (uint8_t *)e + f->more;
    cmx_err err;

    switch ((cmx_field_kind)f->kind) {
    case CMX_FIELD_BYTES_N:
        return read_bytes(in, at, 1, f->len, more);
    case CMX_FIELD_BYTES_IF:
        *(bool *)more = true;
        return read_exact(in, at, f->len);
    case CMX_FIELD_BYTES:
        return read_exact(in, at, f->len);
    case CMX_FIELD_NAME_IF: /* an encoder omits an empty name, so an empty one is refused */
        err = read_name(in, CMX_CBOR_TEXT, (char *)at);
        return err ? err : *at ? CMX_OK : CMX_EFORMAT;
    case CMX_FIELD_NAME:
        return read_name(in, CMX_CBOR_TEXT, (char *)at);
    case CMX_FIELD_NAME_BYTES:
        return read_name(in, CMX_CBOR_BYTES, (char *)at);
    case CMX_FIELD_PROFILE:
        return read_profile(in);
    case CMX_FIELD_VERSION:
        return read_version(in, (char *)at);
    case CMX_FIELD_BOOL:
        return cmx_cbor_get_bool(in, (bool *)at);
    case CMX_FIELD_MEASURED:
        return read_measured(in, e);
    case CMX_FIELD_UINT:
        return read_number(in, UINT32_MAX, at);
    case CMX_FIELD_DEBUG:
    case CMX_FIELD_KEY:
    case CMX_FIELD_FLASH:
        return read_number(in, f->more, at);
    }
    return CMX_EINTERNAL;
}

static bool is_optional(const struct cmx_claim_field *f)
{
    return f->kind == CMX_FIELD_BYTES_N || f->kind == CMX_FIELD_BYTES_IF || f->kind == CMX_FIELD_NAME_IF;
}

/* Reads the claims in one pass. Each claim must match the next row of the table; only rows of optional claims may be
 * skipped. A claim that the profile does not define is refused, so that the verifier sees every claim. */
cmx_err cmx_claims_decode(struct cmx_buf *in, struct cmx_evidence *out)
{
    const struct cmx_claim_field *f = cmx_claim_fields, *end = f + CMX_CLAIM_FIELDS;
    struct cmx_cbor_item map;
    cmx_err err = cmx_cbor_expect(in, CMX_CBOR_MAP, &map);

    if (err)
        return err;
    memset(out, 0, sizeof *out);
    for (uint64_t i = 0; i < map.value; i++) {
        int64_t claim = 0;

        err = cmx_cbor_get_int(in, &claim);
        while (!err && f < end && cmx_claim_number(f) != claim && is_optional(f))
            f++;
        if (!err && (f == end || cmx_claim_number(f) != claim))
            err = CMX_EFORMAT;
        if (!err)
            err = read_value(in, f++, out);
        if (err)
            return err;
    }
    while (f < end && is_optional(f))
        f++;
    return f == end && out->nonce_len >= CMX_NONCE_MIN ? CMX_OK : CMX_EFORMAT; /* the nonce is required */
}
