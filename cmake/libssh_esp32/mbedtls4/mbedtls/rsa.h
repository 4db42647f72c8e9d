#include <mbedtls/private/rsa.h>
