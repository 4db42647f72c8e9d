/* Published vectors: FIPS 180-4 (NIST's SHA examples), RFC 4231, RFC 6979 appendix A.2.5; and invalid inputs, which are
 * refused. */
#include <string.h>

#include "checks.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"

static bool is_hex(const uint8_t digest[32], const char *hex)
{
    char text[65];

    cmx_text_hex_encode(text, digest, 32);
    return strcmp(text, hex) == 0;
}

static void sha256_of(const char *message, const char *hex)
{
    size_t len = strlen(message);
    uint8_t out[32];
    struct cmx_sha256 h;

    for (size_t cut = 0; cut <= len; cut += 13) {
        CHECK(cmx_sha256_init(&h) == CMX_OK);
        CHECK(cmx_sha256_update(&h, message, cut) == CMX_OK);
        CHECK(cmx_sha256_update(&h, message + cut, len - cut) == CMX_OK);
        CHECK(cmx_sha256_finish(&h, out) == CMX_OK && is_hex(out, hex));
    }
}

static void sha256(void)
{
    static uint8_t block[1000];
    uint8_t out[32];
    struct cmx_sha256 h;
    struct cmx_sha256 other;

    sha256_of("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_of("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    /* Hashes a million 'a' bytes while a second hash is in progress. */
    memset(block, 'a', sizeof block);
    CHECK(cmx_sha256_init(&h) == CMX_OK && cmx_sha256_init(&other) == CMX_OK);
    for (int i = 0; i < 1000; i++)
        CHECK(cmx_sha256_update(&h, block, sizeof block) == CMX_OK);
    CHECK(cmx_sha256_update(&other, "abc", 3) == CMX_OK);
    CHECK(cmx_sha256_finish(&h, out) == CMX_OK);
    CHECK(is_hex(out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
    cmx_sha256_abort(&other);
    cmx_sha256_abort(&other);
}

struct hmac_vector {
    const char *key; /* hex */
    const char *data;
    const char *mac;
};

/* Vectors of RFC 4231 sections 4.2, 4.3, 4.4 and 4.5, and an empty key, which HMAC pads with zeros like any short key.
 */
static const struct hmac_vector hmac_vectors[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
     "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
    {"0102030405060708090a0b0c0d0e0f10111213141516171819",
     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
     "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    {"", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
};

static void hmac_of(const struct hmac_vector *v)
{
    uint8_t key[64], data[64], out[32];
    size_t key_len = strlen(v->key) / 2;
    size_t len = strlen(v->data) / 2;
    struct cmx_hmac h;

    CHECK(cmx_text_hex_decode(key, key_len, v->key) == CMX_OK && cmx_text_hex_decode(data, len, v->data) == CMX_OK);
    CHECK(cmx_hmac_init(&h, key, key_len) == CMX_OK);
    CHECK(cmx_hmac_update(&h, data, len / 2) == CMX_OK);
    CHECK(cmx_hmac_update(&h, data + len / 2, len - len / 2) == CMX_OK);
    CHECK(cmx_hmac_restart(&h, out) == CMX_OK && is_hex(out, v->mac));
    CHECK(cmx_hmac_update(&h, data, len) == CMX_OK);
    CHECK(cmx_hmac_finish(&h, out) == CMX_OK && is_hex(out, v->mac));
}

static void hmac(void)
{
    static const char data[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    uint8_t key[131], out[32];
    struct cmx_hmac h;

    for (size_t i = 0; i < sizeof hmac_vectors / sizeof hmac_vectors[0]; i++)
        hmac_of(&hmac_vectors[i]);
    memset(key, 0xaa, sizeof key); /* RFC 4231 section 4.7 */
    CHECK(cmx_hmac_init(&h, key, sizeof key) == CMX_OK && cmx_hmac_update(&h, data, sizeof data - 1) == CMX_OK);
    memset(key, 0, sizeof key); /* h must have copied the key */
    CHECK(cmx_hmac_finish(&h, out) == CMX_OK);
    CHECK(is_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"));
    CHECK(cmx_hmac_init(&h, "k", 1) == CMX_OK);
    cmx_hmac_abort(&h);
    cmx_hmac_abort(&h);
}

static void p256(void)
{
    /* RFC 6979 appendix A.2.5: the key, and the signature of "sample" with SHA-256. */
    static const char scalar_hex[] = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
    static const char public_hex[] = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
                                     "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    static const char sig_hex[] = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
                                  "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
    static const char order_hex[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    uint8_t scalar[32], pub[65], made[65], sig[64], fresh[64], digest[32];
    struct cmx_sha256 h;

    CHECK(cmx_text_hex_decode(scalar, 32, scalar_hex) == CMX_OK && cmx_text_hex_decode(pub, 65, public_hex) == CMX_OK &&
          cmx_text_hex_decode(sig, 64, sig_hex) == CMX_OK);
    CHECK(cmx_sha256_init(&h) == CMX_OK && cmx_sha256_update(&h, "sample", 6) == CMX_OK &&
          cmx_sha256_finish(&h, digest) == CMX_OK);
    CHECK(cmx_p256_public(scalar, made) == CMX_OK && memcmp(made, pub, sizeof pub) == 0);
    CHECK(cmx_p256_verify(pub, digest, sig) == CMX_OK);
    CHECK(cmx_p256_sign(scalar, digest, fresh) == CMX_OK && cmx_p256_verify(pub, digest, fresh) == CMX_OK);
    for (size_t i = 0; i < sizeof sig; i += 21) {
        sig[i] ^= 1;
        CHECK(cmx_p256_verify(pub, digest, sig) == CMX_ESIG);
        sig[i] ^= 1;
    }
    digest[31] ^= 1;
    CHECK(cmx_p256_verify(pub, digest, sig) == CMX_ESIG);
    digest[31] ^= 1;
    memset(sig, 0, 32); /* r = 0 */
    CHECK(cmx_p256_verify(pub, digest, sig) == CMX_ESIG);
    pub[64] ^= 1; /* the point is off the curve */
    CHECK(cmx_p256_verify(pub, digest, sig) == CMX_EINVAL);
    pub[64] ^= 1;
    pub[0] = 2; /* the compressed form is refused */
    CHECK(cmx_p256_verify(pub, digest, sig) == CMX_EINVAL);
    memset(scalar, 0, sizeof scalar);
    CHECK(cmx_p256_public(scalar, made) == CMX_EINVAL);
    CHECK(cmx_p256_sign(scalar, digest, sig) == CMX_EINVAL);
    CHECK(cmx_text_hex_decode(scalar, 32, order_hex) == CMX_OK && cmx_p256_public(scalar, made) == CMX_EINVAL);
    CHECK(cmx_p256_sign(scalar, digest, sig) == CMX_EINVAL);
}

void conformance_crypto(void)
{
    uint8_t a[32] = {0}, b[32] = {0};

    sha256();
    hmac();
    p256();
    CHECK(cmx_crypto_random(a, sizeof a) == CMX_OK && cmx_crypto_random(b, sizeof b) == CMX_OK);
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK(cmx_crypto_random(a, 0) == CMX_OK);
}
