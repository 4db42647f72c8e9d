#include <mbedtls/private/cipher.h>
/* Mbed TLS 4 has no triple DES. libssh never offers it to a gateway. */
#define MBEDTLS_CIPHER_DES_EDE3_CBC MBEDTLS_CIPHER_NONE
