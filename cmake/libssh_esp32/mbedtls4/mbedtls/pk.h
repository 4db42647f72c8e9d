/* Mbed TLS 4 keeps the keys of its pk module in PSA. Its pk_ctx is empty, but libssh expects an RSA or EC key there.
 * libssh therefore calls these functions of pk.c instead, which store an RSA key in pk_ctx. */
#include_next <mbedtls/pk.h>
#include <mbedtls/private/pk_private.h>

int cmx_pk_setup(mbedtls_pk_context *pk, const mbedtls_pk_info_t *info);
void cmx_pk_free(mbedtls_pk_context *pk);
size_t cmx_pk_get_bitlen(const mbedtls_pk_context *pk);
int cmx_pk_verify(mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash, size_t hash_len,
                  const unsigned char *sig, size_t sig_len);
int cmx_pk_sign(mbedtls_pk_context *pk, mbedtls_md_type_t md, const unsigned char *hash, size_t hash_len,
                unsigned char *sig, size_t cap, size_t *len, int (*rng)(void *, unsigned char *, size_t), void *arg);

#ifndef CMX_PK_ORIGINALS
#define mbedtls_pk_setup cmx_pk_setup
#define mbedtls_pk_free cmx_pk_free
#define mbedtls_pk_get_bitlen cmx_pk_get_bitlen
#define mbedtls_pk_verify cmx_pk_verify
#define mbedtls_pk_sign cmx_pk_sign
/* A private key in PEM other than OpenSSH's own is refused: libssh would read it from pk_ctx, which is empty. */
#define mbedtls_pk_parse_key(context, key, len, password, password_len, rng, arg) MBEDTLS_ERR_PK_UNKNOWN_PK_ALG
#endif
#define MBEDTLS_PK_RSA_ALT ((mbedtls_pk_type_t)-1) /* Mbed TLS 4 has no such type, so no key has this value */
