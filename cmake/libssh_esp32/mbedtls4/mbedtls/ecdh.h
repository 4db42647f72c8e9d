#include <mbedtls/private/ecdh.h>
