/* Keys derived from the hardware key, against the vectors that docs/ATTESTATION.md publishes (computed by Python's hmac
 * and the cryptography package). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <libssh/libssh.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/identity/identity.h"

#define PUBLIC_BLOB                                                                                                    \
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGYyYVLNbcx+yRgHgg9Fxh9q3EDDXgjKc6CCgdJV+"                    \
    "fU4d1SkhTD8MqXrqJtrSEi"                                                                                           \
    "rw4KypZEPK+7EC3fucvlVU/0="

/* The key of the vectors: 00 01 02 ... 1f. */
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

/* Answers candidates that are no scalars (zero, then the group's order) before a good one: the counter must advance. */
static cmx_err awkward_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    uint8_t counter = ((const uint8_t *)msg)[len - 1];

    assert_int_equal(len, CMX_LABEL_LEN);
    assert_int_equal(counter, (*(unsigned *)arg)++);
    memset(out, 0, 32);
    if (counter == 1)
        return cmx_hex_decode(out, 32, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    if (counter == 2)
        out[31] = 1;
    return CMX_OK;
}

static void expect_hex(const uint8_t *have, size_t len, const char *want)
{
    char hex[131];

    cmx_hex_encode(hex, have, len);
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
}

static void test_public_line(void **state)
{
    uint8_t mem[CMX_IDENTITY_PUBLIC_MAX];
    struct cmx_buf b;
    const char *s;

    (void)state;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_identity_ssh_public(vector_hmac, NULL, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "ecdsa-sha2-nistp256 " PUBLIC_BLOB " cmxsafe-3469e2328a87");
}

/* libssh, which will use it, reads the private key and finds the same public one. */
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
    expect_hex(pub, 33, "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"); /* G */
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
    assert_int_equal(cmx_identity_ssh_private(no_key, NULL, &b), CMX_ENOKEY);
    assert_int_equal(cmx_identity_ssh_public(no_key, NULL, &b), CMX_ENOKEY);
    assert_int_equal(cmx_identity_key_load(NULL, &b), CMX_ENOKEY);
    assert_int_equal(cmx_buf_len(&b), 0);
    cmx_buf_init(&b, mem, 100);
    assert_int_equal(cmx_identity_ssh_private(vector_hmac, NULL, &b), CMX_ENOSPC);
}

static void test_labels_are_apart(void **state)
{
    uint8_t a[CMX_LABEL_LEN], b[CMX_LABEL_LEN];

    (void)state;
    for (unsigned i = CMX_LABEL_EVIDENCE; i <= CMX_LABEL_UEID; i++)
        for (unsigned k = i + 1; k <= CMX_LABEL_UEID; k++) {
            cmx_label_message((cmx_label)i, 0, a);
            cmx_label_message((cmx_label)k, 0, b);
            assert_memory_not_equal(a, b, CMX_LABEL_LEN - 1); /* whatever the counters */
        }
}

/* RFC 4648 section 10. */
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
    assert_int_equal(cmx_base64url_encode(&b, "\xfb\xff", 2), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "-_8");
    cmx_buf_init(&b, mem, 7);
    assert_int_equal(cmx_base64_encode(&b, "foobar", 6, 0), CMX_ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_public_line),
        cmocka_unit_test(test_private_key_is_read),
        cmocka_unit_test(test_counter_advances),
        cmocka_unit_test(test_no_key_no_identity),
        cmocka_unit_test(test_labels_are_apart),
        cmocka_unit_test(test_base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
