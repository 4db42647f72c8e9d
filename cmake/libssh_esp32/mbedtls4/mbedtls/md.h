/* The third argument of mbedtls_md_setup must be 0 in Mbed TLS 4; a separate call prepares the context for an HMAC. */
#ifndef CMX_MBEDTLS4_MD_H
#define CMX_MBEDTLS4_MD_H

#include_next <mbedtls/md.h>

/* If either call fails, libssh frees the context. */
static inline int cmx_md_setup(mbedtls_md_context_t *context, const mbedtls_md_info_t *info, int hmac)
{
    int rc = mbedtls_md_setup(context, info, 0);

    return rc || !hmac ? rc : mbedtls_md_hmac_setup(context, info);
}

#define mbedtls_md_setup cmx_md_setup

#endif
