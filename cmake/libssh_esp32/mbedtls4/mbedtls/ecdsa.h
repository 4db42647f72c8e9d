#include <mbedtls/private/ecdsa.h>
