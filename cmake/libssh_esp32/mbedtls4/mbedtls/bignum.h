#include <mbedtls/private/bignum.h>
