/* crypto_openssl.c - implements crypto.h with OpenSSL 3's EVP interface. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"

cmx_err cmx_crypto_random(void *out, size_t len)
{
    if (len <= INT32_MAX && RAND_bytes(out, (int)len) == 1)
        return CMX_OK;
    cmx_secret_wipe(out, len);
    return CMX_EIO;
}

/* A cmx_sha256 and a cmx_hmac hold a pointer to OpenSSL's context. */
static EVP_MD_CTX **sha_of(struct cmx_sha256 *h)
{
    return (EVP_MD_CTX **)h->opaque;
}

static EVP_MAC_CTX **mac_of(struct cmx_hmac *h)
{
    return (EVP_MAC_CTX **)h->opaque;
}

cmx_err cmx_sha256_init(struct cmx_sha256 *h)
{
    EVP_MD_CTX **ctx = sha_of(h);

    *ctx = EVP_MD_CTX_new();
    if (!*ctx)
        return CMX_ENOMEM;
    if (EVP_DigestInit_ex(*ctx, EVP_sha256(), NULL) == 1)
        return CMX_OK;
    cmx_sha256_abort(h);
    return CMX_EIO;
}

cmx_err cmx_sha256_update(struct cmx_sha256 *h, const void *data, size_t len)
{
    return EVP_DigestUpdate(*sha_of(h), data, len) == 1 ? CMX_OK : CMX_EIO;
}

cmx_err cmx_sha256_finish(struct cmx_sha256 *h, uint8_t out[CMX_SHA256_LEN])
{
    int ok = EVP_DigestFinal_ex(*sha_of(h), out, NULL);

    cmx_sha256_abort(h);
    return ok == 1 ? CMX_OK : CMX_EIO;
}

void cmx_sha256_abort(struct cmx_sha256 *h)
{
    EVP_MD_CTX_free(*sha_of(h));
    *sha_of(h) = NULL;
}

cmx_err cmx_hmac_init(struct cmx_hmac *h, const void *key, size_t key_len)
{
    char name[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX **ctx = mac_of(h);

    *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (!*ctx)
        return CMX_ENOMEM;
    if (EVP_MAC_init(*ctx, key, key_len, params) == 1)
        return CMX_OK;
    cmx_hmac_abort(h);
    return CMX_EIO;
}

cmx_err cmx_hmac_update(struct cmx_hmac *h, const void *data, size_t len)
{
    return EVP_MAC_update(*mac_of(h), data, len) == 1 ? CMX_OK : CMX_EIO;
}

cmx_err cmx_hmac_restart(struct cmx_hmac *h, uint8_t out[CMX_SHA256_LEN])
{
    size_t len = 0;

    if (EVP_MAC_final(*mac_of(h), out, &len, CMX_SHA256_LEN) != 1 || len != CMX_SHA256_LEN)
        return CMX_EIO;
    return EVP_MAC_init(*mac_of(h), NULL, 0, NULL) == 1 ? CMX_OK : CMX_EIO;
}

cmx_err cmx_hmac_finish(struct cmx_hmac *h, uint8_t out[CMX_SHA256_LEN])
{
    size_t len = 0;
    int ok = EVP_MAC_final(*mac_of(h), out, &len, CMX_SHA256_LEN);

    cmx_hmac_abort(h);
    return ok == 1 && len == CMX_SHA256_LEN ? CMX_OK : CMX_EIO;
}

void cmx_hmac_abort(struct cmx_hmac *h)
{
    EVP_MAC_CTX_free(*mac_of(h));
    *mac_of(h) = NULL;
}

/* Creates an EVP key from a public point, and a key pair if scalar is not NULL. The caller has checked the scalar's
 * range. NULL: the point is not on the curve, or out of memory. */
static EVP_PKEY *make_key(const uint8_t *scalar, const uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    BIGNUM *k = BN_secure_new();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;

    if (k && build && ctx && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, pub, CMX_P256_PUBLIC_LEN) == 1 &&
        (!scalar || (BN_bin2bn(scalar, CMX_P256_SCALAR_LEN, k) &&
                     OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, k) == 1)))
        params = OSSL_PARAM_BLD_to_param(build);
    if (params && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, scalar ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    BN_clear_free(k);
    return key;
}

#define DER_MAX 72 /* a sequence of two integers of at most 33 bytes each */

/* Encodes r || s in DER; returns the length, 0 on failure. */
static size_t sig_to_der(const uint8_t sig[CMX_P256_SIG_LEN], uint8_t der[DER_MAX])
{
    ECDSA_SIG *s = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(sig, 32, NULL);
    BIGNUM *v = BN_bin2bn(sig + 32, 32, NULL);
    int len = 0;

    if (s && r && v && ECDSA_SIG_set0(s, r, v) == 1) {
        r = v = NULL; /* owned by s now */
        len = i2d_ECDSA_SIG(s, &der);
    }
    BN_free(r);
    BN_free(v);
    ECDSA_SIG_free(s);
    return len > 0 ? (size_t)len : 0;
}

cmx_err cmx_p256_verify(const uint8_t pub[CMX_P256_PUBLIC_LEN], const uint8_t digest[CMX_SHA256_LEN],
                        const uint8_t sig[CMX_P256_SIG_LEN])
{
    uint8_t der[DER_MAX];
    size_t der_len = sig_to_der(sig, der);
    EVP_PKEY *key = pub[0] == 4 ? make_key(NULL, pub) : NULL;
    EVP_PKEY_CTX *ctx;
    int ok;

    if (!key)
        return CMX_EINVAL;
    ctx = EVP_PKEY_CTX_new(key, NULL);
    ok = ctx && der_len && EVP_PKEY_verify_init(ctx) == 1 &&
         EVP_PKEY_verify(ctx, der, der_len, digest, CMX_SHA256_LEN) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok ? CMX_OK : CMX_ESIG;
}

cmx_err cmx_p256_public(const uint8_t scalar[CMX_P256_SCALAR_LEN], uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    BIGNUM *k = BN_secure_new();
    cmx_err err = CMX_ENOMEM;

    if (!point || !k || !BN_bin2bn(scalar, CMX_P256_SCALAR_LEN, k))
        goto out;
    BN_set_flags(k, BN_FLG_CONSTTIME);
    err = CMX_EINVAL;
    if (BN_is_zero(k) || BN_cmp(k, EC_GROUP_get0_order(group)) >= 0)
        goto out;
    err = CMX_EIO;
    if (EC_POINT_mul(group, point, k, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, pub, CMX_P256_PUBLIC_LEN, NULL) ==
            CMX_P256_PUBLIC_LEN)
        err = CMX_OK;
out:
    BN_clear_free(k);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return err;
}

/* Decodes r || s from a DER signature. */
static bool sig_from_der(const uint8_t *der, size_t len, uint8_t sig[CMX_P256_SIG_LEN])
{
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool ok =
        s && BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + 32, 32) == 32;

    ECDSA_SIG_free(s);
    return ok;
}

cmx_err cmx_p256_sign(const uint8_t scalar[CMX_P256_SCALAR_LEN], const uint8_t digest[CMX_SHA256_LEN],
                      uint8_t sig[CMX_P256_SIG_LEN])
{
    uint8_t pub[CMX_P256_PUBLIC_LEN], der[DER_MAX];
    size_t len = sizeof der;
    cmx_err err = cmx_p256_public(scalar, pub);
    EVP_PKEY_CTX *ctx = NULL;
    EVP_PKEY *key;
    bool ok;

    if (err)
        return err;
    key = make_key(scalar, pub);
    if (key)
        ctx = EVP_PKEY_CTX_new(key, NULL);
    ok = ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &len, digest, CMX_SHA256_LEN) == 1 &&
         sig_from_der(der, len, sig);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok ? CMX_OK : CMX_EIO;
}
