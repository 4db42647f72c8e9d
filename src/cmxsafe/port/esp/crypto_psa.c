/* crypto_psa.c - implements crypto.h with the PSA Crypto API alone: mbedTLS's own API is private in ESP-IDF 6 and
 * later. The size of a PSA operation object depends on mbedTLS's version and on hardware acceleration, so each object
 * is allocated; the object of crypto.h holds the pointer. */
#ifdef ESP_PLATFORM

#include <psa/crypto.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"

static cmx_err from_psa(psa_status_t status)
{
    switch (status) {
    case PSA_SUCCESS:
        return CMX_OK;
    case PSA_ERROR_INSUFFICIENT_MEMORY:
        return CMX_ENOMEM;
    case PSA_ERROR_INVALID_SIGNATURE:
        return CMX_ESIG;
    case PSA_ERROR_INVALID_ARGUMENT:
        return CMX_EINVAL;
    default:
        return CMX_EIO;
    }
}

/* Initialises PSA Crypto. ESP-IDF 6 and later have already done so at start; a further call costs nothing. */
static cmx_err ready(void)
{
    return from_psa(psa_crypto_init());
}

cmx_err cmx_crypto_random(void *out, size_t len)
{
    cmx_err err = ready();

    if (!err && len)
        err = from_psa(psa_generate_random(out, len));
    if (!err)
        return CMX_OK;
    cmx_secret_wipe(out, len);
    return CMX_EIO;
}

/* Every chip in idf_component.yml has the AES peripheral, and ESP-IDF's mbedTLS uses it. */
bool cmx_crypto_fast_aes(void)
{
    return true;
}

static psa_hash_operation_t **hash_of(struct cmx_sha256 *h)
{
    return (psa_hash_operation_t **)h->opaque;
}

cmx_err cmx_sha256_init(struct cmx_sha256 *h)
{
    psa_hash_operation_t **op = hash_of(h);
    cmx_err err = ready();

    *op = err ? NULL : cmx_mem_alloc(sizeof **op); /* zeroed, which equals PSA_HASH_OPERATION_INIT */
    if (!*op)
        return err ? err : CMX_ENOMEM;
    err = from_psa(psa_hash_setup(*op, PSA_ALG_SHA_256));
    if (err)
        cmx_sha256_abort(h);
    return err;
}

cmx_err cmx_sha256_update(struct cmx_sha256 *h, const void *data, size_t len)
{
    return len ? from_psa(psa_hash_update(*hash_of(h), data, len)) : CMX_OK;
}

cmx_err cmx_sha256_finish(struct cmx_sha256 *h, uint8_t out[CMX_SHA256_LEN])
{
    size_t len = 0;
    cmx_err err = from_psa(psa_hash_finish(*hash_of(h), out, CMX_SHA256_LEN, &len));

    cmx_sha256_abort(h);
    return err;
}

void cmx_sha256_abort(struct cmx_sha256 *h)
{
    psa_hash_operation_t **op = hash_of(h);

    if (*op)
        (void)psa_hash_abort(*op); /* an error does not matter: the operation is not used again */
    cmx_mem_free_secret(*op);
    *op = NULL;
}

struct mac {
    psa_key_id_t key;
    psa_mac_operation_t op;
};

static struct mac **mac_of(struct cmx_hmac *h)
{
    return (struct mac **)h->opaque;
}

static cmx_err import_hmac_key(const void *key, size_t len, psa_key_id_t *id)
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    static const uint8_t zero;

    psa_set_key_type(&attributes, PSA_KEY_TYPE_HMAC);
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_MESSAGE);
    psa_set_key_algorithm(&attributes, PSA_ALG_HMAC(PSA_ALG_SHA_256));
    /* PSA refuses an empty key; HMAC pads a key with zeros (RFC 2104 section 2), so one zero byte is the same key. */
    return from_psa(psa_import_key(&attributes, len ? key : &zero, len ? len : 1, id));
}

cmx_err cmx_hmac_init(struct cmx_hmac *h, const void *key, size_t key_len)
{
    struct mac **m = mac_of(h);
    cmx_err err = ready();

    *m = err ? NULL : cmx_mem_alloc(sizeof **m);
    if (!*m)
        return err ? err : CMX_ENOMEM;
    err = import_hmac_key(key, key_len, &(*m)->key);
    if (!err)
        err = from_psa(psa_mac_sign_setup(&(*m)->op, (*m)->key, PSA_ALG_HMAC(PSA_ALG_SHA_256)));
    if (err)
        cmx_hmac_abort(h);
    return err;
}

cmx_err cmx_hmac_update(struct cmx_hmac *h, const void *data, size_t len)
{
    return len ? from_psa(psa_mac_update(&(*mac_of(h))->op, data, len)) : CMX_OK;
}

cmx_err cmx_hmac_restart(struct cmx_hmac *h, uint8_t out[CMX_SHA256_LEN])
{
    struct mac *m = *mac_of(h);
    size_t len = 0;
    cmx_err err = from_psa(psa_mac_sign_finish(&m->op, out, CMX_SHA256_LEN, &len));

    return err ? err : from_psa(psa_mac_sign_setup(&m->op, m->key, PSA_ALG_HMAC(PSA_ALG_SHA_256)));
}

cmx_err cmx_hmac_finish(struct cmx_hmac *h, uint8_t out[CMX_SHA256_LEN])
{
    size_t len = 0;
    cmx_err err = from_psa(psa_mac_sign_finish(&(*mac_of(h))->op, out, CMX_SHA256_LEN, &len));

    cmx_hmac_abort(h);
    return err;
}

void cmx_hmac_abort(struct cmx_hmac *h)
{
    struct mac **m = mac_of(h);

    if (*m) {
        (void)psa_mac_abort(&(*m)->op); /* errors do not matter: operation and key are not used again */
        (void)psa_destroy_key((*m)->key);
    }
    cmx_mem_free_secret(*m);
    *m = NULL;
}

cmx_err cmx_p256_verify(const uint8_t pub[CMX_P256_PUBLIC_LEN], const uint8_t digest[CMX_SHA256_LEN],
                        const uint8_t sig[CMX_P256_SIG_LEN])
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t key = PSA_KEY_ID_NULL;
    cmx_err err = ready();

    if (err)
        return err;
    psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&attributes, 256);
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_VERIFY_HASH);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    /* psa_import_key checks that the point is on the curve. */
    err = from_psa(psa_import_key(&attributes, pub, CMX_P256_PUBLIC_LEN, &key));
    if (err)
        return err == CMX_ENOMEM ? err : CMX_EINVAL;
    err = from_psa(psa_verify_hash(key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), digest, CMX_SHA256_LEN, sig, CMX_P256_SIG_LEN));
    (void)psa_destroy_key(key);
    return err == CMX_OK || err == CMX_ENOMEM ? err : CMX_ESIG;
}

/* CMX_EINVAL: the scalar is zero or not below the group's order. */
static cmx_err import_scalar(const uint8_t scalar[CMX_P256_SCALAR_LEN], psa_key_usage_t usage, psa_key_id_t *key)
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    cmx_err err = ready();

    if (err)
        return err;
    psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&attributes, 256);
    psa_set_key_usage_flags(&attributes, usage);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    return from_psa(psa_import_key(&attributes, scalar, CMX_P256_SCALAR_LEN, key));
}

cmx_err cmx_p256_public(const uint8_t scalar[CMX_P256_SCALAR_LEN], uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    psa_key_id_t key = PSA_KEY_ID_NULL;
    size_t len = 0;
    cmx_err err = import_scalar(scalar, PSA_KEY_USAGE_EXPORT, &key);

    if (err)
        return err;
    err = from_psa(psa_export_public_key(key, pub, CMX_P256_PUBLIC_LEN, &len));
    (void)psa_destroy_key(key);
    return !err && len != CMX_P256_PUBLIC_LEN ? CMX_EIO : err;
}

cmx_err cmx_p256_sign(const uint8_t scalar[CMX_P256_SCALAR_LEN], const uint8_t digest[CMX_SHA256_LEN],
                      uint8_t sig[CMX_P256_SIG_LEN])
{
    psa_key_id_t key = PSA_KEY_ID_NULL;
    size_t len = 0;
    cmx_err err = import_scalar(scalar, PSA_KEY_USAGE_SIGN_HASH, &key);

    if (err)
        return err;
    err = from_psa(
        psa_sign_hash(key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), digest, CMX_SHA256_LEN, sig, CMX_P256_SIG_LEN, &len));
    (void)psa_destroy_key(key);
    return !err && len != CMX_P256_SIG_LEN ? CMX_EIO : err;
}

#endif
