/* Evidence: decoding returns what was encoded. A token that was changed in any bit, truncated or extended is refused.
 * Also tests the results of appraisal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/attest/cbor.h"
#include "cmxsafe/attest/claims_fields.h"
#include "cmxsafe/attest/evidence.h"
#include "gateway/verify/appraise.h"

static const uint8_t mac_key[32] = {1, 2, 3};

static void sample(struct cmx_evidence *e)
{
    memset(e, 0, sizeof *e);
    e->nonce_len = 16;
    memset(e->nonce, 0xa5, e->nonce_len);
    e->ueid[0] = 1;
    memset(e->ueid + 1, 0x77, 32);
    strcpy(e->hw_model, "ESP32-S3");
    e->secure_boot = true;
    e->debug = CMX_DEBUG_DISABLED_PERMANENTLY;
    e->boot_count = 70000;
    memset(e->boot_seed, 9, sizeof e->boot_seed);
    strcpy(e->sw_name, "secure_services");
    strcpy(e->sw_version, "1.4.0");
    e->key = CMX_HELD_EFUSE;
    strcpy(e->slot, "ota_1");
    strcpy(e->slot_state, "valid");
    e->secure_version = 3;
    e->flash_encryption = CMX_FLASH_RELEASE;
    e->flash_size = 0x400000;
    e->isolation = true;
    e->has_policy = true;
    memset(e->policy, 0x31, sizeof e->policy);
    e->has_gateway = true;
    memset(e->gateway, 0x32, sizeof e->gateway);
    e->session_len = 32;
    memset(e->session, 0x33, 32);
    strcpy(e->key_exchange, "mlkem768x25519-sha256");
    e->n_measurements = 2;
    e->measurements[0].range = (struct cmx_range){0x10000, 0x20000};
    memset(e->measurements[0].digest, 0x41, 32);
    e->measurements[1].range = (struct cmx_range){0, 0x9000};
    memset(e->measurements[1].digest, 0x42, 32);
}

static size_t encode(const struct cmx_evidence *e, uint8_t token[CMX_EVIDENCE_TOKEN_MAX])
{
    struct cmx_buf b;

    cmx_buf_init(&b, token, CMX_EVIDENCE_TOKEN_MAX);
    assert_int_equal(cmx_evidence_encode(e, CMX_EVIDENCE_MAC, mac_key, &b), CMX_OK);
    return cmx_buf_len(&b);
}

static void test_round_trip(void **state)
{
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence e, back;
    size_t len;

    (void)state;
    sample(&e);
    len = encode(&e, token);
    assert_int_equal(token[0], 0xd8); /* CBOR tag 61: a CWT */
    assert_int_equal(token[1], 61);
    assert_int_equal(token[2], 0xd1); /* CBOR tag 17: COSE_Mac0 */
    assert_int_equal(cmx_evidence_verify(token, len, mac_key, &back), CMX_OK);
    assert_memory_equal(&e, &back, sizeof e);
    memset(&e, 0, sizeof e); /* the smallest valid token */
    e.nonce_len = 8;
    len = encode(&e, token);
    assert_int_equal(cmx_evidence_verify(token, len, mac_key, &back), CMX_OK);
    assert_memory_equal(&e, &back, sizeof e);
}

static const uint8_t scalar[32] = {4, 5, 6};

static size_t encode_signed(const struct cmx_evidence *e, uint8_t token[CMX_EVIDENCE_TOKEN_MAX],
                            uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    struct cmx_buf b;

    cmx_buf_init(&b, token, CMX_EVIDENCE_TOKEN_MAX);
    assert_int_equal(cmx_p256_public(scalar, pub), CMX_OK);
    assert_int_equal(cmx_evidence_encode(e, CMX_EVIDENCE_SIGNED, scalar, &b), CMX_OK);
    return cmx_buf_len(&b);
}

static void test_largest_fits(void **state)
{
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX], json[CMX_EVIDENCE_JSON_MAX + CMX_EVIDENCE_TOKEN_MAX * 4 / 3 + 64];
    struct cmx_evidence e, back;
    struct cmx_buf b;
    size_t len;

    (void)state;
    sample(&e);
    e.nonce_len = CMX_NONCE_MAX;
    e.session_len = CMX_EVIDENCE_SESSION_MAX;
    memset(e.sw_name, 'n', sizeof e.sw_name - 1);
    memset(e.sw_version, 'v', sizeof e.sw_version - 1);
    memset(e.hw_model, 'h', sizeof e.hw_model - 1);
    memset(e.slot, 's', sizeof e.slot - 1);
    memset(e.slot_state, 't', sizeof e.slot_state - 1);
    memset(e.key_exchange, 'k', sizeof e.key_exchange - 1);
    e.boot_count = e.secure_version = e.flash_size = UINT32_MAX;
    e.n_measurements = CMX_RANGES_MAX;
    for (size_t i = 0; i < CMX_RANGES_MAX; i++)
        e.measurements[i].range = (struct cmx_range){0xfffffff0u + (uint32_t)i - 1, 0xfffffff0u + (uint32_t)i};
    len = encode(&e, token);
    assert_int_equal(cmx_evidence_verify(token, len, mac_key, &back), CMX_OK);
    len = encode_signed(&e, token, pub);
    assert_int_equal(cmx_evidence_verify_signed(token, len, pub, &back), CMX_OK);
    cmx_buf_init(&b, json, CMX_EVIDENCE_JSON_MAX);
    assert_int_equal(cmx_evidence_json(&e, NULL, 0, &b), CMX_OK);
    cmx_buf_init(&b, json, sizeof json);
    assert_int_equal(cmx_evidence_json(&e, token, len, &b), CMX_OK);
    for (size_t cap = 0; cap < len; cap++) { /* nothing is written beyond the end of the buffer */
        cmx_buf_init(&b, token, cap);
        assert_int_equal(cmx_evidence_encode(&e, CMX_EVIDENCE_SIGNED, scalar, &b), CMX_ENOSPC);
    }
}

static void test_signed_round_trip(void **state)
{
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX], pub[CMX_P256_PUBLIC_LEN];
    struct cmx_evidence e, back;
    size_t len;

    (void)state;
    sample(&e);
    len = encode_signed(&e, token, pub);
    assert_int_equal(token[2], 0xd2); /* CBOR tag 18: COSE_Sign1 */
    assert_int_equal(cmx_evidence_verify_signed(token, len, pub, &back), CMX_OK);
    assert_memory_equal(&e, &back, sizeof e);
}

/* A signed token is refused where a token with a MAC is expected, and the reverse. Any token is refused if another key
 * made it. */
static void test_forms_are_apart(void **state)
{
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX], pub[CMX_P256_PUBLIC_LEN], other[CMX_P256_PUBLIC_LEN];
    struct cmx_evidence e, back;
    size_t len;

    (void)state;
    sample(&e);
    len = encode_signed(&e, token, pub);
    assert_int_equal(cmx_evidence_verify(token, len, scalar, &back), CMX_EFORMAT);
    assert_int_equal(cmx_p256_public(mac_key, other), CMX_OK);
    assert_int_equal(cmx_evidence_verify_signed(token, len, other, &back), CMX_ESIG);
    other[64] ^= 1;
    assert_int_equal(cmx_evidence_verify_signed(token, len, other, &back), CMX_EINVAL);
    len = encode(&e, token);
    assert_int_equal(cmx_evidence_verify_signed(token, len, pub, &back), CMX_EFORMAT);
}

static void test_every_bit_of_a_signed_token_counts(void **state)
{
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX], pub[CMX_P256_PUBLIC_LEN];
    struct cmx_evidence e, back;
    size_t len;

    (void)state;
    sample(&e);
    len = encode_signed(&e, token, pub);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(cmx_evidence_verify_signed(token, len, pub, &back), CMX_OK);
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_int_not_equal(cmx_evidence_verify_signed(token, cut, pub, &back), CMX_OK);
    token[len] = 0;
    assert_int_equal(cmx_evidence_verify_signed(token, len + 1, pub, &back), CMX_EFORMAT);
    assert_int_equal(cmx_evidence_verify_signed(token, len, pub, &back), CMX_OK);
}

static void test_every_bit_counts(void **state)
{
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence e, back;
    size_t len;

    (void)state;
    sample(&e);
    len = encode(&e, token);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(cmx_evidence_verify(token, len, mac_key, &back), CMX_OK);
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_int_not_equal(cmx_evidence_verify(token, cut, mac_key, &back), CMX_OK);
    token[len] = 0;
    assert_int_equal(cmx_evidence_verify(token, len + 1, mac_key, &back), CMX_EFORMAT);
    assert_int_equal(cmx_evidence_verify(token, len, mac_key, &back), CMX_OK);
}

static void test_wrong_key_and_nonce_length(void **state)
{
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX], other[32] = {1, 2, 4};
    struct cmx_evidence e, back;
    struct cmx_buf b;
    size_t len;

    (void)state;
    sample(&e);
    len = encode(&e, token);
    assert_int_equal(cmx_evidence_verify(token, len, other, &back), CMX_ESIG);
    cmx_buf_init(&b, token, sizeof token);
    e.nonce_len = 7;
    assert_int_equal(cmx_evidence_encode(&e, CMX_EVIDENCE_MAC, mac_key, &b), CMX_EINVAL);
    e.nonce_len = 65;
    assert_int_equal(cmx_evidence_encode(&e, CMX_EVIDENCE_MAC, mac_key, &b), CMX_EINVAL);
}

static void test_json(void **state)
{
    uint8_t mem[CMX_EVIDENCE_JSON_MAX];
    struct cmx_evidence e;
    struct cmx_buf b;
    const char *s;

    (void)state;
    sample(&e);
    e.session_len = 0;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_evidence_json(&e, "\xff\xee", 2, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_non_null(strstr(s, "\"swversion\":\"1.4.0\""));
    assert_non_null(strstr(s, "\"dbgstat\":\"disabled-permanently\""));
    assert_non_null(strstr(s, "\"session\":null"));
    assert_non_null(strstr(s, "\"flash_encryption\":\"release\""));
    assert_non_null(strstr(s, "],\"key_exchange\":\"mlkem768x25519-sha256\",\"token\":\"_-4\"}"));
    e.key_exchange[0] = 0;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_evidence_json(&e, NULL, 0, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_non_null(strstr(s, "],\"key_exchange\":null}"));
}

/* The key exchange claim, which follows the measurements, must be a text string without control characters. It is
 * refused if it is empty, truncated or repeated. */
static void test_key_exchange_is_strict(void **state)
{
    static const struct {
        const char *value; /* replaces the text "k" */
        size_t len;
        cmx_err err;
    } values[] = {
        {"\x61k", 2, CMX_OK},      {"\x60", 1, CMX_EFORMAT},
        {"\x41k", 2, CMX_EFORMAT}, {"\x61\x1b", 2, CMX_EFORMAT}, /* a control character */
        {"\x62k", 2, CMX_ETRUNC},
    };
    uint8_t mem[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence e, back;
    struct cmx_buf b;

    (void)state;
    sample(&e);
    strcpy(e.key_exchange, "k");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        cmx_buf_init(&b, mem, sizeof mem);
        assert_int_equal(cmx_claims_encode(&e, &b), CMX_OK);
        b.end -= 2;
        assert_int_equal(cmx_buf_put(&b, values[i].value, values[i].len), CMX_OK);
        assert_int_equal(cmx_claims_decode(&b, &back), values[i].err);
    }
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_claims_encode(&e, &b), CMX_OK);
    assert_int_equal(mem[0], 0xb6); /* a map of 22 claims */
    mem[0]++;
    assert_int_equal(cmx_cbor_put_int(&b, CMX_CLAIM_OWN - 12), CMX_OK);
    assert_int_equal(cmx_cbor_put_text(&b, "k"), CMX_OK);
    assert_int_equal(cmx_claims_decode(&b, &back), CMX_EFORMAT);
}

static cmx_err decode_again(const struct cmx_evidence *e)
{
    uint8_t mem[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence back;
    struct cmx_buf b;

    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_claims_encode(e, &b), CMX_OK);
    return cmx_claims_decode(&b, &back);
}

static void test_enumerations_have_bounds(void **state)
{
    struct cmx_evidence e;

    (void)state;
    sample(&e);
    e.debug = CMX_DEBUG_DISABLED_FULLY;
    e.key = CMX_HELD_SOFTWARE;
    e.flash_encryption = CMX_FLASH_RELEASE;
    assert_int_equal(decode_again(&e), CMX_OK);
    e.debug++;
    assert_int_equal(decode_again(&e), CMX_EFORMAT);
    e.debug--;
    e.key++;
    assert_int_equal(decode_again(&e), CMX_EFORMAT);
    e.key--;
    e.flash_encryption++;
    assert_int_equal(decode_again(&e), CMX_EFORMAT);
}

/* The encoded sample begins with the map's head and the nonce claim: the claim's number, the head of a byte string, 16
 * bytes. */
static void test_nonce_is_required(void **state)
{
    const size_t nonce_end = 1 + 1 + 1 + 16;
    uint8_t mem[CMX_EVIDENCE_TOKEN_MAX], changed[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence e, back;
    struct cmx_buf b, c;

    (void)state;
    sample(&e);
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_claims_encode(&e, &b), CMX_OK);
    for (size_t len = 0; len <= CMX_NONCE_MIN; len++) {
        const uint8_t nonce[3] = {mem[0], 10, (uint8_t)(0x40 + len)}; /* heads of map, claim, byte string */
        const uint8_t none = (uint8_t)(mem[0] - 1);                   /* a map with one claim fewer */

        cmx_buf_init(&c, changed, sizeof changed);
        assert_int_equal(len ? cmx_buf_put(&c, nonce, sizeof nonce) : cmx_buf_put(&c, &none, 1), CMX_OK);
        assert_int_equal(cmx_buf_put(&c, e.nonce, len), CMX_OK);
        assert_int_equal(cmx_buf_put(&c, mem + nonce_end, cmx_buf_len(&b) - nonce_end), CMX_OK);
        assert_int_equal(cmx_claims_decode(&c, &back), len == CMX_NONCE_MIN ? CMX_OK : CMX_EFORMAT);
    }
}

/* If there are no measurements and no key exchange, the last claim is an empty list: five bytes for the claim's number,
 * one byte for the list. */
static void test_last_claim_is_required(void **state)
{
    uint8_t mem[CMX_EVIDENCE_TOKEN_MAX];
    struct cmx_evidence e, back;
    struct cmx_buf b;

    (void)state;
    sample(&e);
    e.n_measurements = 0;
    e.key_exchange[0] = '\0';
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_claims_encode(&e, &b), CMX_OK);
    assert_int_equal(mem[cmx_buf_len(&b) - 6], 0x3a);
    b.end -= 6;
    mem[0]--;
    assert_int_equal(cmx_claims_decode(&b, &back), CMX_EFORMAT);
}

static void test_cbor_is_strict(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        cmx_err err;
    } items[] = {
        {"\x17", 1, CMX_OK},
        {"\x18\x18", 2, CMX_OK},
        {"\x18\x17", 2, CMX_EFORMAT},             /* 23 fits in the head */
        {"\x19\x00\xff", 3, CMX_EFORMAT},         /* 255 fits in one byte */
        {"\x1a\x00\x00\xff\xff", 5, CMX_EFORMAT}, /* 65535 fits in two bytes */
        {"\x1b\0\0\0\0\xff\xff\xff\xff", 9, CMX_EFORMAT},
        {"\x1c", 1, CMX_EFORMAT},
        {"\x5f\x41\x00\xff", 4, CMX_EFORMAT}, /* a byte string of indefinite length */
        {"\x42\x00", 2, CMX_ETRUNC},
        {"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", 9, CMX_ETRUNC},
        {"\xf4", 1, CMX_OK},
        {"\xf7", 1, CMX_EFORMAT},         /* the value `undefined` */
        {"\xf9\x00\x00", 3, CMX_EFORMAT}, /* a float */
        {"", 0, CMX_ETRUNC},
    };

    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        struct cmx_cbor_item item;
        struct cmx_buf b;

        cmx_buf_init_view(&b, items[i].bytes, items[i].len);
        assert_int_equal(cmx_cbor_get(&b, &item), items[i].err);
        if (!items[i].err)
            assert_int_equal(cmx_buf_len(&b), 0);
    }
}

static void test_cbor_numbers(void **state)
{
    static const int32_t values[] = {0, 23, 24, 255, 256, 65535, 65536, INT32_MAX, -1, -24, -25, -75011, INT32_MIN};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t mem[9];
        struct cmx_buf b;
        int64_t back = 0;

        cmx_buf_init(&b, mem, sizeof mem);
        assert_int_equal(cmx_cbor_put_int(&b, values[i]), CMX_OK);
        assert_int_equal(cmx_cbor_get_int(&b, &back), CMX_OK);
        assert_true(back == values[i]);
    }
}

/* ---- appraisal ---- */

static void manifest_for(const struct cmx_evidence *e, struct cmx_manifest *m)
{
    memset(m, 0, sizeof *m);
    strcpy(m->name, e->sw_name);
    strcpy(m->version, e->sw_version);
    strcpy(m->hardware, e->hw_model);
    m->secure_version = 3;
    m->flash_size = e->flash_size;
    m->require = CMX_REQUIRE_SECURE_BOOT | CMX_REQUIRE_FLASH_ENCRYPTION | CMX_REQUIRE_DEBUG_OFF |
                 CMX_REQUIRE_ISOLATION | CMX_REQUIRE_HARDWARE_KEY | CMX_REQUIRE_CONFIRMED | CMX_REQUIRE_POST_QUANTUM;
    m->has_policy = m->has_gateway = true;
    memcpy(m->policy, e->policy, 32);
    memcpy(m->gateway, e->gateway, 32);
    m->n_regions = e->n_measurements;
    for (size_t i = 0; i < m->n_regions; i++)
        m->regions[i].range = e->measurements[i].range;
}

struct scene {
    struct cmx_evidence e;
    struct cmx_manifest m;
    struct cmx_measurement measured[2];
    uint8_t nonce[16], ueid[CMX_EVIDENCE_UEID_LEN], session[32];
    struct cmx_expect x;
};

static void scene_init(struct scene *s)
{
    sample(&s->e);
    manifest_for(&s->e, &s->m);
    memcpy(s->measured, s->e.measurements, sizeof s->measured);
    memcpy(s->nonce, s->e.nonce, sizeof s->nonce);
    memcpy(s->ueid, s->e.ueid, sizeof s->ueid);
    memcpy(s->session, s->e.session, sizeof s->session);
    s->x = (struct cmx_expect){.nonce = s->nonce,
                               .nonce_len = sizeof s->nonce,
                               .ueid = s->ueid,
                               .manifest = &s->m,
                               .measured = s->measured,
                               .n_measured = 2,
                               .session = s->session,
                               .session_len = sizeof s->session};
}

static void expect_failure(struct scene *s, const char *name)
{
    struct cmx_verdict v;
    bool named = false;

    cmx_appraise(&s->e, &s->x, &v);
    assert_false(v.ok);
    for (size_t i = 0; i < v.n; i++)
        named = named || (v.checks[i].result == CMX_CHECK_FAILED && strcmp(v.checks[i].name, name) == 0);
    if (!named)
        fail_msg("the check '%s' did not fail", name);
    scene_init(s);
}

static void test_appraisal(void **state)
{
    static struct scene s;
    struct cmx_verdict v;

    (void)state;
    scene_init(&s);
    cmx_appraise(&s.e, &s.x, &v);
    assert_true(v.ok);
    s.e.nonce[0] ^= 1; /* the evidence is a replay */
    expect_failure(&s, "nonce");
    s.x.nonce_len--;
    expect_failure(&s, "nonce");
    s.e.ueid[5] ^= 1; /* the evidence is another device's */
    expect_failure(&s, "ueid");
    s.e.key = CMX_HELD_SOFTWARE;
    expect_failure(&s, "key");
    s.e.hw_model[7] = '2';
    expect_failure(&s, "hardware");
    s.e.gateway[0] ^= 1; /* the evidence came through another gateway */
    expect_failure(&s, "gateway");
    s.e.has_gateway = false;
    expect_failure(&s, "gateway");
    s.e.session[0] ^= 1; /* the evidence came in another session */
    expect_failure(&s, "session");
    s.e.session_len = 0;
    expect_failure(&s, "session");
    strcpy(s.e.key_exchange, "curve25519-sha256");
    expect_failure(&s, "key-exchange");
    s.e.key_exchange[0] = 0;
    expect_failure(&s, "key-exchange");
    strcpy(s.e.key_exchange, "sntrup761x25519-sha512@openssh.com");
    cmx_appraise(&s.e, &s.x, &v);
    assert_true(v.ok);
    s.e.sw_name[0]++;
    expect_failure(&s, "name");
    s.e.sw_version[0]++;
    expect_failure(&s, "version");
    s.e.secure_version = 2;
    expect_failure(&s, "secure-version");
    strcpy(s.e.slot_state, "pending-verify");
    expect_failure(&s, "slot-state");
    s.e.secure_boot = false;
    expect_failure(&s, "secure-boot");
    s.e.flash_encryption = CMX_FLASH_DEVELOPMENT;
    expect_failure(&s, "flash-encryption");
    s.e.debug = CMX_DEBUG_ENABLED;
    expect_failure(&s, "debug");
    s.e.isolation = false;
    expect_failure(&s, "isolation");
    s.e.has_policy = false;
    expect_failure(&s, "policy");
    s.e.flash_size *= 2;
    expect_failure(&s, "flash-size");
    s.e.n_measurements = 1;
    expect_failure(&s, "regions");
    s.e.measurements[1].digest[31] ^= 1;
    expect_failure(&s, "region");
    s.e.measurements[0].range.end -= 1;
    expect_failure(&s, "region");
    s.x.measured = NULL;
    expect_failure(&s, "regions");
    s.x.manifest = NULL;
    cmx_appraise(&s.e, &s.x, &v);
    assert_false(v.ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_largest_fits),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_signed_round_trip),
        cmocka_unit_test(test_forms_are_apart),
        cmocka_unit_test(test_every_bit_of_a_signed_token_counts),
        cmocka_unit_test(test_wrong_key_and_nonce_length),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_key_exchange_is_strict),
        cmocka_unit_test(test_enumerations_have_bounds),
        cmocka_unit_test(test_nonce_is_required),
        cmocka_unit_test(test_last_claim_is_required),
        cmocka_unit_test(test_cbor_is_strict),
        cmocka_unit_test(test_cbor_numbers),
        cmocka_unit_test(test_appraisal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
