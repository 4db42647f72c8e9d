/* entropy.c - random bytes with which libssh seeds its generator. ESP-IDF 6 does not build Mbed TLS's own collector;
 * PSA provides the hardware's random bytes. */
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

/* Returns 0 if out holds len random bytes. Starts PSA, because libssh calls this from a constructor, before any other
 * code has started PSA. */
int mbedtls_entropy_func(void *context, unsigned char *out, size_t len)
{
    (void)context;
    if (psa_crypto_init() != PSA_SUCCESS || psa_generate_random(out, len) != PSA_SUCCESS)
        return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    return 0;
}
