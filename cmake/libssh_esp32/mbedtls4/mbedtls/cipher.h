#include <mbedtls/private/cipher.h>
/* Gone, and never offered to a gateway. */
#define MBEDTLS_CIPHER_DES_EDE3_CBC MBEDTLS_CIPHER_NONE
