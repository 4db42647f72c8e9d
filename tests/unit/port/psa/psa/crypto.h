/* crypto.h - the part of the PSA Crypto API that crypto_psa.c needs. Importing a key returns psa_import_result, and
 * each other call succeeds. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int32_t psa_status_t;
typedef uint32_t psa_key_id_t, psa_algorithm_t, psa_key_usage_t;
typedef uint16_t psa_key_type_t;
typedef struct {
    int unused;
} psa_hash_operation_t, psa_mac_operation_t, psa_key_attributes_t;

#define PSA_SUCCESS 0
#define PSA_ERROR_NOT_SUPPORTED -134
#define PSA_ERROR_INVALID_ARGUMENT -135
#define PSA_ERROR_BAD_STATE -137
#define PSA_ERROR_INSUFFICIENT_MEMORY -141
#define PSA_ERROR_INSUFFICIENT_STORAGE -142
#define PSA_ERROR_HARDWARE_FAILURE -147
#define PSA_ERROR_INVALID_SIGNATURE -149
#define PSA_KEY_ID_NULL 0
#define PSA_KEY_ATTRIBUTES_INIT                                                                                        \
    {                                                                                                                  \
        0                                                                                                              \
    }
#define PSA_ALG_SHA_256 1
#define PSA_ALG_HMAC(hash) (hash)
#define PSA_ALG_ECDSA(hash) (hash)
#define PSA_ECC_FAMILY_SECP_R1 1
#define PSA_KEY_TYPE_HMAC 1
#define PSA_KEY_TYPE_ECC_PUBLIC_KEY(family) (family)
#define PSA_KEY_TYPE_ECC_KEY_PAIR(family) (family)
#define PSA_KEY_USAGE_SIGN_MESSAGE 1
#define PSA_KEY_USAGE_SIGN_HASH 1
#define PSA_KEY_USAGE_VERIFY_HASH 1
#define PSA_KEY_USAGE_EXPORT 1

static psa_status_t psa_import_result;

static inline void psa_set_key_type(psa_key_attributes_t *attributes, psa_key_type_t type)
{
    (void)attributes;
    (void)type;
}

static inline void psa_set_key_bits(psa_key_attributes_t *attributes, size_t bits)
{
    (void)attributes;
    (void)bits;
}

static inline void psa_set_key_usage_flags(psa_key_attributes_t *attributes, psa_key_usage_t usage)
{
    (void)attributes;
    (void)usage;
}

static inline void psa_set_key_algorithm(psa_key_attributes_t *attributes, psa_algorithm_t alg)
{
    (void)attributes;
    (void)alg;
}

static inline psa_status_t psa_crypto_init(void)
{
    return PSA_SUCCESS;
}

static inline psa_status_t psa_generate_random(uint8_t *out, size_t len)
{
    (void)out;
    (void)len;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_hash_setup(psa_hash_operation_t *op, psa_algorithm_t alg)
{
    (void)op;
    (void)alg;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_hash_update(psa_hash_operation_t *op, const uint8_t *data, size_t len)
{
    (void)op;
    (void)data;
    (void)len;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_hash_finish(psa_hash_operation_t *op, uint8_t *out, size_t cap, size_t *len)
{
    (void)op;
    (void)out;
    (void)cap;
    (void)len;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_hash_abort(psa_hash_operation_t *op)
{
    (void)op;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_mac_sign_setup(psa_mac_operation_t *op, psa_key_id_t key, psa_algorithm_t alg)
{
    (void)op;
    (void)key;
    (void)alg;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_mac_update(psa_mac_operation_t *op, const uint8_t *data, size_t len)
{
    (void)op;
    (void)data;
    (void)len;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_mac_sign_finish(psa_mac_operation_t *op, uint8_t *out, size_t cap, size_t *len)
{
    (void)op;
    (void)out;
    (void)cap;
    (void)len;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_mac_abort(psa_mac_operation_t *op)
{
    (void)op;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_import_key(const psa_key_attributes_t *attributes, const uint8_t *data, size_t len,
                                          psa_key_id_t *key)
{
    (void)attributes;
    (void)data;
    (void)len;
    *key = 1;
    return psa_import_result;
}

static inline psa_status_t psa_destroy_key(psa_key_id_t key)
{
    (void)key;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_export_public_key(psa_key_id_t key, uint8_t *out, size_t cap, size_t *len)
{
    (void)key;
    (void)out;
    *len = cap;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_sign_hash(psa_key_id_t key, psa_algorithm_t alg, const uint8_t *digest, size_t n,
                                         uint8_t *sig, size_t cap, size_t *len)
{
    (void)key;
    (void)alg;
    (void)digest;
    (void)n;
    (void)sig;
    *len = cap;
    return PSA_SUCCESS;
}

static inline psa_status_t psa_verify_hash(psa_key_id_t key, psa_algorithm_t alg, const uint8_t *digest, size_t n,
                                           const uint8_t *sig, size_t len)
{
    (void)key;
    (void)alg;
    (void)digest;
    (void)n;
    (void)sig;
    (void)len;
    return PSA_SUCCESS;
}
