/* entropy.c - what libssh seeds its generator with: ESP-IDF 6 leaves Mbed TLS's own collector out, PSA has the
 * hardware's. */
#include <mbedtls/entropy.h>
#include <psa/crypto.h>

void mbedtls_entropy_init(mbedtls_entropy_context *context)
{
    (void)context;
}

void mbedtls_entropy_free(mbedtls_entropy_context *context)
{
    (void)context;
}

/* 0: out holds len random bytes. libssh calls it from a constructor, before anybody else has started PSA. */
int mbedtls_entropy_func(void *context, unsigned char *out, size_t len)
{
    (void)context;
    if (psa_crypto_init() != PSA_SUCCESS || psa_generate_random(out, len) != PSA_SUCCESS)
        return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    return 0;
}
