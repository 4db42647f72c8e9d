/* Compares keys derived from the hardware key with the vectors in docs/ATTESTATION.md, which were computed with
 * Python's hmac and the package cryptography. Also tests base64, the fleet's addresses and the key a device creates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <libssh/libssh.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/identity/attest_key.h"
#include "cmxsafe/identity/fleet.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/identity/own_key.h"
#include "port/linux/linux_port.h"

#define PUBLIC_BLOB                                                                                                    \
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGYyYVLNbcx+yRgHgg9Fxh9q3EDDXgjKc6CCgdJV+"                    \
    "fU4d1SkhTD8MqXrqJtrSEi"                                                                                           \
    "rw4KypZEPK+7EC3fucvlVU/0="

/* Computes an HMAC with the hardware key of the vectors, 00 01 02 ... 1f. */
static cmx_err vector_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    struct cmx_hmac m;
    uint8_t key[32];

    (void)arg;
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    assert_int_equal(cmx_hmac_init(&m, key, sizeof key), CMX_OK);
    assert_int_equal(cmx_hmac_update(&m, msg, len), CMX_OK);
    return cmx_hmac_finish(&m, out);
}

static cmx_err no_key(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    (void)arg;
    (void)msg;
    (void)len;
    (void)out;
    return CMX_ENOKEY;
}

/* Returns two invalid scalars (zero and the group's order) before a valid scalar, so that the code under test must
 * advance its counter. */
static cmx_err awkward_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    uint8_t counter = ((const uint8_t *)msg)[len - 1];

    assert_int_equal(len, CMX_LABEL_LEN);
    assert_int_equal(counter, (*(unsigned *)arg)++);
    memset(out, 0, 32);
    if (counter == 1)
        return cmx_text_hex_decode(out, 32, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    if (counter == 2)
        out[31] = 1;
    return CMX_OK;
}

static void expect_hex(const uint8_t *have, size_t len, const char *want)
{
    char hex[131];

    cmx_text_hex_encode(hex, have, len);
    assert_string_equal(hex, want);
}

static void test_vectors(void **state)
{
    uint8_t ueid[CMX_UEID_LEN], key[32], scalar[32], pub[CMX_P256_PUBLIC_LEN];

    (void)state;
    assert_int_equal(cmx_identity_ueid(vector_hmac, NULL, ueid), CMX_OK);
    expect_hex(ueid, sizeof ueid, "013469e2328a876b3c7992390f58389bdf04236357b6a2f5c04129bff4948ef269");
    assert_int_equal(cmx_identity_evidence_key(vector_hmac, NULL, key), CMX_OK);
    expect_hex(key, sizeof key, "2be6c9e9361a3c57cbf96dbdc3bdc9d120ad65b3d5e14d27c545ffaa9216161e");
    assert_int_equal(cmx_identity_ssh_key(vector_hmac, NULL, scalar, pub), CMX_OK);
    expect_hex(scalar, sizeof scalar, "f5dc9fde1114fc9e44ae7f1bda1a895e0fc03cb18bfd2ba6cb340c2d4cc38f70");
    assert_int_equal(cmx_identity_attest_key(vector_hmac, NULL, scalar, pub), CMX_OK);
    expect_hex(scalar, sizeof scalar, "452be635857760e4e2c955f0d5fad88a95d3697c7d76ffb8a7583896fdec1a4b");
    expect_hex(
        pub, sizeof pub,
        "04779f3a011bc8a7a3dec54e3ac27703b60792e22ea8e74716d9da80bbb59969c929e6c1e919fd105005a87c4fa5b8b03be632f13513"
        "e6f023cfcb00af6279d52c");
    assert_int_equal(cmx_identity_appraisal_key(vector_hmac, NULL, key), CMX_OK);
    expect_hex(key, sizeof key, "e2912dfab25609c0c0d84a636026a05fdacf9034783353c75883859d9e194508");
}

#define ATTEST_BLOB                                                                                                    \
    "ATRp4jKKh2s8eZI5D1g4m98EI2NXtqL1wEEpv/SUjvJpBHefOgEbyKej3sVOOsJ3A7YHkuIuqOdHFtnagLu1mWnJKebB6Rn9EFAFqHxPpbiwO+"   \
    "Yy8TUT5vAjz8sAr2J51SzikS36slYJwMDYSmNgJqBf2s+QNHgzU8dYg4WdnhlFCA=="

static cmx_err parse_line(const char *text, struct cmx_attest_key *k)
{
    return cmx_attest_key_parse(text, strlen(text), k);
}

static void test_attest_key_line(void **state)
{
    static const char *const bad[] = {
        "",
        "cmxsafe-attest-1",
        "cmxsafe-attest-1 ",
        "cmxsafe-attest-2 " ATTEST_BLOB,
        "cmxsafe-attest-1" ATTEST_BLOB,
        "cmxsafe-attest-1 " ATTEST_BLOB "AAAA",
        "cmxsafe-attest-1 AAAA" ATTEST_BLOB,         /* the base64 is too long for a UEID */
        "cmxsafe-attest-1 ATRp4jKKh2s8eZI5D1g4m98E", /* the base64 is too short */
        "ecdsa-sha2-nistp256 " PUBLIC_BLOB,
    };
    char mem[CMX_ATTEST_KEY_LINE_MAX];
    struct cmx_attest_key k, back;
    struct cmx_buf b;
    const char *s;

    (void)state;
    assert_int_equal(cmx_attest_key_derive(vector_hmac, NULL, &k), CMX_OK);
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_attest_key_print(&k, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "cmxsafe-attest-1 " ATTEST_BLOB " cmxsafe-3469e2328a87");
    assert_int_equal(parse_line(s, &back), CMX_OK);
    assert_memory_equal(&k, &back, sizeof k);
    assert_int_equal(parse_line("  cmxsafe-attest-1 " ATTEST_BLOB "\r\n", &back), CMX_OK);
    assert_int_equal(parse_line("cmxsafe-attest-1 " ATTEST_BLOB " any comment", &back), CMX_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(parse_line(bad[i], &back), CMX_EFORMAT);
    cmx_buf_init(&b, mem, 100);
    assert_int_equal(cmx_attest_key_print(&k, &b), CMX_ENOSPC);
    assert_int_equal(cmx_attest_key_derive(no_key, NULL, &k), CMX_ENOKEY);
}

static void test_public_line(void **state)
{
    char fingerprint[CMX_FINGERPRINT_LEN];
    uint8_t mem[CMX_IDENTITY_PUBLIC_MAX];
    struct cmx_buf b;
    const char *s;

    (void)state;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_identity_ssh_public(vector_hmac, NULL, &b, fingerprint), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "ecdsa-sha2-nistp256 " PUBLIC_BLOB " cmxsafe-3469e2328a87");
    assert_string_equal(fingerprint, "SHA256:rikiNiPR6D1PLNZKRg8gUD5wwOgRdGLFIaqhYRGiFXQ");
}

/* libssh, which uses the key, derives the same public key from it. */
static void test_private_key_is_read(void **state)
{
    uint8_t mem[CMX_IDENTITY_PRIVATE_MAX];
    struct cmx_buf b;
    const char *pem;
    char *blob = NULL;
    ssh_key key = NULL;

    (void)state;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_identity_ssh_private(vector_hmac, NULL, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &pem), CMX_OK);
    assert_int_equal(ssh_pki_import_privkey_base64(pem, NULL, NULL, NULL, &key), SSH_OK);
    assert_int_equal(ssh_pki_export_pubkey_base64(key, &blob), SSH_OK);
    assert_string_equal(blob, PUBLIC_BLOB);
    ssh_string_free_char(blob);
    ssh_key_free(key);
}

static void test_counter_advances(void **state)
{
    uint8_t scalar[32], pub[CMX_P256_PUBLIC_LEN];
    unsigned calls = 0;

    (void)state;
    assert_int_equal(cmx_identity_ssh_key(awkward_hmac, &calls, scalar, pub), CMX_OK);
    assert_int_equal(calls, 3);
    assert_int_equal(scalar[31], 1);
    expect_hex(pub, 33, "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"); /* the generator G */
}

static void test_no_key_no_identity(void **state)
{
    uint8_t out[33], pub[CMX_P256_PUBLIC_LEN], mem[CMX_IDENTITY_PRIVATE_MAX];
    struct cmx_buf b;

    (void)state;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_identity_ueid(no_key, NULL, out), CMX_ENOKEY);
    assert_int_equal(cmx_identity_evidence_key(no_key, NULL, out), CMX_ENOKEY);
    assert_int_equal(cmx_identity_ssh_key(no_key, NULL, out, pub), CMX_ENOKEY);
    assert_int_equal(cmx_identity_attest_key(no_key, NULL, out, pub), CMX_ENOKEY);
    assert_int_equal(cmx_identity_appraisal_key(no_key, NULL, out), CMX_ENOKEY);
    assert_int_equal(cmx_identity_ssh_private(no_key, NULL, &b), CMX_ENOKEY);
    assert_int_equal(cmx_identity_ssh_public(no_key, NULL, &b, NULL), CMX_ENOKEY);
    assert_int_equal(cmx_identity_key_load(NULL, &b), CMX_ENOKEY);
    assert_int_equal(cmx_buf_len(&b), 0);
    cmx_buf_init(&b, mem, 100);
    assert_int_equal(cmx_identity_ssh_private(vector_hmac, NULL, &b), CMX_ENOSPC);
}

static void test_labels_are_apart(void **state)
{
    uint8_t a[CMX_LABEL_LEN], b[CMX_LABEL_LEN];

    (void)state;
    for (unsigned i = CMX_LABEL_EVIDENCE; i <= CMX_LABEL_APPRAISAL; i++)
        for (unsigned k = i + 1; k <= CMX_LABEL_APPRAISAL; k++) {
            cmx_label_message((cmx_label)i, 0, a);
            cmx_label_message((cmx_label)k, 0, b);
            assert_memory_not_equal(a, b, CMX_LABEL_LEN - 1); /* the labels differ, even without the counter */
        }
}

/* The vectors of RFC 4648 section 10. */
static void test_base64(void **state)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    uint8_t mem[64];
    struct cmx_buf b;
    const char *s;

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        cmx_buf_init(&b, mem, sizeof mem);
        assert_int_equal(cmx_base64_encode(&b, vectors[i][0], strlen(vectors[i][0]), 0), CMX_OK);
        assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
        assert_string_equal(s, vectors[i][1]);
    }
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_base64_encode(&b, "foobar", 6, 3), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "Zm9\nvYm\nFy\n");
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_base64_url_encode(&b, "\xfb\xff", 2), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "-_8");
    cmx_buf_init(&b, mem, 7);
    assert_int_equal(cmx_base64_encode(&b, "foobar", 6, 0), CMX_ENOSPC);
    assert_int_equal(cmx_base64_encode(&b, "", 0, 0), CMX_ENOSPC); /* b keeps its error */
}

/* The expected address was computed with Python's hashlib from PUBLIC_BLOB, like the fingerprint above. */
static void test_fleet_address(void **state)
{
    static const char *const bad[] = {"", "fd12::", "fd12::/20", "fd12::1/48", "fe80::/48", "ff00::/16", "fd12::/128"};
    char address[CMX_FLEET_ADDRESS_MAX];
    uint8_t blob[128];
    size_t len;

    (void)state;
    assert_int_equal(cmx_base64_decode(blob, sizeof blob, PUBLIC_BLOB, strlen(PUBLIC_BLOB), &len), CMX_OK);
    assert_int_equal(cmx_fleet_device_address("fd12:3456:789a::/48", blob, len, address), CMX_OK);
    assert_string_equal(address, "fd12:3456:789a:c828:9a1d:dd7b:6740:7f0d");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(cmx_fleet_device_address(bad[i], blob, len, address), CMX_EINVAL);
}

/* Simulates the platform's storage for one secret. */
static struct storage {
    uint8_t secret[CMX_PORT_SECRET_LEN];
    bool full;
    cmx_err fault; /* CMX_OK, or the error that each call returns */
    unsigned created;
} storage;

static cmx_err storage_read(void *arg, uint8_t out[CMX_PORT_SECRET_LEN])
{
    const struct storage *s = arg;

    if (s->fault || !s->full)
        return s->fault ? s->fault : CMX_ENOENT;
    memcpy(out, s->secret, sizeof s->secret);
    return CMX_OK;
}

static cmx_err storage_create(void *arg, const uint8_t secret[CMX_PORT_SECRET_LEN])
{
    struct storage *s = arg;

    s->created++;
    if (s->fault || s->full)
        return s->fault ? s->fault : CMX_EEXIST;
    memcpy(s->secret, secret, sizeof s->secret);
    s->full = true;
    return CMX_OK;
}

static void test_own_key(void **state)
{
    const struct cmx_linux_device with_storage = {
        .arg = &storage, .secret_read = storage_read, .secret_create = storage_create};
    char first[CMX_IDENTITY_PUBLIC_MAX], second[CMX_IDENTITY_PUBLIC_MAX];
    struct cmx_buf b;
    const char *line;

    (void)state;
    assert_int_equal(cmx_own_key_make(), CMX_ENOTSUP); /* without storage there is no key */
    cmx_buf_init(&b, first, sizeof first);
    assert_int_equal(cmx_own_key_load(NULL, &b), CMX_ENOTSUP);

    cmx_linux_set_device(&with_storage);
    storage.fault = CMX_EIO; /* a secret that cannot be read is not overwritten */
    assert_int_equal(cmx_own_key_make(), CMX_EIO);
    assert_int_equal(storage.created, 0);
    storage.fault = CMX_OK;
    assert_int_equal(cmx_own_key_make(), CMX_OK);
    assert_int_equal(cmx_own_key_make(), CMX_OK);
    assert_int_equal(storage.created, 1);
    cmx_buf_init(&b, first, sizeof first);
    assert_int_equal(cmx_identity_ssh_public(cmx_own_key_hmac, NULL, &b, NULL), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &line), CMX_OK);
    cmx_buf_init(&b, second, sizeof second);
    assert_int_equal(cmx_identity_ssh_public(cmx_own_key_hmac, NULL, &b, NULL), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &line), CMX_OK);
    assert_string_equal(first, second);
    cmx_linux_set_device(&(const struct cmx_linux_device){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),          cmocka_unit_test(test_public_line),
        cmocka_unit_test(test_attest_key_line),  cmocka_unit_test(test_private_key_is_read),
        cmocka_unit_test(test_counter_advances), cmocka_unit_test(test_no_key_no_identity),
        cmocka_unit_test(test_labels_are_apart), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_fleet_address),    cmocka_unit_test(test_own_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
