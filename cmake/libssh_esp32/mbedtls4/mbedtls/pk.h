/* Mbed TLS 4 draws its own random numbers: these two lost the arguments for them. */
#include_next <mbedtls/pk.h>
#include <mbedtls/private/pk_private.h>
#define mbedtls_pk_parse_key(context, key, len, password, password_len, rng, arg)                                        \
    mbedtls_pk_parse_key(context, key, len, password, password_len)
#define mbedtls_pk_sign(context, md, hash, hash_len, out, cap, len, rng, arg)                                            \
    mbedtls_pk_sign(context, md, hash, hash_len, out, cap, len)
#define MBEDTLS_PK_RSA_ALT ((mbedtls_pk_type_t)-1) /* gone: no key is of this type */
