/* ota_image.h - for tests: creates ESP-IDF application images in memory, without ESP-IDF's tools, and signs them. */
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/ota/trailer.h"

#define TEST_CHIP 5 /* ESP32-C3 */

struct test_image {
    uint8_t *data;
    size_t len;
};

/* Creates an image of two segments: the application descriptor and its padding (256 bytes), and about `payload` further
 * bytes. These look random but depend only on the version. */
static inline struct test_image test_image_make(const char *version, size_t payload, uint16_t chip,
                                                uint32_t secure_version)
{
    size_t first = 256 + payload / 2 / 4 * 4, second = (payload - payload / 2) / 4 * 4, at = 24;
    struct test_image i = {calloc(1, first + second + 1024), 0};
    uint8_t sum = 0xef, *p = i.data;
    uint32_t x = 2463534242u;

    for (const char *v = version; *v; v++)
        x = x * 31 + (uint8_t)*v;
    p[0] = 0xe9;
    p[1] = 2;
    p[2] = 2;
    p[3] = 0x2f;
    cmx_put_le32(p + 4, 0x40380000);
    p[8] = 0xee;
    cmx_put_le16(p + 12, chip);
    cmx_put_le16(p + 17, 199);
    p[23] = 1;
    for (int s = 0; s < 2; s++) {
        size_t n = s == 0 ? first : second;

        cmx_put_le32(p + at, s == 0 ? 0x3c000020 : 0x3fc80000);
        cmx_put_le32(p + at + 4, (uint32_t)n);
        at += 8;
        for (size_t k = 0; k < n; k++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            p[at + k] = (uint8_t)x;
        }
        if (s == 0) {
            memset(p + at, 0, 256);
            cmx_put_le32(p + at, 0xabcd5432u);
            cmx_put_le32(p + at + 4, secure_version);
            snprintf((char *)p + at + 16, 32, "%s", version);
            snprintf((char *)p + at + 48, 32, "%s", "camera");
        }
        for (size_t k = 0; k < n; k++)
            sum ^= p[at + k];
        at += n;
    }
    at += 15 - at % 16;
    p[at++] = sum;
    SHA256(p, at, p + at);
    i.len = at + 32;
    return i;
}

static inline void test_image_free(struct test_image *i)
{
    free(i->data);
    i->data = NULL;
}

static inline EVP_PKEY *test_key(void)
{
    return EVP_EC_gen("P-256");
}

static inline void test_key_public(EVP_PKEY *key, uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    size_t n = 0;

    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, pub, CMX_P256_PUBLIC_LEN, &n) != 1 ||
        n != CMX_P256_PUBLIC_LEN)
        abort();
}

/* Appends a trailer, which signs all bytes of the image. */
static inline void test_image_sign(struct test_image *i, EVP_PKEY *key)
{
    uint8_t pub[CMX_P256_PUBLIC_LEN], sha[32], message[CMX_TRAILER_MESSAGE_LEN], der[80];
    const uint8_t *q = der;
    size_t der_len = sizeof der;
    struct cmx_trailer t = {.signed_len = (uint32_t)i->len};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ECDSA_SIG *sig;

    test_key_public(key, pub);
    if (cmx_trailer_key_id(pub, t.key_id) != CMX_OK)
        abort();
    SHA256(i->data, i->len, sha);
    cmx_trailer_message(&t, sha, message);
    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(ctx, der, &der_len, message, sizeof message) != 1)
        abort();
    EVP_MD_CTX_free(ctx);
    sig = d2i_ECDSA_SIG(NULL, &q, (long)der_len);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), t.signature, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), t.signature + 32, 32);
    ECDSA_SIG_free(sig);
    i->data = realloc(i->data, i->len + CMX_TRAILER_LEN);
    cmx_trailer_write(&t, i->data + i->len);
    i->len += CMX_TRAILER_LEN;
}
