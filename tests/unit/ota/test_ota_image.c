#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/ota/crc32.h"
#include "cmxsafe/ota/image.h"
#include "tests/support/ota_image.h"

static EVP_PKEY *key_a, *key_b, *key_c;

static struct cmx_image_policy policy(int keys)
{
    struct cmx_image_policy p = {.chip_id = TEST_CHIP, .max_len = 65536};

    if (keys > 0)
        test_key_public(key_a, p.keys.key[0]);
    if (keys > 1)
        test_key_public(key_b, p.keys.key[1]);
    p.keys.n = (size_t)keys;
    return p;
}

static cmx_err check(const struct cmx_image_policy *p, const uint8_t *data, size_t len, size_t piece,
                     struct cmx_image *c)
{
    cmx_err err = cmx_image_init(c, p);

    for (size_t at = 0; at < len && !err; at += piece)
        err = cmx_image_feed(c, data + at, len - at < piece ? len - at : piece);
    if (!err)
        err = cmx_image_finish(c);
    if (err)
        assert_true(c->why[0] != '\0');
    cmx_image_abort(c);
    return err;
}

static cmx_err check_once(const struct cmx_image_policy *p, const struct test_image *i)
{
    struct cmx_image c;

    return check(p, i->data, i->len, 1000, &c);
}

static void test_crc32(void **state)
{
    const uint8_t one[4] = {1, 0, 0, 0};

    (void)state;
    assert_int_equal(cmx_crc32(CMX_CRC32_INIT, "123456789", 9), 0xcbf43926u);
    assert_int_equal(cmx_crc32(cmx_crc32(CMX_CRC32_INIT, "1234", 4), "56789", 5), 0xcbf43926u);
    /* The CRC that ESP-IDF's otatool writes for sequence 1: binascii.crc32(b"\1\0\0\0", 0xffffffff). */
    assert_int_equal(cmx_crc32_esp(one, 4), 0x4743989au);
}

static void test_accepts_at_every_piece_size(void **state)
{
    struct cmx_image_policy p = policy(2);
    struct test_image i = test_image_make("1.2.3", 3000, TEST_CHIP, 7);
    uint8_t sha[32];
    struct cmx_image c;

    (void)state;
    SHA256(i.data, i.len, sha);
    test_image_sign(&i, key_b);
    for (size_t piece = 1; piece <= i.len; piece += piece < 40 ? 1 : 97) {
        assert_int_equal(check(&p, i.data, i.len, piece, &c), CMX_OK);
        assert_string_equal(c.info.version, "1.2.3");
        assert_string_equal(c.info.project, "camera");
        assert_int_equal(c.info.secure_version, 7);
        assert_int_equal(c.signed_len, i.len - CMX_TRAILER_LEN);
        assert_memory_equal(c.digest, sha, 32);
    }
    test_image_free(&i);
}

static void test_padding_of_every_length(void **state)
{
    struct cmx_image_policy p = policy(0);

    (void)state;
    for (size_t n = 400; n < 480; n += 4) {
        struct test_image i = test_image_make("1", n, TEST_CHIP, 0);

        assert_int_equal(check_once(&p, &i), CMX_OK);
        test_image_free(&i);
    }
}

static void test_truncated_everywhere(void **state)
{
    struct cmx_image_policy p = policy(1), unsigned_ok = policy(0);
    struct test_image i = test_image_make("1", 600, TEST_CHIP, 0);
    size_t bare = i.len;
    struct cmx_image c;

    (void)state;
    test_image_sign(&i, key_a);
    for (size_t n = 0; n < i.len; n++) {
        assert_int_not_equal(check(&p, i.data, n, 64, &c), CMX_OK);
        if (n != bare)
            assert_int_not_equal(check(&unsigned_ok, i.data, n, 64, &c), CMX_OK);
    }
    assert_int_equal(check(&unsigned_ok, i.data, bare, 64, &c), CMX_OK);
    test_image_free(&i);
}

/* An image with any single flipped bit is refused, even without a signature, because of its format, its checksum or its
 * SHA-256. */
static void test_every_bit_flipped(void **state)
{
    struct cmx_image_policy p = policy(1), unsigned_ok = policy(0);
    struct test_image i = test_image_make("1", 400, TEST_CHIP, 3);
    size_t bare = i.len;
    struct cmx_image c;

    (void)state;
    p.secure_version_min = 3;
    test_image_sign(&i, key_a);
    for (size_t bit = 0; bit < i.len * 8; bit++) {
        i.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(check(&p, i.data, i.len, 512, &c), CMX_OK);
        if (bit < bare * 8)
            assert_int_not_equal(check(&unsigned_ok, i.data, bare, 512, &c), CMX_OK);
        i.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(check_once(&p, &i), CMX_OK);
    test_image_free(&i);
}

struct field {
    const char *name;
    size_t at;
    uint8_t value;
    cmx_err err;
};

/* Values of header fields that must be refused before flash is written, each with its own error text. */
static void test_header_fields(void **state)
{
    static const struct field fields[] = {
        {"magic", 0, 0xea, CMX_EFORMAT},
        {"no segment", 1, 0, CMX_EFORMAT},
        {"17 segments", 1, 17, CMX_EFORMAT},
        {"flash mode", 2, 6, CMX_EFORMAT},
        {"flash speed", 3, 0x23, CMX_EFORMAT},
        {"flash size", 3, 0x8f, CMX_EFORMAT},
        {"chip", 12, 9, CMX_EPERM},
        {"chip, high byte", 13, 1, CMX_EPERM},
        {"no appended hash", 23, 0, CMX_EFORMAT},
        {"hash flag", 23, 2, CMX_EFORMAT},
        {"segment length odd", 28, 1, CMX_EFORMAT},
        {"segment length huge", 31, 1, CMX_EFORMAT},
        {"segment beyond slot", 30, 2, CMX_ENOSPC},
        {"descriptor magic", 32, 0, CMX_EFORMAT},
        {"downgrade", 36, 2, CMX_EDOWNGRADE},
    };
    struct cmx_image_policy p = policy(0);
    struct test_image i = test_image_make("1", 1000, TEST_CHIP, 3);
    struct cmx_image c;

    (void)state;
    p.secure_version_min = 3;
    for (size_t k = 0; k < sizeof fields / sizeof fields[0]; k++) {
        uint8_t was = i.data[fields[k].at];

        i.data[fields[k].at] = fields[k].value;
        assert_int_equal(cmx_image_init(&c, &p), CMX_OK);
        if (cmx_image_feed(&c, i.data, CMX_IMAGE_HEAD_LEN) != fields[k].err || cmx_image_head_ok(&c))
            fail_msg("%s: wrong result, with the reason: %s", fields[k].name, c.why);
        assert_int_not_equal(cmx_image_feed(&c, i.data, 1), CMX_OK); /* the refusal is permanent */
        assert_int_not_equal(cmx_image_finish(&c), CMX_OK);
        cmx_image_abort(&c);
        i.data[fields[k].at] = was;
    }
    cmx_put_le32(i.data + 28, 252); /* the segment is too small for the descriptor */
    assert_int_equal(check_once(&p, &i), CMX_EFORMAT);
    test_image_free(&i);
}

static void test_oversize(void **state)
{
    struct cmx_image_policy p = policy(0);
    struct test_image i = test_image_make("1", 1000, TEST_CHIP, 0);

    (void)state;
    p.max_len = (uint32_t)i.len;
    assert_int_equal(check_once(&p, &i), CMX_OK);
    for (p.max_len = 0; p.max_len < i.len; p.max_len += 31)
        assert_int_equal(check_once(&p, &i), CMX_ENOSPC);
    test_image_free(&i);
}

static void test_chip_any_and_downgrade(void **state)
{
    struct cmx_image_policy p = policy(1);
    struct test_image i = test_image_make("1", 1000, 9, 4);

    (void)state;
    test_image_sign(&i, key_a);
    assert_int_equal(check_once(&p, &i), CMX_EPERM);
    p.chip_id = CMX_IMAGE_CHIP_ANY;
    assert_int_equal(check_once(&p, &i), CMX_OK);
    p.secure_version_min = 4;
    assert_int_equal(check_once(&p, &i), CMX_OK);
    p.secure_version_min = 5; /* refused although the signature is valid */
    assert_int_equal(check_once(&p, &i), CMX_EDOWNGRADE);
    test_image_free(&i);
}

static void test_signatures(void **state)
{
    struct cmx_image_policy one = policy(1), two = policy(2), none = policy(0);
    struct test_image i = test_image_make("1", 1000, TEST_CHIP, 0), twice = test_image_make("1", 1000, TEST_CHIP, 0);
    struct test_image other = test_image_make("2", 1000, TEST_CHIP, 0);

    (void)state;
    assert_int_equal(check_once(&one, &i), CMX_ENOKEY); /* the image is not signed */
    assert_int_equal(check_once(&none, &i), CMX_OK);
    test_image_sign(&i, key_b);
    assert_int_equal(check_once(&one, &i), CMX_ENOKEY); /* the key is wrong */
    assert_int_equal(check_once(&two, &i), CMX_OK);
    assert_int_equal(check_once(&none, &i), CMX_OK);
    /* The image has the trailer, and so the signature, of another image. */
    test_image_sign(&other, key_a);
    memcpy(i.data + i.len - CMX_TRAILER_LEN, other.data + other.len - CMX_TRAILER_LEN, CMX_TRAILER_LEN);
    assert_int_equal(check_once(&one, &i), CMX_ESIG);
    /* The image is signed with the wrong key, but its trailer has the identifier of the right key. */
    test_image_sign(&twice, key_c);
    {
        uint8_t pub[CMX_P256_PUBLIC_LEN];

        test_key_public(key_a, pub);
        assert_int_equal(cmx_trailer_key_id(pub, twice.data + twice.len - CMX_TRAILER_LEN + 16), CMX_OK);
    }
    assert_int_equal(check_once(&one, &twice), CMX_ESIG);
    twice.len -= CMX_TRAILER_LEN;
    test_image_sign(&twice, key_a);
    assert_int_equal(check_once(&one, &twice), CMX_OK);
    test_image_sign(&twice, key_a); /* the image is signed twice */
    assert_int_equal(check_once(&one, &twice), CMX_EFORMAT);
    test_image_free(&i);
    test_image_free(&twice);
    test_image_free(&other);
}

/* A trailer of a later format version gives another error than an invalid trailer. */
static void test_trailer_version(void **state)
{
    struct cmx_image_policy p = policy(1);
    struct test_image i = test_image_make("1", 1000, TEST_CHIP, 0);
    size_t t = i.len;

    (void)state;
    test_image_sign(&i, key_a);
    i.data[t + 8] = 2;
    assert_int_equal(check_once(&p, &i), CMX_ENOTSUP);
    i.data[t + 8] = 1;
    i.data[t + 24] = 1; /* reserved bytes must be zero in version 1 */
    assert_int_equal(check_once(&p, &i), CMX_EFORMAT);
    test_image_free(&i);
}

/* Appends a Secure Boot v2 signature with espsecure's layout: 0xff up to a sector's end, then a sector with a signature
 * block and its CRC. */
static void append_secure_boot(struct test_image *i)
{
    size_t end = (i->len + 4095) / 4096 * 4096;

    i->data = realloc(i->data, end + 4096);
    memset(i->data + i->len, 0xff, end + 4096 - i->len);
    memset(i->data + end, 0, 1216);
    i->data[end] = 0xe7;
    i->data[end + 1] = 3;
    cmx_put_le32(i->data + end + 1196, cmx_crc32(CMX_CRC32_INIT, i->data + end, 1196));
    i->len = end + 4096;
}

static void test_secure_boot_sector(void **state)
{
    struct cmx_image_policy p = policy(1);
    struct test_image i = test_image_make("1", 1000, TEST_CHIP, 0);
    size_t bare = i.len;
    struct cmx_image c;

    (void)state;
    append_secure_boot(&i);
    assert_int_equal(check_once(&p, &i), CMX_ENOKEY); /* this bootloader would not verify the signature */
    p.secure_boot = true;
    for (size_t piece = 1; piece < 5000; piece += 331)
        assert_int_equal(check(&p, i.data, i.len, piece, &c), CMX_OK);
    assert_true(c.has_secure_boot);
    for (size_t n = bare + 1; n < i.len; n += 113)
        assert_int_equal(check(&p, i.data, n, 100, &c), CMX_ETRUNC);
    i.data[bare + 5] = 0;
    assert_int_equal(check_once(&p, &i), CMX_EFORMAT);
    i.data[bare + 5] = 0xff;
    i.data[4096 + 40] ^= 1; /* a change in the signature block */
    assert_int_equal(check_once(&p, &i), CMX_EFORMAT);
    i.data[4096 + 40] ^= 1;
    p.secure_boot = false;
    test_image_sign(&i, key_a); /* the image has both signatures */
    assert_int_equal(check_once(&p, &i), CMX_OK);
    i.data[4096 + 2000] ^= 1; /* the trailer covers the whole sector */
    assert_int_equal(check_once(&p, &i), CMX_ESIG);
    test_image_free(&i);
}

static void test_opaque(void **state)
{
    struct cmx_image_policy p = policy(1), none = policy(0);
    struct test_image i = {malloc(5000), 5000};
    struct cmx_image c;
    uint8_t sha[32];

    (void)state;
    p.format = none.format = CMX_IMAGE_OPAQUE;
    memset(i.data, 'C', i.len);
    SHA256(i.data, i.len, sha);
    assert_int_equal(check_once(&p, &i), CMX_ENOKEY);
    assert_int_equal(check_once(&none, &i), CMX_OK);
    assert_int_equal(check(&none, i.data, 10, 3, &c), CMX_OK);
    assert_int_equal(check(&none, i.data, 0, 3, &c), CMX_ETRUNC);
    test_image_sign(&i, key_a);
    for (size_t piece = 1; piece < i.len + 50; piece += 61) {
        assert_int_equal(check(&p, i.data, i.len, piece, &c), CMX_OK);
        assert_int_equal(c.signed_len, 5000);
        assert_memory_equal(c.digest, sha, 32);
    }
    for (size_t at = 0; at < i.len; at += 37) {
        i.data[at] ^= 4;
        assert_int_not_equal(check_once(&p, &i), CMX_OK);
        i.data[at] ^= 4;
    }
    p.max_len = 5000;
    assert_int_equal(check_once(&p, &i), CMX_ENOSPC);
    test_image_free(&i);
}

static void test_keys_as_text(void **state)
{
    struct cmx_ota_keys keys = {0};
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    char hex[131], *pem;
    BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *other = EVP_EC_gen("P-384");

    (void)state;
    test_key_public(key_a, pub);
    for (int i = 0; i < 65; i++)
        snprintf(hex + 2 * i, 3, "%02x", pub[i]);
    assert_int_equal(cmx_ota_keys_add(&keys, hex), CMX_OK);
    PEM_write_bio_PUBKEY(bio, key_a);
    assert_true(BIO_write(bio, "", 1) == 1);
    BIO_get_mem_data(bio, &pem);
    assert_int_equal(cmx_ota_keys_add(&keys, pem), CMX_OK);
    assert_memory_equal(keys.key[0], keys.key[1], 65);
    assert_int_equal(cmx_ota_keys_add(&keys, hex), CMX_ENOSPC);
    keys.n = 0;
    hex[20] = hex[20] == '0' ? '1' : '0'; /* the point is not on the curve */
    assert_int_equal(cmx_ota_keys_add(&keys, hex), CMX_EINVAL);
    assert_int_equal(cmx_ota_keys_add(&keys, ""), CMX_EINVAL);
    assert_int_equal(cmx_ota_keys_add(&keys, "not base64!"), CMX_EFORMAT);
    (void)BIO_reset(bio);
    PEM_write_bio_PUBKEY(bio, other);
    assert_true(BIO_write(bio, "", 1) == 1);
    BIO_get_mem_data(bio, &pem);
    assert_int_equal(cmx_ota_keys_add(&keys, pem), CMX_EINVAL);
    assert_int_equal(keys.n, 0);
    EVP_PKEY_free(other);
    BIO_free(bio);
}

static int setup(void **state)
{
    (void)state;
    key_a = test_key();
    key_b = test_key();
    key_c = test_key();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key_a);
    EVP_PKEY_free(key_b);
    EVP_PKEY_free(key_c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32),
        cmocka_unit_test(test_accepts_at_every_piece_size),
        cmocka_unit_test(test_padding_of_every_length),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_every_bit_flipped),
        cmocka_unit_test(test_header_fields),
        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_chip_any_and_downgrade),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_trailer_version),
        cmocka_unit_test(test_secure_boot_sector),
        cmocka_unit_test(test_opaque),
        cmocka_unit_test(test_keys_as_text),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
