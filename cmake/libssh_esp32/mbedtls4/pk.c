/* pk.c - the RSA keys of libssh: a gateway's host key, and a private key in OpenSSH's format. Without these functions,
 * a gateway that offers only an RSA host key would make libssh dereference a null pointer. */
#define CMX_PK_ORIGINALS
#include <mbedtls/pk.h>
#include <mbedtls/platform.h>
#include <mbedtls/rsa.h>
#include <psa/crypto.h>

/* Returns the RSA key. NULL: there is no key, or it is of another type and PSA holds it. */
static mbedtls_rsa_context *rsa_of(const mbedtls_pk_context *pk)
{
    return mbedtls_pk_get_type(pk) == MBEDTLS_PK_RSA ? pk->pk_ctx : NULL;
}

/* For an RSA key, sets pk_ctx to an empty key as Mbed TLS 3 does; libssh fills it. */
int cmx_pk_setup(mbedtls_pk_context *pk, const mbedtls_pk_info_t *info)
{
    int rc = mbedtls_pk_setup(pk, info);

    if (rc || mbedtls_pk_get_type(pk) != MBEDTLS_PK_RSA)
        return rc;
    pk->pk_ctx = mbedtls_calloc(1, sizeof(mbedtls_rsa_context));
    if (!pk->pk_ctx) {
        mbedtls_pk_free(pk);
        return PSA_ERROR_INSUFFICIENT_MEMORY; /* Mbed TLS 4 shares its error codes with PSA */
    }
    mbedtls_rsa_init(pk->pk_ctx);
    return 0;
}

void cmx_pk_free(mbedtls_pk_context *pk)
{
    mbedtls_rsa_context *rsa = rsa_of(pk);

    if (rsa)
        mbedtls_rsa_free(rsa);
    mbedtls_free(rsa);
    mbedtls_pk_free(pk);
}

size_t cmx_pk_get_bitlen(const mbedtls_pk_context *pk)
{
    const mbedtls_rsa_context *rsa = rsa_of(pk);

    return rsa ? mbedtls_rsa_get_bitlen(rsa) : mbedtls_pk_get_bitlen(pk);
}

/* Verifies a signature with PKCS#1 v1.5, the only padding that SSH has (RFC 8332). */
int cmx_pk_verify(mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash, size_t hash_len,
                  const unsigned char *sig, size_t sig_len)
{
    mbedtls_rsa_context *rsa = rsa_of(pk);

    if (!rsa)
        return mbedtls_pk_verify(pk, md, hash, hash_len, sig, sig_len);
    if (sig_len != mbedtls_rsa_get_len(rsa))
        return MBEDTLS_ERR_RSA_VERIFY_FAILED;
    return mbedtls_rsa_pkcs1_verify(rsa, md, (unsigned)hash_len, hash, sig);
}

int cmx_pk_sign(mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash, size_t hash_len,
                unsigned char *sig, size_t cap, size_t *len, int (*rng)(void *, unsigned char *, size_t), void *arg)
{
    mbedtls_rsa_context *rsa = rsa_of(pk);

    if (!rsa)
        return mbedtls_pk_sign(pk, md, hash, hash_len, sig, cap, len);
    if (cap < mbedtls_rsa_get_len(rsa))
        return MBEDTLS_ERR_RSA_OUTPUT_TOO_LARGE;
    *len = mbedtls_rsa_get_len(rsa);
    return mbedtls_rsa_pkcs1_sign(rsa, rng, arg, md, (unsigned)hash_len, hash, sig);
}
