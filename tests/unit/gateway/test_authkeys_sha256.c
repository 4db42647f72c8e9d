/* Tests the SHA-256 of cmxsafe-authkeys, which loads libcrypto at the first hash: vectors from FIPS 180-4, and two
 * hashes computed at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"

static void expect_digest(const uint8_t digest[CMX_SHA256_LEN], const char *hex)
{
    char text[2 * CMX_SHA256_LEN + 1];

    cmx_text_hex_encode(text, digest, CMX_SHA256_LEN);
    assert_string_equal(text, hex);
}

static void test_vectors(void **state)
{
    uint8_t out[CMX_SHA256_LEN];

    (void)state;
    assert_int_equal(cmx_sha256_of("", 0, out), CMX_OK);
    expect_digest(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(cmx_sha256_of("abc", 3, out), CMX_OK);
    expect_digest(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_two_at_once(void **state)
{
    static const char text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    struct cmx_sha256 a, b;
    uint8_t out[CMX_SHA256_LEN];

    (void)state;
    assert_int_equal(cmx_sha256_init(&a), CMX_OK);
    assert_int_equal(cmx_sha256_init(&b), CMX_OK);
    assert_int_equal(cmx_sha256_update(&a, text, 13), CMX_OK);
    assert_int_equal(cmx_sha256_update(&b, "abc", 3), CMX_OK);
    assert_int_equal(cmx_sha256_update(&a, text + 13, sizeof text - 1 - 13), CMX_OK);
    assert_int_equal(cmx_sha256_finish(&a, out), CMX_OK);
    expect_digest(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    cmx_sha256_abort(&b);
    cmx_sha256_abort(&b);
}

static void test_random(void **state)
{
    uint8_t a[16] = {0}, b[16] = {0};

    (void)state;
    assert_int_equal(cmx_crypto_random(a, sizeof a), CMX_OK);
    assert_int_equal(cmx_crypto_random(b, sizeof b), CMX_OK);
    assert_memory_not_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
